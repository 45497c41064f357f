# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Image sides that every network accepts: multiples of 64, at least 128."""

from __future__ import annotations

from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_training.settings.adaptation import MIN_SIDE


def nearest_side(side: float) -> int:
    """Return the accepted side nearest to ``side``, in pixels."""
    return max(MIN_SIDE, SIZE_MULTIPLE * round(side / SIZE_MULTIPLE))


def side_within(side: float) -> int:
    """Return the largest accepted side up to ``side``, in pixels; 128 if there is none."""
    return max(MIN_SIDE, int(side) // SIZE_MULTIPLE * SIZE_MULTIPLE)
