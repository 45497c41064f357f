# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide, from measures on held-out pairs, whether an adapted teacher is better than the one it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
DRAWS = 4000
MIN_GAIN = 0.01
"""Share of the old error that the new one has to save: what is less is not worth a change."""

MIN_PAIRS = 8
"""Fewer pairs prove nothing: an interval over them is too narrow."""

RULE = (
    "Three measures decide, on pairs that neither the training nor the choice of the teacher has seen: the match "
    "error, the endpoint error on frames that were moved by a known motion, and the extrapolation. A measure has "
    f"fallen or risen if the {LEVEL:.0%} bootstrap interval of the difference after - before lies below or above 0. "
    f"'improved': one of the first two has fallen, one of the three by {MIN_GAIN:.0%} of the old error or more, none "
    "has risen, nor the census distance of the visible pixels, and the label-free check of the training chose the "
    "teacher. 'worse': one of the first two has risen and the other has not fallen. Everything else is 'no change', "
    f"and so is whatever fewer than {MIN_PAIRS} pairs say. Only an improved teacher replaces the old one."
)


class Verdict(Enum):
    """The result of an adaptation."""

    IMPROVED = "improved"
    NO_CHANGE = "no change"
    WORSE = "worse: keep the old model"

    @property
    def exit_status(self) -> int:
        """The exit status of the command; 1 and 2 are errors."""
        return {Verdict.IMPROVED: 0, Verdict.NO_CHANGE: 3, Verdict.WORSE: 4}[self]


@dataclass(frozen=True)
class Difference:
    """How one method differs from another in one measure.

    Attributes:
        mean: of the differences, pair by pair.
        interval: its bootstrap interval.
        relative: the mean as a share of the other method's mean; NaN if that is 0.
        pairs: that have the measure with both methods.
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


def compare(values: NDArray[np.float64], others: NDArray[np.float64]) -> Difference | None:
    """Compare two methods by one measure on the same pairs, ``(pairs,)`` each; None if no pair has it with both."""
    both = np.isfinite(values) & np.isfinite(others)
    if not both.any():
        return None
    differences, base = (values - others)[both], float(others[both].mean())
    mean = float(differences.mean())
    return Difference(mean, bootstrap_interval(differences), mean / base if base else np.nan, len(differences))


def bootstrap_interval(differences: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the percentile interval of the mean, by the circular block bootstrap.

    Frames that follow each other are alike, and drawn one by one they would pass as independent; so blocks of them are
    drawn, of about n^(1/3). Source: Politis and Romano, A Circular Block-Resampling Procedure for Stationary Data,
    1992.

    Args:
        differences: ``(n,)`` in the order of time.
        seed: equal arguments give equal results.
    """
    count = len(differences)
    block = max(1, round(count ** (1 / 3)))
    starts = np.random.default_rng(seed).integers(0, count, (DRAWS, math.ceil(count / block), 1))
    drawn = ((starts + np.arange(block)) % count).reshape(DRAWS, -1)[:, :count]
    low, high = np.quantile(differences[drawn].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def decide(
    match: Difference | None,
    chosen: bool,
    extrapolation: Difference | None = None,
    known_motion: Difference | None = None,
    census: Difference | None = None,
) -> tuple[Verdict, str]:
    """Apply `RULE`.

    Args:
        match: difference of the match error, after - before; None if there are no pairs.
        extrapolation: difference of the extrapolation, which short training on matches alone makes worse at first.
        known_motion: difference of the endpoint error under known motion.
        census: difference of the census distance of the visible pixels.
        chosen: whether the training itself chose the teacher over the old one.

    Returns:
        The verdict and its reason.
    """
    if match is None:
        return Verdict.NO_CHANGE, "there are no held-out pairs to judge by"
    judges = {
        "the match error": match,
        "the error under known motion": known_motion,
        "the extrapolation": extrapolation,
    }
    measured = {name: difference for name, difference in judges.items() if difference is not None}
    shown = "; ".join(_describe(name, difference) for name, difference in measured.items())
    deciding = [difference for difference in (match, known_motion) if difference is not None]
    better = any(difference.has_fallen for difference in deciding)
    worse = any(difference.has_risen for difference in deciding)
    if not (better or worse):
        return Verdict.NO_CHANGE, f"{shown}, which may be chance"
    if match.pairs < MIN_PAIRS:
        return Verdict.NO_CHANGE, f"{shown}, but so few pairs prove nothing: {MIN_PAIRS} are needed"
    if worse:
        return (Verdict.NO_CHANGE, f"{shown}, which contradict each other") if better else (Verdict.WORSE, shown)
    if extrapolation is not None and extrapolation.has_risen:
        return Verdict.NO_CHANGE, f"{shown}: the flow of what leaves the view became worse, so train longer"
    if census is not None and census.has_risen:
        in_view = _describe("the census distance of the visible pixels", census)
        return Verdict.NO_CHANGE, f"{shown}; {in_view}: what is in view matches less well"
    if not any(difference.has_fallen and -difference.relative >= MIN_GAIN for difference in measured.values()):
        return Verdict.NO_CHANGE, f"{shown}, which is too little"
    if not chosen:
        return Verdict.NO_CHANGE, f"{shown}, but the label-free check of the training chose no new teacher"
    return Verdict.IMPROVED, shown


def _describe(name: str, difference: Difference) -> str:
    low, high = difference.interval
    return (
        f"{name} changes by {difference.relative:+.1%} ({difference.mean:+.4f}, {LEVEL:.0%} interval "
        f"{low:+.4f} to {high:+.4f}, {difference.pairs} pairs)"
    )


def describe_control(difference: Difference) -> str:
    """Describe what the student added, by the difference of the error under known motion, after - control."""
    low, high = difference.interval
    relation = "better than" if high < 0 else "worse than" if low > 0 else "no different from"
    return (
        f"the teacher is {relation} the control, its plain unsupervised training for as many updates without a student "
        f"({difference.relative:+.1%}, {LEVEL:.0%} interval {low:+.4f} to {high:+.4f})"
    )
