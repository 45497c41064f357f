# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Keep the latest values of a stream of stamped messages."""

from __future__ import annotations

import bisect
from typing import Generic, TypeVar

import numpy as np

Value = TypeVar("Value")

MAX_LATE = 1_000_000_000
"""A value that is older than the last one by at most this, nanoseconds, is late; otherwise time has jumped back."""

MIN_GAP, MAX_GAP = 100_000_000, 1_000_000_000
MAX_PERIODS = 5
"""There is a gap between neighbors that are further apart than this many median periods. The limit is at least
`MIN_GAP` and at most `MAX_GAP`, nanoseconds, because with few values the gap itself may be the median period."""


class TimedValues(Generic[Value]):
    """Values in the order of time. Late values are ignored; after a jump back in time, earlier values are dropped.

    Args:
        length: maximum number of values; the oldest are dropped.

    Attributes:
        stamps: in ascending order, nanoseconds.
        values: one for each stamp.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self.stamps: list[int] = []
        self.values: list[Value] = []

    def add(self, stamp: int, value: Value) -> None:
        """Add a value; one that is not newer than the last one is ignored, unless time has jumped back.

        Args:
            stamp: nanoseconds.
            value: at that time.
        """
        if self.stamps and stamp <= self.stamps[-1]:
            if self.stamps[-1] - stamp <= MAX_LATE:
                return
            self.stamps.clear()
            self.values.clear()
        self.stamps.append(stamp)
        self.values.append(value)
        if len(self.stamps) > self._length:
            del self.stamps[0], self.values[0]

    def is_late(self, stamp: int) -> bool:
        """Return whether a value for ``stamp``, nanoseconds, may still arrive: the newest one is shortly before it."""
        return bool(self.stamps) and 0 < stamp - self.stamps[-1] <= MAX_LATE

    def covers(self, first: int, last: int) -> bool:
        """Return whether the values cover the time from ``first`` to ``last``, nanoseconds, without a gap."""
        if not self.stamps or not self.stamps[0] <= first <= last <= self.stamps[-1]:
            return False
        around = self.stamps[bisect.bisect_right(self.stamps, first) - 1 : bisect.bisect_left(self.stamps, last) + 1]
        if len(around) < 2:
            return True
        longest = float(np.diff(around).max())
        return longest <= max(MIN_GAP, min(MAX_GAP, MAX_PERIODS * float(np.median(np.diff(self.stamps)))))
