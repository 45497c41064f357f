# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of static points, by triangulation between two images of one moving camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.epipolar import normalized_residual, parallax, refine, variance
from mdflow_ros.navigation.matches import Matches
from mdflow_ros.navigation.regions import moving_regions
from mdflow_ros.navigation.rigid_motion import CameraMotion


@dataclass(frozen=True)
class DepthLimits:
    """Limits for the points that are kept.

    Attributes:
        min_confidence: minimum probability that the flow is right.
        min_depth: minimum depth of a static point, meters.
        max_depth: maximum depth, meters.
        max_relative_sigma: maximum standard deviation of the depth, as a fraction of it.
        max_residual: maximum normalized residual of a static point, in standard deviations.
        refine: whether to correct the measured motion by the flow first.

    Raises:
        ValueError: ``min_depth`` is not below ``max_depth``.
    """

    min_confidence: float = 0.5
    min_depth: float = 0.3
    max_depth: float = 20.0
    max_relative_sigma: float = 0.15
    max_residual: float = 2.5
    refine: bool = True

    def __post_init__(self) -> None:
        if not self.min_depth < self.max_depth:
            raise ValueError(
                f"min_depth, {self.min_depth:g}, must be less than max_depth, {self.max_depth:g}: no depth is in range"
            )


@dataclass(frozen=True, eq=False)
class DepthEstimate:
    """Depth of each match, in the newer camera.

    Attributes:
        depth: ``(H, W)`` float32, meters along the optical axis; NaN where it is unknown.
        sigma: ``(H, W)`` float32, its standard deviation, meters.
        points: ``(H, W, 3)`` float32, meters, x right, y down, z forward.
        motion: of the camera, corrected by the flow if `DepthLimits.refine` is set.
    """

    depth: NDArray[np.float32]
    sigma: NDArray[np.float32]
    points: NDArray[np.float32]
    motion: CameraMotion


def depth_from_motion(matches: Matches, motion: CameraMotion, limits: DepthLimits) -> DepthEstimate:
    """Triangulate ``matches``.

    The depth is ``reach / along`` (see `mdflow_ros.navigation.epipolar`). Its variance is propagated to first order
    from the variances of the flow and of the motion.

    Args:
        matches: of the flow.
        motion: measured motion of the camera.
        limits: for the points to keep.
    """
    if limits.refine:
        motion = refine(matches.confident(limits.min_confidence), motion, limits.min_depth)
    displacement = parallax(matches, motion, limits.min_depth)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = displacement.reach / displacement.along
        of_motion = variance(displacement.depth_change(), motion.covariance.astype(np.float32))
        relative = np.sqrt((matches.sigma / displacement.along) ** 2 + of_motion)
        good = (displacement.along > 0) & matches.usable(limits.min_confidence)
        good &= (depth >= limits.min_depth) & (depth <= limits.max_depth)
        residual = normalized_residual(displacement)
        good &= (relative <= limits.max_relative_sigma) & (residual <= limits.max_residual)
    # A pixel that moves along its epipolar line looks static, but its neighbors do not.
    confidence = np.where(np.isfinite(residual), matches.confidence, np.float32(0))
    residual = np.nan_to_num(residual)
    good &= moving_regions(residual, confidence, matches.stride, limits.max_residual, limits.min_confidence) == 0
    depth = np.where(good, depth, np.float32(np.nan)).astype(np.float32)
    # Use only the displacement along the line, because the part across it is noise.
    (x, y), (right, down), along = displacement.infinity, displacement.unit, displacement.along
    points = np.stack(((x + along * right) * depth, (y + along * down) * depth, depth), axis=-1)
    return DepthEstimate(depth, (relative * depth).astype(np.float32), points.astype(np.float32), motion)


def depth_image(points: NDArray[np.float32], intrinsics: NDArray[np.float64], size: Size) -> NDArray[np.float32]:
    """Return a depth image ``(H, W)`` in meters, with the nearest point of each pixel, and NaN without points.

    Args:
        points: ``(N, 3)`` in the camera, z > 0.
        intrinsics: ``(3, 3)`` of a camera without distortion, pixels.
        size: width and height.
    """
    width, height = size
    z = points[:, 2]
    column = np.rint(points[:, 0] / z * np.float32(intrinsics[0, 0]) + np.float32(intrinsics[0, 2])).astype(int)
    row = np.rint(points[:, 1] / z * np.float32(intrinsics[1, 1]) + np.float32(intrinsics[1, 2])).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    farthest_first = np.argsort(-z[inside])
    image = np.full(size[::-1], np.nan, np.float32)
    image[row[inside][farthest_first], column[inside][farthest_first]] = z[inside][farthest_first]
    return image
