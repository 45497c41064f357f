# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Random numbers from which scenes are drawn."""

from __future__ import annotations

import numpy as np


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between ``low`` and ``high``, both above 0, whose logarithm is uniformly distributed."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))
