"""Tensors onto modules: all of them, or an error that says which not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.backbones.class_names import name_classes
from headstart.backbones.layer_groups import check_groups, group_by_children
from headstart.backbones.mapping import fit_weights
from headstart.backbones.one_vector import as_head
from headstart.errors import WeightsError


def _module() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def _state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(value.shape, generator=generator).to(value.dtype)
        for name, value in _module().state_dict().items()
    }


def test_tensors_of_the_same_names_are_loaded() -> None:
    module, state = _module(), _state()
    fit_weights(module, state, reference="w", architecture="a")
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_step_counters_may_be_absent() -> None:
    state = {n: t for n, t in _state().items() if not n.endswith("num_batches_tracked")}
    module = _module()
    fit_weights(module, state, reference="w", architecture="a")
    assert torch.equal(module.state_dict()["3.weight"], state["3.weight"])


def test_tensors_of_other_names_go_by_their_order_where_that_is_allowed() -> None:
    module, state = _module(), _state()
    renamed = {f"_{i}": tensor for i, tensor in enumerate(state.values())}
    with pytest.raises(WeightsError, match="8 missing"):
        fit_weights(module, renamed, reference="w", architecture="a")
    shuffled = dict(sorted(renamed.items(), reverse=True))
    fit_weights(module, shuffled, reference="w", architecture="a", order=list(renamed))
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_an_order_with_other_shapes_is_refused() -> None:
    renamed = {f"_{i}": tensor for i, tensor in enumerate(_state().values())}
    order = ["_1", "_0", *list(renamed)[2:]]
    with pytest.raises(
        WeightsError, match=r"2 of 9 tensors differ in shape: `_1` is 4, `0.weight`"
    ):
        fit_weights(_module(), renamed, reference="w", architecture="a", order=order)


def test_a_mismatch_names_tensors_and_shapes_of_each_kind_and_loads_nothing() -> None:
    module = _module()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = _state()
    state["3.weight"] = torch.zeros(5, 4)
    state["fc.weight"] = state.pop("0.bias")
    with pytest.raises(WeightsError) as error:
        fit_weights(module, state, reference="my.pth", architecture="small")
    message = str(error.value)
    assert "`my.pth` do not fit the architecture `small`" in message
    assert "1 missing: `0.bias` (4)" in message
    assert "1 unexpected: `fc.weight` (4)" in message
    assert "1 of another shape: `3.weight` is 5 x 4, expected 2 x 4" in message
    assert "--backbone" in message
    assert all(torch.equal(value, before[n]) for n, value in module.state_dict().items())


def test_long_lists_are_cut_and_counted() -> None:
    state = {f"x{i}": torch.zeros(1) for i in range(20)}
    with pytest.raises(WeightsError, match=r"20 unexpected: .*`x7` \(1\), and 12 more"):
        fit_weights(_module(), state, reference="w", architecture="a")


def test_children_make_layer_groups_in_the_order_of_their_definition() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1))
            self.stem = nn.Linear(1, 1)
            self.act = nn.ReLU()
            self.blocks = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1)))
            self.norm = nn.LayerNorm(1)

    groups = group_by_children(Net())
    assert groups == (
        ("token", "stem.weight", "stem.bias"),
        ("blocks.0.weight", "blocks.0.bias"),
        ("blocks.1.0.weight", "blocks.1.0.bias"),
        ("norm.weight", "norm.bias"),
    )


@pytest.mark.parametrize(
    "groups", [[["weight"]], [["weight", "bias"], ["bias"]], [["weight", "bias", "more"]]]
)
def test_a_parameter_outside_or_twice_in_the_groups_is_found(groups: list[list[str]]) -> None:
    with pytest.raises(WeightsError, match="1 parameters of Linear are not in exactly one"):
        check_groups(groups, nn.Linear(1, 1))


def test_classes_get_the_names_that_people_use_and_no_name_twice() -> None:
    labels = ["n1", "n2", "n3"]
    descriptions = {"n1": "crane", "n2": "crane"}
    assert name_classes(3, labels, descriptions) == ("crane (n1)", "crane (n2)", "n3")
    assert name_classes(2, {"1": "b", "0": "a"}, None) == ("a", "b")
    assert name_classes(2, labels, None) == ("class 0", "class 1")


def test_a_convolution_or_several_layers_in_place_of_a_classifier_become_a_head() -> None:
    features = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    for bias in (True, False):
        convolution = nn.Conv2d(4, 3, 1, bias=bias)
        head = as_head(convolution)
        assert head is not None
        expected = convolution(features[:, :, None, None]).flatten(1)
        torch.testing.assert_close(head(features), expected)
    one, other = nn.Linear(4, 3), nn.Linear(4, 3)
    both = as_head((one, other))
    assert both is not None
    torch.testing.assert_close(both(features), (one(features) + other(features)) / 2)
    assert as_head("no module") is None
