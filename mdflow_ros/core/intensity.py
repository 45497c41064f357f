# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert images with more than 8 bits to 8 bits, with an intensity range that stays the same from image to image.

Cameras with 10, 12 or 14 bits and thermal cameras use a small part of the 16-bit range, and float images have no fixed
range. The range is found in the images and kept as long as they fit it. Its changes are counted, so that both images of
a pair are always converted in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.region import Region, part_of

IntensityRange = Literal["auto"] | Sequence[float]
"""``auto``, or the intensities that become 0 and 255."""

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
MARGIN = 0.25
"""The range exceeds the percentiles by this share of their distance on both sides, so that it still fits when the light
changes."""

MAX_SATURATED = 0.05
"""If more than this share of the pixels is outside the range, a new range is set."""

MIN_USED = 0.25
"""If the percentiles span less than this share of the range, a new range is set."""

MIN_SPAN = 16.0
"""Intensity levels between the percentiles of an integer image below which it has no contrast."""

MIN_LEVELS = 3
"""If the percentiles of an 8-bit image are fewer levels apart, it shows nothing but noise."""

FULL_RANGE_FROM = 0.5
"""Integer images are taken to use their full range if they reach and span at least this share of it."""

MAX_SAMPLES = 20_000
"""Pixels of each image that are examined."""


class IntensityStretch:
    """Converts images of one camera to 8 bits.

    Args:
        intensity_range: ``auto``, or the intensities that become 0 and 255.
        region: part of the images that ``auto`` looks at; ``None`` for all of it.

    Attributes:
        changes: how often the range was set. Two images make a pair only if both were converted at the same count.

    Raises:
        ValueError: the range is not ``auto`` and not two increasing numbers.
    """

    def __init__(self, intensity_range: IntensityRange = "auto", region: Region | None = None) -> None:
        self._fixed = intensity_range != "auto"
        self._region = region
        self._range: tuple[float, float] | None = None
        self.changes = 0
        if self._fixed:
            self._range = _checked(intensity_range)

    @property
    def range(self) -> tuple[float, float] | None:
        """The intensities that become 0 and 255; ``None`` before the first image."""
        return self._range

    def convert(self, samples: NDArray[Any]) -> NDArray[np.uint8]:
        """Convert an image.

        Args:
            samples: ``(H, W)`` or ``(H, W, C)``, uint8, uint16, int16 or float. uint8 comes back as it is. NaN and
                infinity become 0.

        Returns:
            uint8 of the same shape.
        """
        if samples.dtype == np.uint8:
            return samples
        if not self._fixed:
            self._follow(samples)
        low, high = self._range or (0.0, 1.0)
        scaled = (samples.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
        if samples.dtype.kind == "f":
            scaled = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)

    def _follow(self, samples: NDArray[Any]) -> None:
        """Set the range at the first image, and when an image does not fit it."""
        if self._region is not None:
            samples = part_of(samples, self._region)
        step = max(1, math.ceil((samples.size / MAX_SAMPLES) ** 0.5))
        # A fourth channel is opacity.
        sampled = (samples[..., :3] if samples.ndim == 3 else samples)[::step, ::step].ravel()
        if sampled.dtype.kind == "f":
            sampled = sampled[np.isfinite(sampled)]
        if not sampled.size:
            return
        low, high = (float(value) for value in np.percentile(sampled, (LOW_PERCENTILE, HIGH_PERCENTILE)))
        if self._range is not None:
            outside = float(np.mean((sampled < self._range[0]) | (sampled > self._range[1])))
            without_contrast = high - low < _min_span(samples.dtype, high)
            used = (high - low) / (self._range[1] - self._range[0])
            if outside <= MAX_SATURATED and (used >= MIN_USED or without_contrast):
                return
        self._range = _range_around(low, high, samples.dtype)
        self.changes += 1


def has_contrast(image: NDArray[np.uint8]) -> bool:
    """Return whether an 8-bit image ``(H, W, C)`` shows anything whose motion could be seen."""
    step = max(1, math.ceil((image.size / MAX_SAMPLES) ** 0.5))
    sampled = image[::step, ::step].reshape(-1, image.shape[-1])
    # Channel by channel: one color everywhere shows nothing.
    return any(_spread(sampled[:, channel]) >= MIN_LEVELS for channel in range(sampled.shape[-1]))


def _spread(samples: NDArray[np.uint8]) -> int:
    """Return the levels between the percentiles. A histogram is four times faster than np.percentile."""
    shares = np.cumsum(np.bincount(samples, minlength=256))
    low, high = np.searchsorted(shares, shares[-1] * np.array((LOW_PERCENTILE, HIGH_PERCENTILE)) / 100)
    return int(high - low)


def _range_around(low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the range for an image whose percentiles are given."""
    if dtype.kind in "iu":
        full = float(np.iinfo(dtype).max)
        if high >= FULL_RANGE_FROM * full and low >= 0 and high - low >= FULL_RANGE_FROM * full:
            return 0.0, full
    span = high - low
    if span < _min_span(dtype, high):  # without contrast: noise must not be stretched to a picture
        span = 16 * _min_span(dtype, high)
    center = (low + high) / 2
    return center - (0.5 + MARGIN) * span, center + (0.5 + MARGIN) * span


def _min_span(dtype: np.dtype[Any], high: float) -> float:
    return MIN_SPAN if dtype.kind in "iu" else max(1e-4 * abs(high), 1e-6)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _checked(intensity_range: Sequence[float] | str) -> tuple[float, float]:
    try:
        # The characters of a string and booleans are not intensities.
        low, high = (float(value) if _is_number(value) else np.nan for value in intensity_range)
    except (TypeError, ValueError):
        low = high = np.nan
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"intensity_range must be auto or [low, high] with low < high, not {intensity_range!r}")
    return low, high
