from __future__ import annotations

from typing import Any

import pytest

from headstart.data.raster_header import RasterFacts
from headstart.data.units import UNITS, Unit, recognise_unit
from headstart.errors import DataError


def unit(dtype: str, low: float, high: float, **more: Any) -> Unit:
    declared = more.pop("declared", None)
    source = more.pop("source", "scene.tif")
    facts = RasterFacts("GTiff", 8, 8, more.pop("bands", ("band_1",)), dtype, **more)
    return recognise_unit(facts, low=low, high=high, declared=declared, source=source)


def test_what_can_be_told_is_told() -> None:
    assert unit("uint8", 0, 255).name == "8bit"
    assert unit("float32", -0.01, 1.3).name == "reflectance"
    assert unit("uint16", 0, 4000, tags={"NBITS": "12"}).name == "12bit"


@pytest.mark.parametrize(
    ("tags", "source", "expected"),
    [
        ({"s2:processing_baseline": "04.00"}, "a.tif", "dn10000-offset"),
        ({"s2:processing_baseline": "03.01"}, "a.tif", "dn10000"),
        ({"PROCESSING_BASELINE": "05.09"}, "a.tif", "dn10000-offset"),
        ({"BOA_ADD_OFFSET": "-1000"}, "a.tif", "dn10000-offset"),
        ({"earthsearch:boa_offset_applied": "True"}, "a.tif", "dn10000"),
        ({}, "S2A_MSIL2A_20230101_N0509_R022_T32UQD_1.tif", "dn10000-offset"),
        ({}, "S2A_MSIL2A_20190101_N0211_R022_T32UQD_1.tif", "dn10000"),
        ({"datetime": "2019-01-01T1:1:1Z", "created": "2019-01-02"}, "a.tif", "dn10000"),
    ],
)
def test_the_offset_of_sentinel_2_follows_its_baseline(
    tags: dict[str, str], source: str, expected: str
) -> None:
    found = unit("uint16", 1, 9000, sensor="sentinel-2", tags=tags, source=source)
    assert found.name == expected
    assert found.offset == (-0.1 if expected == "dn10000-offset" else 0)
    assert expected in found.sentence


def test_scale_and_offset_of_the_file_are_taken_as_they_are() -> None:
    landsat = unit("uint16", 7000, 20000, scales=(2.75e-5,) * 2, offsets=(-0.2, -0.2))
    assert (landsat.name, landsat.scale, landsat.offset) == ("scaled", 2.75e-5, -0.2)
    assert unit("int16", 1, 9000, scales=(1e-4,), offsets=(0.0,)).name == "dn10000"
    single = 0.00009999999747378752  # as a file in single precision has it
    for declared in ("dn10000", None):
        found = unit("int16", 1, 9000, scales=(single,), offsets=(0.0,), declared=declared)
        assert found.name == "dn10000"
    mixed = unit("uint16", 1, 9, scales=(1e-4, 1e-4), offsets=(-0.1, 0.0))
    assert mixed.offset == (-0.1, 0.0)


@pytest.mark.parametrize(
    ("dtype", "high", "more"),
    [
        ("uint16", 9000, {}),
        ("uint16", 200, {}),
        ("int16", 9000, {"sensor": "sentinel-2"}),
        ("float32", 255, {}),
        # An item that says both that the offset was taken off and that it is there.
        (
            "uint16",
            9000,
            {
                "scales": (1e-4,),
                "offsets": (-0.1,),
                "tags": {"earthsearch:boa_offset_applied": "True"},
            },
        ),
    ],
)
def test_what_cannot_be_told_is_an_error_with_the_choices(
    dtype: str, high: float, more: dict[str, Any]
) -> None:
    with pytest.raises(DataError) as caught:
        unit(dtype, 0, high, **more)
    for name in UNITS:
        assert f"--units {name}" in str(caught.value)
    assert f"{dtype}, values from 0 to {high:,}" in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(UNITS) - {"reflectance"}))
def test_fractions_are_not_taken_for_what_counts_to_thousands(name: str) -> None:
    """A model fitted with --units dn10000 saw one class everywhere in such a scene."""
    with pytest.raises(DataError, match=r"0.001 to 0.26 are reflectance.*--units reflectance"):
        unit("float32", 0.001, 0.26, declared=name)
    assert unit("float32", 0, 2600, declared=name if name.startswith("dn") else "16bit")


def test_what_the_user_says_wins_unless_it_cannot_be() -> None:
    assert unit("uint16", 0, 9000, declared="dn10000").name == "dn10000"
    with pytest.raises(DataError, match=r"--units reflectance.* cannot be the unit of `scene.tif`"):
        unit("uint16", 0, 9000, declared="reflectance")
    with pytest.raises(DataError, match=r"no unit\. Did you mean `dn10000`"):
        unit("uint16", 0, 9000, declared="dn1000")
