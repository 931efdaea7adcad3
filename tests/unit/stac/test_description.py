from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest

from headstart import stac
from headstart.contracts import InputContract
from headstart.errors import RunError
from headstart.rundir import RunFolder

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"


@pytest.fixture
def make_run(tmp_path: Path, fabricated_run: Any) -> Callable[..., RunFolder]:
    """A fabricated run with weights: `make_run(task="semantic-segmentation")`."""

    def make(
        *, task: str = "image-classification", bands: tuple[str, ...] = ("R", "G", "B")
    ) -> RunFolder:
        classes = ("ants & co", "bees")
        changes = {"config": {"task": task}}
        if bands != ("R", "G", "B"):
            n = len(bands)
            contract = InputContract(bands, 256, 256, (0.1,) * n, (0.2,) * n, scale=10_000.0)
            changes["input"] = contract.to_json()
        run: RunFolder = fabricated_run.fabricate(
            tmp_path / "my run-1",
            classes=classes,
            test=fabricated_run.labelled(classes, 5),
            changes=changes,
        )
        run.weights.write_bytes(b"weights")
        return run

    return make


def check_mlm(item: dict[str, Any]) -> None:
    """The rules of the extension's JSON schema, version 1.4.0, that a description can break."""
    properties = item["properties"]
    for name in ("name", "architecture", "tasks", "input", "output"):
        assert f"mlm:{name}" in properties
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", properties["mlm:name"])
    assert properties["mlm:pretrained"] or properties["mlm:pretrained_source"] is None
    for each in properties["mlm:input"]:
        assert {"name", "bands", "input"} <= set(each)
        shape = each["input"]
        assert len(shape["shape"]) == len(shape["dim_order"])
        assert all(isinstance(size, int) and size >= -1 for size in shape["shape"])
        assert shape["shape"][1] == len(each["bands"]) == len(each["value_scaling"])
        [model] = [a for a in item["assets"].values() if "mlm:model" in a["roles"]]
        known = {band["name"] for band in model["eo:bands"]}
        assert set(each["bands"]) <= known
    for each in properties["mlm:output"]:
        assert {"name", "tasks", "result"} <= set(each)
        assert len(each["result"]["shape"]) == len(each["result"]["dim_order"])
        assert each["result"]["shape"][1] == len(each["classification:classes"])
        for named in each["classification:classes"]:
            assert re.fullmatch(r"[0-9A-Za-z_-]+", named["name"])
    assert all(re.fullmatch(r"[0-9a-zA-Z_.-]+", n) for n in properties["mlm:hyperparameters"])
    models = [a for a in item["assets"].values() if "mlm:model" in a["roles"]]
    assert len(models) == 1
    assert models[0]["mlm:artifact_type"]
    for asset in item["assets"].values():
        wrong = {"mlm:name", "mlm:input", "mlm:output", "mlm:hyperparameters"}
        assert not wrong & set(asset)


@pytest.mark.parametrize("task", ["image-classification", "semantic-segmentation"])
def test_a_run_describes_itself_by_the_rules_of_the_extension(
    task: str, make_run: Callable[..., RunFolder]
) -> None:
    run = make_run(task=task)
    values = stac.describe_run(run.path)
    check_mlm(values)
    item = pystac.Item.from_dict(json.loads(json.dumps(values)))
    assert MLM in item.stac_extensions
    told = item.ext.mlm
    assert str(told.tasks[-1]) in ("scene-classification", "semantic-segmentation")
    assert told.framework == "PyTorch"
    assert told.framework_version == "2.15.0"
    assert told.total_parameters == 3_374_000
    assert [c.title for c in told.output[0].classes] == ["ants & co", "bees"]
    assert told.input[0].bands == ["R", "G", "B"]


def test_the_item_is_valid_stac(
    make_run: Callable[..., RunFolder], validate_core: Callable[[dict[str, Any]], None]
) -> None:
    validate_core(stac.describe_run(make_run().path))


def test_scaling_is_told_for_values_as_they_are_stored(
    make_run: Callable[..., RunFolder],
) -> None:
    values = stac.describe_run(make_run(bands=("B02", "B03", "B04", "B08")).path)
    [picture] = values["properties"]["mlm:input"]
    assert picture["bands"] == ["B02", "B03", "B04", "B08"]
    assert picture["input"]["shape"] == [-1, 4, 256, 256]
    [scaling] = {json.dumps(each) for each in picture["value_scaling"]}
    assert json.loads(scaling) == {"type": "z-score", "mean": 1000.0, "stddev": 2000.0}


def test_metrics_licence_and_weights_are_told(make_run: Callable[..., RunFolder]) -> None:
    run = make_run()
    values = stac.describe_run(run.path)
    assert values["properties"]["license"] == "Apache-2.0"
    accuracy = values["properties"]["headstart:metrics"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] <= accuracy["high"]
    model = values["assets"]["model"]
    assert model["href"] == "./model.safetensors"
    assert model["file:size"] == 7
    assert model["file:checksum"] == "1220" + hashlib.sha256(b"weights").hexdigest()


def test_addresses_are_relative_to_where_the_item_is_put(
    make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    run = make_run()
    values = stac.describe_run(run.path, beside=tmp_path)
    assert (tmp_path / values["assets"]["model"]["href"]).resolve() == run.weights.resolve()


def test_a_task_the_extension_has_no_word_for_is_refused(
    make_run: Callable[..., RunFolder],
) -> None:
    with pytest.raises(RunError, match="text-classification, and the mlm extension"):
        stac.describe_run(make_run(task="text-classification").path)


def test_a_run_describes_itself_without_the_packages_of_geo(
    make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rasterio", "pystac", "pystac_client"):
        monkeypatch.setitem(sys.modules, name, None)
    assert stac.describe_run(make_run().path)["type"] == "Feature"
