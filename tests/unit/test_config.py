from __future__ import annotations

from pathlib import Path

import pytest

from headstart.config import FitOptions, load_options, make_options
from headstart.errors import ConfigError
from headstart.fitting.refusing import refuse_contradictions
from headstart.option_values import parse_duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("2h", 7200), ("1.5h", 5400), (" 120 ", 120), ("5M", 300)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0", "5 minutes", "5d", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Write it like 90s, 5m or 2h"):
        parse_duration_s(text)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make_options({"stratgy": "probe", "epochs": 0, "optimizer": "adam", "seed": "x"})
    message = str(caught.value)
    assert "`stratgy` is no option. Did you mean `strategy`" in message
    assert "`epochs` cannot be `0`: it must be greater than or equal to 1" in message
    assert "`optimizer` cannot be `adam`. Did you mean `adamw`?" in message
    assert "`seed` cannot be `x`" in message


def test_options_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        make_options({}).seed = 3  # type: ignore[misc]


def test_every_option_is_documented() -> None:
    assert [n for n, f in FitOptions.model_fields.items() if not f.description] == []


def test_no_file_means_defaults_and_what_was_given() -> None:
    assert load_options(None, {"seed": 3}) == FitOptions(seed=3)


def test_the_file_may_use_dashes_and_is_overridden(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("on-bad: skip\nseed: 1\nbatch_size: 4\n")
    found = load_options(path, {"seed": 2})
    assert (found.on_bad, found.seed, found.batch_size) == ("skip", 2, 4)
    assert found.model_fields_set == {"on_bad", "seed", "batch_size"}


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("# nothing yet\n")
    assert load_options(path, {}) == FitOptions()


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_bytes("backbone: süß".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"options\.yaml` is no YAML"):
        load_options(path, {})


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_views_and_mixed_pictures_are_refused_for_a_head_from_the_start(mixing: str) -> None:
    with pytest.raises(ConfigError, match=r"--views 2 with them\. Leave one away"):
        refuse_contradictions(make_options({"strategy": "head", "views": 2, mixing: 0.2}))
    refuse_contradictions(make_options({"strategy": "head", "views": 0, mixing: 0.2}))
    refuse_contradictions(make_options({"strategy": "auto", "views": 2, mixing: 0.2}))


@pytest.mark.parametrize(
    ("given", "backbone", "racing"),
    [
        ("auto", "auto", ()),
        ("timm:resnet50", "timm:resnet50", ()),
        ("a, b,a", "a,b", ("a", "b")),
        ("a,a", "a", ()),
        (["a", "b"], "a,b", ("a", "b")),
        (["a"], "a", ()),
        ("any", "any", ("any",)),
    ],
)
def test_several_backbones_race_and_one_does_not(
    given: object, backbone: str, racing: tuple[str, ...]
) -> None:
    found = make_options({"backbone": given})
    assert (found.backbone, found.racing) == (backbone, racing)


@pytest.mark.parametrize("given", ["a,,b", ",", "a,", ["a", ""], ["a", " "]])
def test_a_name_is_missing_between_commas(given: object) -> None:
    with pytest.raises(ConfigError, match="it must be names with one comma between them"):
        make_options({"backbone": given})


@pytest.mark.parametrize("given", [[], ["a", 1], 3, None])
def test_what_names_no_backbone_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="`backbone` cannot be"):
        make_options({"backbone": given})


@pytest.mark.parametrize("backbone", ["a,b", "any"])
def test_several_backbones_are_for_the_ladder_alone(backbone: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_contradictions(make_options({"backbone": backbone, "strategy": "probe"}))
    assert f"--backbone {backbone} stands for several" in str(caught.value)
    assert "the strategy is probe. Leave --strategy away" in str(caught.value)
    assert "`headstart rank` tells which is best" in str(caught.value)
    with pytest.raises(ConfigError, match=r"--weights mine\.pth are those of one"):
        refuse_contradictions(make_options({"backbone": backbone, "weights": "mine.pth"}))
    assert make_options({"backbone": backbone, "weights": "random"}).racing


def test_a_file_may_list_backbones(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("backbone:\n  - a\n  - b\n")
    assert load_options(path, {}).racing == ("a", "b")


def test_values_to_ignore_and_bands_are_given_with_commas_or_as_lists() -> None:
    assert make_options({"ignore_value": "0,255"}).ignore_value == (0, 255)
    assert make_options({"ignore_value": 255}).ignore_value == (255,)
    assert make_options({"ignore_value": "none"}).ignore_value == ()
    assert make_options({}).ignore_value is None
    assert make_options({"bands": "B02, nir,4"}).bands == ("B02", "nir", "4")
    assert make_options({"bands": ["B02", 4]}).bands == ("B02", "4")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"ignore_value": "sky"}, "whole numbers with commas between them"),
        ({"bands": "B02,B02"}, "each once"),
        ({"bands": ""}, "names with a comma between them"),
        ({"units": "dn1000"}, "Did you mean `dn10000`"),
    ],
)
def test_what_is_no_band_unit_or_value_is_told(values: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_options(values)


def test_the_units_are_those_that_data_know() -> None:
    from typing import get_args

    from headstart.config import Units
    from headstart.data.units import UNITS

    assert get_args(Units) == tuple(UNITS)


def test_the_command_line_takes_values_one_by_one_or_with_commas() -> None:
    from headstart.cli import app

    given = ["--ignore-value", "0", "--ignore-value=-1,255", "--bands", "B02,B08"]
    options = app.parse_args(["fit", "data", *given])[1].arguments["options"]
    assert options.ignore_value == (0, -1, 255)
    assert options.bands == ("B02", "B08")


def test_a_budget_of_a_file_may_be_a_number_of_seconds(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text("budget: 60\n")
    assert load_options(path, {}).budget == "60s"
    with pytest.raises(ConfigError, match="`drop_suspects` cannot be `3`: it must be a path"):
        make_options({"drop_suspects": 3})
