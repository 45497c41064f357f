# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Distinguish motion from noise between two small gray images, by one step of Lucas and Kanade (1981)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_HEIGHT, BLOCK_WIDTH = 12, 16


def estimate_block_motion(
    before: NDArray[np.float32], now: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit the change in each block of 12x16 pixels as a small displacement: change = -(u dI/dx + v dI/dy).

    The gradient is taken from the mean image, because its noise is uncorrelated with the noise of the change. The fit
    therefore explains only 2/192 of the variance of noise, of any strength and grain, but much more of motion. The
    length is approximate: up to twice too long in fine texture, and too short beyond one pixel.

    Args:
        before: gray values ``(H, W)``.
        now: the later image, same size.

    Returns:
        For each of the N complete blocks: the length of the displacement in pixels, ``(N,)``, and the share of the
        change's variance that it explains, ``(N,)`` in [0, 1].
    """
    mean = (before + now) / 2
    change = _blocks(now - before)
    right, down = (_blocks(cv2.Sobel(mean, cv2.CV_32F, *axis, scale=1 / 8)) for axis in ((1, 0), (0, 1)))
    rr, rd, dd = (right * right).sum(1), (right * down).sum(1), (down * down).sum(1)
    rc, dc = (right * change).sum(1), (down * change).sum(1)
    determinant = np.maximum(rr * dd - rd * rd, 1e-6)
    u, v = -(dd * rc - rd * dc) / determinant, -(rr * dc - rd * rc) / determinant
    explained = -(u * rc + v * dc) / np.maximum((change * change).sum(1), 1e-6)
    return np.hypot(u, v), np.clip(explained, 0, 1)


def _blocks(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return the complete blocks of an image, ``(N, 192)``, minus the mean of each; in a low strip they are lower."""
    height = min(BLOCK_HEIGHT, image.shape[0])
    rows, columns = image.shape[0] // height, image.shape[1] // BLOCK_WIDTH
    cropped = image[: rows * height, : columns * BLOCK_WIDTH]
    blocks = cropped.reshape(rows, height, columns, BLOCK_WIDTH).swapaxes(1, 2).reshape(rows * columns, -1)
    return blocks - blocks.mean(axis=1, keepdims=True)
