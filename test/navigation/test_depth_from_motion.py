# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Depth from motion on rendered worlds with true depth and odometry."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from navigation_scenes import RealFlow, camera_of, matches_of, measured_motion, pixels_of, true_depth

from mdflow_ros.navigation.depth_from_motion import DepthLimits, depth_from_motion, depth_image
from mdflow_ros.navigation.epipolar import refine
from mdflow_ros.navigation.matches import match
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion, rotation_from_vector
from mdflow_training.synthetic.navigation_world import Step, crossing_step, hall_step

FRAMES = range(0, 220, 22)


@pytest.fixture(scope="module")
def drive() -> list[Step]:
    return [hall_step(frame) for frame in FRAMES]


def errors(step: Step, estimate, matches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return relative errors and errors in sigmas of what is between 0.5 and 10 m, and where a depth is known."""
    ground_truth = true_depth(step, matches)
    known = np.isfinite(estimate.depth) & (ground_truth > 0.5) & (ground_truth < 10)
    error = (estimate.depth - ground_truth)[known]
    return error / ground_truth[known], error / estimate.sigma[known], np.isfinite(estimate.depth)


def test_noise_free_flow_and_motion_give_the_exact_depth(drive: list[Step]) -> None:
    step = drive[0]
    matches = match(step.flow, np.ones(step.depth.shape, np.float32), camera_of(step), 2)
    estimate = depth_from_motion(matches, measured_motion(step), DepthLimits(refine=False, max_relative_sigma=1))
    relative, _, known = errors(step, estimate, matches)
    assert known.mean() > 0.5
    assert np.abs(relative).max() < 0.01
    np.testing.assert_allclose(estimate.points[known][:, 2], estimate.depth[known])


@pytest.mark.parametrize("noisy", [False, True], ids=["true odometry", "noisy odometry"])
def test_accuracy_and_honest_sigma_while_driving(drive: list[Step], noisy: bool) -> None:
    random = np.random.default_rng(0)
    relative, in_sigmas, coverage = [], [], []
    for step in drive:
        matches = matches_of(step, random)
        estimate = depth_from_motion(matches, measured_motion(step, random if noisy else None), DepthLimits())
        parts = errors(step, estimate, matches)
        relative.append(parts[0])
        in_sigmas.append(parts[1])
        coverage.append(parts[2].mean())
    error = np.abs(np.concatenate(relative))
    assert np.median(error) <= 0.08
    assert np.mean(error <= 0.2) >= 0.9
    assert min(coverage) >= 0.3
    if noisy:
        assert 0.6 <= np.mean(np.abs(np.concatenate(in_sigmas)) <= 1) <= 0.76


def test_sigma_without_refinement_is_honest_too(drive: list[Step]) -> None:
    random = np.random.default_rng(1)
    in_sigmas = []
    for step in drive * 3:
        matches = matches_of(step, random)
        estimate = depth_from_motion(matches, measured_motion(step, random), DepthLimits(refine=False))
        in_sigmas.append(errors(step, estimate, matches)[1])
    assert 0.6 <= np.mean(np.abs(np.concatenate(in_sigmas)) <= 1) <= 0.76


def test_refinement_takes_the_rotation_noise_out(drive: list[Step]) -> None:
    random = np.random.default_rng(2)

    def angle(camera: CameraMotion, step: Step) -> float:
        return float(np.arccos(np.clip((np.trace(camera.motion.rotation @ step.rotation.T) - 1) / 2, -1, 1)))

    before, after = [], []
    for step in drive:
        motion = measured_motion(step, random)
        before.append(angle(motion, step))
        after.append(angle(depth_from_motion(matches_of(step, random), motion, DepthLimits()).motion, step))
    assert np.mean(after) < 0.3 * np.mean(before)


def test_matches_that_are_8_pixels_apart_tell_the_motion_independently(drive: list[Step]) -> None:
    step = drive[0]
    loose = CameraMotion(measured_motion(step).motion, np.eye(6))
    confidence = np.ones(step.depth.shape, np.float32)
    grids = (match(step.flow, confidence, camera_of(step), stride) for stride in (8, 16))
    variances = [refine(grid.selected(grid.usable(0.5)), loose, 0.3).covariance[1, 1] for grid in grids]
    assert variances[1] / variances[0] == pytest.approx(4, rel=0.3)


def test_moving_boxes_are_not_in_the_cloud() -> None:
    left = []
    for seed in range(6):
        step, random = crossing_step(seed), np.random.default_rng(seed)
        estimate = depth_from_motion(matches_of(step, random), measured_motion(step, random), DepthLimits())
        known, moving = np.isfinite(estimate.depth), step.moving[::2, ::2]
        assert moving.sum() > 200 and known[~moving].mean() > 0.25
        left.append(known[moving].mean())
    # A strip that moves exactly along its epipolar lines, at the height of the horizon, may stay.
    assert np.mean(left) < 0.03 and max(left) < 0.1


def test_no_depth_while_standing_still(drive: list[Step]) -> None:
    step = drive[0]
    flow = np.random.default_rng(0).normal(0, 0.3, step.flow.shape).astype(np.float32)
    matches = match(flow, np.full(step.depth.shape, 0.95, np.float32), camera_of(step), 2)
    still = CameraMotion.with_sigmas(RigidMotion(np.eye(3), np.zeros(3)), 0.02, 0.003)
    estimate = depth_from_motion(matches, still, DepthLimits())
    assert np.isfinite(estimate.depth).mean() < 0.01


def test_low_confidence_and_masked_flow_are_left_out(drive: list[Step]) -> None:
    step = drive[0]
    confidence = np.full(step.depth.shape, 0.95, np.float32)
    confidence[:, :100] = 0.2
    flow = step.flow.copy()
    flow[:, 200:] = np.nan
    estimate = depth_from_motion(match(flow, confidence, camera_of(step), 2), measured_motion(step), DepthLimits())
    known = np.isfinite(estimate.depth)
    assert not known[:, :50].any() and not known[:, 100:].any() and known[:, 50:100].any()


def test_backward_flow_gives_the_same_depth(drive: list[Step]) -> None:
    step = drive[0]
    confidence = np.ones(step.depth.shape, np.float32)
    depth = step.newer_depth
    camera = camera_of(step)
    height, width = depth.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    rays = camera.rays(grid)
    newer = np.concatenate((rays * depth[..., None], depth[..., None]), axis=-1)
    older = (newer - step.translation) @ step.rotation
    flow = (pixels_of(camera, (older[..., :2] / older[..., 2:]).astype(np.float32)) - grid).astype(np.float32)
    backward = match(flow, confidence, camera, 2, backward=True)
    estimate = depth_from_motion(backward, measured_motion(step), DepthLimits(refine=False))
    known = np.isfinite(estimate.depth)
    assert known.mean() > 0.3
    np.testing.assert_allclose(estimate.depth[known], depth[::2, ::2][known], rtol=0.01)


def test_depth_image_keeps_the_nearest_and_leaves_the_rest_unknown() -> None:
    intrinsics = np.array([[10.0, 0, 4], [0, 10, 2], [0, 0, 1]])
    points = np.array([[0, 0, 3], [0, 0, 2], [0.2, 0, 1], [9, 9, 1]], np.float32)
    image = depth_image(points, intrinsics, (9, 5))
    expected = np.full((5, 9), np.nan, np.float32)
    expected[2, 4], expected[2, 6] = 2, 1
    np.testing.assert_array_equal(image, expected)


def test_real_estimator_end_to_end() -> None:
    flow = RealFlow()
    random = np.random.default_rng(0)
    relative, in_sigmas, coverage = [], [], []
    for frame in range(0, 220, 22):
        step = hall_step(frame)
        matches = flow.matches(step)
        estimate = depth_from_motion(matches, measured_motion(step, random), DepthLimits())
        parts = errors(step, estimate, matches)
        relative.append(parts[0])
        in_sigmas.append(parts[1])
        coverage.append(parts[2].mean())
    error = np.abs(np.concatenate(relative))
    assert np.median(error) <= 0.08
    assert np.mean(error <= 0.2) >= 0.9
    assert np.mean(coverage) >= 0.3
    assert 0.6 <= np.mean(np.abs(np.concatenate(in_sigmas)) <= 1) <= 0.76


def test_an_error_of_the_robots_turn_moves_a_camera_off_its_center() -> None:
    """Monte Carlo: a robot that turns in place, its camera half a meter ahead."""
    pose = RigidMotion.of_pose([0.5, 0, 0.4, -0.5, 0.5, -0.5, 0.5])
    sigma, random = 0.01, np.random.default_rng(0)
    robot = RigidMotion(rotation_from_vector(np.array([0, 0, 0.1])), np.zeros(3))
    motion = (robot @ pose).inverse() @ pose
    errors = []
    for _ in range(4000):
        wrong = (
            RigidMotion(rotation_from_vector(random.normal(0, sigma, 3)) @ robot.rotation, np.zeros(3)) @ pose
        ).inverse() @ pose
        vector = cv2.Rodrigues(wrong.rotation @ motion.rotation.T)[0].ravel()
        errors.append(np.concatenate((vector, wrong.translation - motion.translation)))
    expected = CameraMotion.with_sigmas(motion, 0.0, sigma, pose.inverse().translation).covariance
    np.testing.assert_allclose(np.cov(np.array(errors).T), expected, atol=0.1 * sigma**2)
