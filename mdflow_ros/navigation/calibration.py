# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The bundled model's confidence as the probability that its flow is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = (
    0.001,
    0.023,
    0.096,
    0.139,
    0.173,
    0.204,
    0.234,
    0.266,
    0.3,
    0.338,
    0.384,
    0.439,
    0.509,
    0.601,
    0.713,
    0.854,
)
PROBABILITY = (
    0.286,
    0.55,
    0.833,
    0.913,
    0.944,
    0.956,
    0.967,
    0.971,
    0.974,
    0.975,
    0.978,
    0.98,
    0.982,
    0.986,
    0.99,
    0.993,
)
"""Reliability curve, printed by `python benchmarks/navigation.py --calibrate`. Replace both by (0, 1) once the model's
confidence is this probability itself; a test tells when they no longer fit."""


def probability(confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability that the flow is right within 1 pixel or 5 % of its length, for each confidence."""
    return np.interp(confidence, CONFIDENCE, PROBABILITY).astype(np.float32)
