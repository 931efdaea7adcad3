from __future__ import annotations

import os
from pathlib import Path

import pytest

from headstart import cache
from headstart.errors import ConfigError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def put(kind: str, name: str, *, size: int, used: float) -> Path:
    path = cache.cache_folder(kind) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


def test_the_cache_is_where_the_environment_says(root: Path) -> None:
    assert cache.cache_root() == root
    assert cache.cache_folder("weights") == root / "weights"
    with pytest.raises(ConfigError, match="`photos` is no part of the cache"):
        cache.cache_folder("photos")


def test_its_use_is_counted_by_part() -> None:
    put("weights", "a", size=5, used=1)
    put("features", "deep/b", size=7, used=1)
    found = {use.kind: (use.num_files, use.num_bytes) for use in cache.usage()}
    assert found == {
        **{"weights": (1, 5), "features": (1, 7)},
        **{"miniatures": (0, 0), "speed": (0, 0), "data": (0, 0), "code": (0, 0)},
    }


def test_what_was_used_longest_ago_goes_first() -> None:
    old = put("features", "old", size=40, used=100)
    middle = put("weights", "middle", size=40, used=200)
    new = put("features", "new", size=40, used=300)
    cache.touch(old)
    cache.set_limit(90)
    assert (old.exists(), middle.exists(), new.exists()) == (True, False, True)
    assert cache.limit_bytes() == 90


def test_within_its_limit_nothing_is_removed() -> None:
    path = put("features", "x", size=40, used=1)
    cache.set_limit(40)
    assert cache.shrink() == 0
    assert path.exists()


def test_the_limit_is_twenty_gigabytes_unless_set() -> None:
    assert cache.limit_bytes() == 20 * 10**9


def test_a_part_or_all_of_it_is_emptied(root: Path) -> None:
    for kind in ("features", "weights", "speed"):
        put(kind, "x", size=1, used=1)
    cache.clear("features")
    assert [use.num_files for use in cache.usage()] == [1, 0, 0, 1, 0, 0]
    cache.clear()
    assert sum(use.num_files for use in cache.usage()) == 0
    cache.clear()


def test_a_file_that_another_process_removed_is_no_trouble(root: Path) -> None:
    cache.touch(root / "features" / "gone")


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("500MB", 5 * 10**8), ("5GB", 5 * 10**9), ("1.5 tb", 15 * 10**11), ("12", 12), ("3K", 3000)],
)
def test_a_size_is_read(text: str, num_bytes: int) -> None:
    assert cache.parse_size(text) == num_bytes


@pytest.mark.parametrize("text", ["", "plenty", "-5GB", "5 GiB", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Write it like 500MB"):
        cache.parse_size(text)
