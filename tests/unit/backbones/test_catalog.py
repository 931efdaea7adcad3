"""The catalogue: what is in it, and what is said when a row is wrong."""

from __future__ import annotations

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
    assert list(rows) == [
        "efficientnet-lite0",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "vgg16-hed",
        "mobilenetv2-dogs",
    ]
    assert PACKAGED_DEFAULT in rows
    assert rows["efficientnet-lite0"].contract.mean == (0.498, 0.498, 0.498)
    assert all(
        row.reference.startswith("pypi://") and len(row.sha256) == 64 for row in rows.values()
    )


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
        ("pypi://", "https://", "does not start with `pypi://`"),
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
