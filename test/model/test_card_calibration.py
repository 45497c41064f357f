# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Valid constants of the confidence are read from a card; invalid constants are refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from mdflow_ros.core.confidence import CUES
from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, ModelError, load_card
from mdflow_ros.model.confidence_calibration import as_card_entry, confidence_calibration_of
from mdflow_ros.quality import QUALITIES

BUNDLED = load_card(BUNDLED_MODEL)


def with_counts(count: int, linear: int | None = None) -> ModelCard:
    """Return the bundled card with the constants of the first cues only."""
    entry: dict[str, Any] = as_card_entry(confidence_calibration_of(BUNDLED, "fast"))
    cut = {name: value if name == "bias" else value[:count] for name, value in entry.items()}
    cut["products"] = entry["products"][: math.comb(count, 2)]
    cut["linear"] = entry["linear"][: count if linear is None else linear]
    return dataclasses.replace(BUNDLED, confidence={"fast": cut})


def test_the_bundled_card_has_numbers_for_every_cue_and_quality() -> None:
    for quality in QUALITIES:
        assert len(confidence_calibration_of(BUNDLED, quality).linear) == len(CUES)


@pytest.mark.parametrize("count", [5, 6])
def test_a_card_from_before_a_cue_was_added_is_read_and_ignores_it(count: int) -> None:
    calibration = confidence_calibration_of(with_counts(count), "fast")
    cues = [np.zeros((2, 3), np.float32) for _ in CUES]
    before = calibration.probability(cues)
    for cue in cues[count:]:
        cue += 3
    np.testing.assert_array_equal(calibration.probability(cues), before)


@pytest.mark.parametrize(("count", "linear"), [(4, 4), (0, 0), (6, 5), (5, 6)])
def test_a_wrong_count_is_refused(count: int, linear: int) -> None:
    with pytest.raises(ModelError, match=rf"the same count of 5 to {len(CUES)} numbers.*; run calibrate_conf"):
        confidence_calibration_of(with_counts(count, linear), "fast")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bias": math.inf}, "not finite"),
        ({"mean": [math.nan] * 6}, "not finite"),
        ({"deviation": [1.0] * 5 + [0.0]}, "deviation is not above 0"),
        ({"low": [1e9] * 6}, "low is above that of high"),
        ({"products": [math.inf] * 15}, "not finite"),
        ({"products": [0.0] * 14}, "products needs 15 numbers"),
    ],
)
def test_numbers_that_give_no_probability_are_refused(change: dict[str, Any], problem: str) -> None:
    """With an infinite bias the confidence would be 1 everywhere."""
    card = with_counts(6)
    card.confidence["fast"].update(change)
    with pytest.raises(ModelError, match=problem):
        confidence_calibration_of(card, "fast")


def test_a_card_without_products_is_read_as_with_zeros() -> None:
    card, other = with_counts(6), with_counts(6)
    del card.confidence["fast"]["products"]
    other.confidence["fast"]["products"] = [0.0] * 15
    cues = list(np.random.default_rng(0).normal(size=(len(CUES), 2, 3)).astype(np.float32))
    without, zeros = (confidence_calibration_of(each, "fast").probability(cues) for each in (card, other))
    np.testing.assert_array_equal(without, zeros)


def test_a_quality_without_numbers_is_named() -> None:
    with pytest.raises(ModelError, match=r"confidence\.best.*run calibrate_confidence\.py"):
        confidence_calibration_of(with_counts(6), "best")
