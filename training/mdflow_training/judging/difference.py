# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The difference of two methods in one measure, with its confidence interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_LEVEL = 0.95
BATCHES = 8
"""Number of batches of neighboring pairs; the means of the batches are treated as independent."""

T_QUANTILE = 2.365
"""Quantile of Student's t with ``BATCHES - 1`` degrees of freedom for a two-sided `CONFIDENCE_LEVEL`."""

MIN_PAIRS = BATCHES
"""With fewer pairs the verdict is always `no change`."""


@dataclass(frozen=True)
class Difference:
    """How one method differs from another in one measure.

    Attributes:
        mean: mean of the differences, pair by pair.
        interval: confidence interval of the mean, see `confidence_interval`.
        relative: the mean as a share of the other method's mean; NaN if that is 0.
        pairs: number of pairs with a value for both methods.
    """

    mean: float
    interval: tuple[float, float]
    relative: float
    pairs: int

    @property
    def has_fallen(self) -> bool:
        """Whether the difference is negative beyond chance."""
        return self.interval[1] < 0

    @property
    def has_risen(self) -> bool:
        """Whether the difference is positive beyond chance."""
        return self.interval[0] > 0

    @property
    def vote(self) -> int:
        """1 for the new method, -1 for the other one, 0 if the difference may be chance."""
        return int(self.has_fallen) - int(self.has_risen)


def compare(values: NDArray[np.float64], others: NDArray[np.float64]) -> Difference | None:
    """Compare two methods by one measure on the same pairs.

    Args:
        values: the method's values, ``(pairs,)``, NaN where missing.
        others: the other method's values, same shape.

    Returns:
        ``values - others``; None if no pair has both values.
    """
    both = np.isfinite(values) & np.isfinite(others)
    if not both.any():
        return None
    differences, base = (values - others)[both], float(others[both].mean())
    mean = float(differences.mean())
    return Difference(mean, confidence_interval(differences), mean / base if base else np.nan, len(differences))


def confidence_interval(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the confidence interval of the mean by the method of batch means.

    Consecutive frames are similar, so their differences are not independent. The means of a few batches of neighboring
    pairs nearly are, so Student's t applies to them. Source: Law and Carson, A Sequential Procedure for Determining the
    Length of a Steady-State Simulation, Operations Research 1979.

    Args:
        differences: ``(n,)`` in the order of time.

    Returns:
        The lower and the upper end; both NaN if there are fewer than `MIN_PAIRS` differences.
    """
    if len(differences) < MIN_PAIRS:
        return math.nan, math.nan
    means = [batch.mean() for batch in np.array_split(differences, BATCHES)]
    reach = T_QUANTILE * float(np.std(means, ddof=1)) / math.sqrt(BATCHES)
    mean = float(differences.mean())
    return mean - reach, mean + reach
