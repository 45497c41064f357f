# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The latest values of a stream of stamped messages."""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")


class TimedValues(Generic[Value]):
    """Values in the order of time; those from before a jump back in time are forgotten.

    Args:
        length: values that are kept; the oldest are dropped.

    Attributes:
        stamps: rising, nanoseconds.
        values: one for each stamp.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self.stamps: list[int] = []
        self.values: list[Value] = []

    def add(self, stamp: int, value: Value) -> None:
        """Add a value; one with the last one's stamp is ignored.

        Args:
            stamp: nanoseconds.
            value: at that time.
        """
        if self.stamps and stamp <= self.stamps[-1]:
            if stamp == self.stamps[-1]:
                return
            self.stamps.clear()
            self.values.clear()
        self.stamps.append(stamp)
        self.values.append(value)
        if len(self.stamps) > self._length:
            del self.stamps[0], self.values[0]
