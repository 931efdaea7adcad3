"""Pictures that are nearly the same: re-encoded, resized, cropped, brightened, mirrored, turned.

Three steps: hashes at a small distance make candidates; a candidate is confirmed when the two are
more alike, by far, than unrelated pictures of this very data set are; confirmed pairs are chained
into groups. Knows neither labels nor splits, and reads no file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.listing import count
from headstart.data.miniatures import (
    as_pixels,
    is_blank,
    likeness_vectors,
    perceptual_hashes,
    view_places,
    views,
    without_mean,
)
from headstart.data.near_pairs import MIN_CHAIN, Pairs, near_duplicates_of, without_chains
from headstart.data.near_pairs import NearDuplicates as NearDuplicates
from headstart.data.near_pairs import NearPair as NearPair

if TYPE_CHECKING:
    from headstart.data.checks import FileFacts

# Sample ids -> features (d,) of those that have some.
Features = Callable[[Sequence[str]], Mapping[str, np.ndarray]]

# Bits of 63 in which candidates may differ: at 12, 98% of photos cropped by 6% are still found, and
# 1 pair in 8,000 of unrelated photos is a candidate, 1 in 200 of solar cells
# (bench/near_duplicates.py --hashes).
MAX_BITS = 12
# A copy has at most half the distance (1 - likeness) that all but 1 in 20 pictures have to their
# nearest stranger. Source for a ratio to the nearest that is known to be wrong: Lowe 2004,
# "Distinctive image features from scale-invariant keypoints" (IJCV 60), section 7.1; there 0.8 of
# the Euclidean distance, which is 0.64 of ours. Stricter here, for a wrong pair chains two groups.
_RATIO = 0.5
_QUANTILE = 0.95
_FLOOR = 0.9  # of the likeness of miniatures: however different the strangers, a copy is that near
_FEATURE_FLOOR = 0.8
_NUM_PROBED = 256  # pictures whose nearest stranger is looked for
_MANY = 0.02  # a picture with more candidates than this share of the data has look-alikes
_LOOSE = 0.5  # the likeness of miniatures from which on features are looked at
_STRICT = 0.25  # in place of _RATIO, within groups that grew too large
_GATHERED = 4096  # pairs compared at once: 8 MB
_ROWS, _COLUMNS = 64, 1024  # hashes compared at once: 512 kB, which a core has to itself


def find_near_duplicates(
    facts: Mapping[str, FileFacts], *, features: Features | None = None
) -> NearDuplicates:
    """Find pictures that are nearly the same.

    A candidate is confirmed by its miniatures, or else by its features: a network sees through a
    crop that shifts every pixel, but may take a compressed solar cell for another (measured in
    bench/near_duplicates.py), so that neither may veto the other.

    Args:
        facts: Sample id -> facts of its file, from `check_dataset(..., hashed=True)`. Files
            without a miniature are passed over.
        features: Gives the features of samples from whatever cache; it is asked once, for
            candidates and for some hundred pictures to compare with. None: miniatures decide.
    """
    copies = _copies(facts)
    ids = list(copies)
    if not ids:
        return NearDuplicates()
    pixels = as_pixels([facts[id_].perceptual for id_ in ids])
    blank = is_blank(pixels)
    notes = []
    if blank.any():
        notes.append(
            f"{count(int(blank.sum()), 'picture')} of a single grey, which looks cannot tell "
            "apart: only equal files among them are kept together."
        )
        ids = [id_ for id_, is_out in zip(ids, blank, strict=True) if not is_out]
        pixels = pixels[~blank]
    if len(ids) < 2:
        return NearDuplicates(notes=tuple(notes))
    search = _Search(pixels)
    nearest, share_with_many = search.probe()
    needed = _needed(nearest, floor=_FLOOR)
    if share_with_many > 1 - _QUANTILE:  # then it is they who decide what is needed
        notes.append(
            f"{share_with_many:.0%} of the pictures look much like more than {_many(len(ids)):,} "
            "others each, as the frames of a film do: looks do not tell which belong together. If "
            "they show few scenes or objects, name those with --group."
        )
    found = search.candidates(needed if features is None else min(needed, _LOOSE))
    rule = f"Miniatures with a likeness of {needed:.3f} or more are near-duplicates"
    if features is not None:
        found, feature_needed = _look_at_features(ids, found, needed, search, features)
        rule += f", and candidates with features of a likeness of {feature_needed:.3f} or more"
    found = _in_different_files(found, [facts[id_].part_of for id_ in ids])
    strict = 1 - _STRICT / _RATIO * (1 - needed)
    found, note = without_chains(found, strict=strict, num_samples=len(ids), noun="picture")
    notes += [note] if note else []
    return near_duplicates_of(found, ids, copies, rule=rule + ".", notes=notes)


def _copies(facts: Mapping[str, FileFacts]) -> dict[str, list[str]]:
    """The first id of each content that has a miniature -> all ids of that content, sorted."""
    by_content: dict[str, list[str]] = defaultdict(list)
    for id_ in sorted(facts):
        if facts[id_].perceptual:
            by_content[facts[id_].sha256].append(id_)
    return {ids[0]: ids for ids in by_content.values()}


def _in_different_files(found: Pairs, files: Sequence[str]) -> Pairs:
    """The pairs but those of two windows of one file, which share no pixel."""
    names = np.array(files, object)
    is_window = names[found.rows] != ""
    return found.where(~(is_window & (names[found.rows] == names[found.columns])))


# --- candidates -----------------------------------------------------------------------------------


class _Search:
    """Hashes and likeness of all pictures, in all eight views.

    Args:
        pixels: (n, SIDE, SIDE) uint8, none blank.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.hashes = np.stack([perceptual_hashes(view) for view in views(pixels)])  # (8, n)
        self.vectors = likeness_vectors(pixels)  # (n, SIDE * SIDE)
        self.places = view_places()  # (8, SIDE * SIDE)
        rng = np.random.default_rng(0)
        self.probed = np.sort(rng.permutation(len(pixels))[:_NUM_PROBED])

    def candidates(self, least: float) -> Pairs:
        """All pairs with hashes at most MAX_BITS apart and a likeness of at least `least`."""
        n = len(self.vectors)

        def block(start: int) -> Pairs:
            return self._candidates_of(start, min(start + _ROWS, n), least)

        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            blocks = list(pool.map(block, range(0, n, _ROWS)))
        keys = np.concatenate([pairs.rows * n + pairs.columns for pairs in blocks])
        likeness = np.concatenate([pairs.likeness for pairs in blocks])
        order = np.lexsort((-likeness, keys))  # the best view of each pair first
        keys, first = np.unique(keys[order], return_index=True)
        return Pairs(keys // n, keys % n, likeness[order][first])

    def _candidates_of(self, start: int, stop: int, least: float) -> Pairs:
        """The candidates of some rows; a pair may occur once a view."""
        found = [Pairs(*(np.zeros(0, np.int64),) * 2, np.zeros(0, np.float32))]
        num_pictures = len(self.vectors)
        for hashes, places in zip(self.hashes, self.places, strict=True):
            for left in range(start, num_pictures, _COLUMNS):
                tile = _near(self.hashes[0, start:stop], hashes[left : left + _COLUMNS])
                i, j = tile[0] + start, tile[1] + left
                i, j = i[j > i], j[j > i]
                for at in range(0, len(i), _GATHERED):
                    a, b = i[at : at + _GATHERED], j[at : at + _GATHERED]
                    alike = np.einsum("pd,pd->p", self.vectors[a], self.vectors[b][:, places])
                    found.append(Pairs(a, b, alike).where(alike >= least))
        parts = ([getattr(pairs, name) for pairs in found] for name in Pairs.__annotations__)
        return Pairs(*map(np.concatenate, parts))

    def probe(self) -> tuple[np.ndarray, float]:
        """(probed,) likeness of each probed picture and its nearest stranger.

        And the share of the probed that have so many candidates that they count as strangers.
        """
        nearest, num_with_many = [], 0
        undone = np.argsort(self.places, axis=1)  # (8, SIDE * SIDE)
        for at in range(0, len(self.probed), _ROWS):
            chosen = self.probed[at : at + _ROWS]
            # The likeness to the view of another is that of the view, undone, to the other. In one
            # product for all views: each of eight would wait for its threads, on busy cores 15 ms.
            own = self.vectors[chosen][:, undone].reshape(-1, undone.shape[1])
            alike = (own @ self.vectors.T).reshape(len(chosen), len(undone), -1).max(axis=1)
            is_near = self.are_candidates(chosen)
            nearest.append(_nearest_stranger(alike, is_near, chosen))
            num_with_many += int(_has_many(is_near).sum())
        return np.concatenate(nearest), num_with_many / len(self.probed)

    def are_candidates(self, chosen: np.ndarray) -> np.ndarray:
        """(len(chosen), n) bool: whose hashes are near, in any view."""
        own = self.hashes[0, chosen, None]
        near = [np.bitwise_count(own ^ hashes) <= MAX_BITS for hashes in self.hashes]
        return np.asarray(np.any(near, axis=0))


def _near(own: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pair of hashes, (r,) and (c,) uint64, at most MAX_BITS apart."""
    tile = own[:, None] ^ others
    is_near = np.bitwise_count(tile) <= MAX_BITS
    flat = is_near.ravel()
    # Hits are rare: looked for in words of eight, they cost an eighth of the time.
    tail = len(flat) - len(flat) % 8
    words = np.flatnonzero(flat[:tail].view(np.uint64))
    places = (words[:, None] * 8 + np.arange(8)).ravel()
    places = np.concatenate([places, np.arange(tail, len(flat))])
    places = places[flat[places]]
    return places // len(others), places % len(others)


def _nearest_stranger(alike: np.ndarray, is_near: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(m,) the highest likeness of each picture and one that is no candidate of it.

    A picture with very many candidates has look-alikes, not copies: then all others are strangers.

    Args:
        alike: (m, n) likeness of m pictures to all n.
        is_near: (m, n) bool, which are candidates.
        own: (m,) the place of each of the m among the n.
    """
    is_left_out = is_near & ~_has_many(is_near)[:, None]
    is_left_out[np.arange(len(own)), own] = True
    return np.asarray(np.where(is_left_out, -1.0, alike).max(axis=1))


def _has_many(is_near: np.ndarray) -> np.ndarray:
    """(m,) bool: which rows of candidates (m, n) are too full to be copies."""
    return np.asarray(is_near.sum(axis=1) > _many(is_near.shape[1]))


def _many(num_pictures: int) -> int:
    return max(MIN_CHAIN, round(_MANY * num_pictures))


def _needed(nearest: np.ndarray, *, floor: float) -> float:
    """The likeness that a copy has, by that of pictures and their nearest strangers."""
    stranger = float(np.quantile(nearest, _QUANTILE))
    return max(floor, 1 - _RATIO * (1 - stranger))


# --- confirmation by features -----------------------------------------------------------------


def _look_at_features(
    ids: Sequence[str], found: Pairs, needed: float, search: _Search, features: Features
) -> tuple[Pairs, float]:
    """The pairs that miniatures or features confirm, and the likeness of features that is needed.

    A pair confirmed by its features has their likeness.
    """
    is_open = found.likeness < needed
    asked = sorted({*found.rows[is_open], *found.columns[is_open], *search.probed})
    given = features([ids[i] for i in asked])
    known = np.array([i for i in asked if ids[i] in given], np.int64)
    probed = np.intersect1d(search.probed, known)
    if len(probed) < 2:
        return found.where(~is_open), 1.0
    vectors = np.stack([given[ids[i]] for i in known]).astype(np.float32)
    vectors = without_mean(vectors, vectors.mean(axis=0))
    places = np.searchsorted(known, probed)
    is_near = search.are_candidates(probed)[:, known]
    nearest = _nearest_stranger(vectors[places] @ vectors.T, is_near, places)
    feature_needed = _needed(nearest, floor=_FEATURE_FLOOR)
    likeness = found.likeness.copy()
    is_open &= np.isin(found.rows, known) & np.isin(found.columns, known)
    first = np.searchsorted(known, found.rows[is_open])
    second = np.searchsorted(known, found.columns[is_open])
    cosines = np.einsum("pd,pd->p", vectors[first], vectors[second])
    is_confirmed = found.likeness >= needed
    is_confirmed[is_open] = cosines >= feature_needed
    likeness[is_open] = cosines
    return Pairs(found.rows, found.columns, likeness).where(is_confirmed), feature_needed
