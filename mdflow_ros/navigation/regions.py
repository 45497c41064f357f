# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Group moving pixels into regions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

VOTING_SIDE = 14
"""Side of the voting window in pixels: flow errors at smaller distances are correlated."""

GROWTH_SHARE = 0.7
"""Near pixels that certainly move, this share of ``min_residual`` suffices."""

GROWTH_SIDE = 82
"""Side in pixels of the window around certain motion into which a region may grow."""

GAP = 42
"""Gaps in a region that are narrower than this, in pixels, are closed: the parts of an object that move along the
epipolar line look static."""


def moving_regions(
    residual: NDArray[np.float32],
    confidence: NDArray[np.float32],
    stride: int,
    min_residual: float,
    min_confidence: float,
) -> NDArray[np.uint8]:
    """Return 1 where something moves, 0 elsewhere ``(H, W)``.

    Regions grow from pixels that certainly move to weaker evidence around them (hysteresis), because the flow is least
    certain at the borders of objects.

    Args:
        residual: ``(H, W)``, normalized residual: distance from the flow of static points, in standard deviations.
        confidence: ``(H, W)``, of the flow; 0 where it is unknown.
        stride: distance between neighbors of the grid, pixels.
        min_residual: minimum residual of a moving pixel.
        min_confidence: minimum confidence of a pixel that certainly moves.
    """
    voters, around, gap = (_odd(pixels / stride) for pixels in (VOTING_SIDE, GROWTH_SIDE, GAP))
    sure = _majority(residual > min_residual, confidence >= max(min_confidence, 1e-6), voters)
    if not sure.any():
        return sure
    near = np.asarray(cv2.dilate(sure, np.ones((around, around), np.uint8)), np.uint8)
    grown = sure | (_majority(residual > GROWTH_SHARE * min_residual, confidence > 0, voters) & near)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap))
    left, top, width, height = cv2.boundingRect(grown)  # nothing closes outside
    box = grown[top : top + height, left : left + width]
    # The margin keeps the closing from joining a region with the border of the image.
    wide = cv2.copyMakeBorder(box, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)
    box[:] = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)[gap:-gap, gap:-gap]
    return grown


def _odd(length: float) -> int:
    """Return an odd number near ``length``, at least 3."""
    return max(3, round(length) // 2 * 2 + 1)


def _majority(moves: NDArray[np.bool_], known: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """Return 1 where most known pixels in the square around a pixel move, so that isolated outliers do not count."""
    votes = np.where(moves, np.float32(1), np.float32(-1)) * known
    region = (cv2.blur(votes.astype(np.float32), (side, side)) > 0).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(region, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
