from __future__ import annotations

from pathlib import Path

import pytest

from headstart.contracts import Sample
from headstart.errors import ConfigError
from headstart.map_options import MapOptions
from headstart.map_targets import ToMap, targets_of


@pytest.mark.parametrize("name", ["map.tif", "map.PNG", "areas.gpkg", "table.csv"])
def test_an_output_that_is_named_like_a_file_is_refused(tmp_path: Path, name: str) -> None:
    picture = ToMap(Sample("a.tif", tmp_path / "a.tif"), "a")
    with pytest.raises(ConfigError, match=f"{name} is named like a file"):
        targets_of([picture], tmp_path / name, options=MapOptions())
    (tmp_path / name).mkdir()
    ((scene, _),) = targets_of([picture], tmp_path / name, options=MapOptions())
    assert scene.mask == tmp_path / name / "a.tif"
