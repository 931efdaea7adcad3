"""Satellite weights of a hub, through their rows of the catalogue, from a hub on loopback.

The published files are not in reach: made-up ones of the same names and shapes stand for them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.backbones import load_backbone
from headstart.backbones.catalog import CatalogRow, catalog
from headstart.backbones.hub import parse_hub_file
from headstart.backbones.pyramid import as_pyramid
from headstart.errors import WeightsError

ROWS = {name: row for name, row in catalog().items() if row.reference.startswith("hf://")}
# One a family: by their architectures the others have the same names.
FAMILIES = [
    "ssl4eo-s12-resnet18-moco",
    "ssl4eo-s12-resnet18-rgb-moco",
    "ssl4eo-s12-resnet50-dino",
    "ssl4eo-s12-vit-small-moco",
]


@pytest.fixture
def publish(
    hub: Any, random_state: Callable[..., dict[str, Tensor]], monkeypatch: Any
) -> Callable[..., tuple[CatalogRow, dict[str, Tensor]]]:
    """Puts made-up weights where a row says, at the hub's own revision."""

    def put(name: str, **extra: Any) -> tuple[CatalogRow, dict[str, Tensor]]:
        row = ROWS[name]
        state = random_state(row.architecture, num_classes=0, **row.model_args)
        buffer = io.BytesIO()
        torch.save({**state, **extra}, buffer)
        content = buffer.getvalue()
        file = parse_hub_file(row.reference)
        hub.add(file.repository, file.path, content)
        row = replace(
            row,
            reference=str(replace(file, revision="main")),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        monkeypatch.setattr("headstart.backbones.catalog", lambda: {name: row})
        return row, state

    return put


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_load_by_the_name_of_their_row(
    name: str, publish: Callable[..., tuple[CatalogRow, dict[str, Tensor]]]
) -> None:
    row, state = publish(name)
    backbone = load_backbone(name)
    loaded = backbone.module.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert sum(p.numel() for p in backbone.module.parameters()) == row.num_parameters
    assert (backbone.spec.licence, backbone.spec.domain) == ("CC-BY-4.0", "satellite")
    assert backbone.pretrained_head is None
    images = torch.rand(1, len(row.contract.bands), 224, 224)
    assert backbone.module(images).shape == (1, backbone.spec.num_features)
    pyramid = as_pyramid(backbone)
    wide = torch.rand(1, len(row.contract.bands), 64, 96)
    strides = pyramid.spec.arguments["pyramid"]["strides"]
    assert [m.shape[2:] for m in pyramid.module(wide)] == [(64 // s, 96 // s) for s in strides]


def test_a_file_that_was_changed_is_refused(
    publish: Callable[..., tuple[CatalogRow, dict[str, Tensor]]], monkeypatch: Any
) -> None:
    row, _ = publish("ssl4eo-s12-resnet18-rgb-moco")
    monkeypatch.setattr(
        "headstart.backbones.catalog", lambda: {row.name: replace(row, sha256="0" * 64)}
    )
    with pytest.raises(WeightsError, match="not the file it should be"):
        load_backbone(row.name)


def test_the_rows_take_reflectance_in_the_bands_of_sentinel_2() -> None:
    assert len(ROWS) == 7
    for row in ROWS.values():
        contract = row.contract
        assert (contract.units, contract.scale) == ("reflectance", 1)
        assert set(contract.mean) == {0.0}
        assert set(contract.std) == {1.0}
        if len(contract.bands) == 13:
            assert contract.bands[7:10] == ("B08", "B8A", "B09")
            assert row.model_args == {"in_chans": 13}
        else:
            assert contract.bands == ("red", "green", "blue")
