"""Fixtures for backbones: a hub on loopback, a repository in it, wheels that pip finds offline."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

import hub_server
from headstart.progress import Event, Progress


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and lose much when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for one test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HEADSTART_CACHE", str(folder))
    return folder


@pytest.fixture
def hub_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub client's settings, all of this test's own."""
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "hub-home"


@pytest.fixture
def hub(hub_home: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub on loopback that HF_ENDPOINT points to."""
    from huggingface_hub import close_session

    with hub_server.HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()  # its pooled connections would outlive the server


@pytest.fixture
def random_state() -> Callable[..., dict[str, torch.Tensor]]:
    """Builds a timm model's state with random weights, norm statistics included."""

    def make(architecture: str, **options: Any) -> dict[str, torch.Tensor]:
        import timm

        torch.manual_seed(0)
        state = timm.create_model(architecture, **options).state_dict()
        for name, value in state.items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        return dict(state)

    return make


@pytest.fixture
def tiny_repository(hub: Any, random_state: Callable[..., dict[str, torch.Tensor]]) -> Any:
    """The hub with `org/tiny`: a test ResNet of three named classes, as timm publishes models."""
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "label_names": ["n1", "n2", "n3"],
        "label_descriptions": {"n1": "ant", "n2": "bee", "n3": "wasp"},
        "pretrained_cfg": {
            "input_size": [3, 96, 96],
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "interpolation": "bilinear",
            "crop_pct": 0.9,
            "crop_mode": "center",
            "classifier": "fc",
            "first_conv": "conv1.0",
            "license": "mit",
            "a_key_of_a_newer_timm": 1,
        },
    }
    hub.add("org/tiny", "config.json", json.dumps(config).encode())
    hub.add("org/tiny", "model.safetensors", save(random_state("test_resnet", num_classes=3)))
    return hub


@pytest.fixture
def make_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Builds a wheel that pip finds without any network: `make_wheel({"pkg/a.bin": b"..."})`."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def make(files: Mapping[str, bytes], *, name: str = "tinypkg", version: str = "1.0") -> Path:
        info = f"{name}-{version}.dist-info"
        path = folder / f"{name}-{version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for inside, content in files.items():
                archive.writestr(inside, content)
            archive.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                "Requires-Python: <3\nRequires-Dist: no-such-package\n",
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        return path

    return make


class Recorder:
    """Keeps the events it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    @property
    def text(self) -> str:
        return "\n".join(event.message for event in self.events)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def recorded(recorder: Recorder) -> Progress:
    """A progress whose events `recorder` keeps."""
    return Progress([recorder])
