# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Means, percentiles and rates of the recent past."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np


class Summary(NamedTuple):
    """Rate in values per second, mean and 95th percentile."""

    rate: float
    mean: float
    p95: float


class RollingStatistics:
    """Statistics of the last ``window`` seconds.

    Args:
        window: how long a value counts, in seconds.
    """

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, value: float, now: float) -> None:
        """Add a value seen at ``now``, in seconds of a clock that never goes back."""
        self._samples.append((now, value))
        while self._samples[0][0] < now - self._window:
            self._samples.popleft()

    def summary(self, now: float) -> Summary | None:
        """Return the statistics at ``now``, or ``None`` if nothing was added within the window.

        May run in another thread than `add`.
        """
        samples = [sample for sample in list(self._samples) if sample[0] >= now - self._window]
        if not samples:
            return None
        values = np.array([value for _, value in samples])
        span = samples[-1][0] - samples[0][0]
        rate = (len(samples) - 1) / span if span > 0 else 0.0
        return Summary(rate, float(values.mean()), float(np.percentile(values, 95)))
