# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Fit the motion of a part of the view by an affine displacement, with iteratively reweighted least squares."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ITERATIONS = 4
SHARED_ERROR = 0.3
"""Standard deviation of the error that all matches share, divided by that of one match. It does not average out."""


class AffineFit(NamedTuple):
    """An affine displacement of points on the plane z = 1; ``...`` are parts of the view that are fitted separately.

    Attributes:
        solution: ``(..., 3, 2)``: shift, and its slopes to the right and down.
        covariance: ``(..., 3, 3)`` of each column, as if the errors of neighbors were independent.
        chi_squared: ``(..., N)``, squared residual of each match divided by its variance; the expected value is 2.
    """

    solution: NDArray[np.float64]
    covariance: NDArray[np.float64]
    chi_squared: NDArray[np.float64]


def fit_affine(
    start: NDArray[np.float64], moved: NDArray[np.float64], variance: NDArray[np.float64], usable: NDArray[np.bool_]
) -> AffineFit:
    """Fit ``moved = shift + slopes @ start`` with the robust weights of Geman and McClure (1985).

    Args:
        start: ``(..., 2, N)``, x and y of points.
        moved: ``(..., 2, N)``, their displacements, which must be finite.
        variance: ``(..., N)`` of ``moved`` on each axis.
        usable: ``(..., N)``, the matches to use.
    """
    design = np.concatenate((np.ones_like(start[..., :1, :]), start), axis=-2)
    weights = usable / variance
    for _ in range(ITERATIONS):
        weighted = design * weights[..., None, :]
        normal = weighted @ design.swapaxes(-1, -2) + 1e-9 * np.eye(3)
        solution = np.linalg.solve(normal, weighted @ moved.swapaxes(-1, -2))
        error = moved - solution.swapaxes(-1, -2) @ design
        chi_squared = (error[..., 0, :] ** 2 + error[..., 1, :] ** 2) / variance
        weights = usable / (variance * (1 + chi_squared / 8) ** 2)
    return AffineFit(solution, np.linalg.inv(normal), chi_squared)
