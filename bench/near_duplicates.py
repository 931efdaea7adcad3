"""How many planted near-duplicates are found, and how many pairs are found beside them.

Copies of some pictures of a data set are changed in a known way and put beside the originals. One
row a change: the share found with miniatures alone, and with the features of a backbone as well.
Pairs found without anything planted stand in the last row: what the data set itself holds (in the
solar cells, modules that were photographed twice and wafers cut one after the other), or mistakes;
`--show FILE` draws them. `--hashes` and `--sides` compare ways to make candidates and miniatures.

    python bench/near_duplicates.py --data ants-bees elpv
"""

from __future__ import annotations

import hashlib
import io
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import BACKBONE, arguments, folders_of, own_cache, print_table, seconds
from PIL import Image, ImageEnhance, ImageOps

from headstart.contracts import Sample
from headstart.data import open_dataset
from headstart.data.checks import FileFacts, check_dataset
from headstart.data.images import grey_miniature, read_image
from headstart.data.miniatures import as_pixels, miniature, perceptual_hashes, views
from headstart.data.near_duplicates import MAX_BITS, NearDuplicates, find_near_duplicates
from headstart.errors import DataError
from headstart.progress import Progress


def _jpeg(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _cropped(image: Image.Image, share: float) -> Image.Image:
    """Without this share of the width and height, half of it on each side."""
    dx, dy = image.width * share / 2, image.height * share / 2
    return image.crop((round(dx), round(dy), round(image.width - dx), round(image.height - dy)))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 50": lambda image: _jpeg(image, 50),
    "half the size": lambda image: _jpeg(image.resize((image.width // 2, image.height // 2))),
    "cropped by 3%": lambda image: _jpeg(_cropped(image, 0.03)),
    "cropped by 6%": lambda image: _jpeg(_cropped(image, 0.06)),
    "brighter by 30%": lambda image: _jpeg(ImageEnhance.Brightness(image).enhance(1.3)),
    "contrast 70%": lambda image: _jpeg(ImageEnhance.Contrast(image).enhance(0.7)),
    "mirrored": lambda image: _jpeg(ImageOps.mirror(image)),
    "turned by 90 degrees": lambda image: _jpeg(image.transpose(Image.Transpose.ROTATE_90)),
}


class Features:
    """Features of a backbone by sample id, computed once.

    Args:
        samples: The samples of the data set and of the planted copies.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        from headstart.backbones import load_backbone
        from headstart.tasks import make_label_task

        self.backbone = load_backbone(BACKBONE)
        task = make_label_task("image-classification", is_multilabel=False)
        self.prepare = task.preparation(self.backbone.contract)
        self.by_id = {sample.id: sample for sample in samples}
        self.known: dict[str, np.ndarray] = {}

    def __call__(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        import torch

        contract = self.backbone.contract
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (contract.mean, contract.std))
        module = self.backbone.module.eval()
        todo = [id_ for id_ in ids if id_ not in self.known]
        with torch.inference_mode():
            for at in range(0, len(todo), 16):
                chunk = todo[at : at + 16]
                inputs = torch.stack([self.prepare(self.by_id[id_]) for id_ in chunk])
                features = module((inputs.float() / contract.scale - mean) / std)
                self.known |= dict(zip(chunk, features.numpy(), strict=True))
        return {id_: self.known[id_] for id_ in ids}


def plant(
    samples: Sequence[Sample], folder: Path
) -> dict[str, tuple[dict[str, FileFacts], dict[str, str], list[Sample]]]:
    """Change -> facts of its copies, copy id -> original id, and the copies as samples."""
    planted = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        facts, original, copies = {}, {}, []
        for sample in samples:
            data = change(read_image(sample.path))
            path = folder / f"{number} {sample.id.replace('/', ' ')}.jpg"
            path.write_bytes(data)
            copy = Sample(f"copy {path.name}", path)
            sha256 = hashlib.sha256(data).hexdigest()
            small = miniature(data, name=path.name)
            facts[copy.id] = FileFacts(sha256, len(data), "JPEG", 1, 1, "RGB", small)
            original[copy.id] = sample.id
            copies.append(copy)
        planted[name] = facts, original, copies
    return planted


def recall_and_strangers(
    found: NearDuplicates, original: Mapping[str, str], own: set[frozenset[str]]
) -> tuple[float, int]:
    """The share of copies found with their original, and pairs that are neither that nor own.

    A copy that is found with a picture that is an own near-duplicate of its original is right, too.
    """
    pairs = {frozenset((pair.first, pair.second)) for pair in found.pairs}
    right = {copy for copy, first in original.items() if {copy, first} in pairs}
    as_original = {frozenset(original.get(id_, id_) for id_ in pair) for pair in pairs}
    strangers = {pair for pair in as_original if len(pair) == 2 and pair not in own}
    return len(right) / len(original), len(strangers)


def measure(
    folder: Path, cache: Path, *, num_planted: int, has_features: bool, show: Path | None
) -> None:
    dataset = open_dataset(folder)
    started = time.perf_counter()
    checkup = check_dataset(dataset, decode=False, progress=Progress(), hashed=True)
    took = time.perf_counter() - started
    facts = {id_: f for id_, f in checkup.facts.items() if f.perceptual}
    warm = seconds(lambda: check_dataset(dataset, decode=False, progress=Progress(), hashed=True))
    bare = seconds(lambda: check_dataset(dataset, decode=False, progress=Progress()))
    search = seconds(lambda: find_near_duplicates(facts))
    samples = [sample for sample in dataset if sample.id in facts]
    chosen = random.Random(0).sample(samples, min(num_planted, len(samples)))
    (cache / "copies").mkdir(exist_ok=True)
    planted = plant(chosen, cache / "copies")
    copies = [copy for _, _, copies in planted.values() for copy in copies]
    features = Features([*samples, *copies]) if has_features else None
    rows: list[tuple[Any, ...]] = []
    alone, both = find_near_duplicates(facts), find_near_duplicates(facts, features=features)
    own = {frozenset((pair.first, pair.second)) for pair in alone.pairs}
    own_both = own | {frozenset((pair.first, pair.second)) for pair in both.pairs}
    for name, (of_copies, original, _) in planted.items():
        everything = {**facts, **of_copies}
        row: list[Any] = [name]
        for how, known in ((None, own), (features, own_both))[: 1 + has_features]:
            found = find_near_duplicates(everything, features=how)
            recall, strangers = recall_and_strangers(found, original, known)
            row += [f"{recall:.3f}", strangers]
        rows.append(tuple(row))
    rows.append(("nothing", "", len(alone.pairs), "", len(both.pairs))[: 3 + 2 * has_features])
    print(f"\n{folder.name}: {len(facts)} pictures, {len(chosen)} copies of each kind")
    print("\n".join(dict.fromkeys((alone.rule, both.rule))))
    columns = ("planted", "found", "others", "with features", "others")
    print_table(columns[: 3 + 2 * has_features], rows)
    each = 1000 / len(dataset)
    print(
        f"milliseconds a picture: checks {bare * each:.2f}, with miniatures {took * each:.2f}, "
        f"from the cache {warm * each:.2f}; search {search:.2f} s"
    )
    if show is not None:
        draw_pairs(both, {sample.id: sample.path for sample in samples}, show)


def compare_hashes(folder: Path, *, num_planted: int) -> None:
    """Signs of the cosine transform against the difference hash, at each distance."""
    samples = list(open_dataset(folder))
    chosen = random.Random(0).sample(range(len(samples)), min(num_planted, len(samples)))
    data = [sample.path.read_bytes() for sample in samples]
    ways = {"cosine signs": perceptual_hashes, "differences": difference_hashes}
    pixels = {}
    for i, content in enumerate(data):
        try:
            pixels[i] = miniature(content, name="")
        except DataError:
            continue
    places = {i: place for place, i in enumerate(pixels)}
    chosen = [i for i in chosen if i in places]
    everything = as_pixels(list(pixels.values()))
    own_places = [places[i] for i in chosen]
    copies = {
        name: as_pixels([miniature(change(read_image(data[i])), name="") for i in chosen])
        for name, change in CHANGES.items()
    }
    rows = []
    for way, hashes in ways.items():
        own = hashes(everything)[own_places]
        apart = np.min(
            [np.bitwise_count(own[:, None] ^ hashes(view)) for view in views(everything)], axis=0
        )
        apart[np.arange(len(own)), own_places] = 99
        of_copies = [
            np.min([np.bitwise_count(own ^ hashes(view)) for view in views(changed)], axis=0)
            for changed in copies.values()
        ]
        for most in (8, 10, MAX_BITS, 14):
            shares = [f"{(bits <= most).mean():.3f}" for bits in of_copies]
            rows.append([f"{way}, {most} bits", f"{(apart <= most).mean():.6f}", *shares])
    print(f"\n{folder.name}: share of strangers that are candidates, share of copies that are")
    print_table(("hash", "strangers", *CHANGES), rows)


def difference_hashes(pixels: np.ndarray) -> np.ndarray:
    """(n,) uint64: whether each of 8 x 9 cells is darker than the next (Krawetz 2013, dHash)."""
    small = [np.asarray(Image.fromarray(p).resize((9, 8), Image.Resampling.BOX)) for p in pixels]
    cells = np.stack(small).astype(int)
    bits = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(len(pixels), 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def compare_sides(folder: Path, *, num_planted: int) -> None:
    """Distance of copies over that of pictures and their nearest strangers, by size."""
    samples = list(open_dataset(folder))
    rng = random.Random(0)
    rows = []
    for side in (8, 16, 32):
        kept: list[tuple[bytes, np.ndarray]] = []
        for sample in samples:
            try:
                data = sample.path.read_bytes()
                kept.append((data, grey_miniature(data, side=side)))
            except DataError:
                continue
        chosen = rng.sample(range(len(kept)), min(num_planted, len(kept)))
        flat = _unit(np.stack([pixels for _, pixels in kept]))
        alike = flat[chosen] @ flat.T
        alike[np.arange(len(chosen)), chosen] = -1
        stranger = np.quantile(alike.max(axis=1), 0.95)
        row: list[Any] = [f"{side} x {side}", f"{1 - stranger:.4f}"]
        for name in ("JPEG of quality 50", "half the size", "cropped by 3%", "brighter by 30%"):
            copies = [
                grey_miniature(CHANGES[name](read_image(kept[i][0])), side=side) for i in chosen
            ]
            own = (_unit(np.stack(copies)) * flat[chosen]).sum(axis=1)
            row.append(f"{(1 - np.median(own)) / (1 - stranger):.3f}")
        rows.append(row)
    print(f"\n{folder.name}: distance of the nearest stranger, and of copies as a share of it")
    print_table(("miniature", "stranger", "q50", "half", "cropped", "brighter"), rows)


def _unit(pixels: np.ndarray) -> np.ndarray:
    flat = pixels.reshape(len(pixels), -1).astype(float)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)


def draw_pairs(found: NearDuplicates, paths: Mapping[str, Path], target: Path) -> None:
    """The pairs found, side by side, the least alike first."""
    pairs = [p for p in found.pairs[::-1] if p.first in paths and p.second in paths][:60]
    sheet = Image.new("RGB", (10 * 170, max(1, -(-len(pairs) // 5)) * 170), "white")
    for i, pair in enumerate(pairs):
        for j, id_ in enumerate((pair.first, pair.second)):
            tile = ImageOps.contain(read_image(paths[id_]), (160, 160))
            sheet.paste(tile, ((i % 5) * 340 + j * 162, i // 5 * 170))
    sheet.save(target)


def main() -> None:
    parser = arguments(__doc__, data=("ants-bees", "elpv"))
    parser.add_argument("--planted", type=int, default=150, help="copies of each kind")
    parser.add_argument("--no-features", action="store_true", help="miniatures alone: quick")
    parser.add_argument("--hashes", action="store_true", help="compare hashes instead")
    parser.add_argument("--sides", action="store_true", help="compare sizes of miniatures instead")
    parser.add_argument("--show", type=Path, help="draw the pairs found beside those planted")
    given = parser.parse_args()
    folders = folders_of(given.data)
    with own_cache(BACKBONE) as cache:
        for folder in folders.values():
            if given.hashes:
                compare_hashes(folder, num_planted=given.planted)
            elif given.sides:
                compare_sides(folder, num_planted=given.planted)
            else:
                measure(
                    folder,
                    cache,
                    num_planted=given.planted,
                    has_features=not given.no_features,
                    show=given.show,
                )


if __name__ == "__main__":
    main()
