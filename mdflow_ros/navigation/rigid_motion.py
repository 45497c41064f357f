# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Rotations, poses, and the motion of a camera between two images."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.timed_values import TimedValues

HISTORY = 1000
"""Number of poses that are kept."""

MIN_TRANSLATION_SIGMA = 1e-4
MIN_ROTATION_SIGMA = 1e-5
"""Minimum standard deviations of odometry, meters and radians, which keep covariances invertible."""


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Maps points: ``rotation @ point + translation``.

    Attributes:
        rotation: ``(3, 3)``.
        translation: ``(3,)``, meters.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    @classmethod
    def from_quaternion(cls, position: NDArray[np.float64], quaternion: NDArray[np.float64]) -> RigidMotion:
        """Create a motion from a translation ``(3,)`` and a quaternion ``(x, y, z, w)``.

        Raises:
            ValueError: the position is not finite, or the quaternion is zero or not finite.
        """
        position = np.asarray(position, float)
        if not np.isfinite(position).all():
            raise ValueError(f"[{', '.join(f'{value:g}' for value in position)}] is not a position: give x, y, z")
        return cls(rotation_of(np.asarray(quaternion, float)), position)

    @classmethod
    def of_pose(cls, pose: Sequence[float]) -> RigidMotion:
        """Create a motion from the 7 numbers of a pose parameter: ``x, y, z`` and a quaternion ``x, y, z, w``.

        Raises:
            ValueError: see `from_quaternion`, or there are not 7 numbers.
        """
        if len(pose) != 7:
            raise ValueError(f"a pose is x, y, z and quaternion x, y, z, w, not {len(pose)} numbers")
        return cls.from_quaternion(np.array(pose[:3], float), np.array(pose[3:], float))

    def __matmul__(self, first: RigidMotion) -> RigidMotion:
        """Return the motion that applies ``first``, then this one."""
        return RigidMotion(self.rotation @ first.rotation, self.rotation @ first.translation + self.translation)

    def inverse(self) -> RigidMotion:
        """Return the inverse motion."""
        return RigidMotion(self.rotation.T, -self.rotation.T @ self.translation)


def rotation_of(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation matrix ``(3, 3)`` of a quaternion ``(x, y, z, w)`` of any length.

    Raises:
        ValueError: the quaternion is zero or not finite.
    """
    length = float(np.linalg.norm(quaternion))
    if not 1e-6 < length < 1e6:
        raise ValueError(f"[{', '.join(f'{value:g}' for value in quaternion)}] is not a rotation: give x, y, z, w")
    x, y, z, w = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_from_vector(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation matrix of a rotation vector ``(3,)``, radians."""
    return np.asarray(cv2.Rodrigues(np.asarray(vector, float))[0])


def cross_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix ``(3, 3)`` that maps ``x`` to the cross product of ``vector`` ``(3,)`` and ``x``."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


class PoseHistory(TimedValues[RigidMotion]):
    """Poses with stamps, interpolated in between."""

    def __init__(self) -> None:
        super().__init__(HISTORY)

    @property
    def newest(self) -> int | None:
        """Stamp of the last pose."""
        return self.stamps[-1] if self.stamps else None

    @property
    def oldest(self) -> int | None:
        """Stamp of the first pose."""
        return self.stamps[0] if self.stamps else None

    def at(self, stamp: int) -> RigidMotion | None:
        """Return the pose at ``stamp``, nanoseconds, or ``None`` before the first, after the last, and within a gap."""
        if not self.covers(stamp, stamp):
            return None
        after = bisect.bisect_left(self.stamps, stamp)
        if self.stamps[after] == stamp:
            return self.values[after]
        first, last = self.values[after - 1], self.values[after]
        share = (stamp - self.stamps[after - 1]) / (self.stamps[after] - self.stamps[after - 1])
        between = cv2.Rodrigues(last.rotation @ first.rotation.T)[0].ravel()
        position = (1 - share) * first.translation + share * last.translation
        return RigidMotion(rotation_from_vector(share * between) @ first.rotation, position)


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """The motion of a camera between two images, with its covariance.

    Attributes:
        motion: from the older to the newer camera's coordinates (x right, y down, z forward).
        covariance: ``(6, 6)`` of a small rotation vector, radians, applied after ``motion.rotation``, and of the
            translation, meters.
    """

    motion: RigidMotion
    covariance: NDArray[np.float64]

    @classmethod
    def with_sigmas(
        cls,
        motion: RigidMotion,
        translation: float,
        rotation: float,
        center: NDArray[np.float64] | None = None,
    ) -> CameraMotion:
        """Build the covariance from independent errors of the robot, equal on all axes.

        Args:
            motion: the measured motion.
            translation: standard deviation on each axis, as a fraction of the distance.
            rotation: standard deviation about each axis, radians.
            center: ``(3,)``, the center around which the robot turns, in the camera's axes, meters; ``None`` for the
                camera itself.
        """
        distance = max(translation * float(np.linalg.norm(motion.translation)), MIN_TRANSLATION_SIGMA)
        covariance = np.diag(np.repeat([max(rotation, MIN_ROTATION_SIGMA), distance], 3) ** 2)
        change = np.eye(6)
        if center is not None:
            change[3:, :3] = cross_matrix(center)
        return cls(motion, change @ covariance @ change.T)

    def corrected(self, change: NDArray[np.float64], covariance: NDArray[np.float64]) -> CameraMotion:
        """Apply a change ``(6,)``: rotation vector and translation."""
        moved = RigidMotion(
            rotation_from_vector(change[:3]) @ self.motion.rotation, self.motion.translation + change[3:]
        )
        return CameraMotion(moved, covariance)
