# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Find moving objects: connected regions of flow that the camera's own motion does not explain."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.epipolar import normalized_residual, parallax, refine
from mdflow_ros.navigation.matches import Matches, with_shared_errors
from mdflow_ros.navigation.regions import moving_regions
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion
from mdflow_ros.navigation.self_motion import self_motion


@dataclass(frozen=True)
class MovingLimits:
    """Limits for moving objects.

    Attributes:
        min_confidence: minimum probability that the flow is right.
        min_residual: minimum normalized residual of a moving point, in standard deviations.
        min_area: minimum area of an object, as a share of the view.
    """

    min_confidence: float = 0.5
    min_residual: float = 3.0
    min_area: float = 0.002


@dataclass(frozen=True)
class MovingObject:
    """A moving region of the newer image.

    Attributes:
        left: of its box, pixels.
        top: of its box, pixels.
        width: of its box, pixels.
        height: of its box, pixels.
        score: mean confidence of its flow, in [0, 1].
    """

    left: int
    top: int
    width: int
    height: int
    score: float


def static_residual(
    matches: Matches, motion: CameraMotion | None, min_depth: float, min_confidence: float
) -> NDArray[np.float32] | None:
    """Return the normalized residual of each match ``(H, W)``: its distance from the flow of static points.

    It is in standard deviations.

    Args:
        matches: of the flow.
        motion: measured motion of the camera, which the flow corrects; ``None`` to estimate it from the flow.
        min_depth: with a measured motion, minimum depth of a static point, meters.
        min_confidence: matches below it are not used to estimate or correct the motion.

    Returns:
        The residuals, or ``None`` if no motion explains half of the confident flow.
    """
    if motion is not None:
        refined = refine(matches.confident(min_confidence), motion, min_depth)
        return normalized_residual(parallax(with_shared_errors(matches), refined, min_depth))
    found = self_motion(matches, min_confidence)
    return None if found is None else found.residual(matches)


def moving_objects(
    matches: Matches, residual: NDArray[np.float32], size: Size, limits: MovingLimits
) -> tuple[NDArray[np.uint8], list[MovingObject]]:
    """Find the moving objects.

    Args:
        matches: of the flow.
        residual: ``(H, W)``, normalized residual of each match, see `static_residual`.
        size: width and height of the newer image, pixels.
        limits: for objects.

    Returns:
        A mask ``(height, width)`` of the newer image, 255 where something moves, and the objects, largest first.
    """
    stride = matches.stride
    width, height = -(-size[0] // stride), -(-size[1] // stride)
    column, row = (np.rint(np.nan_to_num(matches.pixels[..., axis], nan=-1e6) / stride) for axis in (0, 1))
    inside = np.isfinite(residual) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    place = np.where(inside, row, height).astype(int) * width + np.where(inside, column, 0).astype(int)
    confidence, off = (_placed(field, place, height, width) for field in (matches.confidence, residual))
    mask = moving_regions(off, confidence, stride, limits.min_residual, limits.min_confidence)
    half = stride // 2
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask)
    objects = []
    for label in range(1, count):
        left, top, across, down, area = (int(value) for value in boxes[label])
        if area < limits.min_area * width * height:
            mask[labels == label] = 0
            continue
        of_box = (slice(top, top + down), slice(left, left + across))
        known = (labels[of_box] == label) & (confidence[of_box] > 0)
        score = float(confidence[of_box][known].mean()) if known.any() else 0.0
        # A cell is centered on its pixel.
        right, bottom = min((left + across) * stride - half, size[0]), min((top + down) * stride - half, size[1])
        left, top = max(left * stride - half, 0), max(top * stride - half, 0)
        objects.append((area, MovingObject(left, top, right - left, bottom - top, score)))
    full = cv2.resize(mask * np.uint8(255), None, fx=stride, fy=stride, interpolation=cv2.INTER_NEAREST)
    full = cv2.copyMakeBorder(full[half:, half:], 0, half, 0, half, cv2.BORDER_REPLICATE)[: size[1], : size[0]]
    return np.asarray(full, np.uint8), [found for _, found in sorted(objects, key=lambda pair: -pair[0])]


def _placed(values: NDArray[np.float32], place: NDArray[np.int64], height: int, width: int) -> NDArray[np.float32]:
    """Return a field ``(height, width)`` with values at flat indices; those at its size are outside. Gaps hold 0."""
    field = np.zeros(height * width + 1, np.float32)
    field[place.ravel()] = values.ravel()
    return field[:-1].reshape(height, width)


def ground_points(
    corner_rays: NDArray[np.float32],
    camera_pose: RigidMotion,
    spacing: float = 0.05,
) -> NDArray[np.float32]:
    """Return the points where the objects stand on flat ground, ``(N, 3)`` in the camera's axes, meters.

    Args:
        corner_rays: ``(objects, 2, 2)``, rays on the plane z = 1 of each box's bottom left and bottom right corner.
        camera_pose: pose of the camera in a frame with the ground as its plane z = 0.
        spacing: of the points along the bottom edge, meters.
    """
    points = []
    up, height = camera_pose.rotation[2], float(camera_pose.translation[2])
    for corners in corner_rays:
        rays = np.concatenate((corners, np.ones((2, 1), np.float32)), axis=1).astype(float)
        fall = -rays @ up  # descent of a ray per meter of depth
        if not (fall > 1e-3).all():
            continue  # at or above the horizon, where a ray does not meet the ground
        ends = rays * (height / fall)[:, None]
        count = max(2, int(np.linalg.norm(ends[1] - ends[0]) / spacing) + 1)
        share = np.linspace(0, 1, min(count, 1000))[:, None]
        points.append((1 - share) * ends[0] + share * ends[1])
    return np.concatenate(points).astype(np.float32) if points else np.zeros((0, 3), np.float32)
