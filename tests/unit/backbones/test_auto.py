"""`--backbone auto`: the best that can be reached, and why."""

from __future__ import annotations

from typing import Any

import pytest

from headstart.backbones import resolve_auto
from headstart.backbones.auto import _FOR_CPU, _FOR_GPU

REPOSITORY = f"timm/{_FOR_CPU}"


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_a_hub_in_reach_gives_a_strong_model(hub: Any) -> None:
    hub.add(REPOSITORY, "model.safetensors", b"x")
    reference, reason = resolve_auto()
    assert reference == f"timm:{_FOR_CPU}"
    assert hub.url in reason
    assert "answered in" in reason
    assert len(hub.requests) == 1


def test_a_gpu_gets_a_larger_one(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    hub.add(f"timm/{_FOR_GPU}", "model.safetensors", b"x")
    assert resolve_auto()[0] == f"timm:{_FOR_GPU}"


@pytest.mark.parametrize("fault", ["hangs", "broken", "login-page", "needs-login"])
def test_a_hub_that_does_not_give_it_leaves_the_packaged_default(hub: Any, fault: str) -> None:
    hub.add(REPOSITORY, "model.safetensors", b"x")
    hub.fault = fault
    reference, reason = resolve_auto(timeout_s=0.3)
    assert reference == "efficientnet-lite0"
    assert hub.url in reason
    assert "found out in" in reason


def test_offline_mode_is_named_as_the_reason(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reference, reason = resolve_auto()
    assert reference == "efficientnet-lite0"
    assert "HF_HUB_OFFLINE" in reason
    assert hub.requests == []


def test_weights_in_the_cache_need_no_hub(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.backbones.hub import HubFile, download
    from headstart.progress import Progress

    hub.add(REPOSITORY, "model.safetensors", b"x")
    download(HubFile(REPOSITORY, "model.safetensors"), progress=Progress())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reference, reason = resolve_auto()
    assert reference == f"timm:{_FOR_CPU}"
    assert "already in the cache" in reason


def test_weights_of_texts_alone_are_no_model(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.backbones.auto import _FOR_TEXTS
    from headstart.backbones.hub import HubFile, download
    from headstart.backbones.text_catalog import PACKAGED_TEXT_DEFAULT, text_catalog
    from headstart.progress import Progress

    repository = text_catalog()[_FOR_TEXTS].reference.removeprefix("hf://")
    for name, is_enough in (("model.safetensors", False), ("config.json", True)):
        hub.add(repository, name, b"{}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        download(HubFile(repository, name), progress=Progress())
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        wanted = _FOR_TEXTS if is_enough else PACKAGED_TEXT_DEFAULT
        assert resolve_auto("text")[0] == wanted


def test_the_models_that_auto_chooses_exist() -> None:
    import timm

    for name in (_FOR_CPU, _FOR_GPU):
        assert timm.get_pretrained_cfg(name).hf_hub_id == f"timm/{name}"
