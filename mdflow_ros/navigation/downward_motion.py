# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Motion over the ground of a camera that looks down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.matches import Matches
from mdflow_ros.navigation.timed_values import TimedValues

ITERATIONS = 4
CORRELATION = 8.0
"""Distance in pixels over which the errors of the flow are correlated."""

SYSTEMATIC = 0.3
"""Errors that the whole view has in common do not average out: share of the standard deviation of one match."""

MIN_MATCHES = 50
AGREES = 3.0
"""A match agrees with the ground's motion within this many standard deviations."""

FLU_TO_FRD = np.diag([1.0, -1.0, -1.0])
"""ROS' body axes (forward, left, up; REP 103) to PX4's (forward, right, down)."""

DOWNWARD = (0.0, 0.0, 0.0, 0.7071067811865476, -0.7071067811865476, 0.0, 0.0)
"""Pose (x, y, z and quaternion x, y, z, w) of a camera at the robot's center that looks down, image top forward."""

UNKNOWN = 1e6
"""Variance of what is not measured."""


@dataclass(frozen=True, eq=False)
class GroundMotion:
    """How flat ground moved through the view, at the optical axis, older to newer image.

    Attributes:
        shift: ``(2,)``, right and down, on the plane z = 1.
        shift_sigma: standard deviation of both.
        turn: of the image content, clockwise, radians.
        turn_sigma: its standard deviation.
        growth: of the image content; 0.1 is ten percent.
        growth_sigma: its standard deviation.
        quality: mean trust over the view, in [0, 1]: 0 at ``min_confidence`` and where the flow does not agree, 1 at a
            confidence of 1.
    """

    shift: NDArray[np.float64]
    shift_sigma: float
    turn: float
    turn_sigma: float
    growth: float
    growth_sigma: float
    quality: float


def ground_motion(matches: Matches, min_confidence: float) -> GroundMotion | None:
    """Fit a similarity to the flow by reweighted least squares (Geman-McClure).

    Args:
        matches: of the flow, on either image's grid.
        min_confidence: matches below it are not used.

    Returns:
        The motion; ``None`` if there are too few matches, or if all start points or all end points coincide.
    """
    usable = (matches.confidence >= min_confidence) & np.isfinite(matches.newer).all(-1)
    usable &= np.isfinite(matches.older).all(-1)
    if usable.sum() < MIN_MATCHES:
        return None
    start, end = matches.older[usable].astype(float), matches.newer[usable].astype(float)
    if not (np.ptp(start) and np.ptp(end)):
        return None
    noise = matches.sigma[usable].astype(float) ** 2
    solution, normal, surprise = _fit_similarity(start, end, noise)
    spread = max(1.0, float(np.median(surprise)) / 1.386)  # the median of two squared standard normal numbers
    fewer = max(1.0, (CORRELATION / matches.stride) ** 2)
    common = SYSTEMATIC * float(np.sqrt(np.median(noise)))
    extent = float(np.sqrt((start**2).mean()))
    sigmas = np.sqrt(
        np.diag(np.linalg.inv(normal)) * spread * fewer + (common * np.array([1, 1, 1 / extent, 1 / extent])) ** 2
    )
    cosine, sine = solution[2:]
    scale = float(np.hypot(cosine, sine))
    # Trust begins at 0 where the confidence just suffices.
    trust = (matches.confidence[usable] - min_confidence) / max(1 - min_confidence, 1e-6)
    agree = float(trust[surprise < AGREES**2 * 2 * spread].sum()) / matches.confidence.size
    return GroundMotion(
        shift=solution[:2],
        shift_sigma=float(max(sigmas[:2])),
        turn=float(np.arctan2(sine, cosine)),
        turn_sigma=float(sigmas[3] / scale),
        growth=scale - 1,
        growth_sigma=float(sigmas[2]),
        quality=agree,
    )


def _fit_similarity(
    start: NDArray[np.float64], end: NDArray[np.float64], noise: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return shift right, shift down, scaled cosine and scaled sine; their information matrix; squared residuals.

    Args:
        start: ``(N, 2)`` points.
        end: ``(N, 2)``, where they went.
        noise: ``(N,)``, variance of ``end`` on each axis; the residuals are divided by it.
    """
    zero, one = np.zeros(len(start)), np.ones(len(start))
    right = np.stack((one, zero, start[:, 0], -start[:, 1]), axis=1)
    down = np.stack((zero, one, start[:, 1], start[:, 0]), axis=1)
    weights = 1 / noise
    for _ in range(ITERATIONS):
        normal = (right * weights[:, None]).T @ right + (down * weights[:, None]).T @ down
        target = (right * weights[:, None]).T @ end[:, 0] + (down * weights[:, None]).T @ end[:, 1]
        solution = np.linalg.solve(normal, target)
        surprise = ((end[:, 0] - right @ solution) ** 2 + (end[:, 1] - down @ solution) ** 2) / noise
        weights = 1 / (noise * (1 + surprise / 8) ** 2)
    return solution, normal, surprise


def turned_shift(rotation_vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shift ``(2,)`` that a small turn of the camera causes; ``(3,)`` radians about its own axes."""
    return np.array([-rotation_vector[1], rotation_vector[0]])


def pixel_flow(shift: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return PX4's ``pixel_flow`` ``(2,)``, radians: the turn about the body's x and y axes that looks like the shift.

    Forward motion over the ground gives a positive second component.

    Args:
        shift: ``(2,)`` of `GroundMotion`.
        rotation: ``(3, 3)``, camera to the body's axes forward, left and up.
    """
    angles = np.arctan(shift)
    about_camera = np.array([angles[1], -angles[0], 0.0])
    return (FLU_TO_FRD @ rotation @ about_camera)[:2]


@dataclass(frozen=True, eq=False)
class Twist:
    """Velocity of the robot in its own axes, forward, left and up.

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
    rotation: NDArray[np.float64],
    position: NDArray[np.float64],
    turned: NDArray[np.float64] | None,
) -> Twist:
    """Return the robot's velocity from how the ground moved.

    Args:
        ground: the motion of the ground.
        height: of the camera over the ground at the newer image, meters.
        height_sigma: its standard deviation, meters.
        interval: between the images, seconds.
        rotation: ``(3, 3)``, camera to robot.
        position: ``(3,)`` of the camera in the robot, meters.
        turned: ``(3,)`` radians that a gyro measured about the robot's axes; without it the robot is assumed level.
    """
    about_camera = np.array([0.0, 0.0, -ground.turn]) if turned is None else rotation.T @ turned
    shift = ground.shift - turned_shift(about_camera)
    moved = np.array([-shift[0] * height, -shift[1] * height, ground.growth * height])
    angular = rotation @ about_camera / interval
    linear = rotation @ moved / interval - np.cross(angular, position)
    sigmas = np.array([ground.shift_sigma, ground.shift_sigma, ground.growth_sigma]) * height / interval
    scale_error = np.outer(moved, moved) * (height_sigma / height / interval) ** 2
    covariance = np.eye(6) * UNKNOWN
    covariance[:3, :3] = rotation @ (np.diag(sigmas**2) + scale_error) @ rotation.T
    about_axis = rotation @ np.array([UNKNOWN, UNKNOWN, (ground.turn_sigma / interval) ** 2]) ** 0.5
    covariance[3:, 3:] = np.diag(about_axis**2)
    return Twist(linear, angular, covariance)


class GyroHistory(TimedValues[NDArray[np.float64]]):
    """Angular velocities ``(3,)`` in rad/s, integrated between two times."""

    def __init__(self, length: int = 2000) -> None:
        super().__init__(length)

    def between(self, older: int, newer: int) -> NDArray[np.float64] | None:
        """Return the turn ``(3,)``, radians, between two stamps, nanoseconds; ``None`` if part of it is unknown.

        A rate that is not finite counts as unknown.
        """
        if not self.stamps or not self.stamps[0] <= older < newer <= self.stamps[-1]:
            return None
        stamps, rates = np.array(self.stamps), np.array(self.values)
        inside = stamps[(stamps > older) & (stamps < newer)]
        times = np.concatenate(([older], inside, [newer]))
        seconds = (times - older) * 1e-9
        known = (stamps - older) * 1e-9
        sampled = np.stack([np.interp(seconds, known, rates[:, axis]) for axis in range(3)])
        turned: NDArray[np.float64] = ((sampled[:, 1:] + sampled[:, :-1]) / 2 * np.diff(seconds)).sum(axis=1)
        return turned if np.isfinite(turned).all() else None
