"""What a fit writes into its run folder, from plain values; the report is drawn from that alone."""

from __future__ import annotations

import csv
import datetime
import io
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import headstart
from headstart.compute import environment
from headstart.config import FitOptions
from headstart.contracts import (
    Backbone,
    ComputeFormat,
    Dataset,
    Evaluation,
    Finding,
    InputContract,
    Measure,
    Prediction,
    TermsContract,
    TextContract,
)
from headstart.data.checks import FileFacts
from headstart.data.languages import find_languages
from headstart.data.mask_checks import MaskFacts
from headstart.data.mask_classes import pixel_counts
from headstart.data.sample_findings import noun_of
from headstart.data.splits import SplitPlan, class_counts
from headstart.decoders import AnyDecoder, describe_decoder
from headstart.fitting.proof import CONTENT, Proof, SuspectRow
from headstart.fitting.rungs import Climb
from headstart.fitting.settle import Choice
from headstart.model import Model
from headstart.report import keep_texts, write_model_card, write_report
from headstart.rundir import RunFolder
from headstart.strategies.heads import describe_head
from headstart.tensor_files import write_tensors


@dataclass(frozen=True)
class Record:
    """A fit as it is written down.

    Attributes:
        data: As the user gave it.
        findings: Of the checks.
        facts: sample id -> what its file is.
        contents: sample id -> by what it is known again; see `Checkup.contents`.
        left_out: sample id -> why it took no part.
        dropped: Ids of suspects that a person had confirmed.
        fit: What the strategy told.
        climb: What was tried.
        seconds: step -> seconds.
        masks: sample id -> facts of its mask, where samples have masks.
    """

    data: Path
    options: FitOptions
    strategy: str
    choices: tuple[Choice, ...]
    dataset: Dataset
    findings: tuple[Finding, ...]
    facts: Mapping[str, FileFacts]
    contents: Mapping[str, str]
    fingerprint: str
    split: SplitPlan
    left_out: Mapping[str, str]
    dropped: tuple[str, ...]
    backbone: Backbone[Any]
    model: Model
    device: torch.device
    compute_format: ComputeFormat
    fit: Mapping[str, Any]
    climb: Climb
    seconds: Mapping[str, float]
    masks: Mapping[str, MaskFacts] = field(default_factory=dict)


def record_start(folder: RunFolder, record: Record) -> None:
    """config.json, dataset.json, split.json, input.json: all but the results."""
    folder.write_json(folder.config, _config(record))
    folder.write_json(folder.dataset, _dataset(record))
    folder.write_json(folder.split, _split(record))
    _write_contract(folder, record.backbone.contract)


def _write_contract(
    folder: RunFolder, contract: InputContract | TextContract | TermsContract
) -> None:
    folder.write_json(folder.input, contract.to_json())
    if isinstance(contract, TextContract):
        folder.write_text(folder.tokenizer, contract.tokenizer)
    if isinstance(contract, TermsContract):
        folder.write_text(folder.terms, contract.vocabulary)
        folder.tokenizer.unlink(missing_ok=True)  # of a rung that was tried and not kept


def record_results(
    folder: RunFolder,
    record: Record,
    evaluation: Evaluation,
    prediction: Prediction,
    *,
    proof: Proof | None = None,
) -> None:
    """Weights, predictions, metrics, report and model card; what was left out is known now."""
    proof = proof or Proof()
    truth = {sample.id: sample.label for sample in record.dataset}
    write_test_predictions(folder, prediction, truth)
    _write_suspects(folder, proof.suspects)
    if proof.strangers is not None:
        with folder.replacing(folder.strangers) as temporary:
            letters = {} if proof.letters is None else proof.letters.state()
            write_tensors(temporary, {**proof.strangers.state(), **letters})
    majority = {"majority": {"accuracy": _majority_accuracy(record, prediction)}}
    write_outcome(folder, record, {**metrics_of(record, evaluation), **majority, **proof.metrics})


def write_outcome(folder: RunFolder, record: Record, metrics: Mapping[str, Any]) -> None:
    """Weights, metrics.json, report and model card; what was left out is known now."""
    folder.write_json(folder.config, _config(record))
    folder.write_json(folder.dataset, _dataset(record))
    _write_contract(folder, record.backbone.contract)  # terms are learnt, and were not there before
    _write_weights(folder, record.model)
    folder.write_json(folder.metrics, metrics)
    if _is_of_texts(record.dataset):
        keep_texts(folder, {sample.id: sample.text or "" for sample in record.dataset})
    write_report(folder)
    write_model_card(folder)


def record_transfer(folder: RunFolder, transfer: Mapping[str, Any]) -> None:
    """What the control added to a finished run."""
    metrics = folder.read_json(folder.metrics)
    folder.write_json(folder.metrics, {**metrics, "transfer": dict(transfer)})
    write_report(folder)
    write_model_card(folder)


def record_usable(folder: RunFolder, record: Record) -> None:
    """The best model so far, so that a fit that is interrupted leaves one; not measured yet."""
    best = folder.so_far
    best.path.mkdir(parents=True, exist_ok=True)
    _write_contract(best, record.backbone.contract)
    _write_weights(best, record.model)
    best.write_json(best.config, _config(record))  # last: with it the model counts as there


def _write_weights(folder: RunFolder, model: Model) -> None:
    with folder.replacing(folder.weights) as temporary:
        write_tensors(temporary, model.state_dict())


def write_test_predictions(
    folder: RunFolder, prediction: Prediction, truth: Mapping[str, str]
) -> None:
    """predictions.parquet: one row a test sample."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.ascontiguousarray(prediction.probabilities, dtype=np.float32)
    # Columns from buffers: `pa.array` imports pandas wherever it is installed, half a second.
    numbers = pa.Array.from_buffers(pa.float32(), rows.size, [None, pa.py_buffer(rows)])
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    type_, sides = pa.list_(pa.float32()), [None, pa.py_buffer(offsets)]
    columns = {
        "id": text_column(prediction.ids),
        "truth": text_column([truth[id_] for id_ in prediction.ids]),
        "prediction": text_column(prediction.labels),
        "probabilities": pa.Array.from_buffers(type_, len(rows), sides, children=[numbers]),
    }
    if prediction.strangers is not None:
        scores = np.ascontiguousarray(prediction.strangers.scores, dtype=np.float32)
        columns["ood"] = pa.Array.from_buffers(
            pa.float32(), len(scores), [None, pa.py_buffer(scores)]
        )
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    with folder.replacing(folder.predictions) as temporary:
        pq.write_table(table, temporary)


def _write_suspects(folder: RunFolder, suspects: Sequence[SuspectRow]) -> None:
    """suspects.csv: labels that look wrong, the most suspicious first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label", "likely label", "score", "content"])
    writer.writerows(
        [row.id, row.given, row.likely, f"{row.score:.4f}", f"{CONTENT}{row.content}"]
        for row in suspects
    )
    folder.write_text(folder.suspects, text.getvalue())


def text_column(texts: Sequence[str]) -> Any:
    """An Arrow array of strings."""
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def _config(record: Record) -> dict[str, Any]:
    settled = {choice.name: choice.value for choice in record.choices}
    options = record.options.model_dump(mode="json")
    given = {name: options[name] for name in sorted(record.options.model_fields_set)}
    options.update({name: value for name, value in settled.items() if name in options})
    num_parameters = sum(p.numel() for p in record.model.parameters())
    legend, text_columns = record.dataset.legend, record.dataset.text_columns
    return {
        "headstart_version": headstart.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "data": str(record.data.resolve()),
        "task": record.dataset.task,
        "strategy": record.strategy,
        "options": options,
        "given": given,  # as the user gave them, whatever was settled
        "choices": [choice.to_json() for choice in record.choices],
        "model": {
            "backbone": record.backbone.spec.to_json(),
            "head": _head(record.model),
            "format": asdict(record.compute_format),
            "device": record.device.type,
            "classes": list(record.dataset.classes),
            "is_multilabel": record.dataset.is_multilabel,
            **({"legend": legend.to_json()} if legend is not None else {}),
            **({"text_columns": list(text_columns)} if text_columns else {}),
            "num_parameters": num_parameters,
        },
        "fit": dict(record.fit),
        "environment": environment(record.device),
    }


def _head(model: Model) -> dict[str, Any]:
    """From which the head is built again."""
    head = model.head
    return describe_decoder(head) if isinstance(head, AnyDecoder) else describe_head(head)


def _dataset(record: Record) -> dict[str, Any]:
    dataset = record.dataset
    known = {sample.id: record.facts[sample.id] for sample in dataset if sample.id in record.facts}
    pixels = pixel_counts(dataset, record.masks, record.split.assignment) if record.masks else {}
    return {
        "root": str(dataset.root.resolve()),
        "format": dataset.format,
        "reason": dataset.reason,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "is_multilabel": dataset.is_multilabel,
        **({"legend": dataset.legend.to_json()} if dataset.legend is not None else {}),
        "notes": list(dataset.notes),
        "findings": [asdict(finding) for finding in record.findings],
        "counts": class_counts(dataset, record.split.assignment),
        **({"pixel_counts": pixels} if pixels else {}),
        "num_samples": len(dataset),
        "fingerprint": record.fingerprint,
        **(_about_texts(dataset) if _is_of_texts(dataset) else _about_pictures(known)),
        "left_out": sorted(record.left_out),
        "left_out_because": dict(sorted(record.left_out.items())),
        "dropped_suspects": list(record.dropped),
    }


def _is_of_texts(dataset: Dataset) -> bool:
    return noun_of(dataset) == "text"


def _about_pictures(known: Mapping[str, FileFacts]) -> dict[str, Any]:
    """`sizes` in pixels, and in `formats` how many files there are of each."""
    formats = {fact.part_of or id_: fact.format for id_, fact in known.items()}  # one a file
    return {
        "sizes": {
            "width": _spread([fact.width for fact in known.values()]),
            "height": _spread([fact.height for fact in known.values()]),
        },
        "formats": dict(Counter(formats.values())),
    }


def _about_texts(dataset: Dataset) -> dict[str, Any]:
    """`sizes` in characters, `languages`, and in `formats` how many files there are of each."""
    files = {sample.path for sample in dataset}
    texts = [sample.text or "" for sample in dataset]
    return {
        "sizes": {"characters": _spread(list(map(len, texts)))},
        "languages": find_languages(texts).to_json(),
        "formats": dict(Counter(path.suffix[1:].upper() for path in files)),
    }


def _spread(values: list[int]) -> list[float]:
    return [min(values), statistics.median(values), max(values)] if values else []


def _split(record: Record) -> dict[str, Any]:
    split = record.split
    return {
        "rule": split.rule,
        "reason": split.reason,
        "notes": list(split.notes),
        "assignment": {
            id_: {
                "split": name,
                "group": split.groups[id_],
                **({"content": record.contents[id_]} if id_ in record.contents else {}),
            }
            for id_, name in split.assignment.items()
        },
    }


def metrics_of(record: Record, evaluation: Evaluation) -> dict[str, Any]:
    """What metrics.json holds for every task."""
    seconds = {name: round(value, 3) for name, value in record.seconds.items()}
    raced = [row for choice in record.choices if choice.name == "backbone" for row in choice.tried]
    return {
        "task": record.dataset.task,
        "strategy": record.strategy,
        "backbone": record.backbone.spec.reference,
        **({"race": raced} if raced else {}),
        "n": evaluation.n,
        "split": "test",
        "metrics": {name: _measure(value) for name, value in evaluation.metrics.items()},
        "per_class": {name: dict(values) for name, values in evaluation.per_class.items()},
        "confusion": evaluation.confusion,
        "rungs": [rung.to_json() for rung in record.climb.rungs],
        "verdict": record.climb.verdict,
        "seconds": seconds,
    }


def _measure(measure: Measure) -> dict[str, Any]:
    return {"value": measure.value, "low": measure.low, "high": measure.high, "n": measure.n}


def _majority_accuracy(record: Record, prediction: Prediction) -> float:
    """Of always answering the label that is most common in training."""
    labels = {sample.id: sample.label for sample in record.dataset}
    training = Counter(labels[id_] for id_ in record.split.ids("train") if id_ in labels)
    most_common = training.most_common(1)[0][0]
    return sum(labels[id_] == most_common for id_ in prediction.ids) / max(len(prediction), 1)
