"""Strangers among pictures: photos of ants and bees against what a user might feed by mistake.

    python bench/ood.py [--k K ...]

The neighbourhood is that of the training photos, features by the packaged default backbone. AUROC
is that of the score, strangers against the test photos; `flagged` is the share beyond the
threshold, which the training photos alone have set, and for the test photos it is the share of
false alarms. At the end, what scores and the trivial baseline's statistics cost beside a feature
pass over the same photos.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from labelled_features import Embedding, ants_and_bees
from measuring import ANTS_BEES, folders_of, print_table
from PIL import Image, ImageDraw
from torch import Tensor

from headstart.contracts import Sample
from headstart.data import find_pictures
from headstart.trust.baseline import picture_statistics
from headstart.trust.strangers import DEFAULT_K, Neighbourhood

NUM_DRAWN = 60
SIZE = (320, 240)
WORDS = ("the", "model", "saw", "every", "picture", "once", "and", "never", "again", "so", "its")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--k", type=int, nargs="+", default=[DEFAULT_K])
    given = parser.parse_args()
    embedding = Embedding()
    photos = ants_and_bees(embedding)
    train, test = photos.features[~photos.is_test], photos.features[photos.is_test]
    strangers: dict[str, Tensor] = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, samples in _strangers(Path(name)):
            strangers[kind] = embedding.of(samples)
    for k in given.k:
        near = Neighbourhood.of(train, k=k)
        own = near.scores(test)
        rows: list[list[object]] = [["test photos", len(test), "", _share(near, own)]]
        everything = []
        for kind, features in strangers.items():
            scores = near.scores(features)
            everything.append(scores)
            rows.append([kind, len(scores), _auroc(own, scores), _share(near, scores)])
        scores = torch.cat(everything)
        rows.append(["all strangers", len(scores), _auroc(own, scores), _share(near, scores)])
        print(f"\nk = {k}, threshold {near.threshold:.3f} from {len(train)} training photos")
        print_table(["against", "n", "AUROC", "flagged"], rows)
    _costs(embedding, train)


def _auroc(familiar: Tensor, strange: Tensor) -> str:
    """The chance that a stranger scores higher than a familiar picture; ties count half."""
    above = (strange[:, None] > familiar[None, :]).double()
    level = (strange[:, None] == familiar[None, :]).double()
    return f"{float((above + level / 2).mean()):.3f}"


def _share(near: Neighbourhood, scores: Tensor) -> str:
    return f"{float(near.is_stranger(scores).double().mean()):.3f}"


def _strangers(root: Path) -> Iterator[tuple[str, list[Sample]]]:
    """Kind -> pictures; what is not at hand is left out with a word."""
    for kind, draw in DRAWN.items():
        folder = root / kind.replace(" ", "-")
        folder.mkdir()
        for i in range(NUM_DRAWN):
            draw(np.random.default_rng(i)).save(folder / f"{i:03}.png")
        yield kind, find_pictures([folder])
    yield "solar cells", find_pictures([folders_of(["elpv"])["elpv"]])[::10]
    forest = ANTS_BEES.parent / "amazon-forest" / "unlabelled"
    if forest.is_dir():
        yield "forest from above", find_pictures([forest])
    else:
        print(f"There is no folder `{forest}`: left out.")
    try:
        from sklearn.datasets import load_digits, load_sample_images
    except ImportError:
        print("scikit-learn is not installed: its photos are left out.")
        return
    folder = root / "sklearn-photos"
    folder.mkdir()
    for number, pixels in enumerate(load_sample_images().images):  # two photos, cut in nine
        height, width = (side // 3 for side in pixels.shape[:2])
        for i in range(9):
            top, left = i // 3 * height, i % 3 * width
            part = pixels[top : top + height, left : left + width]
            Image.fromarray(part).save(folder / f"{number}-{i}.png")
    yield "temple and flower", find_pictures([folder])
    folder = root / "digits"
    folder.mkdir()
    for i, pixels in enumerate(load_digits().images[:NUM_DRAWN]):
        grey = Image.fromarray((pixels * 15.9).astype(np.uint8))
        grey.resize((240, 240), Image.Resampling.BICUBIC).save(folder / f"{i:03}.png")
    yield "digits", find_pictures([folder])


def _uniform(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


def _gaussian(rng: np.random.Generator) -> Image.Image:
    pixels = rng.normal(128, 40, (SIZE[1], SIZE[0], 3)).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _text(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(page)
    for line in range(16):
        text = " ".join(rng.choice(WORDS, size=9))
        pen.text((12, 8 + 14 * line), text, fill="black")
    return page


def _blank(rng: np.random.Generator) -> Image.Image:
    return Image.new("RGB", SIZE, tuple(int(v) for v in rng.integers(0, 256, 3)))


DRAWN: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "uniform noise": _uniform,
    "Gaussian noise": _gaussian,
    "pages of text": _text,
    "blank pages": _blank,
}


def _costs(embedding: Embedding, train: Tensor) -> None:
    """Seconds of a feature pass over some photos, and of what is done beside it."""
    samples = find_pictures([ANTS_BEES / "val"])
    batches = list(embedding.predictor.batches(samples))
    inputs = [batch.inputs for batch in batches if batch.inputs is not None]
    # The least of three: others use this machine, too.
    passing = _least_s(lambda: [embedding.predictor.embed(images) for images in inputs])
    statistics = _least_s(lambda: [picture_statistics(images) for images in inputs])
    fitting = _least_s(lambda: Neighbourhood.of(train))
    near = Neighbourhood.of(train)
    scoring = _least_s(lambda: near.scores(train[: len(samples)]))
    rows = [
        [name, f"{1000 * spent:.1f}", f"{spent / passing:.4f}"]
        for name, spent in (
            ("features, without decoding", passing),
            ("statistics of the baseline", statistics),
            ("neighbourhood of 245 photos", fitting),
            ("scores", scoring),
        )
    ]
    print()
    print_table([f"{len(samples)} photos", "ms", "over features"], rows)


def _least_s(call: Callable[[], object]) -> float:
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return min(spent)


if __name__ == "__main__":
    main()
