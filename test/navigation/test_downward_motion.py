# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Signs and units of the motion over the ground, on rendered drives of a camera that looks down."""

from __future__ import annotations

import numpy as np
import pytest
from navigation_scenes import RealFlow, camera_of, matches_of, pixels_of
from numpy.typing import NDArray

from mdflow_ros.navigation.downward_motion import (
    DOWNWARD_LOOKING,
    GroundMotion,
    GyroHistory,
    Twist,
    camera_rotation,
    ground_motion,
    ground_twist,
    pixel_flow,
)
from mdflow_ros.navigation.matches import Matches, derotated, match, reoriented, transformed
from mdflow_ros.navigation.rigid_motion import rotation_from_vector, rotation_of
from mdflow_training.synthetic.navigation_world import Step, downward_step

MOUNT = rotation_of(np.array(DOWNWARD_LOOKING[3:]))
INTERVAL = 0.1


def ground_of(step: Step) -> GroundMotion:
    found = ground_motion(matches_of(step, np.random.default_rng(0)), 0.5)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("moved", "expected"),
    [((0.03, 0, 0), (0, 0.03)), ((-0.03, 0, 0), (0, -0.03)), ((0, 0.02, 0), (0.02, 0)), ((0, -0.02, 0), (-0.02, 0))],
    ids=["forward", "back", "left", "right"],
)
def test_pixel_flow_has_px4s_signs_and_units(moved: tuple[float, ...], expected: tuple[float, float]) -> None:
    # PX4: positive is what a right-handed turn about the body's forward, right, down axes looks like, so that
    # v_forward = height * flow[1] / dt and v_right = -height * flow[0] / dt.
    flow = pixel_flow(ground_of(downward_step(1.0, moved)).shift, MOUNT, None)
    np.testing.assert_allclose(flow, expected, atol=5e-4)


def test_pixel_flow_equals_the_gyro_when_the_robot_only_turns() -> None:
    turned = np.array([0.01, -0.02, 0])
    # In forward, right, down axes a turn about left is one about right, negated.
    flow = pixel_flow(derotated_ground(turned, turned).shift, MOUNT, turned)
    np.testing.assert_allclose(flow, [0.01, 0.02], atol=1e-5)
    # Without a gyro the turn is in the flow of the ground.
    np.testing.assert_allclose(pixel_flow(derotated_ground(turned, None).shift, MOUNT, None), flow, atol=3e-3)


@pytest.mark.parametrize(
    ("height", "moved", "yaw"),
    [
        (1.0, (0.03, 0, 0), 0.0),
        (2.0, (0.03, 0.02, 0), 0.0),
        (1.0, (0.02, 0.01, 0.02), 0.03),
        (1.0, (0, 0, -0.02), -0.05),
    ],
)
def test_twist_on_a_rendered_drive(height: float, moved: tuple[float, ...], yaw: float) -> None:
    ground = ground_of(downward_step(height, moved, yaw))
    now = height + moved[2]
    twist = ground_twist(ground, now, 0.0, INTERVAL, MOUNT, np.zeros(3), None)
    # The twist is in the axes of the newer pose.
    cosine, sine = np.cos(yaw), np.sin(yaw)
    forward, left = cosine * moved[0] + sine * moved[1], -sine * moved[0] + cosine * moved[1]
    np.testing.assert_allclose(twist.linear, np.array([forward, left, moved[2]]) / INTERVAL, atol=0.01)
    np.testing.assert_allclose(twist.angular, [0, 0, yaw / INTERVAL], atol=0.01)
    sigmas = np.sqrt(np.diag(twist.covariance))
    assert (sigmas[:3] < 0.05).all() and sigmas[5] < 0.05 and (sigmas[3:5] > 100).all()


def test_twist_of_the_base_takes_the_cameras_place_into_account() -> None:
    ground = ground_of(downward_step(1.0, (0, 0.05, 0), turn=0.05))
    # A camera 1 m ahead of a base that turns on the spot moves to the left.
    twist = ground_twist(ground, 1.0, 0.0, INTERVAL, MOUNT, np.array([1.0, 0, 0]), None)
    np.testing.assert_allclose(twist.linear, 0, atol=0.03)
    np.testing.assert_allclose(twist.angular[2], 0.5, atol=0.01)


def derotated_ground(true_turn: NDArray[np.float64], gyro: NDArray[np.float64] | None) -> GroundMotion:
    """Return the ground's motion as a robot that hovers and turns sees it: the exact flow, with a gyro or without."""
    camera = camera_of(downward_step(1.0, (0, 0, 0)))
    width, height = camera.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    flow = pixels_of(camera, transformed(camera.rays(pixels), camera_rotation(true_turn, MOUNT))) - pixels
    matches = match(flow, np.full(flow.shape[:2], 0.95, np.float32), camera, 2)
    if gyro is not None:
        matches = derotated(matches, camera_rotation(gyro, MOUNT))
    found = ground_motion(matches, 0.5)
    assert found is not None
    return found


def hovering(true_turn: NDArray[np.float64], gyro: NDArray[np.float64]) -> Twist:
    return ground_twist(derotated_ground(true_turn, gyro), 2.0, 0.0, INTERVAL, MOUNT, np.zeros(3), gyro)


@pytest.mark.parametrize("turned", [(0, 0.1, 0), (0.1, 0, 0), (-0.05, 0.08, 0.1)])
def test_a_robot_that_only_turns_has_no_velocity(turned: tuple[float, ...]) -> None:
    """The flow of a rotation is quadratic in the place, so it must go before the affine fit."""
    twist = hovering(np.array(turned), np.array(turned))
    np.testing.assert_allclose(twist.linear, 0, atol=1e-3)
    np.testing.assert_allclose(twist.angular, np.array(turned) / INTERVAL, atol=1e-3)


def test_the_flow_corrects_the_gyro_around_the_vertical() -> None:
    twist = hovering(np.array([0, 0, 0.1]), np.array([0, 0, 0.08]))
    assert twist.angular[2] == pytest.approx(1.0, abs=1e-3)
    assert np.sqrt(twist.covariance[5, 5]) < 0.1


def test_points_on_a_line_do_not_tell_the_motion() -> None:
    y, x = np.mgrid[-1:1:20j, -1:1:20j].astype(np.float32)
    grid, line = np.stack((x, y), axis=-1), np.stack((0 * x, y), axis=-1)
    sure = np.full(x.shape, 0.95, np.float32)
    for older, newer, is_known in ((grid, grid, True), (line, grid, False), (grid, line, False)):
        found = ground_motion(Matches(older, newer, newer, sure, 0.001 * sure, 8), 0.5)
        assert (found is not None) == is_known


def test_height_error_adds_to_the_covariance() -> None:
    ground = ground_of(downward_step(1.0, (0.05, 0, 0)))
    twist = ground_twist(ground, 1.0, 0.1, INTERVAL, MOUNT, np.zeros(3), None)
    assert np.sqrt(twist.covariance[0, 0]) == pytest.approx(0.05, rel=0.1)
    assert np.sqrt(twist.covariance[1, 1]) < 0.01


def test_on_the_ground_the_ground_does_not_move() -> None:
    twist = ground_twist(ground_of(downward_step(1.0, (0.05, 0, 0))), 0.0, 0.0, INTERVAL, MOUNT, np.zeros(3), None)
    assert not twist.linear.any() and np.isfinite(twist.covariance).all()


def test_standard_errors_and_quality_follow_from_the_noise() -> None:
    side, sigma, stride = 40, 1e-3, 2
    start = np.stack(np.meshgrid(np.linspace(-1, 1, side), np.linspace(-0.5, 0.5, side)), axis=-1).astype(np.float32)
    end = start + np.float32((0.1, 0))
    end[0] += np.float32(100 * sigma)  # one row of outliers
    confidence = np.repeat(np.float32([[0.95] * (side // 2) + [0.75] * (side // 2)]), side, axis=0)
    ground = ground_motion(Matches(start, end, start, confidence, np.full_like(confidence, sigma), stride), 0.5)
    assert ground is not None
    np.testing.assert_allclose(ground.shift, (0.1, 0), atol=1e-5)
    assert ground.quality == pytest.approx((0.9 + 0.5) / 2 * (1 - 1 / side), abs=1e-3)
    # Errors that are 8 pixels apart count as independent, and 0.3 of an error is common to all.
    independent, common = (8 / stride) ** 2 * sigma**2 / (side * (side - 1)), (0.3 * sigma) ** 2
    across, down = start[1:, :, 0].var(), start[1:, :, 1].var()
    assert ground.shift_sigma == pytest.approx(np.sqrt(independent + common), rel=0.01)
    # The ground may slope along the shift, to the right: growth shows in how v changes down, turn in how v changes
    # across, which the slope leaves alone.
    content = ground.growth_and_turn()
    expected = [np.sqrt(independent / of_axis + common / (start**2).mean()) for of_axis in (down, across)]
    np.testing.assert_allclose([content.growth_sigma, content.turn_sigma], expected, rtol=0.01)


def test_too_little_confident_flow() -> None:
    step = downward_step(1.0, (0.03, 0, 0))
    assert ground_motion(match(step.flow, np.zeros(step.depth.shape, np.float32), camera_of(step), 2), 0.5) is None


def test_gyro_is_integrated_between_the_stamps() -> None:
    gyro = GyroHistory()
    for stamp in range(0, 11):
        gyro.add(stamp * 10_000_000, np.array([1.0, 0.0, stamp]))
    np.testing.assert_allclose(gyro.between(15_000_000, 65_000_000), [0.05, 0, 0.05 * 4])
    assert gyro.between(50_000_000, 150_000_000) is None and gyro.between(-1, 10) is None


def test_quality_falls_over_ground_without_texture() -> None:
    flow = RealFlow()
    qualities = []
    for textured in (True, False):
        step = downward_step(1.0, (0.03, 0, 0), textured=textured)
        ground = ground_motion(flow.matches(step), 0.5)
        qualities.append(ground.quality if ground else 0.0)
        if textured and ground:
            np.testing.assert_allclose(pixel_flow(ground.shift, MOUNT, None), [0, 0.03], atol=2e-3)
    assert qualities[0] > 0.9 and qualities[1] < 0.3


def step_over_slope(pitch: float, velocity: tuple[float, ...]) -> GroundMotion:
    """Return the exact motion of level ground under a robot whose nose is ``pitch`` radians down, 1 m up."""
    camera = camera_of(downward_step(1.0, (0, 0, 0)))
    width, height = camera.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    body = rotation_from_vector(np.array([0.0, pitch, 0.0]))
    to_world = body @ MOUNT
    newer = np.array([0.0, 0.0, 1.0])
    older = newer - np.array(velocity) * INTERVAL
    rays = np.dstack((camera.rays(pixels), np.ones(pixels.shape[:2]))) @ to_world.T
    points = (older + rays * (-older[2] / rays[..., 2:]) - newer) @ to_world
    flow = pixels_of(camera, (points[..., :2] / points[..., 2:]).astype(np.float32)) - pixels
    found = ground_motion(match(flow, np.full(flow.shape[:2], 0.95, np.float32), camera, 2), 0.5)
    assert found is not None
    return found


@pytest.mark.parametrize("velocity", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (-2.0, 1.0, 0.0)])
def test_sloping_ground_neither_climbs_nor_turns(velocity: tuple[float, ...]) -> None:
    pitch = np.deg2rad(10)
    ground, distance = step_over_slope(pitch, velocity), 1 / np.cos(pitch)
    twist = ground_twist(ground, distance, 0.0, INTERVAL, MOUNT, np.zeros(3), None)
    true = rotation_from_vector(np.array([0.0, pitch, 0.0])).T @ np.array(velocity)
    np.testing.assert_allclose(twist.linear, true, atol=0.05 * np.linalg.norm(velocity))
    assert abs(twist.angular[2]) < 0.01


@pytest.mark.parametrize("yaw", [0, 45, 135])
def test_the_rates_that_are_not_measured_stay_unknown_for_every_mount(yaw: float) -> None:
    mount = rotation_from_vector(np.array([0.0, 0.0, np.deg2rad(yaw)])) @ MOUNT
    twist = ground_twist(ground_of(downward_step(1.0, (0.03, 0, 0))), 1.0, 0.0, INTERVAL, mount, np.zeros(3), None)
    sigmas = np.sqrt(np.diag(twist.covariance))
    assert (sigmas[3:5] > 900).all() and sigmas[5] < 0.1


def test_a_gap_in_the_rates_makes_the_turn_unknown() -> None:
    gyro, millisecond = GyroHistory(), 1_000_000
    for stamp in (*range(0, 300, 5), *range(900, 1200, 5)):
        gyro.add(stamp * millisecond, np.zeros(3))
    assert gyro.between(500 * millisecond, 600 * millisecond) is None
    assert gyro.between(290 * millisecond, 910 * millisecond) is None
    assert gyro.between(100 * millisecond, 200 * millisecond) is not None
    gyro.add(1100 * millisecond, np.ones(3))
    assert gyro.between(100 * millisecond, 200 * millisecond) is not None, "a late message clears nothing"


@pytest.mark.parametrize(("seconds", "is_known"), [(0.5, True), (1.0, True), (10.0, False)])
def test_a_gap_among_few_values_is_no_period(seconds: float, is_known: bool) -> None:
    gyro, last = GyroHistory(), round(seconds * 1e9)
    gyro.add(0, np.zeros(3))
    gyro.add(last, np.ones(3))
    assert (gyro.between(last // 4, last // 2) is not None) == is_known


def twist_of(
    velocity: tuple[float, ...], rates: tuple[float, ...], tilt: float = 0.0, ahead: float = 0.0, gyro: bool = True
) -> Twist:
    """Return the twist that is measured on the exact flow of a robot with this constant twist, 1 m over the ground.

    Args:
        velocity: forward, left and up, m/s.
        rates: about the same axes, rad/s.
        tilt: of the camera, its image's top away from straight down, radians.
        ahead: place of the camera in front of the robot's center, meters.
        gyro: whether the rates are measured.
    """
    mount, position = rotation_from_vector(np.array([0.0, -tilt, 0.0])) @ MOUNT, np.array([ahead, 0.0, 0.0])
    times = (np.arange(200) + 0.5) / 200 * INTERVAL
    moved = sum(rotation_from_vector(np.array(rates) * time) @ np.array(velocity) for time in times) * INTERVAL / 200
    camera = camera_of(downward_step(1.0, (0, 0, 0)))
    pixels = np.stack(np.meshgrid(np.arange(camera.size[0]), np.arange(camera.size[1])), axis=-1).astype(np.float32)
    rays = np.dstack((camera.rays(pixels), np.ones(pixels.shape[:2]))) @ mount.T
    ground = rays * (-1.0 / np.minimum(rays[..., 2:], -0.05)) + position
    older = (ground @ rotation_from_vector(np.array(rates) * INTERVAL).T + moved - position) @ mount
    flow = pixels_of(camera, (older[..., :2] / older[..., 2:]).astype(np.float32)) - pixels
    matches = match(flow, np.full(flow.shape[:2], 0.95, np.float32), camera, 2, backward=True)
    matches = reoriented(matches, MOUNT.T @ mount)
    measured = np.array(rates) * INTERVAL if gyro else None
    if measured is not None:
        matches = derotated(matches, camera_rotation(measured, MOUNT))
    found = ground_motion(matches, 0.5)
    assert found is not None
    return ground_twist(found, 1.0, 0.0, INTERVAL, MOUNT, position, measured)


@pytest.mark.parametrize("tilt", [0, 10, 30, 45])
@pytest.mark.parametrize("gyro", [True, False])
def test_a_tilted_camera_measures_the_same(tilt: float, gyro: bool) -> None:
    twist = twist_of((0.5, 0.2, 0.0), (0.0, 0.0, 0.5), np.deg2rad(tilt), gyro=gyro)
    np.testing.assert_allclose(twist.linear, [0.5, 0.2, 0.0], atol=0.01)
    np.testing.assert_allclose(twist.angular, [0, 0, 0.5], atol=0.01)


def test_the_noise_of_a_tilted_camera_is_that_of_the_turned_view() -> None:
    step, random = downward_step(1.0, (0.03, 0, 0)), np.random.default_rng(0)
    matches = match(step.flow, np.full(step.depth.shape, 0.95, np.float32), camera_of(step), 32)
    tilt = rotation_from_vector(np.array([np.deg2rad(45), 0.0, 0.0]))
    turned, place = reoriented(matches, tilt), (5, 3)
    noise = random.standard_normal((5000, 2)) * matches.sigma[place]
    spread = np.cov(transformed(matches.newer[place] + noise, tilt).T)
    # What is farther away has more noise, above all along the view; sigma is the mean of both axes.
    assert turned.sigma[place] == pytest.approx(np.linalg.det(spread) ** 0.25, rel=0.05)
    assert turned.sigma[place] > 1.3 * matches.sigma[place]


@pytest.mark.parametrize(
    ("velocity", "rates", "ahead"),
    [
        ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.0),
        ((1.0, 0.5, 0.1), (0.0, 0.0, 1.5), 0.0),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.4),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 0.0),
    ],
)
def test_a_robot_that_turns_as_it_drives_has_its_own_velocity(
    velocity: tuple[float, ...], rates: tuple[float, ...], ahead: float
) -> None:
    """The displacement is in the axes at its end, the velocity in those of the robot on its way."""
    twist = twist_of(velocity, rates, ahead=ahead)
    np.testing.assert_allclose(twist.linear, velocity, atol=0.01)
    np.testing.assert_allclose(twist.angular, rates, atol=0.01)


def test_an_error_of_the_yaw_rate_moves_a_camera_off_the_center() -> None:
    ground = ground_of(downward_step(1.0, (0.03, 0, 0)))
    central, ahead = (
        ground_twist(ground, 0.2, 0.0, INTERVAL, MOUNT, np.array([x, 0, 0]), None).covariance for x in (0.0, 0.6)
    )
    of_yaw = central[5, 5]
    assert ahead[1, 1] == pytest.approx(central[1, 1] + 0.36 * of_yaw)
    # Too fast a rate puts too much of the camera's sideways motion down to it.
    assert ahead[1, 5] == ahead[5, 1] == pytest.approx(-0.6 * of_yaw)
    assert (np.linalg.eigvalsh(ahead) > -1e-9).all()
