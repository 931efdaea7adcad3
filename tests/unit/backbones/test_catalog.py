"""The catalogue: what is in it, and what is said when a row is wrong."""

from __future__ import annotations

import re

import pytest

from headstart.backbones.catalog import PACKAGED_DEFAULT, catalog, read_catalog
from headstart.errors import ConfigError

ROW = """
[a]
source = "timm"
architecture = "x"
reference = "pypi://p==1/f.pth"
sha256 = "{sum}"
licence = "MIT"
domain = "general"
mapping = "name"
classes = ""
num_parameters = 3
why = "To test."
{more}
[a.input]
height = 8
width = 8
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
""".replace("{sum}", "0" * 64)


def test_every_named_weight_of_a_package_is_there() -> None:
    rows = catalog()
    assert [name for name in rows if rows[name].reference.startswith("pypi://")] == [
        "efficientnet-lite0",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "vgg16-hed",
        "mobilenetv2-dogs",
        "ukis-csmask-4b-l1c",
        "ukis-csmask-4b-l2a",
        "ukis-csmask-6b-l1c",
        "ukis-csmask-6b-l2a",
    ]
    assert PACKAGED_DEFAULT in rows
    assert rows["efficientnet-lite0"].contract.mean == (0.498, 0.498, 0.498)


def test_a_row_of_a_hub_names_one_revision_and_the_sum_that_its_file_name_begins() -> None:
    rows = [row for row in catalog().values() if not row.reference.startswith("pypi://")]
    assert len(rows) == 7
    for row in rows:
        match = re.fullmatch(
            r"hf://torchgeo/[a-z0-9_]+@[0-9a-f]{40}/[a-z0-9_]+-([0-9a-f]{8})\.pth", row.reference
        )
        assert match is not None
        assert row.sha256.startswith(match[1])


def test_a_right_row_is_read() -> None:
    row = read_catalog(ROW.format(more=""))["a"]
    assert (row.name, row.architecture, row.contract.bands) == ("a", "x", ("R", "G", "B"))


def test_all_mistakes_are_told_at_once_with_their_row_and_key() -> None:
    text = ROW.format(more='mappin = "order"').replace('mapping = "name"', 'mapping = "nam"')
    text = text.replace('licence = "MIT"\n', "").replace("height = 8", 'height = "8"')
    with pytest.raises(ConfigError) as error:
        read_catalog(text)
    message = str(error.value)
    assert "[a] has no `licence`" in message
    assert "unknown key `mappin`. Did you mean `mapping`" in message
    assert "[a] `mapping` is `nam`. Did you mean `name`" in message
    assert "[a.input] `height` is '8', a str" in message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0" * 64, "abc", "64 lower-case hexadecimal digits"),
        ("pypi://", "https://", "does not start with `pypi://` or `hf://`"),
        ('classes = ""', 'classes = ""\ndecoder = "unet"', "`decoder_classes` go together"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5]", "needs 3 numbers"),
        ("std = [0.5, 0.5, 0.5]", "std = [0.5, 0, 0.5]", "must be positive"),
    ],
)
def test_values_that_cannot_be_are_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_catalog(ROW.format(more="").replace(old, new))


def test_what_is_no_toml_is_said() -> None:
    with pytest.raises(ConfigError, match="is no TOML"):
        read_catalog("a = [")
