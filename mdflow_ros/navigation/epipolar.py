# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Split a displacement into the part along the epipolar line, which depth explains, and the part across it.

A static point at depth Z of the newer camera is seen at ``infinity + epipolar / Z``: ``infinity`` is where the camera's
rotation alone takes it, and ``epipolar = t_xy - infinity * t_z`` points along its epipolar line (Hartley and Zisserman,
Multiple View Geometry, section 9.5, on the plane z = 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.matches import Matches, correlation_factor, transformed
from mdflow_ros.navigation.rigid_motion import CameraMotion

MIN_LENGTH = np.float32(1e-12)
"""If the displacement of a point at one meter is shorter than this, on the plane z = 1, its direction is undefined."""

ITERATIONS = 4
MAX_MATCHES = 1500
"""Maximum number of matches that `refine` uses."""


@dataclass(frozen=True, eq=False)
class Parallax:
    """Displacements without the camera's rotation, on the plane z = 1; all arrays are float32, ``(H, W)`` by default.

    Attributes:
        infinity: ``(H, W, 2)``, where points at infinity appear.
        unit: ``(H, W, 2)``, direction in which static points move from there.
        reach: displacement of a point at a depth of one meter.
        along: displacement along ``unit``.
        across: displacement at a right angle to it, 0 for static points.
        along_sigma: standard deviation of ``along``.
        across_sigma: standard deviation of ``across``.
        across_change: ``(H, W, 6)``, derivative of ``across`` by a small rotation and translation of the camera.
    """

    infinity: NDArray[np.float32]
    unit: NDArray[np.float32]
    reach: NDArray[np.float32]
    along: NDArray[np.float32]
    across: NDArray[np.float32]
    along_sigma: NDArray[np.float32]
    across_sigma: NDArray[np.float32]
    across_change: NDArray[np.float32]

    def depth_change(self) -> NDArray[np.float32]:
        """Return the derivative ``(H, W, 6)`` of the logarithm of the depth by the same rotation and translation."""
        x, y = self.infinity[..., 0], self.infinity[..., 1]
        unit_x, unit_y = self.unit[..., 0], self.unit[..., 1]
        rotated = _rotation_derivative(x, y, unit_x, unit_y) / np.maximum(self.along, np.float32(1e-9))[..., None]
        shifted = np.stack((unit_x, unit_y, -x * unit_x - y * unit_y), axis=-1) / self.reach[..., None]
        return np.concatenate((rotated, shifted), axis=-1)


def parallax(matches: Matches, camera: CameraMotion, min_depth: float) -> Parallax:
    """Split the displacements of ``matches``.

    Args:
        matches: of the flow.
        camera: the camera's motion.
        min_depth: minimum depth of static points, meters.
    """
    translation = camera.motion.translation.astype(np.float32)
    covariance = camera.covariance.astype(np.float32)
    infinity = transformed(matches.older, camera.motion.rotation)
    x, y = infinity[..., 0], infinity[..., 1]
    toward_x, toward_y = translation[0] - x * translation[2], translation[1] - y * translation[2]
    length = np.maximum(np.hypot(toward_x, toward_y), MIN_LENGTH)
    reach = np.maximum(length, np.float32(1e-9))
    # A camera that only rotates has no epipolar lines. Any direction will do, because static points do not move then.
    unit_x = np.where(length > MIN_LENGTH, toward_x / length, np.float32(1))
    unit_y = np.where(length > MIN_LENGTH, toward_y / length, np.float32(0))
    moved_x, moved_y = matches.newer[..., 0] - x, matches.newer[..., 1] - y
    along = moved_x * unit_x + moved_y * unit_y
    across = moved_y * unit_x - moved_x * unit_y
    rotated_along = _rotation_derivative(x, y, unit_x, unit_y)
    rotated_across = _rotation_derivative(x, y, -unit_y, unit_x)
    inverse_depth = np.clip(along / reach, 0, np.float32(1 / min_depth))[..., None]
    shifted_across = np.stack((-unit_y, unit_x, x * unit_y - y * unit_x), axis=-1)
    across_change = -np.concatenate((rotated_across, shifted_across * inverse_depth), axis=-1)
    noise = matches.sigma**2
    return Parallax(
        infinity=infinity,
        unit=np.stack((unit_x, unit_y), axis=-1),
        reach=reach,
        along=along,
        across=across,
        along_sigma=np.sqrt(noise + variance(rotated_along, covariance[:3, :3])),
        across_sigma=np.sqrt(noise + variance(across_change, covariance)),
        across_change=across_change,
    )


def _rotation_derivative(
    x: NDArray[np.float32], y: NDArray[np.float32], unit_x: NDArray[np.float32], unit_y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the derivative ``(H, W, 3)`` of a ray's position, along a direction, by a small rotation."""
    about_x = -x * y * unit_x - (1 + y * y) * unit_y
    about_y = (1 + x * x) * unit_x + x * y * unit_y
    about_z = x * unit_y - y * unit_x
    return np.stack((about_x, about_y, about_z), axis=-1)


def variance(change: NDArray[np.float32], covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``change @ covariance @ change`` for each derivative ``(H, W, N)``."""
    return np.asarray(np.einsum("...i,...i", change @ covariance, change))


def normalized_residual(displacement: Parallax, min_depth: float) -> NDArray[np.float32]:
    """Return the normalized residual ``(H, W)``: the distance of each displacement from those of static points.

    It is in standard deviations. Static points are on the epipolar line between infinity and ``min_depth``, meters. NaN
    stays NaN.
    """
    explained = np.clip(displacement.along, 0, displacement.reach / np.float32(min_depth))
    beyond = (displacement.along - explained) / displacement.along_sigma
    return np.hypot(displacement.across / displacement.across_sigma, beyond)


def refine(matches: Matches, camera: CameraMotion, min_depth: float, min_confidence: float) -> CameraMotion:
    """Correct a camera's motion so that most displacements are along their epipolar lines.

    This minimizes the displacements across the lines by Gauss-Newton steps, with the measured motion as a prior. The
    scale of the Geman-McClure weights narrows as the motion becomes certain, so that moving objects lose their weight.
    The images do not show the traveled distance, so its measured value is kept.

    Returns:
        The motion and its covariance after the correction.
    """
    subset = matches.at_most(MAX_MATCHES)
    subset = subset.selected(subset.usable(min_confidence))
    weight = 1 / correlation_factor(subset.stride)
    prior = np.linalg.inv(camera.covariance)
    total, current = np.zeros(6), camera
    for _ in range(ITERATIONS):
        displacement = parallax(subset, current, min_depth)
        change, across = displacement.across_change.astype(float), displacement.across.astype(float)
        chi_squared = (across / displacement.across_sigma) ** 2
        weights = weight / (subset.sigma.astype(float) ** 2 * (1 + chi_squared / 4) ** 2)
        information = prior + (change * weights[:, None]).T @ change
        covariance = np.linalg.inv(information)
        total = total - covariance @ (change.T @ (weights * across) + prior @ total)
        current = camera.corrected(total, covariance)
    return current
