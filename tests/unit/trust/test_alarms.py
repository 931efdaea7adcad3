from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from headstart.errors import DataError
from headstart.trust.alarms import check_beats_baseline, check_features, check_pixels


def features(n: int = 60, width: int = 64) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0))


def pictures(n: int = 6, *, top: float = 255) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(n, 3, 32, 32, generator=generator) * top).round()


def names(n: int) -> list[str]:
    return [f"{i}.png" for i in range(n)]


# --- features ---------------------------------------------------------------------------------


def test_features_that_differ_raise_no_alarm() -> None:
    assert check_features(features()) == ()
    assert check_features(features().relu()) == ()
    assert check_features(features().bfloat16()) == ()


def test_features_that_are_all_the_same_are_an_error() -> None:
    (finding,) = check_features(features(1).repeat(40, 1))
    assert (finding.kind, finding.severity) == ("constant-features", "error")
    assert "64 features" in finding.message
    assert "40 pictures" in finding.message
    assert finding.remedy


def test_features_of_which_most_are_constant_are_named_with_their_share() -> None:
    mixed = features()
    mixed[:, :48] = mixed[0, :48]
    kinds = {finding.kind: finding for finding in check_features(mixed)}
    assert kinds["constant-features"].severity == "warning"
    assert "75% of the 64 features" in kinds["constant-features"].message


def test_rounding_in_bfloat16_is_no_difference() -> None:
    same = features(1).abs().repeat(40, 1) + 1
    shaken = same * (1 + 0.001 * torch.randn(40, 1, generator=torch.Generator().manual_seed(1)))
    (finding,) = check_features(shaken.bfloat16())
    assert finding.kind == "constant-features"


def test_features_that_all_point_one_way_are_named() -> None:
    kinds = [finding.kind for finding in check_features(features() * 0.05 + 5)]
    assert kinds == ["alike-features"]


def test_features_of_one_direction_are_named() -> None:
    line = features(60, 1) @ features(1) + 0.01 * features()
    (finding,) = check_features(line)
    assert finding.kind == "collapsed-features"
    assert "1.0 directions" in finding.message


def test_alarms_about_texts_speak_of_texts() -> None:
    mixed = features()
    mixed[:, :48] = mixed[0, :48]
    line = features(60, 1) @ features(1) + 0.01 * features()
    tables = [features(1).repeat(40, 1), mixed, features() * 0.05 + 5, line]
    found = [finding for table in tables for finding in check_features(table, unit="text")]
    assert {finding.kind for finding in found} == {
        "constant-features",
        "alike-features",
        "collapsed-features",
    }
    for finding in found:
        said = f"{finding.message} {finding.remedy}"
        assert " texts " in said
        assert not any(word in said for word in ("picture", "bright", "dark", "bands"))


def test_a_single_picture_says_nothing() -> None:
    assert check_features(features(1)) == ()


# --- pixels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pictures_of_the_full_range_raise_no_alarm(dtype: torch.dtype) -> None:
    assert check_pixels(pictures().to(dtype), names(6), scale=255.0) == ()
    assert check_pixels(pictures().to(dtype), names(6), scale=255.0, is_sixteen_bit=True) == ()


def test_floats_up_to_one_are_an_error_where_255_is_expected() -> None:
    (finding,) = check_pixels(pictures() / 255, names(6), scale=255.0)
    assert (finding.kind, finding.severity) == ("unit-range", "error")
    assert "Multiply them by 255" in finding.remedy
    assert finding.ids == tuple(names(6))


def test_floats_up_to_one_are_right_where_one_is_expected() -> None:
    assert check_pixels(pictures() / 255, names(6), scale=1.0) == ()


@pytest.mark.parametrize(("bits", "factor"), [(10, 64), (12, 16), (14, 4)])
def test_sensor_bits_in_sixteen_are_told_with_their_factor(bits: int, factor: int) -> None:
    stored = pictures(top=2**bits - 1)
    read = ((stored + 128) // 257).to(torch.uint8)  # as data.images reads 16 bits
    (finding,) = check_pixels(read, names(6), scale=255.0, is_sixteen_bit=True)
    assert (finding.kind, finding.severity) == ("unused-bits", "warning")
    assert f"{bits}-bit data" in finding.message
    assert f"by {factor} " in finding.remedy


def test_dark_eight_bit_pictures_are_not_taken_for_sensor_data() -> None:
    assert check_pixels(pictures(top=15), names(6), scale=255.0) == ()


def test_pictures_that_show_nothing_are_named_and_counted() -> None:
    mixed = pictures()
    mixed[0], mixed[1], mixed[2] = 0, 255, 100
    (finding,) = check_pixels(mixed, names(6), scale=255.0)
    assert (finding.kind, finding.severity) == ("no-contrast", "warning")
    assert "3 of 6 pictures" in finding.message
    assert "1 black, 1 white, 1 of one tone" in finding.message
    assert finding.ids == ("0.png", "1.png", "2.png")


def test_pictures_of_which_none_shows_anything_are_an_error() -> None:
    black = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
    (finding,) = check_pixels(black, names(4), scale=255.0)
    assert (finding.kind, finding.severity) == ("no-contrast", "error")
    assert "4 black" in finding.message
    assert "how they were stored" in finding.remedy


def test_a_dead_pixel_is_no_contrast() -> None:
    dead = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    dead[:, :, 5, 5] = 255
    (finding,) = check_pixels(dead, names(2), scale=255.0)
    assert finding.kind == "no-contrast"


@pytest.mark.parametrize("value", [-1.0, 4000.0, float("nan"), float("inf")])
def test_values_beyond_the_contract_are_an_error_with_their_pictures(value: float) -> None:
    wrong = pictures()
    wrong[4, 0, 0, 0] = value
    (finding,) = check_pixels(wrong, names(6), scale=255.0)
    assert (finding.kind, finding.severity) == ("out-of-range", "error")
    assert finding.ids == ("4.png",)


def test_no_picture_raises_no_alarm_and_ids_must_fit() -> None:
    assert check_pixels(torch.zeros(0, 3, 8, 8), [], scale=255.0) == ()
    with pytest.raises(DataError, match="do not go together"):
        check_pixels(pictures(), names(2), scale=255.0)


# --- baseline ---------------------------------------------------------------------------------


def answers(*, both: int, mine: int, theirs: int, neither: int = 0):
    mark = [(1, 1)] * both + [(1, 0)] * mine + [(0, 1)] * theirs + [(0, 0)] * neither
    return tuple(np.array(mark, dtype=bool).T)


def test_a_model_that_beats_the_baseline_raises_no_alarm() -> None:
    assert check_beats_baseline(*answers(both=60, mine=30, theirs=5, neither=5)) is None


@pytest.mark.parametrize(("mine", "theirs"), [(6, 5), (0, 0), (3, 20), (4, 0)])
def test_a_model_that_does_not_is_named_with_both_scores(mine: int, theirs: int) -> None:
    finding = check_beats_baseline(*answers(both=80, mine=mine, theirs=theirs))
    assert finding is not None
    assert (finding.kind, finding.severity) == ("no-better-than-trivial", "warning")
    n = 80 + mine + theirs
    assert f"{(80 + mine) / n:.1%} against {(80 + theirs) / n:.1%} right" in finding.message


@pytest.mark.parametrize("wins", range(13))
def test_the_chance_is_that_of_scipys_sign_test(wins: int) -> None:
    expected = binomtest(wins, 12, alternative="greater").pvalue
    finding = check_beats_baseline(*answers(both=30, mine=wins, theirs=12 - wins))
    assert (finding is None) == (expected < 0.05)
    if finding is not None:
        assert f"{expected:.2f})" in finding.message


def test_samples_of_a_group_count_once() -> None:
    mine, theirs = answers(both=40, mine=10, theirs=0)
    assert check_beats_baseline(mine, theirs) is None
    groups = np.r_[np.arange(40), np.full(10, 40)]
    finding = check_beats_baseline(mine, theirs, groups=groups)
    assert finding is not None
    assert "ahead on 1 and behind on 0 of 41 groups" in finding.message


def test_thousands_of_samples_can_be_compared() -> None:
    assert check_beats_baseline(*answers(both=0, mine=30_000, theirs=20_000)) is None


def test_answers_about_other_samples_are_refused() -> None:
    with pytest.raises(DataError, match="same samples"):
        check_beats_baseline(np.ones(3, bool), np.ones(4, bool))


def test_samples_on_their_own_are_no_groups() -> None:
    right = np.r_[np.ones(30, bool), np.zeros(20, bool)]
    finding = check_beats_baseline(right, right, groups=np.arange(50))
    assert finding is not None
    assert "of 50 samples" in finding.message
