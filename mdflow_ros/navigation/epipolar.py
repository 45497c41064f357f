# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Split a displacement into the part along the epipolar line, which depth explains, and the part across it.

A static point at depth Z of the newer camera is seen at ``infinity + epipolar / Z``: ``infinity`` is where the camera's
rotation alone takes it, and ``epipolar = t_xy - infinity * t_z`` points along its epipolar line (Hartley and Zisserman,
Multiple View Geometry, section 9.5, on the plane z = 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.matches import Matches, correlation_factor, mapped
from mdflow_ros.navigation.rigid_motion import CameraMotion

MIN_LENGTH = np.float32(1e-12)
"""If the displacement of a point at one meter is shorter than this, on the plane z = 1, its direction is undefined."""

ITERATIONS = 4


@dataclass(frozen=True, eq=False)
class Parallax:
    """Displacements without the camera's rotation, on the plane z = 1; all arrays are float32, ``(H, W)`` by default.

    Attributes:
        infinity: x and y where points at infinity appear.
        unit: x and y of the direction in which static points move from there.
        reach: displacement of a point at a depth of one meter.
        along: displacement along ``unit``.
        across: displacement at a right angle to it, 0 for static points.
        noise: variance of the flow on each axis.
        covariance: ``(6, 6)`` of the camera's motion.
        min_depth: minimum depth of static points, meters.
    """

    infinity: tuple[NDArray[np.float32], NDArray[np.float32]]
    unit: tuple[NDArray[np.float32], NDArray[np.float32]]
    reach: NDArray[np.float32]
    along: NDArray[np.float32]
    across: NDArray[np.float32]
    noise: NDArray[np.float32]
    covariance: NDArray[np.float32]
    min_depth: float

    @cached_property
    def along_change(self) -> NDArray[np.float32]:
        """Derivative ``(6, H, W)`` along ``unit`` by a small rotation and translation of the camera.

        That of the point at infinity by the rotation, and that of the displacement at one meter by the translation.
        """
        return _position_change(*self.infinity, *self.unit)

    @cached_property
    def across_change(self) -> NDArray[np.float32]:
        """Derivative ``(6, H, W)`` of ``across`` by a small rotation and translation of the camera."""
        right, down = self.unit
        change = _position_change(*self.infinity, down, -right)
        change[3:] *= np.clip(self.along / self.reach, 0, np.float32(1 / self.min_depth))  # the inverse depth
        return change

    def depth_change(self) -> NDArray[np.float32]:
        """Return the derivative ``(6, H, W)`` of the logarithm of the depth by the same rotation and translation."""
        change = self.along_change.copy()
        change[:3] /= np.maximum(self.along, np.float32(1e-9))
        change[3:] /= self.reach
        return change

    def along_sigma(self) -> NDArray[np.float32]:
        """Return the standard deviation of ``along`` of a point at infinity."""
        return np.sqrt(self.noise + variance(self.along_change[:3], self.covariance[:3, :3]))

    def across_sigma(self) -> NDArray[np.float32]:
        """Return the standard deviation of ``across``."""
        return np.sqrt(self.noise + variance(self.across_change, self.covariance))


def parallax(matches: Matches, camera: CameraMotion, min_depth: float) -> Parallax:
    """Split the displacements of ``matches``.

    Args:
        matches: of the flow.
        camera: the camera's motion.
        min_depth: minimum depth of static points, meters.
    """
    translation = camera.motion.translation.astype(np.float32)
    x, y = mapped(matches.older, camera.motion.rotation)
    toward_x, toward_y = translation[0] - x * translation[2], translation[1] - y * translation[2]
    length = np.maximum(np.sqrt(toward_x * toward_x + toward_y * toward_y), MIN_LENGTH)
    # A camera that only rotates has no epipolar lines. Any direction will do, because static points do not move then.
    unit_x = np.where(length > MIN_LENGTH, toward_x / length, np.float32(1))
    unit_y = np.where(length > MIN_LENGTH, toward_y / length, np.float32(0))
    moved_x, moved_y = matches.newer[..., 0] - x, matches.newer[..., 1] - y
    return Parallax(
        infinity=(x, y),
        unit=(unit_x, unit_y),
        reach=np.maximum(length, np.float32(1e-9)),
        along=moved_x * unit_x + moved_y * unit_y,
        across=moved_y * unit_x - moved_x * unit_y,
        noise=matches.sigma**2,
        covariance=camera.covariance.astype(np.float32),
        min_depth=min_depth,
    )


def _position_change(
    x: NDArray[np.float32], y: NDArray[np.float32], right: NDArray[np.float32], down: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the derivative ``(6, H, W)`` of a ray's position, along a direction, by a small motion of the camera.

    By the rotation, and by the translation at a depth of one meter.

    Args:
        x: of the position on the plane z = 1.
        y: of the position.
        right: of the direction, a unit vector.
        down: of the direction.
    """
    out = x * right + y * down
    return np.stack((-y * out - down, x * out + right, x * down - y * right, right, down, -out))


def variance(change: NDArray[np.float32], covariance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``change @ covariance @ change`` for each derivative ``(N, H, W)``."""
    spread = (covariance @ change.reshape(len(change), -1)).reshape(change.shape)
    return np.asarray(np.einsum("i...,i...->...", spread, change))


def normalized_residual(displacement: Parallax) -> NDArray[np.float32]:
    """Return the normalized residual ``(H, W)``: the distance of each displacement from those of static points.

    It is in standard deviations. Static points are on the epipolar line between infinity and the minimum depth. NaN
    stays NaN.
    """
    explained = np.clip(displacement.along, 0, displacement.reach / np.float32(displacement.min_depth))
    beyond = (displacement.along - explained) / displacement.along_sigma()
    off = displacement.across / displacement.across_sigma()
    return np.sqrt(off * off + beyond * beyond)


def refine(confident: Matches, camera: CameraMotion, min_depth: float) -> CameraMotion:
    """Correct a camera's motion so that most displacements are along their epipolar lines.

    This minimizes the displacements across the lines by Gauss-Newton steps, with the measured motion as a prior. The
    scale of the Geman-McClure weights narrows as the motion becomes certain, so that moving objects lose their weight.
    The images do not show the traveled distance, so its measured value is kept.

    Args:
        confident: the matches to use, see `Matches.confident`.
        camera: the measured motion.
        min_depth: minimum depth of static points, meters.

    Returns:
        The motion and its covariance after the correction.
    """
    weight = 1 / correlation_factor(confident.stride)
    prior = np.linalg.inv(camera.covariance)
    total, current = np.zeros(6), camera
    for _ in range(ITERATIONS):
        displacement = parallax(confident, current, min_depth)
        change, across = displacement.across_change.astype(float), displacement.across.astype(float)
        chi_squared = (across / displacement.across_sigma()) ** 2
        weighted = change * (weight / (displacement.noise * (1 + chi_squared / 4) ** 2))
        covariance = np.linalg.inv(prior + weighted @ change.T)
        total = total - covariance @ (weighted @ across + prior @ total)
        current = camera.corrected(total, covariance)
    return current
