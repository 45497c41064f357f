# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide from measures on held-out pairs whether an adapted teacher is better than the model it started from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum

from mdflow_ros.core.resizing import Size
from mdflow_training.judging.difference import CONFIDENCE_LEVEL, MIN_PAIRS, Difference
from mdflow_training.judging.measures import CENSUS, DECIDING_MEASURES

MIN_GAIN = 0.01
"""Smallest relative change that counts; a smaller gain does not justify a new model."""

MIN_MAJORITY = 2
"""Required majority: measures that have fallen minus measures that have risen, or the reverse. Each single measure is
misleading in some environment: docs/experiments.md."""

UNSEEN_PAIRS = "pairs that neither the training nor the choice of the teacher has seen"

RULE = (
    f"Four measures vote, on {UNSEEN_PAIRS}: the match error, "
    "the census distance of the visible pixels, the endpoint error on frames that were moved by a known motion, and "
    f"the extrapolation. A measure has fallen or risen if the {CONFIDENCE_LEVEL:.0%} interval of the difference "
    "after - before lies below or above 0. 'improved': those that have fallen outnumber those that have risen by "
    f"{MIN_MAJORITY} or more, one has fallen by {MIN_GAIN:.0%} of the old error or more, the census distance has not "
    "risen, and the label-free check of the training chose the teacher. 'worse': those that have risen outnumber those "
    f"that have fallen by {MIN_MAJORITY} or more, and one has risen by {MIN_GAIN:.0%} or more. Everything else is "
    f"'no change', and so is every comparison of fewer than {MIN_PAIRS} pairs. Only an improved teacher replaces the "
    "old one."
)
RULE_FOR_OTHER_RECORDINGS = RULE.replace(
    UNSEEN_PAIRS, "the last pairs of recordings that no model has learned from, as far as their cards tell"
)


NOT_DEPLOYED = 5
"""Exit status if the teacher improved, but could not be deployed to the node."""


class Verdict(Enum):
    """The result of an adaptation."""

    IMPROVED = "improved"
    NO_CHANGE = "no change"
    WORSE = "worse"

    @property
    def exit_status(self) -> int:
        """The exit status of the command; 1 and 2 are errors."""
        return {Verdict.IMPROVED: 0, Verdict.NO_CHANGE: 3, Verdict.WORSE: 4}[self]


def decide(differences: Mapping[str, Difference], chosen: bool) -> tuple[Verdict, str]:
    """Apply `RULE`.

    Args:
        differences: after - before, by the measure's name; only `DECIDING_MEASURES` are used.
        chosen: whether the label-free check of the training chose the new teacher.

    Returns:
        The verdict and its reason.
    """
    deciding = _deciding(differences)
    if not deciding:
        return Verdict.NO_CHANGE, "there are no held-out pairs"
    shown = "; ".join(
        f"{DECIDING_MEASURES[name]} changes by {_describe(difference)}" for name, difference in deciding.items()
    )
    lead = _majority(deciding)
    if max(difference.pairs for difference in deciding.values()) < MIN_PAIRS:
        needed = f"{MIN_PAIRS} held-out pairs are needed at least"
        return Verdict.NO_CHANGE, f"{shown}, but {needed}: record a longer drive, or let more pairs be compared"
    if not any(difference.vote for difference in deciding.values()):
        return Verdict.NO_CHANGE, f"{shown}, which may be chance"
    if abs(lead) < MIN_MAJORITY:
        return Verdict.NO_CHANGE, f"{shown}: too few of these measures agree"
    if not any(difference.vote * lead > 0 and abs(difference.relative) >= MIN_GAIN for difference in deciding.values()):
        return Verdict.NO_CHANGE, f"{shown}, but all changes of the majority are below {MIN_GAIN:.0%}"
    if lead < 0:
        return Verdict.WORSE, shown
    if CENSUS in deciding and deciding[CENSUS].has_risen:
        return Verdict.NO_CHANGE, f"{shown}, but visible pixels match less well"
    if not chosen:
        return Verdict.NO_CHANGE, f"{shown}, but the label-free check of the training chose no new teacher"
    return Verdict.IMPROVED, shown


def describe_control(differences: Mapping[str, Difference]) -> str:
    """Describe what stages 2 and 3 added, by the same measures: differences after - control."""
    deciding = _deciding(differences)
    lead = _majority(deciding)
    relation = "better than" if lead >= MIN_MAJORITY else "worse than" if lead <= -MIN_MAJORITY else "no different from"
    changes = ", ".join(
        f"{DECIDING_MEASURES[name]} {difference.relative:+.1%}" for name, difference in deciding.items()
    )
    return (
        f"the teacher is {relation} the control, which was trained for as many updates but without a student and "
        f"warped pairs ({changes})"
    )


def describe_ground_truth(differences: Mapping[str, Difference]) -> str:
    """Describe the change of the measures that need ground truth, which do not affect the verdict; "" without any."""
    names = {"epe": "endpoint error", "ause": "AUSE"}
    changes = [f"{name} {differences[key].relative:+.1%}" for key, name in names.items() if key in differences]
    return f"; by the ground truth: {', '.join(changes)}" if changes else ""


def describe_enlarged(differences: Mapping[str, Difference], inference_size: Size, usual_size: Size) -> str:
    """Describe the old model with a larger network input if it is better than the new model; else return "".

    Args:
        differences: the new model minus the old model at the larger size, by the measure's name.
        inference_size: the larger input size of the network.
        usual_size: the input size that the quality chooses.
    """
    if _majority(_deciding(differences)) > -MIN_MAJORITY:
        return ""
    factor = math.prod(inference_size) / math.prod(usual_size)
    return (
        f"; the old model with inference_size [{inference_size.width}, {inference_size.height}] is better than the new "
        f"model, but the network then needs {factor:.2g} times as many operations"
    )


def _deciding(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    return {name: differences[name] for name in DECIDING_MEASURES if name in differences}


def _majority(deciding: Mapping[str, Difference]) -> int:
    """Return the number of measures that have fallen minus the number that have risen."""
    return sum(difference.vote for difference in deciding.values())


def _describe(difference: Difference) -> str:
    low, high = difference.interval
    interval = "" if math.isnan(low) else f", {CONFIDENCE_LEVEL:.0%} interval {low:+.4f} to {high:+.4f}"
    return f"{difference.relative:+.1%} ({difference.mean:+.4f}{interval}, {difference.pairs} pairs)"
