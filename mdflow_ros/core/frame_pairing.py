# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Decide which two frames make a pair."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size
from mdflow_ros.core.stamps import NANOSECONDS


class ResetReason(Enum):
    """Why a frame starts a new pair instead of completing one."""

    FIRST_FRAME = "first_frame"
    ZERO_STAMP = "zero_stamp"
    EQUAL_STAMP = "equal_stamp"
    STAMP_WENT_BACK = "stamp_went_back"
    GAP = "gap"
    SIZE_CHANGED = "size_changed"
    ENCODING_CHANGED = "encoding_changed"
    FRAME_ID_CHANGED = "frame_id_changed"
    INTENSITY_RANGE_CHANGED = "intensity_range_changed"
    CALIBRATION_CHANGED = "calibration_changed"

    @property
    def advice(self) -> str:
        """What is wrong, and how to fix it, if every image causes a reset for this reason."""
        return _ADVICE[self]


_TWO_CAMERAS = "do two cameras publish on this topic?"
_ADVICE = {
    ResetReason.FIRST_FRAME: "each image is the first one",
    ResetReason.ZERO_STAMP: "header.stamp is zero; the camera driver must fill it",
    ResetReason.EQUAL_STAMP: "header.stamp repeats; the camera driver must stamp each image with its time of capture",
    ResetReason.STAMP_WENT_BACK: f"header.stamp goes back; {_TWO_CAMERAS}",
    ResetReason.GAP: "images are further apart than max_frame_gap; raise max_frame_gap, or max_rate if that is set, or "
    "lower inference_size if inference takes longer than max_frame_gap",
    ResetReason.SIZE_CHANGED: f"the size of the images changes; {_TWO_CAMERAS}",
    ResetReason.ENCODING_CHANGED: f"the encoding of the images changes; {_TWO_CAMERAS}",
    ResetReason.FRAME_ID_CHANGED: f"header.frame_id changes; {_TWO_CAMERAS}",
    ResetReason.INTENSITY_RANGE_CHANGED: "the light changes with each image; set intensity_range to [low, high]",
    ResetReason.CALIBRATION_CHANGED: "R or P of camera_info changes; do two cameras publish on its topic?",
}


@dataclass(frozen=True)
class CameraFrame:
    """A camera frame.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        stamp: time of acquisition in nanoseconds; 0 means that the camera gave none.
        frame_id: the camera's frame.
        encoding: the encoding of the message that held the image.
        range_changes: how many times the range of the conversion to 8 bits has been set, see `IntensityStretch`.
        calibration_changes: how many times R or P of the rectified camera has changed.
        full_size: size of the camera's image if ``image`` is only a part of it, else ``None``.
        valid_mask: ``(H, W)`` bool, where a rectified image shows what the camera saw; ``None`` for everywhere.
    """

    image: NDArray[np.uint8]
    stamp: int
    frame_id: str
    encoding: str
    range_changes: int = 0
    calibration_changes: int = 0
    full_size: Size | None = None
    valid_mask: NDArray[np.bool_] | None = None


class FramePairer:
    """Pairs each frame with the one before it, unless the two do not belong together.

    Args:
        max_frame_gap: longest time between the frames of a pair, in seconds. May be set at any time.

    Attributes:
        resets: number of frames that started a new pair, by reason; every reason has an entry.
        consecutive_resets: number of resets since the last pair.
        last_reason: reason of the last reset.
    """

    def __init__(self, max_frame_gap: float) -> None:
        self.max_frame_gap = max_frame_gap
        # All keys exist from the start, so another thread can iterate while counts change.
        self.resets = dict.fromkeys(ResetReason, 0)
        self.consecutive_resets = 0
        self.last_reason = ResetReason.FIRST_FRAME
        self._previous: CameraFrame | None = None

    def push(self, frame: CameraFrame) -> CameraFrame | None:
        """Take the next frame and return its predecessor, or ``None`` if the frame starts a new pair.

        Every ``None`` is counted in `resets`.
        """
        previous, self._previous = self._previous, frame
        reason = self._reset_reason(previous, frame)
        if reason is None:
            self.consecutive_resets = 0
            return previous
        self.resets[reason] += 1
        self.consecutive_resets += 1
        self.last_reason = reason
        return None

    def reset(self) -> None:
        """Forget the last frame: the next one is a first frame."""
        self._previous = None

    def _reset_reason(self, previous: CameraFrame | None, frame: CameraFrame) -> ResetReason | None:
        if frame.stamp == 0:
            return ResetReason.ZERO_STAMP
        if previous is None or previous.stamp == 0:
            return ResetReason.FIRST_FRAME
        if frame.frame_id != previous.frame_id:
            return ResetReason.FRAME_ID_CHANGED
        if frame.encoding != previous.encoding:
            return ResetReason.ENCODING_CHANGED
        if frame.image.shape != previous.image.shape or frame.full_size != previous.full_size:
            return ResetReason.SIZE_CHANGED
        if frame.range_changes != previous.range_changes:
            return ResetReason.INTENSITY_RANGE_CHANGED
        if frame.calibration_changes != previous.calibration_changes:
            return ResetReason.CALIBRATION_CHANGED
        if frame.stamp == previous.stamp:
            return ResetReason.EQUAL_STAMP
        if frame.stamp < previous.stamp:
            return ResetReason.STAMP_WENT_BACK
        if frame.stamp - previous.stamp > self.max_frame_gap * NANOSECONDS:
            return ResetReason.GAP
        return None
