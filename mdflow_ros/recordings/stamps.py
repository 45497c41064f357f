# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The clock of a recording, header stamps or times of recording, and the order of frames by it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.recordings.frame import RecordedFrame

MIN_FRAMES = 4
"""Fewest frames needed to judge the stamps; with fewer, only stamps that are all zero are rejected."""

MAX_DISORDER = 0.2
"""With a larger share of steps that repeat or go back, the stamps cannot be used. A looping bag goes back once."""

MAX_RATIO = 30.0
"""Stamps that run faster or slower than the recording by more than this factor are of another unit. In a
simulation, or in a bag that was recorded again while it was played, they are sometimes ten times slower or faster."""

SHORTEST_INTERVAL = 200_000
"""No camera takes images at shorter intervals, in ns: such times of recording are numbers, or of another unit."""

MAX_DELAY = 500_000_000
"""Messages whose stamps are further apart than this, in ns, have not merely overtaken each other."""


def why_not_trusted(stamps: NDArray[np.int64], times: NDArray[np.int64]) -> str | None:
    """Return why the stamps of a recording cannot be trusted, or ``None`` if they can.

    Stamps of another clock, such as the time since the camera was switched on, are fine: only differences are used.

    Args:
        stamps: ``(N,)`` stamps of the headers in ns, in the order of recording.
        times: ``(N,)`` when each was recorded, ns.
    """
    if stamps.size and not stamps.any():
        return "have no time stamp"
    if stamps.size < MIN_FRAMES:
        return None
    steps, recorded = np.diff(stamps), np.diff(times)
    if not steps.any():
        return "have one and the same stamp"
    if not (np.median(recorded) > 0):  # recorded in one go, by a converter: no better clock than the stamps
        return None
    if np.mean(steps <= 0) > MAX_DISORDER:
        return "have stamps that repeat or go back"
    ratio = float(np.median(steps) / np.median(recorded))
    if np.median(recorded) < SHORTEST_INTERVAL <= np.median(steps):
        return None
    if not 1 / MAX_RATIO < ratio < MAX_RATIO and _steady(recorded):  # bursts make single steps meaningless
        return f"have stamps that pass {ratio:.3g} times as fast as the time of recording"
    return None


class ReorderBuffer:
    """Puts frames that overtook one another on their way into the order of their stamps.

    Attributes:
        moved: frames that came after one with a later stamp.
    """

    def __init__(self) -> None:
        self.moved = 0
        self._waiting: list[RecordedFrame] = []

    def add(self, frame: RecordedFrame) -> Iterator[RecordedFrame]:
        """Take the next frame; yield those that no later one can precede any more."""
        last = self._waiting[-1] if self._waiting else frame
        if frame.bag != last.bag or abs(frame.stamp - last.stamp) > MAX_DELAY:  # a pause, or the bag looped
            yield from self.flush()
        place = bisect.bisect_right(self._waiting, frame.stamp, key=lambda waiting: waiting.stamp)
        self.moved += place < len(self._waiting)
        self._waiting.insert(place, frame)
        while self._waiting[-1].stamp - self._waiting[0].stamp > MAX_DELAY:
            yield self._waiting.pop(0)

    def flush(self) -> Iterator[RecordedFrame]:
        """Yield the frames that still wait."""
        waiting, self._waiting = self._waiting, []
        yield from waiting


def _steady(steps: NDArray[np.int64]) -> bool:
    median = np.median(steps)
    return bool(np.mean(np.abs(steps - median) <= 0.5 * median) > 0.5)
