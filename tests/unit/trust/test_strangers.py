from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from headstart.errors import DataError, RunError
from headstart.tensor_files import write_tensors
from headstart.trust.strangers import Neighbourhood


def draw(n: int, *, seed: int, width: int = 32) -> Tensor:
    """Features of one population, all of which point roughly one way."""
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) + 1.0


def test_scores_are_the_distances_that_scikit_learn_finds() -> None:
    familiar, new = draw(300, seed=0), draw(40, seed=1)
    near = Neighbourhood.of(familiar, k=7)
    unit = torch.nn.functional.normalize(familiar, dim=1)
    theirs = NearestNeighbors(n_neighbors=7).fit(unit.numpy())
    distances, _ = theirs.kneighbors(torch.nn.functional.normalize(new, dim=1).numpy())
    expected = torch.from_numpy(distances[:, -1]).float()
    torch.testing.assert_close(near.scores(new), expected, atol=1e-3, rtol=0)  # float16 reference


def test_other_pictures_are_strangers_and_alike_ones_are_not() -> None:
    near = Neighbourhood.of(draw(400, seed=0))
    others = near.is_stranger(near.scores(-draw(50, seed=1)))
    alike = near.is_stranger(near.scores(draw(1000, seed=2)))
    assert bool(others.all())
    assert float(alike.float().mean()) < 0.03  # 1% is meant


def test_the_threshold_lets_the_share_pass_that_was_asked_for() -> None:
    near = Neighbourhood.of(draw(500, seed=0), quantile=0.8)
    flagged = near.is_stranger(near.scores(draw(2000, seed=1))).float().mean()
    assert 0.15 < float(flagged) < 0.25


def test_a_sample_is_not_measured_by_its_own_group() -> None:
    once = draw(100, seed=0)
    bursts = once.repeat_interleave(12, dim=0)  # a burst of equal pictures each
    groups = torch.arange(100).repeat_interleave(12)
    blind = Neighbourhood.of(bursts, k=3)
    aware = Neighbourhood.of(bursts, groups=groups, k=3)
    assert blind.threshold < 0.1 < aware.threshold
    new = draw(300, seed=1)
    assert float(blind.is_stranger(blind.scores(new)).float().mean()) == 1.0
    assert float(aware.is_stranger(aware.scores(new)).float().mean()) < 0.1


def test_held_out_pictures_can_set_the_threshold() -> None:
    near = Neighbourhood.of(draw(200, seed=0))
    wider = near.calibrated(draw(200, seed=1) * torch.linspace(-1, 1, 32))
    assert wider.threshold > near.threshold
    with pytest.raises(DataError, match="no held-out features"):
        near.calibrated(torch.empty(0, 32))


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    near = Neighbourhood.of(draw(100, seed=0))
    write_tensors(tmp_path / "near.safetensors", near.state())
    again = Neighbourhood.from_state(load_file(tmp_path / "near.safetensors"))
    new = draw(20, seed=1)
    assert torch.equal(again.scores(new), near.scores(new))
    assert (again.k, again.threshold, again.quantile) == (near.k, near.threshold, near.quantile)


def test_a_state_with_something_missing_is_refused() -> None:
    state = Neighbourhood.of(draw(30, seed=0)).state()
    del state["threshold"]
    with pytest.raises(RunError, match="no threshold"):
        Neighbourhood.from_state(state)


def test_a_large_reference_is_cut_and_keeps_the_rare_kind() -> None:
    common, rare = draw(2000, seed=0), -draw(4, seed=1)
    features = torch.cat([common, rare])
    near = Neighbourhood.of(features, max_reference=100, k=1)
    assert near.reference.shape == (100, 32)
    assert near.reference.dtype == torch.float16
    assert not bool(near.is_stranger(near.scores(rare)).any())
    flagged = near.is_stranger(near.scores(draw(1000, seed=2))).float().mean()
    assert float(flagged) < 0.03


def test_chunks_change_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    near = Neighbourhood.of(draw(60, seed=0))
    whole = near.scores(draw(50, seed=1))
    monkeypatch.setattr("headstart.trust.strangers._CHUNK_ELEMENTS", 200)
    torch.testing.assert_close(near.scores(draw(50, seed=1)), whole)


@pytest.mark.parametrize(("n", "k"), [(2, 1), (40, 2), (400, 10)])
def test_few_samples_have_few_neighbours(n: int, k: int) -> None:
    assert Neighbourhood.of(draw(n, seed=0)).k == k


def test_the_seed_alone_decides_which_features_are_kept() -> None:
    features = draw(500, seed=0)
    first, same, other = (
        Neighbourhood.of(features, max_reference=50, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.reference, same.reference)
    assert not torch.equal(first.reference, other.reference)


def test_features_of_another_backbone_are_refused() -> None:
    near = Neighbourhood.of(draw(50, seed=0))
    with pytest.raises(DataError, match="length 32"):
        near.scores(torch.ones(3, 8))
    with pytest.raises(DataError, match="not finite"):
        near.scores(torch.full((3, 32), float("nan")))


def test_one_group_has_no_neighbours() -> None:
    with pytest.raises(DataError, match="least two groups"):
        Neighbourhood.of(draw(5, seed=0), groups=torch.zeros(5, dtype=torch.int64))
