# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The confidence calibration of a model: from its card, or from the bundled model's if the card has none."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

from mdflow_ros.core.confidence import CUES, MIN_CUES, ConfidenceCalibration
from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, ModelError, load_card


def confidence_calibration_of(card: ModelCard, quality: str) -> ConfidenceCalibration:
    """Return the calibration for a quality level.

    Raises:
        ModelError: the card's calibration cannot be read.
    """
    calibrations = card.confidence or load_card(BUNDLED_MODEL).confidence
    try:
        return _calibration(calibrations[quality])
    except (TypeError, ValueError, KeyError) as error:
        problem = f"the card's confidence.{quality} is not a calibration: {error!r}"[:250]
        raise ModelError(f"{problem}; run calibrate_confidence.py on the model") from error


def as_card_entry(calibration: ConfidenceCalibration) -> dict[str, Any]:
    """Return a calibration as an entry of `ModelCard.confidence`."""
    return dataclasses.asdict(calibration)


def _calibration(values: Any) -> ConfidenceCalibration:
    vectors = {
        field.name: tuple(float(value) for value in values[field.name])
        for field in dataclasses.fields(ConfidenceCalibration)
        if field.name not in ("bias", "products")
    }
    products = tuple(float(value) for value in values.get("products", ()))
    counts = {len(vector) for vector in vectors.values()}
    if len(counts) != 1 or not MIN_CUES <= max(counts) <= len(CUES):
        raise ValueError(f"each list needs the same count of {MIN_CUES} to {len(CUES)} numbers")
    pairs = math.comb(max(counts), 2)
    if len(products) not in (0, pairs):
        raise ValueError(f"products needs {pairs} numbers, one for every two cues, or none")
    calibration = ConfidenceCalibration(**vectors, bias=float(values["bias"]), products=products)
    if not all(map(math.isfinite, (calibration.bias, *products, *itertools.chain(*vectors.values())))):
        raise ValueError("a number is not finite")
    if min(calibration.deviation) <= 0:
        raise ValueError("a deviation is not above 0")
    if any(low > high for low, high in zip(calibration.low, calibration.high, strict=True)):
        raise ValueError("a number of low is above that of high")
    return calibration
