"""What every family of language models must do, on tiny ones of random weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbones import build_backbone, build_unset_backbone, load_text_backbone
from headstart.backbones.text_depths import gives_text_depths, with_text_depths
from headstart.compute import FrozenTwin
from headstart.contracts import Backbone, BackboneSpec, ComputeFormat, TextContract
from headstart.data.tokenising import Tokeniser, as_ids


def _tiny() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "tiny_language_models.py"
    spec = importlib.util.spec_from_file_location("tiny_language_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY = _tiny()
FAMILIES = list(TINY.FAMILIES)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="needs the extra `text`")
    path: Path = TINY.write_model(family, tmp_path_factory.mktemp("models") / family)
    return path


@pytest.fixture
def backbone(folder: Path) -> Backbone[TextContract]:
    return load_text_backbone(f"hf:{folder}")


@pytest.fixture
def ids(backbone: Backbone[TextContract]) -> torch.Tensor:
    """(5, length) of sentences of several lengths, one so long that it is cut."""
    return as_ids(Tokeniser(backbone.contract).rows([*TINY.SENTENCES[:4], TINY.SENTENCES[4] * 9]))


@torch.no_grad()
def test_the_features_are_those_of_transformers_own_model(
    backbone: Backbone[TextContract], family: str, folder: Path
) -> None:
    whole = TINY.tiny_model(family)
    trunk = whole.get_encoder() if family == "t5" else whole.base_model
    text = TINY.SENTENCES[0]
    ids = torch.tensor([TINY.tiny_tokenizer(family).encode(text).ids])
    states = trunk(input_ids=ids).last_hidden_state[0]
    expected = states[-1] if family in TINY.CAUSAL else states.mean(dim=0)
    found = backbone.module(as_ids(Tokeniser(backbone.contract).rows([text])))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert backbone.spec.num_features == len(expected)
    assert backbone.spec.arguments["is_causal"] == (family in TINY.CAUSAL)
    assert all(p.dtype == torch.float32 for p in backbone.module.parameters())


@torch.no_grad()
def test_what_is_padded_and_what_is_beside_a_text_change_nothing(
    backbone: Backbone[TextContract], ids: torch.Tensor
) -> None:
    together = backbone.module(ids)
    alone = torch.cat([backbone.module(row[row >= 0][None]) for row in ids])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    wide = torch.nn.functional.pad(ids[:3], (0, 7), value=-1)
    torch.testing.assert_close(backbone.module(wide), together[:3], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_parts_of_a_text_are_averaged_and_empty_ones_do_not_count(
    backbone: Backbone[TextContract], ids: torch.Tensor
) -> None:
    parts = torch.full((2, 3, ids.shape[1]), -1)
    parts[0, 0], parts[0, 1], parts[1, 0] = ids[0], ids[1], ids[2]
    rows = backbone.module(ids)
    expected = torch.stack([(rows[0] + rows[1]) / 2, rows[2]])
    torch.testing.assert_close(backbone.module(parts), expected, rtol=1e-4, atol=1e-5)
    nothing = backbone.module(torch.full((1, 4), -1))
    assert torch.equal(nothing, torch.zeros_like(nothing))


@torch.no_grad()
@pytest.mark.parametrize("is_deep", [False, True])
def test_the_spec_alone_builds_the_module_that_its_weights_fit(
    backbone: Backbone[TextContract], ids: torch.Tensor, is_deep: bool
) -> None:
    chosen = with_text_depths(backbone) if is_deep else backbone
    spec = BackboneSpec.from_json(json.loads(json.dumps(chosen.spec.to_json())))
    for build in (build_backbone, build_unset_backbone):
        again = build(spec)
        again.load_state_dict(chosen.module.state_dict())
        assert torch.equal(again.eval()(ids), chosen.module(ids))


def test_each_parameter_is_in_one_layer_group_and_the_embeddings_are_in_the_first(
    backbone: Backbone[TextContract],
) -> None:
    names = [name for name, _ in backbone.module.named_parameters()]
    groups = backbone.layer_groups
    assert sorted(name for group in groups for name in group) == sorted(names)
    tokens: Any = backbone.module.trunk
    first = {id(backbone.module.get_parameter(name)) for name in groups[0]}
    assert id(tokens.get_input_embeddings().weight) in first
    num_blocks = backbone.spec.arguments["num_blocks"]
    assert num_blocks == 4
    assert len(groups) in (1 + num_blocks, 2 + num_blocks)
    sizes = [len(group) for group in groups]
    assert abs(sizes[1] - sizes[3]) <= 2  # blocks alike, but for what the first one has alone


def test_gradients_reach_every_parameter(
    backbone: Backbone[TextContract], ids: torch.Tensor
) -> None:
    backbone.module.train()
    backbone.module(ids).square().sum().backward()
    without = [
        name
        for name, parameter in backbone.module.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert without == []


@torch.no_grad()
def test_of_the_features_at_depths_the_last_are_the_plain_ones(
    backbone: Backbone[TextContract], ids: torch.Tensor
) -> None:
    deep = with_text_depths(backbone)
    widths = deep.spec.arguments["depths"]["widths"]
    features = deep.module(ids)
    assert gives_text_depths(backbone)
    assert not gives_text_depths(deep)
    assert features.shape == (len(ids), sum(widths))
    assert len(widths) == 6
    assert deep.spec.num_features == sum(widths)
    torch.testing.assert_close(features[:, -widths[-1] :], backbone.module(ids))
    lengths = features.unflatten(1, (6, -1)).norm(dim=2)[:, :-1]
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert deep.layer_groups == backbone.layer_groups


@torch.no_grad()
def test_a_frozen_twin_in_half_precision_points_the_same_way(
    backbone: Backbone[TextContract], ids: torch.Tensor
) -> None:
    whole = backbone.module(ids)
    twin = FrozenTwin(backbone.module, ComputeFormat("bfloat16"), example=ids[:1])
    half = twin(ids)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(whole, half).min() > 0.99
    assert torch.equal(backbone.module(ids), whole)


def test_the_window_is_what_the_positions_allow(
    backbone: Backbone[TextContract], family: str
) -> None:
    offset = 2 if family in ("roberta", "xlm-roberta") else 0
    assert backbone.contract.window == (512 if family == "t5" else 48 - offset)
    rows = Tokeniser(backbone.contract).rows(["popeye " * 2000])
    assert rows[0].shape == (backbone.contract.window,)
    features = backbone.module(as_ids(rows))
    assert np.isfinite(features.detach().numpy()).all()
