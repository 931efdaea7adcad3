"""Features most of which are 0, as the linear solver takes them. Imports no scipy by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class SparseDesign:
    """A matrix and its transpose, both kept row by row, as products need them.

    Not torch's sparse tensors: with 5 to 30 columns, as classes make them, their products took two
    to seven times as long on CPU (n = 6,920, 250 entries a row), and making one warns.

    Attributes:
        rows: (n, r) float32.
        columns: (r, n) float32, its transpose.
    """

    rows: csr_matrix
    columns: csr_matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        n, r = self.rows.shape
        return int(n), int(r)

    @property
    def T(self) -> SparseDesign:  # noqa: N802 - as of a tensor
        """The transpose."""
        return SparseDesign(self.columns, self.rows)

    def times(self, columns: Tensor) -> Tensor:
        """(n, P) float32 from (r, P) float32."""
        return torch.from_numpy(np.asarray(self.rows @ columns.numpy()))


@dataclass(frozen=True, eq=False)
class SparseFeatures:
    """Features as they are, neither standardised nor rotated: what `solve` takes.

    Attributes:
        design: (n, r + 1), the features and then a column of ones.
        gram: (r + 1,) float32, the diagonal of `design.T @ design`, which the solver steers by.
    """

    design: SparseDesign
    gram: Tensor


def sparse_features(features: csr_matrix) -> SparseFeatures:
    """Features (n, r) float32 with the column that the bias needs."""
    from scipy.sparse import csr_matrix, hstack

    blocks: list[Any] = [features, np.ones((features.shape[0], 1), np.float32)]
    rows = csr_matrix(hstack(blocks, format="csr", dtype=np.float32))
    squares = np.asarray(rows.multiply(rows).sum(axis=0)).ravel().astype(np.float32)
    return SparseFeatures(SparseDesign(rows, csr_matrix(rows.T)), torch.from_numpy(squares))
