# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of a recording are worth training on.

All tests look at block means (a thumbnail of 96 columns, grey, 0 to 255), in which sensor noise is averaged away but
the motion of edges still shows.
"""

from __future__ import annotations

from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

THUMBNAIL_WIDTH = 96
SHARPNESS_WIDTH = 320

# A frame is too dark or too bright if so large a share of it lies below or above these grey values.
DARK, BRIGHT, BADLY_EXPOSED_SHARE = 12.0, 248.0, 0.9
# A standard deviation below this is fog, a wall at arm's length, or a lens cap.
LEAST_CONTRAST = 2.0
# Re-sent frames differ by nothing, re-encoded ones by rounding.
DUPLICATE_CHANGE = 0.25
# The 99th percentile of change that JPEG artefacts and the noise of a resting camera cause. Noise has a fixed ratio
# of percentiles (99th to median: 3.8 for a normal distribution), so that the median tells how much of it there is,
# up to a limit above which it must be texture that moves.
STATIC_CHANGE, NOISE_RATIO, MOST_NOISE_CHANGE = 2.5, 5.0, 8.0
# Motion blur over 2 % of the image width takes the sharpness of a textured scene to a third.
BLUR_RATIO, BLUR_NEIGHBOURS = 0.3, 15


class Verdict(IntEnum):
    """What became of a frame."""

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
        """The words for it in summaries and file names."""
        return self.name.lower().replace("_", " ")


class FrameFilter:
    """Judges frames one after the other, against the one before and against the last that was kept.

    Args:
        exposure: drop frames that are black, white, or without contrast.
        duplicate: drop frames that repeat the one before.
        static: drop frames in which nothing has moved since the last kept one. Slow motion adds up until it shows.
    """

    def __init__(self, exposure: bool = True, duplicate: bool = True, static: bool = True) -> None:
        self._exposure, self._duplicate, self._static = exposure, duplicate, static
        self._before: NDArray[np.float32] | None = None
        self._kept: NDArray[np.float32] | None = None

    def judge(self, image: NDArray[np.uint8]) -> Verdict:
        """Judge an HxWx3 RGB image and remember it."""
        thumbnail = _grey(image, THUMBNAIL_WIDTH)
        verdict = self._verdict(thumbnail)
        self._before = thumbnail
        if verdict is Verdict.KEPT:
            self._kept = thumbnail
        return verdict

    def _verdict(self, thumbnail: NDArray[np.float32]) -> Verdict:
        if self._exposure:
            exposure = judge_exposure(thumbnail)
            if exposure is not Verdict.KEPT:
                return exposure
        if self._duplicate and _change(self._before, thumbnail, 100) < DUPLICATE_CHANGE:
            return Verdict.DUPLICATE
        if self._static and is_static(self._kept, thumbnail):
            return Verdict.STATIC
        return Verdict.KEPT


def judge_exposure(thumbnail: NDArray[np.float32]) -> Verdict:
    """Return TOO_DARK, TOO_BRIGHT, NO_CONTRAST or KEPT for block means of 0 to 255."""
    if np.mean(thumbnail < DARK) > BADLY_EXPOSED_SHARE:
        return Verdict.TOO_DARK
    if np.mean(thumbnail > BRIGHT) > BADLY_EXPOSED_SHARE:
        return Verdict.TOO_BRIGHT
    return Verdict.NO_CONTRAST if thumbnail.std() < LEAST_CONTRAST else Verdict.KEPT


def is_static(before: NDArray[np.float32] | None, thumbnail: NDArray[np.float32]) -> bool:
    """Tell whether block means differ by no more than noise and compression make them differ."""
    noise = NOISE_RATIO * _change(before, thumbnail, 50)
    return _change(before, thumbnail, 99) < np.clip(noise, STATIC_CHANGE, MOST_NOISE_CHANGE)


def measure_sharpness(image: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of an HxWx3 image at a width of 320 pixels (Pech-Pacheco 2000)."""
    return float(cv2.Laplacian(_grey(image, SHARPNESS_WIDTH), cv2.CV_32F).var())


def find_blurred(sharpness: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which frames of a stretch are blurred.

    Sharpness depends on the scene and the lens, so that each frame is compared with the median of its neighbours in
    time. A camera that is out of focus throughout loses none.

    Args:
        sharpness: `measure_sharpness` of N frames in the order of time.

    Returns:
        N flags.
    """
    if sharpness.size == 0:
        return np.zeros(0, bool)
    padded = np.pad(sharpness.astype(np.float64), BLUR_NEIGHBOURS, constant_values=np.nan)
    neighbours = np.lib.stride_tricks.sliding_window_view(padded, 2 * BLUR_NEIGHBOURS + 1)
    return sharpness < BLUR_RATIO * np.nanmedian(neighbours, axis=1)


def _grey(image: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
    """Return block means: grey, float, ``width`` columns."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _change(before: NDArray[np.float32] | None, now: NDArray[np.float32], percentile: float) -> float:
    """Return a percentile of the absolute change that is not a change of brightness as a whole; inf without before."""
    if before is None or before.shape != now.shape:
        return float("inf")
    difference = now - before
    return float(np.percentile(np.abs(difference - np.median(difference)), percentile))
