# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide whether header stamps can be trusted, and sort frames by their stamps."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.recordings.frame import RecordedFrame

MIN_FRAMES = 4
"""Fewest frames needed to judge the stamps; with fewer, only stamps that are all zero are rejected."""

MAX_DISORDER = 0.2
"""If a larger share of the stamps repeats or goes back, they cannot be used. A looping bag goes back only once."""

MAX_RATIO = 30.0
"""Stamps that run faster or slower than the recording by more than this factor have another unit. In a simulation, or
in a bag that was recorded while another one was played, they may be ten times slower or faster."""

SHORTEST_INTERVAL = 200_000
"""No camera takes images at shorter intervals, in ns: such times of recording are numbers, or of another unit."""

MAX_DELAY = 500_000_000
"""Messages that arrive out of order have stamps that differ by at most this, in ns."""


def why_not_trusted(stamps: NDArray[np.int64], times: NDArray[np.int64]) -> str | None:
    """Return why the stamps of a recording cannot be trusted, or ``None`` if they can.

    Stamps of another clock, such as the time since the camera was switched on, are fine, because only differences are
    used.

    Args:
        stamps: ``(N,)`` stamps of the headers in ns, in the order of recording.
        times: ``(N,)`` recording times in ns.
    """
    if stamps.size and not stamps.any():
        return "have no time stamp"
    if stamps.size < MIN_FRAMES:
        return None
    steps, recorded = np.diff(stamps), np.diff(times)
    if not steps.any():
        return "have one and the same stamp"
    if not (np.median(recorded) > 0):  # written at once by a converter, so its times are no better than the stamps
        return None
    if np.mean(steps <= 0) > MAX_DISORDER:
        return "have stamps that repeat or go back"
    ratio = float(np.median(steps) / np.median(recorded))
    if np.median(recorded) < SHORTEST_INTERVAL <= np.median(steps):
        return None
    if not 1 / MAX_RATIO < ratio < MAX_RATIO and _steady(recorded):  # bursts make single steps meaningless
        return f"have stamps that run {ratio:.3g} times as fast as the recording time"
    return None


class ReorderBuffer:
    """Sorts frames that arrived out of order by their stamps.

    Attributes:
        moved: number of frames that arrived after a frame with a later stamp.
    """

    def __init__(self) -> None:
        self.moved = 0
        self._waiting: list[RecordedFrame] = []

    def add(self, frame: RecordedFrame) -> Iterator[RecordedFrame]:
        """Take the next frame; yield the frames that no later frame can precede."""
        last = self._waiting[-1] if self._waiting else frame
        if frame.bag != last.bag or abs(frame.stamp - last.stamp) > MAX_DELAY:  # a pause, or the bag looped
            yield from self.flush()
        place = bisect.bisect_right(self._waiting, frame.stamp, key=lambda waiting: waiting.stamp)
        self.moved += place < len(self._waiting)
        self._waiting.insert(place, frame)
        while self._waiting[-1].stamp - self._waiting[0].stamp > MAX_DELAY:
            yield self._waiting.pop(0)

    def flush(self) -> Iterator[RecordedFrame]:
        """Yield the remaining frames."""
        waiting, self._waiting = self._waiting, []
        yield from waiting


def _steady(steps: NDArray[np.int64]) -> bool:
    median = np.median(steps)
    return bool(np.mean(np.abs(steps - median) <= 0.5 * median) > 0.5)
