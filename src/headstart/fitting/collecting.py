"""Features of a fit's samples, each picture through the frozen backbone once.

Wiring of the cache, the predictor and the loaders; keeps account of what had to be left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.compute import module_fingerprint
from headstart.contracts import Batch, Sample
from headstart.data.checks import FileFacts
from headstart.errors import DataError, InterruptedFit
from headstart.features import Extraction, FeatureCache, extract
from headstart.fitting.embedding import Embedder
from headstart.fitting.feeding import Loading, augmented_view
from headstart.fitting.preparing import NO_TIME, UNUSABLE
from headstart.predictor import Predictor
from headstart.progress import Progress

_LISTED = 20


@dataclass
class Collector:
    """Collects features; what cannot be read, or not in time, goes to `left_out`.

    Attributes:
        predictor: Prepares the pictures.
        embedder: Computes the features.
        facts: sample id -> what its file is.
        seed: Of the order in which pictures are read where time is short.
        reading_ends: `time.monotonic()` at which to stop reading; infinite without a budget.
        stops_at_bad: Whether pictures that cannot be decoded are an error, or left out.
        is_stopped: Whether the user asked to stop.
        left_out: sample id -> why it takes no part.
        statistics: sample id -> (m,) float32 statistics by the task, of pictures those of colours
            and bands, of all that was collected as evaluation sees it; taken in the same pass.
        depths: sample id -> (sum of the widths,) float32 features of all depths, of the same
            samples, the last layer's last; empty where the backbone does not tell them.
    """

    predictor: Predictor
    embedder: Embedder
    facts: Mapping[str, FileFacts]
    seed: int
    reading_ends: float
    stops_at_bad: bool
    is_stopped: Callable[[], bool]
    progress: Progress
    left_out: dict[str, str] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)
    depths: dict[str, Tensor] = field(default_factory=dict)

    def collect(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """sample id -> (num_features,) float32, of all samples that could be read in time.

        Raises:
            DataError: Pictures cannot be decoded; all of them are listed.
            InterruptedFit: The user asked to stop; what was computed is in the cache.
        """

        def batches(chosen: list[Sample]) -> Iterable[Batch]:
            return self.predictor.batches(chosen, on_error=self.note_unreadable)

        found = self._extract(
            samples,
            self._key(),
            embed=self._embed_and_describe,
            batches=batches,
            label=f"reading {self.unit}s",
        )
        if found.not_reached:
            self._tell_no_time(found.not_reached, of=len(samples))
        width = self.embedder.widest.spec.num_features
        last = width - self.embedder.backbone.spec.num_features
        self.statistics |= {id_: row[width:] for id_, row in found.features.items()}
        if self.embedder.deep is not None:
            self.depths |= {id_: row[:width] for id_, row in found.features.items()}
        return {id_: row[last:width] for id_, row in found.features.items()}

    def collect_view(
        self, samples: Sequence[Sample], view: int, *, loading: Loading, name: str
    ) -> dict[str, Tensor]:
        """The same of one augmented view of each sample; `name` tells the augmentation.

        Raises:
            DataError: See `collect`.
            InterruptedFit: See `collect`.
        """

        def batches(chosen: list[Sample]) -> Iterable[Batch]:
            return augmented_view(
                chosen,
                view,
                task=self.predictor.task,
                contract=self.embedder.backbone.contract,
                loading=loading,
            )

        found = self._extract(
            samples,
            {**self._key(), "view": [view, name, loading.seed]},
            embed=self._embed_view,
            batches=batches,
            label=f"augmented view {view + 1}",
        )
        last = -self.embedder.backbone.spec.num_features
        return {id_: row[last:] for id_, row in found.features.items()}

    def _extract(
        self,
        samples: Sequence[Sample],
        key: Mapping[str, Any],
        *,
        embed: Callable[[Tensor], Tensor],
        batches: Callable[[list[Sample]], Iterable[Batch]],
        label: str,
    ) -> Extraction:
        by_id = {sample.id: sample for sample in samples}
        ids = list(by_id)
        if self.reading_ends != float("inf"):  # what is cut off must be a random part
            np.random.default_rng(self.seed).shuffle(ids)
        extraction = extract(
            {id_: self.facts[id_].sha256 for id_ in ids},
            table=FeatureCache(key),
            embed=embed,
            batches=lambda wanted: batches([by_id[id_] for id_ in wanted]),
            should_stop=lambda: self.is_stopped() or time.monotonic() > self.reading_ends,
            label=label,
            unit=f"{self.unit}s",
            progress=self.progress,
        )
        if self.is_stopped():
            raise InterruptedFit
        self._note_copies(ids, extraction)
        self._tell_unreadable()
        if extraction.num_cached:
            self.progress.note(
                f"  {label}: {extraction.num_cached} of {len(ids)} features were in the cache"
            )
        return extraction

    def _embed_and_describe(self, inputs: Tensor) -> Tensor:
        """(B, num_features + m): features, then statistics, kept together in the cache."""
        statistics = self.predictor.task.statistics(inputs)
        return torch.cat([self._embed_view(inputs).cpu(), statistics], dim=1)

    @property
    def unit(self) -> str:
        """What a sample is called."""
        return self.predictor.task.unit

    def _embed_view(self, inputs: Tensor) -> Tensor:
        """(B, num_features) of all depths."""
        return self.embedder.embed_widest(inputs.to(self.predictor.device))

    def _note_copies(self, ids: Sequence[str], extraction: Extraction) -> None:
        """Of files with the same content one was read: what is wrong with it is so with all."""
        wanted = set(ids)
        by_content = {self.facts[i].sha256: why for i, why in self.left_out.items() if i in wanted}
        for id_ in wanted - extraction.features.keys() - set(extraction.not_reached):
            why = by_content[self.facts[id_].sha256]
            self.left_out.setdefault(id_, f"`{id_}` is a copy of such a {self.unit}: {why}")

    def note_unreadable(self, sample: Sample, error: DataError) -> None:
        """Leave a sample out that cannot be decoded."""
        self.left_out[sample.id] = str(error)

    def _key(self) -> dict[str, Any]:
        widest = self.embedder.widest
        return {
            "layout": 4,
            "weights": module_fingerprint(widest.module),
            "architecture": widest.spec.reference,
            "arguments": dict(widest.spec.arguments),
            "contract": widest.contract.to_json(),
            "format": str(self.predictor.compute_format),
        }

    def _tell_unreadable(self) -> None:
        """Damage that only decoding shows: stop with the whole list, or go on without the files."""
        reasons = [why for why in self.left_out.values() if why not in (UNUSABLE, NO_TIME)]
        if not reasons:
            return
        lines = [f"{len(reasons)} {self.unit}s cannot be decoded:"]
        lines += [f"  {why}" for why in reasons[:_LISTED]]
        if len(reasons) > _LISTED:
            lines.append(f"  and {len(reasons) - _LISTED:,} more: see `headstart inspect`")
        message = "\n".join(lines)
        if self.stops_at_bad:
            raise DataError(
                f"{message}\nMend or remove them, or leave them out with --on-bad skip. "
                "The features of all others are kept, so the next fit is quick."
            )
        self.progress.warn(f"{message}\nThey were left out.")

    def _tell_no_time(self, ids: Sequence[str], *, of: int) -> None:
        self.left_out.update({id_: NO_TIME for id_ in ids if id_ not in self.left_out})
        self.progress.warn(
            f"The budget was too short for the backbone to read {len(ids):,} of {of:,} "
            f"{self.unit}s, a random part. Give more with --budget, or fit again: what was read is "
            "in the cache."
        )
