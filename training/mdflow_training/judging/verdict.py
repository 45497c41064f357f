# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide, from measures on held-out pairs, whether an adapted teacher is better than the one it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size
from mdflow_training.judging.held_out_metrics import CENSUS, JUDGES

LEVEL = 0.95
DRAWS = 4000
MIN_GAIN = 0.01
"""Share of the old error that the new one has to save: what is less is not worth a change."""

MIN_PAIRS = 8
"""Fewer pairs prove nothing: an interval over them is too narrow."""

MIN_MAJORITY = 2
"""By how many the measures that have fallen must outnumber those that have risen, or the other way round. Any one of
them errs in some world: docs/experiments.md."""

RULE = (
    "Four measures vote, on pairs that neither the training nor the choice of the teacher has seen: the match error, "
    "the census distance of the visible pixels, the endpoint error on frames that were moved by a known motion, and "
    f"the extrapolation. A measure has fallen or risen if the {LEVEL:.0%} bootstrap interval of the difference after - "
    "before lies below or above 0. 'improved': those that have fallen outnumber those that have risen by "
    f"{MIN_MAJORITY} or more, one has fallen by {MIN_GAIN:.0%} of the old error or more, the census distance has not "
    "risen, and the label-free check of the training chose the teacher. 'worse': those that have risen outnumber those "
    f"that have fallen by {MIN_MAJORITY} or more. Everything else is 'no change', and so is whatever fewer than "
    f"{MIN_PAIRS} pairs say. Only an improved teacher replaces the old one."
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


def decide(differences: Mapping[str, Difference], chosen: bool) -> tuple[Verdict, str]:
    """Apply `RULE`.

    Args:
        differences: after - before, by the measure's name; measures that do not decide are ignored.
        chosen: whether the training itself chose the teacher over the old one.

    Returns:
        The verdict and its reason.
    """
    judges = _judges(differences)
    if not judges:
        return Verdict.NO_CHANGE, "there are no held-out pairs to judge by"
    shown = "; ".join(f"{JUDGES[name]} changes by {_describe(judge)}" for name, judge in judges.items())
    lead = _majority(judges)
    if not any(judge.has_fallen or judge.has_risen for judge in judges.values()):
        return Verdict.NO_CHANGE, f"{shown}, which may be chance"
    if max(judge.pairs for judge in judges.values()) < MIN_PAIRS:
        return Verdict.NO_CHANGE, f"{shown}, but so few pairs prove nothing: {MIN_PAIRS} are needed"
    if lead <= -MIN_MAJORITY:
        return Verdict.WORSE, shown
    if lead < MIN_MAJORITY:
        return Verdict.NO_CHANGE, f"{shown}: too few of these measures agree"
    if CENSUS in judges and judges[CENSUS].has_risen:
        return Verdict.NO_CHANGE, f"{shown}: what is in view matches less well"
    if not any(judge.has_fallen and -judge.relative >= MIN_GAIN for judge in judges.values()):
        return Verdict.NO_CHANGE, f"{shown}, which is too little"
    if not chosen:
        return Verdict.NO_CHANGE, f"{shown}, but the label-free check of the training chose no new teacher"
    return Verdict.IMPROVED, shown


def describe_control(differences: Mapping[str, Difference]) -> str:
    """Describe what the student added, by the same measures: differences after - control."""
    judges = _judges(differences)
    lead = _majority(judges)
    relation = "better than" if lead >= MIN_MAJORITY else "worse than" if lead <= -MIN_MAJORITY else "no different from"
    changes = ", ".join(f"{JUDGES[name]} {judge.relative:+.1%}" for name, judge in judges.items())
    return (
        f"the teacher is {relation} the control, its plain unsupervised training for as many updates without a student "
        f"({changes})"
    )


def describe_truth(differences: Mapping[str, Difference]) -> str:
    """Describe how the measures that need ground truth change; they do not decide. Without ground truth: ""."""
    names = {"epe": "endpoint error", "ause": "AUSE"}
    changes = [f"{name} {differences[key].relative:+.1%}" for key, name in names.items() if key in differences]
    return f"; by the ground truth: {', '.join(changes)}" if changes else ""


def describe_enlarged(differences: Mapping[str, Difference], inference_size: Size, usual_size: Size) -> str:
    """Describe the old model at a larger size of the network's input, if it is better than the new one; else "".

    Args:
        differences: after - before at that size.
        inference_size: that size, as the network runs it.
        usual_size: at which the network runs otherwise.
    """
    if _majority(_judges(differences)) > -MIN_MAJORITY:
        return ""
    return (
        f"; the old model with inference_size [{inference_size.width}, {inference_size.height}] is better still, for "
        f"{math.prod(inference_size) / math.prod(usual_size):.2g} times the work of the network"
    )


def _judges(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    return {name: differences[name] for name in JUDGES if name in differences}


def _majority(judges: Mapping[str, Difference]) -> int:
    """Return how many measures have fallen, less how many have risen."""
    return sum(judge.has_fallen - judge.has_risen for judge in judges.values())


def _describe(difference: Difference) -> str:
    low, high = difference.interval
    return (
        f"{difference.relative:+.1%} ({difference.mean:+.4f}, {LEVEL:.0%} interval {low:+.4f} to {high:+.4f}, "
        f"{difference.pairs} pairs)"
    )
