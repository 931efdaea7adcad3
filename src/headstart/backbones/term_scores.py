"""In the place of a backbone: the terms of a text, weighed by TF-IDF and by a classifier.

What it gives are scores of the classes, learnt from the data alone; no weights are pretrained.
Knows no text: `data.term_ids` turns one into ids.

Source: see `strategies.terms`, whose numbers these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.contracts import NO_SOURCE, Backbone, BackboneSpec, TermsContract
from headstart.trust.unknown_words import MOST_UNKNOWN


@dataclass(frozen=True, eq=False)
class WeighedTerms:
    """The terms of one kind.

    Attributes:
        names: Sorted.
        idf: (num_terms,) float32, what each is worth.
        weight: (num_classes, num_terms) float32, what each says of the classes.
    """

    names: Sequence[str]
    idf: NDArray[np.float32]
    weight: Tensor


class TermScores(nn.Module):
    """Ids of terms -> scores of the classes, without a bias, and the share that is unknown.

    Args:
        sizes: How many terms there are, kind by kind.
        num_classes: How many classes there are.

    Attributes:
        weight: (num_terms, num_classes).
        idf: (num_terms + 1,); the last is that of a word that no text of the fit had.
        is_word: (num_terms + 1,) bool: the terms that are single words, the unknown among them.
    """

    idf: Tensor
    is_word: Tensor
    kind: Tensor

    def __init__(self, sizes: Sequence[int], num_classes: int) -> None:
        super().__init__()
        num_terms = sum(sizes)
        self.num_kinds = len(sizes) + 1
        self.weight = nn.Parameter(torch.zeros(num_terms, num_classes))
        self.register_buffer("idf", torch.ones(num_terms + 1))
        self.register_buffer("is_word", torch.ones(num_terms + 1, dtype=torch.bool))
        kinds = torch.repeat_interleave(torch.tensor([*sizes, 1]))  # unknown words are a kind, too
        self.register_buffer("kind", kinds, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (B, L) int64, -1 where a text is over -> (B, num_classes + 1) float.

        The last column is the share of the words that are unknown, each counted by its idf: 1 for a
        text without any known term.
        """
        n, num_ids = len(ids), len(self.idf)
        rows, places = (ids >= 0).nonzero(as_tuple=True)
        found, counts = torch.unique(rows * num_ids + ids[rows, places], return_counts=True)
        row, term = found // num_ids, found % num_ids
        counts = counts.to(self.idf.dtype)
        is_known = term < num_ids - 1
        unknown = self._unknown(row, term, counts, n=n)
        row, term, counts = row[is_known], term[is_known], counts[is_known]
        worth = (1 + counts.log()) * self.idf[term]
        part = row * self.num_kinds + self.kind[term]  # each kind has length 1 in each text
        squares = worth.new_zeros(n * self.num_kinds).index_add(0, part, worth.square())
        worth = worth / squares[part].sqrt()
        starts = torch.searchsorted(row, torch.arange(n, device=row.device))
        scores = F.embedding_bag(term, self.weight, starts, per_sample_weights=worth, mode="sum")
        return torch.cat([scores, unknown[:, None]], dim=1)

    def _unknown(self, row: Tensor, term: Tensor, counts: Tensor, *, n: int) -> Tensor:
        """(n,) share of the words that are unknown; see `forward`."""
        mass = counts * self.idf[term] * self.is_word[term]
        is_known = term < len(self.idf) - 1
        total = mass.new_zeros(n).index_add(0, row, mass)
        known = mass.new_zeros(n).index_add(0, row, mass * is_known)
        share = (1 - known / total.clamp_min(1e-9)).clamp(0, MOST_UNKNOWN)
        has_known = mass.new_zeros(n).index_add(0, row, is_known.to(mass.dtype)) > 0
        return torch.where(has_known, share, torch.ones_like(share))


def terms_backbone(
    kinds: Mapping[str, WeighedTerms], *, num_classes: int, num_texts: int
) -> Backbone[TermsContract]:
    """What stands in the place of a backbone where words alone are weighed.

    Args:
        kinds: The terms of each kind; single words and pairs of them are those of `words`.
        num_classes: How many classes there are.
        num_texts: That the terms were learnt from; 0 where nothing is learnt yet.
    """
    contract = TermsContract.of({kind: each.names for kind, each in kinds.items()})
    spec = BackboneSpec(
        source=NO_SOURCE,
        architecture=f"TF-IDF, {contract.described}",
        num_features=num_classes + 1,
        arguments={"sizes": list(contract.sizes.values()), "num_classes": num_classes},
        weights=NO_SOURCE,
        licence=NO_SOURCE,
    )
    module = build_unset(spec)
    of_unknown = 1 + np.log(1 + num_texts)
    idf = np.concatenate([*(each.idf for each in kinds.values()), [of_unknown]])
    is_word = [
        kind == "words" and " " not in name for kind, each in kinds.items() for name in each.names
    ]
    with torch.no_grad():
        module.weight.copy_(torch.cat([each.weight.T for each in kinds.values()]))
        module.idf.copy_(torch.from_numpy(idf.astype(np.float32)))
        module.is_word.copy_(torch.tensor([*is_word, True]))
    return Backbone(spec, contract, module, layer_groups=(("weight",),))


def build_unset(spec: BackboneSpec) -> TermScores:
    """The module of a spec, whose weights are still to be set."""
    return TermScores(spec.arguments["sizes"], spec.arguments["num_classes"])
