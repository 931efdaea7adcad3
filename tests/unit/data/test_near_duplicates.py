from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from headstart.data import open_dataset
from headstart.data.checks import FileFacts, check_dataset
from headstart.data.miniatures import SIDE, miniature
from headstart.data.near_duplicates import MAX_BITS, _near, find_near_duplicates
from headstart.progress import Progress


def facts_of(pictures: dict[str, np.ndarray | bytes]) -> dict[str, FileFacts]:
    """Facts of miniatures given as pixels, each a content of its own."""
    return {
        name: FileFacts(f"{i:064x}", 9, "PNG", 9, 9, "L", bytes(np.asarray(p, np.uint8).data))
        for i, (name, p) in enumerate(pictures.items())
    }


def scenes(number: int, *, seed: int = 0) -> np.ndarray:
    """(number, SIDE, SIDE) miniatures of unrelated scenes."""
    rng = np.random.default_rng(seed)
    spectrum = 1 / (1 + np.hypot(*np.meshgrid(*[np.fft.fftfreq(SIDE, 1 / SIDE)] * 2))) ** 1.5
    noise = np.fft.fft2(rng.normal(size=(number, SIDE, SIDE)))
    smooth = np.fft.ifft2(noise * spectrum).real
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    return (128 + 40 * smooth).clip(0, 255)


def film(number: int, *, persistence: float) -> dict[str, np.ndarray]:
    """Miniatures that each share so much with the one before."""
    frame, frames = np.zeros((SIDE, SIDE)), {}
    for i, step in enumerate(scenes(number, seed=5) - 128):
        frame = persistence * frame + (1 - persistence**2) ** 0.5 * step if i else step
        frames[f"film {i:02}.png"] = (128 + frame).clip(0, 255)
    return frames


def changed(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return (picture * 0.8 + 20 + noise).clip(0, 255)


def test_changed_mirrored_and_turned_copies_are_found_and_nothing_else() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(120))}
    copies = {
        "changed.png": changed(pictures["003.png"], 1),
        "mirrored.png": changed(pictures["005.png"][:, ::-1], 2),
        "turned.png": changed(np.rot90(pictures["007.png"]), 3),
    }
    found = find_near_duplicates(facts_of({**pictures, **copies}))
    assert {(p.first, p.second) for p in found.pairs} == {
        *(("003.png", "changed.png"), ("005.png", "mirrored.png"), ("007.png", "turned.png"))
    }
    assert dict(found.group_of) == {
        **{"003.png": "003.png", "changed.png": "003.png"},
        **{"005.png": "005.png", "mirrored.png": "005.png"},
        **{"007.png": "007.png", "turned.png": "007.png"},
    }
    assert found.groups[0] == ("003.png", "changed.png")
    assert all(0.9 <= pair.similarity <= 1 for pair in found.pairs)
    assert "are near-duplicates" in found.rule


def test_the_order_of_samples_changes_nothing() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(60))}
    pictures |= {f"copy {i}.png": changed(pictures[f"{i:03}.png"], i) for i in range(20)}
    facts = facts_of(pictures)
    names = list(facts)
    expected = find_near_duplicates(facts)
    assert len(expected.pairs) == 20
    for seed in range(3):
        random.Random(seed).shuffle(names)
        assert find_near_duplicates({name: facts[name] for name in names}) == expected


def test_copies_of_copies_are_one_group_and_equal_files_join_it() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(50))}
    pictures["b.png"] = changed(pictures["000.png"], 1)
    pictures["c.png"] = changed(pictures["b.png"], 2)
    facts = facts_of(pictures)
    facts["z.png"] = facts["c.png"]
    found = find_near_duplicates(facts)
    assert found.groups == (("000.png", "b.png", "c.png", "z.png"),)
    assert "z.png" not in {p.second for p in found.pairs}


def test_look_alikes_are_no_near_duplicates() -> None:
    shared = scenes(1, seed=9)[0]
    pictures = {f"{i:03}.png": shared + 0.25 * (p - 128) for i, p in enumerate(scenes(150))}
    assert find_near_duplicates(facts_of(pictures)).pairs == ()
    pictures["copy.png"] = pictures["010.png"] + 1.0
    found = find_near_duplicates(facts_of(pictures))
    assert found.groups == (("010.png", "copy.png"),)


def test_a_chain_through_much_of_the_data_is_broken_and_said() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(300))}
    pictures |= film(80, persistence=0.96)
    pictures["film 80.png"] = pictures["film 79.png"] + 1
    found = find_near_duplicates(facts_of(pictures))
    (note,) = found.notes
    assert "look-alikes" in note
    assert "--group" in note
    assert found.group_of["film 79.png"] == found.group_of["film 80.png"]
    assert max(map(len, found.groups)) < 20


def test_a_film_whose_frames_looks_cannot_tell_apart_is_said() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(200))}
    found = find_near_duplicates(facts_of(pictures | film(60, persistence=0.99)))
    assert found.pairs == ()
    (note,) = found.notes
    assert "as the frames of a film do" in note
    assert "--group" in note


def test_blanks_are_left_alone_and_said() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(30))}
    pictures |= {f"blank {i}.png": np.full((SIDE, SIDE), 100 + i) for i in range(5)}
    found = find_near_duplicates(facts_of(pictures))
    assert found.pairs == ()
    assert found.notes[0].startswith("5 pictures of a single grey")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_pictures_are_no_trouble(number: int) -> None:
    facts = facts_of({f"{i}.png": p for i, p in enumerate(scenes(number))})
    facts["unreadable.png"] = FileFacts("", 0)
    assert find_near_duplicates(facts).pairs == ()


def test_two_copies_alone_are_found() -> None:
    first = scenes(1)[0]
    found = find_near_duplicates(facts_of({"a": first, "b": changed(first, 1)}))
    assert found.groups == (("a", "b"),)


def test_features_confirm_what_miniatures_leave_open_and_veto_nothing() -> None:
    pictures = {f"{i:03}.png": p for i, p in enumerate(scenes(120))}
    far = pictures["004.png"] + 0.55 * (scenes(1, seed=7)[0] - 128)
    pictures |= {"far.png": far.clip(0, 255), "near.png": changed(pictures["002.png"], 1)}
    facts = facts_of(pictures)
    assert find_near_duplicates(facts).groups == (("002.png", "near.png"),)
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=64).astype(np.float32) for name in pictures}
    vectors["far.png"] = vectors["004.png"] + 0.1
    asked: list[str] = []

    def features(ids: Sequence[str]) -> dict[str, np.ndarray]:
        asked.extend(ids)
        return {id_: vectors[id_] for id_ in ids if id_ != "050.png"}  # one cannot be read

    found = find_near_duplicates(facts, features=features)
    assert found.groups == (("002.png", "near.png"), ("004.png", "far.png"))
    assert {"004.png", "far.png"} <= set(asked)
    assert "features" in found.rule


def test_near_hashes_are_found_among_all() -> None:
    rng = np.random.default_rng(0)
    own = rng.integers(0, 2**63, 13, dtype=np.uint64)
    others = rng.integers(0, 2**63, 101, dtype=np.uint64)
    others[[5, 100]] = own[[3, 12]] ^ np.uint64(0b1011)
    rows, columns = _near(own, others)
    expected = np.nonzero(np.bitwise_count(own[:, None] ^ others) <= MAX_BITS)
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == sorted(
        zip(*(e.tolist() for e in expected), strict=True)
    )
    assert (12, 100) in zip(rows.tolist(), columns.tolist(), strict=True)


def test_copies_of_real_photos_are_found(ants_bees: Path) -> None:
    dataset = open_dataset(ants_bees)
    checkup = check_dataset(dataset, decode=False, progress=Progress(), hashed=True)
    facts = {id_: f for id_, f in checkup.facts.items() if f.perceptual}
    assert find_near_duplicates(facts).pairs == ()
    chosen = random.Random(0).sample([s for s in dataset if s.id in facts], 20)
    for i, sample in enumerate(chosen):
        with Image.open(sample.path) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        image = (
            image.resize((width // 2, height // 2)),
            ImageEnhance.Brightness(image).enhance(1.2),
            ImageOps.mirror(image),
            image.crop((width // 70, height // 70, width, height)),
        )[i % 4]
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=50)
        perceptual = miniature(buffer.getvalue(), name="copy")
        facts[f"copy of {sample.id}"] = FileFacts(f"{i:064}", 9, "JPEG", 9, 9, "RGB", perceptual)
    found = find_near_duplicates(facts)
    true = {(f"copy of {s.id}", s.id) for s in chosen}
    assert {(p.first, p.second) for p in found.pairs} <= true
    assert len(found.pairs) >= 19
