"""A pretrained segmentation model as it comes, from end to end, and as the start for other classes.

The model is a tiny U-Net with made-up weights in the place of ukis-csmask's, which are 145 MB: what
it answers means nothing, but it must answer the same by all roads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin
from safetensors.torch import load_file

import headstart
from headstart.backbones import load_backbone
from headstart.backbones.catalog import CatalogRow, catalog
from headstart.backbones.pretrained_decoder import brings_decoder
from headstart.backbones.pyramid import as_pyramid
from headstart.cli import run
from headstart.contracts import Backbone
from headstart.decoders import make_decoder
from headstart.errors import ConfigError
from headstart.model import DenseModel

SIDE = 96
BANDS = ("B02", "B03", "B04", "B08")
MODEL = "ukis-csmask-4b-l2a"


def write_raster(path: Path, values: np.ndarray, names: tuple[str, ...] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    place = {"crs": "EPSG:32720", "transform": from_origin(500_000, 9_500_000, 30, 30)}
    how = {"driver": "GTiff", "count": count, "height": height, "width": width}
    with rasterio.open(path, "w", dtype=values.dtype, **how, **place) as file:
        file.write(values)
        if names:
            file.descriptions = names


def reflectance(seed: int, *, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Dark ground with a bright square: (4, height, width) float32."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0.1, 0.02, (4, height, width))
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    values[:, top : top + height // 3, left : left + width // 3] += 0.5
    return values.clip(0, 1).astype(np.float32)


def write_chips(folder: Path, classes: str) -> Path:
    for number in range(12):
        values = reflectance(number)
        mask = (values[:1] > 0.35).astype(np.uint8)
        write_raster(folder / "images" / f"{number:02}.tif", values, BANDS)
        write_raster(folder / "masks" / f"{number:02}.tif", mask)
    (folder / "classes.txt").write_text(classes, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backbone]:
    """In the place of ukis-csmask: four bands, a tiny backbone and a decoder, made-up weights."""
    row = catalog()[MODEL]
    torch.manual_seed(0)
    tiny = replace(row, architecture="test_efficientnet", stages=(), padded_for=0, decoder="")
    tiny = replace(tiny, decoder_classes=(), mapping="name")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.backbones.catalog", lambda: MappingProxyType({MODEL: tiny}))
        made = load_backbone(MODEL, weights="random")
    levels = as_pyramid(made).spec.arguments["pyramid"]
    decoder = make_decoder(
        "unet", channels=levels["channels"], strides=levels["strides"], num_classes=3, seed=1
    )
    whole = replace(made, pretrained_head=decoder.eval(), pretrained_classes=row.decoder_classes)

    def load(reference: str, *, trust_remote_code: bool = False, **options: Any) -> Backbone:
        if reference == MODEL and options.get("weights") != "random":
            return replace(whole)
        return load_backbone(reference, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.saved.load_backbone", load)
        patch.setattr(
            "headstart.fitting.choosing.load_backbone_for",
            lambda unit, reference, **options: load(reference, **options),
        )
        yield whole


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chips(tmp_path_factory.mktemp("d") / "clouds", "0 background\n1 Clouds\n")


def test_a_scene_is_mapped_without_a_fit_by_the_names_of_its_bands(
    pretrained: Backbone, tmp_path: Path
) -> None:
    values = reflectance(50, height=130, width=170)
    shuffled = (3, 1, 0, 2)
    write_raster(tmp_path / "a.tif", values, BANDS)
    write_raster(tmp_path / "b.tif", values[list(shuffled)], tuple(BANDS[i] for i in shuffled))
    masks = tmp_path / "masks"
    assert run(["predict", MODEL, str(tmp_path / "a.tif"), "--output", str(masks)]) == 0
    (mapped,) = headstart.map_pictures(MODEL, [tmp_path / "b.tif"], masks)
    assert list(mapped.shares) == ["clear", "cloud", "cloud shadow"]
    pyramid = as_pyramid(pretrained)
    assert pyramid.pretrained_head is not None
    with torch.no_grad():
        model = DenseModel(pyramid, pyramid.pretrained_head).eval()
        expected = model(torch.from_numpy(values)[None]).argmax(dim=1)[0].numpy()
    for name in ("a.tif", "b.tif"):
        with rasterio.open(masks / name) as file:
            found = file.read(1)
            assert file.crs.to_epsg() == 32720
        assert (found == expected).mean() > 0.99


def test_as_it_comes_it_is_measured_on_the_classes_of_the_data(
    pretrained: Backbone, clouds: Path, tmp_path: Path
) -> None:
    fitted = headstart.fit(clouds, strategy="as-is", backbone=MODEL, output=tmp_path / "run")
    metrics = json.loads((fitted.path / "metrics.json").read_text(encoding="utf-8"))
    config = json.loads((fitted.path / "config.json").read_text(encoding="utf-8"))
    assert metrics["strategy"] == "as-is"
    assert list(metrics["per_class"]) == ["background", "Clouds"]
    assert config["fit"]["matches"] == {
        "background": ["clear, background"],
        "Clouds": ["cloud"],
    }
    assert config["model"]["format"]["dtype"] == "float32"
    # The answer is the pretrained one, left to choose between the two classes.
    scene = tmp_path / "new" / "c.tif"
    values = reflectance(60)
    write_raster(scene, values, BANDS)
    headstart.map_pictures(fitted.path, [scene], tmp_path / "masks")
    pyramid = as_pyramid(pretrained)
    assert pyramid.pretrained_head is not None
    with torch.no_grad():
        model = DenseModel(pyramid, pyramid.pretrained_head).eval()
        expected = model(torch.from_numpy(values)[None])[:, :2].argmax(dim=1)[0].numpy()
    with rasterio.open(tmp_path / "masks" / "c.tif") as file:
        assert (file.read(1) == expected).mean() > 0.99


def test_the_ladder_tries_what_comes_as_it_is_where_it_knows_the_classes(
    pretrained: Backbone, clouds: Path, tmp_path: Path
) -> None:
    fitted = headstart.fit(clouds, backbone=MODEL, epochs=1, output=tmp_path / "run")
    metrics = json.loads((fitted.path / "metrics.json").read_text(encoding="utf-8"))
    names = [rung["strategy"] for rung in metrics["rungs"]]
    assert names == ["majority", "trivial", "as-is", "probe", "full"]
    assert all(rung["metrics"] for rung in metrics["rungs"])


def test_classes_that_match_none_are_an_error_that_lists_both(
    pretrained: Backbone, tmp_path: Path
) -> None:
    data = write_chips(tmp_path / "roofs", "0 ground\n1 roof\n")
    with pytest.raises(ConfigError) as error:
        headstart.fit(data, strategy="as-is", backbone=MODEL, output=tmp_path / "run")
    assert "`clear, background`, `cloud`, `cloud shadow, shadow`" in str(error.value)
    assert "`ground`, `roof`" in str(error.value)


def test_a_backbone_without_decoder_cannot_draw_masks_as_it_is(
    clouds: Path, tmp_path: Path
) -> None:
    options = {"backbone": "test_resnet", "weights": "random", "output": tmp_path / "run"}
    with pytest.raises(ConfigError, match=r"brings no decoder.*ukis-csmask"):
        headstart.fit(clouds, strategy="as-is", **options)


def test_other_classes_start_from_its_decoder_with_a_new_last_layer(
    pretrained: Backbone, tmp_path: Path
) -> None:
    data = write_chips(tmp_path / "roofs", "0 ground\n1 roof\n")
    assert brings_decoder(pretrained)
    assert pretrained.pretrained_head is not None
    start = pretrained.pretrained_head.state_dict()
    # So small a rate changes nothing that float32 shows: what is saved is what it began with.
    options = {"epochs": 1, "lr": 1e-12, "batch_size": 4, "precision": "float32"}
    fitted = headstart.fit(
        data, strategy="head", backbone=MODEL, output=tmp_path / "run", **options
    )
    saved = load_file(fitted.path / "model.safetensors")
    filters = [n for n in start if n.startswith("decoder.") and start[n].ndim == 4]
    assert len(filters) >= 8
    for name in filters:
        torch.testing.assert_close(saved[f"head.{name}"], start[name], rtol=0, atol=1e-6)
    assert saved["head.classifier.weight"].shape[0] == 2
    log = (fitted.path / "log.jsonl").read_text(encoding="utf-8")
    assert "starts from the pretrained one" in log


def test_as_a_classifier_of_pictures_it_says_how_to_get_masks(pretrained: Backbone) -> None:
    with pytest.raises(ConfigError, match=f"headstart predict {MODEL} PICTURES --output"):
        headstart.load(MODEL)


def test_the_catalogue_lists_the_models_with_bands_licence_and_where_they_come_from() -> None:
    rows: dict[str, CatalogRow] = dict(catalog())
    cards = {card.name: card for card in headstart.models("ukis")}
    assert len(cards) == 4
    card = cards[MODEL]
    assert (card.input, card.licence, card.domain) == ("4 x 256 x 256", "Apache-2.0", "satellite")
    assert card.weights == rows[MODEL].reference
