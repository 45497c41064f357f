# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the motion of a downward camera over the ground."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.affine_fit import SHARED_ERROR, fit_affine
from mdflow_ros.navigation.matches import Matches, correlation_factor
from mdflow_ros.navigation.rigid_motion import cross_matrix, rotation_from_vector
from mdflow_ros.navigation.timed_values import TimedValues

MIN_MATCHES = 50
MIN_EXTENT = 1e-3
"""If matches spread less than this in any direction of the plane z = 1, they are taken to be on a line."""

MAX_DEVIATIONS = 3.0
"""A match within this many standard deviations agrees with the ground's motion."""

FLU_TO_FRD = np.diag([1.0, -1.0, -1.0])
"""ROS' body axes (forward, left, up; REP 103) to PX4's (forward, right, down)."""

DOWNWARD_LOOKING = (0.0, 0.0, 0.0, 0.7071067811865476, -0.7071067811865476, 0.0, 0.0)
"""Pose (x, y, z and quaternion x, y, z, w) of a camera at the robot's center that looks down, image top forward."""

UNKNOWN = 1e6
"""Variance of unmeasured quantities."""


@dataclass(frozen=True, eq=False)
class GroundMotion:
    """Affine motion of flat ground from the older to the newer image, on the plane z = 1.

    Attributes:
        shift: ``(2,)``, right and down, at the optical axis.
        shift_sigma: standard deviation of each component.
        linear: ``(2, 2)``, derivative of the displacement by the position in the image.
        linear_covariance: ``(4, 4)`` of ``linear``, row by row.
        quality: mean weight of the pixels, in [0, 1]. The weight rises from 0 at ``min_confidence`` to 1 at a
            confidence of 1, and is 0 where the flow disagrees with the common motion.
    """

    shift: NDArray[np.float64]
    shift_sigma: float
    linear: NDArray[np.float64]
    linear_covariance: NDArray[np.float64]
    quality: float

    def growth_and_turn(self) -> GrowthAndTurn:
        """Return growth and turn of the image content, corrected for the slope of the ground.

        If the ground is not parallel to the image, its depth differs on both sides of the axis, and the slope times
        ``shift`` is added to ``linear`` (Longuet-Higgins 1984). The part of ``linear`` that is neither growth nor turn
        shows the slope along and across the shift.
        """
        angle = 2 * np.arctan2(self.shift[1], self.shift[0])
        cosine, sine = np.cos(angle), np.sin(angle)
        # Rows for growth and turn: their value for small motion, and the correction for the slope.
        average = np.array([[1, 0, 0, 1], [0, -1, 1, 0]]) / 2
        slope = np.array([[-cosine, -sine, -sine, cosine], [-sine, cosine, cosine, sine]]) / 2
        growth_slope, turn_slope = slope @ self.linear.ravel()
        sigmas = np.sqrt(np.diag((average + slope) @ self.linear_covariance @ (average + slope).T))
        content = np.eye(2) + self.linear
        along, across = content[0, 0] + content[1, 1], content[1, 0] - content[0, 1]
        scale = float(np.hypot(along, across)) / 2
        return GrowthAndTurn(
            growth=float(scale - 1 + growth_slope),
            growth_sigma=float(sigmas[0]),
            turn=float(np.arctan2(across, along) + turn_slope / scale),
            turn_sigma=float(sigmas[1]) / scale,
        )


class GrowthAndTurn(NamedTuple):
    """Growth of the image content (0.1 is ten percent), its turn (clockwise, radians), and their standard errors."""

    growth: float
    growth_sigma: float
    turn: float
    turn_sigma: float


def ground_motion(matches: Matches, min_confidence: float) -> GroundMotion | None:
    """Fit an affine displacement to the flow.

    Args:
        matches: of the flow, in either direction.
        min_confidence: matches below it are not used.

    Returns:
        The motion; ``None`` if there are too few matches, or if all start points or all end points are on a line.
    """
    usable = matches.usable(min_confidence)
    if usable.sum() < MIN_MATCHES:
        return None
    start, end = (points[usable].T.astype(float, "C") for points in (matches.older, matches.newer))
    if min(np.linalg.eigvalsh(np.cov(points))[0] for points in (start, end)) < MIN_EXTENT**2:
        return None
    noise = matches.sigma[usable].astype(float) ** 2
    fit = fit_affine(start, end - start, noise, np.ones(len(noise), bool))
    spread = max(1.0, float(np.median(fit.chi_squared)) / 1.386)  # the median of chi-squared with 2 degrees of freedom
    covariance = fit.covariance * spread * correlation_factor(matches.stride)
    common = SHARED_ERROR**2 * float(np.median(noise))
    extent = float((start**2).mean())
    weights = (matches.confidence[usable] - min_confidence) / max(1 - min_confidence, 1e-6)
    agree = float(weights[fit.chi_squared < MAX_DEVIATIONS**2 * 2 * spread].sum()) / matches.confidence.size
    return GroundMotion(
        shift=fit.solution[0],
        shift_sigma=float(np.sqrt(covariance[0, 0] + common)),
        linear=fit.solution[1:].T,
        linear_covariance=np.kron(np.eye(2), covariance[1:, 1:]) + np.eye(4) * common / extent,
        quality=agree,
    )


def camera_rotation(gyro_rotation: NDArray[np.float64], mount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation ``(3, 3)`` from the axes of the older camera to those of the newer one.

    Args:
        gyro_rotation: ``(3,)`` radians that a gyro measured about the robot's axes between the images.
        mount: ``(3, 3)``, camera to robot.
    """
    return rotation_from_vector(-mount.T @ gyro_rotation)


def pixel_flow(
    shift: NDArray[np.float64], mount: NDArray[np.float64], gyro_rotation: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return PX4's ``pixel_flow`` ``(2,)``: the rotation about the body's x and y axes, in radians, with the same flow.

    Forward motion over the ground gives a positive second component.

    Args:
        shift: ``(2,)`` of `GroundMotion`.
        mount: ``(3, 3)``, camera to the body's axes forward, left and up.
        gyro_rotation: ``(3,)`` radians about these axes by which the matches were derotated; ``None`` if they were not.
    """
    angles = np.arctan(shift)
    about_body = mount @ np.array([angles[1], -angles[0], 0.0])
    return (FLU_TO_FRD @ (about_body if gyro_rotation is None else about_body + gyro_rotation))[:2]


@dataclass(frozen=True, eq=False)
class Twist:
    """Velocity of the robot in its own axes, forward, left and up, at the middle of the time between the images.

    Attributes:
        linear: ``(3,)`` m/s.
        angular: ``(3,)`` rad/s.
        covariance: ``(6, 6)`` of both.
    """

    linear: NDArray[np.float64]
    angular: NDArray[np.float64]
    covariance: NDArray[np.float64]


def ground_twist(
    ground: GroundMotion,
    height: float,
    height_sigma: float,
    interval: float,
    mount: NDArray[np.float64],
    position: NDArray[np.float64],
    gyro_rotation: NDArray[np.float64] | None,
) -> Twist:
    """Return the robot's velocity from the motion of the ground.

    Args:
        ground: the motion of the ground, from matches that were derotated by ``gyro_rotation``.
        height: of the camera over the ground at the newer image, meters.
        height_sigma: its standard deviation, meters.
        interval: between the images, seconds.
        mount: ``(3, 3)``, camera to robot.
        position: ``(3,)`` of the camera in the robot, meters.
        gyro_rotation: ``(3,)`` radians that a gyro measured about the robot's axes; ``None`` assumes a level robot.
    """
    content = ground.growth_and_turn()
    # About the camera's axis, the flow is more accurate than the gyro and corrects it.
    about_robot = mount @ np.array([0.0, 0.0, -content.turn]) + (0 if gyro_rotation is None else gyro_rotation)
    per_meter = np.array([-ground.shift[0], -ground.shift[1], content.growth])
    angular = about_robot / interval
    # The displacement is in the axes at its end; the mean velocity is in those half of the rotation earlier.
    linear = rotation_from_vector(about_robot / 2) @ mount @ per_meter * height / interval - np.cross(angular, position)
    sigmas = np.array([ground.shift_sigma, ground.shift_sigma, content.growth_sigma]) * height / interval
    scale_error = np.outer(per_meter, per_meter) * (height_sigma / interval) ** 2
    measured = mount @ np.diag([0.0, 0.0, (content.turn_sigma / interval) ** 2]) @ mount.T
    # An error of the yaw rate moves the camera around the robot's center.
    lever = cross_matrix(position)
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = mount @ (np.diag(sigmas**2) + scale_error) @ mount.T + lever @ measured @ lever.T
    covariance[:3, 3:] = lever @ measured
    covariance[3:, :3] = covariance[:3, 3:].T
    covariance[3:, 3:] = measured + mount @ np.diag([UNKNOWN, UNKNOWN, 0.0]) @ mount.T
    return Twist(linear, angular, covariance)


class GyroHistory(TimedValues[NDArray[np.float64]]):
    """Angular velocities ``(3,)`` in rad/s, integrated between two times."""

    def __init__(self, length: int = 2000) -> None:
        super().__init__(length)

    def between(self, older: int, newer: int) -> NDArray[np.float64] | None:
        """Return the rotation ``(3,)``, radians, between two stamps, nanoseconds; ``None`` if part of it is unknown.

        Gaps in the rates, and rates that are not finite, count as unknown.
        """
        if older >= newer or not self.covers(older, newer):
            return None
        stamps, rates = np.array(self.stamps), np.array(self.values)
        inside = stamps[(stamps > older) & (stamps < newer)]
        times = np.concatenate(([older], inside, [newer]))
        seconds = (times - older) * 1e-9
        known = (stamps - older) * 1e-9
        sampled = np.stack([np.interp(seconds, known, rates[:, axis]) for axis in range(3)])
        gyro_rotation: NDArray[np.float64] = ((sampled[:, 1:] + sampled[:, :-1]) / 2 * np.diff(seconds)).sum(axis=1)
        return gyro_rotation if np.isfinite(gyro_rotation).all() else None
