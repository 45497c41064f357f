# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Select the frames of a recording that are useful for training.

Most tests use a thumbnail of block means (96 columns, gray, 0 to 255): averaging removes sensor noise, but the motion
of edges remains visible.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.frames.block_motion import estimate_block_motion

THUMBNAIL_WIDTH = 96
SHARPNESS_WIDTH = 320

DARK, BRIGHT, BADLY_EXPOSED_SHARE = 12.0, 248.0, 0.9
"""A frame is too dark or too bright if at least this share of its pixels is below or above these gray values."""

MIN_CONTRAST = 1.0
"""Thumbnails with a standard deviation below this, in intensity levels, show fog, a close wall, or a lens cap."""

DUPLICATE_CHANGE = 0.25
"""Thumbnails that differ by less, in intensity levels, are duplicates: re-sent frames are
equal, re-encoded ones nearly equal."""

MIN_MOVING_SHARE, MIN_MOTION, MIN_EXPLAINED, SAME_VIEW_CORRELATION = 0.05, 0.25, 0.15, 0.5
"""A scene is static if the view is the same and fewer than the share `MIN_MOVING_SHARE` of its blocks have moved. A
block has moved if a motion of more than `MIN_MOTION` pixels explains more than the share `MIN_EXPLAINED` of its change.
Measured on 640x360 frames: white and grainy noise of up to 20 intensity levels, JPEG of quality 50, and changes of
brightness count as static; a shift by 0.25 pixels in noise of 10 intensity levels does not."""

MIN_CORRELATION, MIN_COMMON_COLORS, COLOR_LEVELS = 0.3, 0.8, 8
"""The view has changed abruptly, as between two shots of an edited video, if the brightness does not correlate and the
colors do not agree. Fast motion over a floor changes only the brightness pattern; a light that is switched on changes
only the colors."""

BLUR_RATIO, BLUR_NEIGHBORS = 0.3, 15
"""A frame is blurred if its sharpness is below this share of the median of this many neighbors on each side. Motion
blur over 2 % of the image width reduces the sharpness of a textured scene to a third."""


class FrameVerdict(IntEnum):
    """Whether a frame was kept, or why it was dropped."""

    KEPT = 0
    UNDECODABLE = 1
    STAMP_SEEN_BEFORE = 2
    TOO_DARK = 3
    TOO_BRIGHT = 4
    NO_CONTRAST = 5
    DUPLICATE = 6
    STATIC = 7
    BLURRED = 8
    THINNED_OUT = 9

    @property
    def label(self) -> str:
        """The verdict's name in summaries and file names."""
        return self.name.lower().replace("_", " ")


class FrameFilter:
    """Classifies frames one by one, compared with the previous frame and the last kept frame.

    Args:
        exposure: drop frames that are black, white, or without contrast.
        duplicate: drop frames that repeat the previous one.
        static: drop frames without motion since the last kept one; slow motion accumulates until it is detected.

    Attributes:
        view_changed: whether the view changed abruptly between the last two kept frames.
    """

    def __init__(self, exposure: bool = True, duplicate: bool = True, static: bool = True) -> None:
        self._exposure, self._duplicate, self._static = exposure, duplicate, static
        self._before: NDArray[np.float32] | None = None
        self._kept: NDArray[np.float32] | None = None
        self._kept_colors: NDArray[np.float32] | None = None
        self.view_changed = False

    def classify(self, image: NDArray[np.uint8]) -> FrameVerdict:
        """Decide whether to keep the next image, ``(H, W, 3)`` uint8 RGB, and remember it."""
        thumbnail = _gray(image, THUMBNAIL_WIDTH)
        verdict = self._verdict(thumbnail, image.shape[1] / THUMBNAIL_WIDTH)
        self._before = thumbnail
        if verdict is FrameVerdict.KEPT:
            colors = _colors(image)
            self.view_changed = self._differs_from_kept(thumbnail, colors)
            self._kept, self._kept_colors = thumbnail, colors
        return verdict

    def _differs_from_kept(self, thumbnail: NDArray[np.float32], colors: NDArray[np.float32]) -> bool:
        if self._kept_colors is None or not _same_size(self._kept, thumbnail):
            return False
        correlation = np.corrcoef(self._kept.ravel(), thumbnail.ravel())[0, 1]
        common = np.minimum(self._kept_colors, colors).sum()
        return bool(correlation < MIN_CORRELATION and common < MIN_COMMON_COLORS)

    def _verdict(self, thumbnail: NDArray[np.float32], scale: float) -> FrameVerdict:
        if self._exposure:
            exposure = classify_exposure(thumbnail)
            if exposure is not FrameVerdict.KEPT:
                return exposure
        if self._duplicate and _same_size(self._before, thumbnail) and is_duplicate(self._before, thumbnail):
            return FrameVerdict.DUPLICATE
        if self._static and _same_size(self._kept, thumbnail) and is_static(self._kept, thumbnail, scale):
            return FrameVerdict.STATIC
        return FrameVerdict.KEPT


def classify_exposure(thumbnail: NDArray[np.float32]) -> FrameVerdict:
    """Return TOO_DARK, TOO_BRIGHT, NO_CONTRAST or KEPT for a thumbnail, 0 to 255."""
    if np.mean(thumbnail < DARK) > BADLY_EXPOSED_SHARE:
        return FrameVerdict.TOO_DARK
    if np.mean(thumbnail > BRIGHT) > BADLY_EXPOSED_SHARE:
        return FrameVerdict.TOO_BRIGHT
    return FrameVerdict.NO_CONTRAST if thumbnail.std() < MIN_CONTRAST else FrameVerdict.KEPT


def is_duplicate(before: NDArray[np.float32], thumbnail: NDArray[np.float32]) -> bool:
    """Return whether two thumbnails of the same size show the same image."""
    return bool(np.abs(thumbnail - before).max() < DUPLICATE_CHANGE)


def is_static(before: NDArray[np.float32], thumbnail: NDArray[np.float32], scale: float) -> bool:
    """Return whether two thumbnails differ only by noise, compression and exposure, not by motion.

    Args:
        before: thumbnail of an earlier frame.
        thumbnail: thumbnail of the later frame, same size.
        scale: image pixels per thumbnail pixel.
    """
    if np.corrcoef(before.ravel(), thumbnail.ravel())[0, 1] < SAME_VIEW_CORRELATION:
        return False  # motion too large for the blocks' linear fit
    motion, explained = estimate_block_motion(before, thumbnail)
    moving = (scale * motion > MIN_MOTION) & (explained > MIN_EXPLAINED)
    return bool(moving.sum() < MIN_MOVING_SHARE * moving.size)


def measure_sharpness(image: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of an image ``(H, W, 3)`` at a width of 320 pixels (Pech-Pacheco 2000).

    It is relative to the variance of the image, because a change of light must not look like a change of sharpness.
    """
    gray = _gray(image, SHARPNESS_WIDTH)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var() / (gray.var() + 1))


def find_blurred(sharpness: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which frames of a sequence are blurred.

    Sharpness depends on the scene and the lens, so each frame is compared with the median of its neighbors in time. A
    camera that is always out of focus loses no frames.

    Args:
        sharpness: `measure_sharpness` of N frames in the order of time, ``(N,)``.

    Returns:
        ``(N,)``, True where blurred.
    """
    if sharpness.size == 0:
        return np.zeros(0, bool)
    padded = np.pad(sharpness.astype(np.float64), BLUR_NEIGHBORS, constant_values=np.nan)
    neighbors = np.lib.stride_tricks.sliding_window_view(padded, 2 * BLUR_NEIGHBORS + 1)
    return sharpness < BLUR_RATIO * np.nanmedian(neighbors, axis=1)


def _gray(image: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
    """Return block means: gray, float, ``width`` columns."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _colors(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a coarse color histogram, ``(8, 8, 8)``: the share of the pixels in each cell."""
    histogram = cv2.calcHist([image], [0, 1, 2], None, [COLOR_LEVELS] * 3, [0, 256] * 3)
    return np.asarray(histogram / histogram.sum(), np.float32)


def _same_size(before: NDArray[np.float32] | None, now: NDArray[np.float32]) -> TypeGuard[NDArray[np.float32]]:
    return before is not None and before.shape == now.shape
