"""What is counted of each test picture of a segmentation run, as chips.parquet has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headstart.errors import RunError
from headstart.report.record import RunRecord

if TYPE_CHECKING:
    from headstart.metrics.mask_comparison import MaskCounts

_COLUMNS = ("id", "confusion", "boundary")


@dataclass(frozen=True, eq=False)
class ChipCounts:
    """One entry a test picture, in the order of the file.

    Attributes:
        ids: Sample ids.
        classes: Of the rows and columns of the counts.
        counts: Of the pictures in this order.
    """

    ids: Sequence[str]
    classes: tuple[str, ...]
    counts: MaskCounts

    def only(self, ids: Sequence[str], classes: Sequence[str]) -> ChipCounts:
        """Those of these ids, in their order, with the same classes in this order."""
        import numpy as np

        from headstart.metrics.mask_comparison import MaskCounts

        place = {id_: i for i, id_ in enumerate(self.ids)}
        rows = [place[id_] for id_ in ids]
        order = [self.classes.index(name) for name in classes]
        counts = MaskCounts(
            self.counts.confusion[np.ix_(rows, order, order)],
            self.counts.boundary[np.ix_(rows, order)],
        )
        return ChipCounts(list(ids), tuple(classes), counts)


def read_chip_counts(record: RunRecord) -> ChipCounts:
    """Read chips.parquet.

    Raises:
        RunError: The file is missing, damaged, or does not fit the model's classes.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headstart.metrics.mask_comparison import MaskCounts

    path, num_classes = record.folder.chips, len(record.classes)
    try:
        # By buffers: `pq.read_table` and `to_numpy` import pandas wherever it is installed.
        table = pq.ParquetFile(path).read()
    except FileNotFoundError:
        raise RunError(
            f"`{path}` is missing from the run: an earlier version fitted it, or it was removed. "
            "Fit again."
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise RunError(f"`{path}` cannot be read ({error}). Fit again.") from None
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise RunError(f"`{path}` has no column `{missing[0]}`. Fit again.")
    arrays = []
    for name, width in (("confusion", num_classes), ("boundary", 4)):
        chunks = [np.from_dlpack(chunk.values) for chunk in table[name].chunks]
        flat = np.concatenate([np.empty(0, np.int64), *chunks])
        if len(flat) != table.num_rows * num_classes * width:
            raise RunError(
                f"`{path}` holds {len(flat):,} numbers as `{name}` of {table.num_rows:,} pictures, "
                f"which does not fit the {num_classes} classes of the model. Fit again."
            )
        arrays.append(flat.reshape(table.num_rows, num_classes, width))
    return ChipCounts(table["id"].to_pylist(), record.classes, MaskCounts(*arrays))
