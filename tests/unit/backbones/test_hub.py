"""The hub client against a hub on loopback, with its faults."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest

from headstart.backbones import load_backbone, pull
from headstart.backbones.hub import HubFile, cached, download, parse_hub_file, probe
from headstart.errors import UnreachableError, WeightsError
from headstart.progress import Progress

FILE = HubFile("org/tiny", "model.safetensors")


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("hf://org/repo", HubFile("org/repo")),
        ("hf://org/repo@v1", HubFile("org/repo", "", "v1")),
        ("hf://org/repo@refs%2Fpr%2F1/a/b.bin", HubFile("org/repo", "a/b.bin", "refs/pr/1")),
        (
            "hf://timm/resnet50.a1_in1k/x.safetensors",
            HubFile("timm/resnet50.a1_in1k", "x.safetensors"),
        ),
    ],
)
def test_a_hub_reference_is_taken_apart(reference: str, file: HubFile) -> None:
    assert parse_hub_file(reference) == file


def test_an_incomplete_hub_reference_shows_how_to_write_it() -> None:
    with pytest.raises(WeightsError, match="Write it as hf://ORG/REPO"):
        parse_hub_file("hf://only-one-part")


def test_a_file_is_downloaded_whole_and_then_comes_from_the_cache(
    tiny_repository: Any, recorded: Progress, recorder: Any
) -> None:
    assert cached(FILE) is None
    path = download(FILE, progress=recorded)
    content = tiny_repository.files["org/tiny", "model.safetensors"]
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content).digest()
    assert "downloading org/tiny/model.safetensors" in recorder.text
    assert recorder.events[-1].kind == "end"

    tiny_repository.fault = "broken"
    num_requests = len(tiny_repository.requests)
    assert download(FILE, progress=Progress()) == path
    assert len(tiny_repository.requests) == num_requests, "a cached file asks nobody"


def test_a_backbone_comes_from_a_hub_with_the_input_and_classes_of_its_config(
    tiny_repository: Any,
) -> None:
    backbone = load_backbone("hf://org/tiny")
    assert backbone.pretrained_classes == ("ant", "bee", "wasp")
    assert (backbone.contract.height, backbone.contract.mean) == (96, (0.1, 0.2, 0.3))
    assert backbone.contract.interpolation == "bilinear"
    assert backbone.contract.crop_fraction == 0.9
    assert backbone.spec.weights == "hf://org/tiny"
    assert backbone.spec.licence == "mit"
    assert (
        backbone.spec.weights_sha256
        == hashlib.sha256(tiny_repository.files["org/tiny", "model.safetensors"]).hexdigest()
    )


def test_timm_s_own_way_to_name_a_hub_model_is_understood(tiny_repository: Any) -> None:
    assert load_backbone("timm:hf-hub:org/tiny").spec.architecture == "test_resnet"


def test_pull_fetches_weights_for_later(tiny_repository: Any) -> None:
    path = pull("hf://org/tiny")
    assert path.is_file()
    tiny_repository.fault = "broken"
    assert pull("hf://org/tiny") == path


def test_the_pickled_file_is_taken_where_there_is_no_safetensors_file(
    hub: Any, tmp_path: Path, random_state: Any
) -> None:
    import torch

    torch.save(random_state("test_resnet", num_classes=3), tmp_path / "a.bin")
    hub.add("org/old", "pytorch_model.bin", (tmp_path / "a.bin").read_bytes())
    assert pull("hf://org/old").suffix == ".safetensors"


def test_the_user_s_token_is_sent(tiny_repository: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    probe(FILE)
    assert tiny_repository.tokens[-1] == "Bearer hf_secret"


def test_a_hub_that_accepts_and_says_nothing_is_given_up_in_time(tiny_repository: Any) -> None:
    tiny_repository.fault = "hangs"
    with pytest.raises(UnreachableError, match=r"HF_ENDPOINT.*--weights FILE.*efficientnet-lite0"):
        download(FILE, progress=Progress(), timeout_s=0.3)
    assert len(tiny_repository.requests) == 1, "one request, no retries"


def test_a_name_server_that_says_nothing_is_given_up_in_time(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> object:
        hub.released.wait(30)
        raise OSError("no name server")

    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", never)
    with pytest.raises(UnreachableError, match=r"no answer within 0\.3 s"):
        probe(FILE, timeout_s=0.3)


def test_a_refused_connection_is_an_unreachable_hub(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(UnreachableError, match="could not be reached"):
            probe(FILE)


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("needs-login", WeightsError, "HF_TOKEN"),
        ("gated", WeightsError, "accepted its terms"),
        ("broken", UnreachableError, "status 500"),
        ("login-page", UnreachableError, "not as a hub does"),
    ],
)
def test_each_refusal_says_what_to_do(
    tiny_repository: Any, fault: str, kind: type[WeightsError], message: str
) -> None:
    tiny_repository.fault = fault
    with pytest.raises(kind, match=message):
        download(FILE, progress=Progress())
    assert cached(FILE) is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("hf://org/nothing", "knows no model repository `org/nothing`"),
        ("hf://org/tiny@v9/model.safetensors", "has no revision `v9`"),
        ("hf://org/tiny/other.bin", "has no file `other.bin`"),
    ],
)
def test_what_is_not_on_the_hub_is_named(
    tiny_repository: Any, reference: str, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        pull(reference)


def test_offline_mode_asks_nobody(tiny_repository: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="HF_HUB_OFFLINE forbids"):
        pull("hf://org/tiny")
    assert tiny_repository.requests == []


def test_a_download_that_breaks_off_is_resumed(
    tiny_repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    tiny_repository.fault = "cuts-once"
    path = download(FILE, progress=Progress())
    assert tiny_repository.was_cut
    assert path.read_bytes() == tiny_repository.files["org/tiny", "model.safetensors"]


def test_a_file_of_another_size_than_announced_is_not_kept(tiny_repository: Any) -> None:
    tiny_repository.fault = "changed-size"
    with pytest.raises(UnreachableError, match="Consistency check failed"):
        download(FILE, progress=Progress())
    assert cached(FILE) is None


def test_a_repository_of_another_library_is_told_apart(hub: Any) -> None:
    hub.add("org/text", "config.json", b'{"architectures": ["BertModel"]}')
    with pytest.raises(WeightsError, match="no repository of a timm model"):
        load_backbone("hf://org/text")


def test_a_transformer_of_another_picture_size_is_rebuilt_in_that_size(
    hub: Any, random_state: Any
) -> None:
    import json

    from safetensors.torch import save

    from headstart.backbones import build_backbone
    from headstart.contracts import BackboneSpec

    config = {
        "architecture": "test_vit",
        "num_classes": 0,
        "pretrained_cfg": {"input_size": [3, 96, 96], "fixed_input_size": True, "num_classes": 0},
    }
    hub.add("org/vit", "config.json", json.dumps(config).encode())
    state = random_state("test_vit", num_classes=0, img_size=96)
    hub.add("org/vit", "model.safetensors", save(state))
    backbone = load_backbone("hf://org/vit")
    assert backbone.contract.height == 96
    spec = BackboneSpec.from_json(json.loads(json.dumps(backbone.spec.to_json())))
    build_backbone(spec).load_state_dict(backbone.module.state_dict(), strict=True)
