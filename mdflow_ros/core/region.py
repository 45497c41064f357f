# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A part of an image."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Region(NamedTuple):
    """A rectangle in an image, pixels; ``x`` and ``y`` are its top left corner."""

    x: int
    y: int
    width: int
    height: int


def crop(image: NDArray[Any], region: Region) -> NDArray[Any]:
    """Return the part of an image ``(H, W, ...)``.

    Raises:
        ValueError: the region is not within the image.
    """
    height, width = image.shape[:2]
    if region.x + region.width > width or region.y + region.height > height:
        raise ValueError(
            f"the region of {region.width}x{region.height} pixels at x {region.x}, y {region.y} is not within the "
            f"image of {width}x{height}: change the parameter region"
        )
    return np.ascontiguousarray(part_of(image, region))


def part_of(image: NDArray[Any], region: Region) -> NDArray[Any]:
    """Return a view of the part of an image ``(H, W, ...)`` within the region; it may be smaller than the region."""
    return image[region.y : region.y + region.height, region.x : region.x + region.width]
