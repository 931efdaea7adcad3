"""From samples with masks to a data set: their legend settled, whatever the layout they came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.contracts import Dataset, Finding, Legend, Sample
from headstart.data.folders import Request, apply_groups
from headstart.data.legend_files import legend_file_of
from headstart.data.legends import settle_legend
from headstart.errors import DataError

TASK = "semantic-segmentation"


@dataclass(frozen=True)
class Read:
    """What was found out while reading samples with masks.

    Attributes:
        legend: What the layout is known for; None when it is known for nothing.
        notes: Guesses, for the user.
        findings: Trouble.
    """

    legend: Legend | None
    notes: Sequence[str] = ()
    findings: Sequence[Finding] = ()


def dataset_of_masks(
    root: Path,
    samples: Sequence[Sample],
    request: Request,
    read: Read,
    *,
    columns: Sequence[str],
) -> Dataset:
    """A data set of samples with masks, its legend settled.

    Args:
        root: The folder.
        samples: Each with a mask.
        request: What the user asked for.
        read: What the reader knows besides.
        columns: Of the table, if it is one, that `--group` may have meant.

    Raises:
        DataError: The values of the masks cannot be explained, or a group not be found.
    """
    if not any(sample.group for sample in samples):
        samples, group_notes = apply_groups(samples, request.group, columns=columns)
    else:
        group_notes = []
    samples = sorted(samples, key=lambda sample: sample.id)
    masks = [sample.mask for sample in samples if sample.mask is not None]
    file = legend_file_of(root, masks)
    legend, notes = settle_legend(
        masks, file=file, known=read.legend, ignore_values=request.ignore_values
    )
    return Dataset(
        root=root,
        format="masks",
        reason="",
        task=TASK,
        samples=tuple(samples),
        classes=legend.names,
        is_multilabel=True,
        notes=(*read.notes, *group_notes, *notes),
        findings=tuple(read.findings),
        legend=legend,
    )


def refuse_columns(root: Path, request: Request) -> None:
    """Stop when a column was asked for of data without a table.

    Raises:
        DataError: One was.
    """
    for option in ("image_column", "label_column"):
        value = getattr(request, option)
        if value is not None:
            raise DataError(
                f"`--{option.replace('_', '-')} {value}` names a column, but `{root}` was "
                "recognised as pictures with masks. Give the table itself instead of the folder, "
                "or leave the option out."
            )
