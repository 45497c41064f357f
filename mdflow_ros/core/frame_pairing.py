# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide which two frames make a pair, and when pairs have to start over."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

NANOSECONDS = 1_000_000_000


class ResetReason(Enum):
    """Why a frame starts over instead of completing a pair."""

    FIRST_FRAME = "first_frame"
    ZERO_STAMP = "zero_stamp"
    EQUAL_STAMP = "equal_stamp"
    STAMP_WENT_BACK = "stamp_went_back"
    GAP = "gap"
    SIZE_CHANGED = "size_changed"
    ENCODING_CHANGED = "encoding_changed"
    FRAME_ID_CHANGED = "frame_id_changed"


@dataclass(frozen=True)
class Frame:
    """A camera frame.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        stamp: time of acquisition, in nanoseconds; 0 means that the camera gave none.
        frame_id: the camera's frame.
        encoding: the encoding that the image came in.
    """

    image: NDArray[np.uint8]
    stamp: int
    frame_id: str
    encoding: str


class FramePairer:
    """Pairs each frame with the one before it, unless the two do not belong together.

    Args:
        max_frame_gap: longest time between the frames of a pair, in seconds. May be set at any time.
    """

    def __init__(self, max_frame_gap: float) -> None:
        self.max_frame_gap = max_frame_gap
        self.resets: Counter[ResetReason] = Counter()
        self._previous: Frame | None = None

    def push(self, frame: Frame) -> Frame | None:
        """Take the next frame and return its predecessor, or ``None`` if pairs start over with it.

        Every ``None`` is counted in `resets`.
        """
        previous, self._previous = self._previous, frame
        reason = self._reason_to_start_over(previous, frame)
        if reason is None:
            return previous
        self.resets[reason] += 1
        return None

    def start_over(self) -> None:
        """Forget the last frame: the next one is a first frame."""
        self._previous = None

    def _reason_to_start_over(self, previous: Frame | None, frame: Frame) -> ResetReason | None:
        if frame.stamp == 0:
            return ResetReason.ZERO_STAMP
        if previous is None or previous.stamp == 0:
            return ResetReason.FIRST_FRAME
        if frame.frame_id != previous.frame_id:
            return ResetReason.FRAME_ID_CHANGED
        if frame.encoding != previous.encoding:
            return ResetReason.ENCODING_CHANGED
        if frame.image.shape != previous.image.shape:
            return ResetReason.SIZE_CHANGED
        if frame.stamp == previous.stamp:
            return ResetReason.EQUAL_STAMP
        if frame.stamp < previous.stamp:
            return ResetReason.STAMP_WENT_BACK
        if frame.stamp - previous.stamp > self.max_frame_gap * NANOSECONDS:
            return ResetReason.GAP
        return None
