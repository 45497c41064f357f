# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Parallax and camera motion of points whose places are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mdflow_ros.navigation.epipolar import normalized_residual, parallax, refine
from mdflow_ros.navigation.matches import Matches
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion, rotation_from_vector
from mdflow_ros.navigation.self_motion import self_motion

SIGMA = 1e-3
MOTION = RigidMotion(rotation_from_vector(np.array([0.02, -0.03, 0.05])), np.array([0.1, 0.05, 0.01]))
CAMERA = CameraMotion(MOTION, np.diag([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]) * 1e-6)


def matches_of_points(depth: np.ndarray, motion: RigidMotion = MOTION) -> Matches:
    """Return the matches of static points at these depths in the older camera, ``(H, W)``."""
    y, x = np.mgrid[-0.6 : 0.6 : complex(depth.shape[0]), -0.8 : 0.8 : complex(depth.shape[1])]
    older = np.stack((x, y), axis=-1)
    points = np.dstack((older * depth[..., None], depth)) @ motion.rotation.T + motion.translation
    newer = points[..., :2] / points[..., 2:]
    grids = (grid.astype(np.float32) for grid in (older, newer, newer))
    return Matches(*grids, np.full(depth.shape, 0.9, np.float32), np.full(depth.shape, SIGMA, np.float32), 8)


def test_depth_and_derivatives_of_static_points() -> None:
    depth = np.random.default_rng(0).uniform(2, 6, (20, 30))
    matches = matches_of_points(depth)
    found = parallax(matches, CAMERA, 0.5)
    y, x = matches.older[..., 1], matches.older[..., 0]
    newer_depth = depth * (np.dstack((x, y, np.ones_like(x))) @ MOTION.rotation[2]) + MOTION.translation[2]
    np.testing.assert_allclose(found.reach / found.along, newer_depth, rtol=1e-3)
    np.testing.assert_allclose(found.across, 0, atol=1e-6)
    for axis, change in enumerate(1e-3 * np.eye(6)):
        after, before = (parallax(matches, CAMERA.corrected(sign * change, CAMERA.covariance), 0.5) for sign in (1, -1))
        # To first order in the share of the depth that the camera moves forward, 0.5 percent here.
        across = (after.across - before.across) / 2e-3
        np.testing.assert_allclose(found.across_change[axis], across, rtol=0.02, atol=0.01)
        log_depth = np.log((after.reach / after.along) / (before.reach / before.along)) / 2e-3
        np.testing.assert_allclose(found.depth_change()[axis], log_depth, rtol=0.02, atol=0.3)
    of_motion = np.tensordot(np.diag(CAMERA.covariance), found.across_change**2, 1)
    np.testing.assert_allclose(found.across_sigma(), np.sqrt(SIGMA**2 + of_motion), rtol=1e-4)
    x, y = found.infinity
    turned = np.stack((-x * y, 1 + x * x, -y), axis=-1), np.stack((-1 - y * y, x * y, x), axis=-1)
    turned_along = turned[0] * found.unit[0][..., None] + turned[1] * found.unit[1][..., None]
    of_turn = (turned_along**2 * np.diag(CAMERA.covariance)[:3]).sum(axis=-1)
    np.testing.assert_allclose(found.along_sigma(), np.sqrt(SIGMA**2 + of_turn), rtol=1e-4)


def test_static_points_lie_between_infinity_and_the_nearest_depth() -> None:
    """A camera that moves 0.1 m to the left sees points at 0.5 m or more move to the right by up to 0.2."""
    camera = CameraMotion(RigidMotion(np.eye(3), np.array([0.1, 0, 0])), 1e-14 * np.eye(6))
    matches = matches_of_points(np.ones((1, 5)))
    moves = [(0.2, 0), (0.2 + 4 * SIGMA, 0), (-3 * SIGMA, 0), (0.1, 2 * SIGMA), (0.2 + 4 * SIGMA, -3 * SIGMA)]
    matches = replace(matches, newer=matches.older + np.float32([moves]))
    residual = normalized_residual(parallax(matches, camera, 0.5))
    np.testing.assert_allclose(residual, [[0, 4, 3, 2, 5]], atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_flow_corrects_the_rotation_whatever_moves(share: float) -> None:
    depth = np.random.default_rng(1).uniform(2, 6, (30, 40))
    matches = matches_of_points(depth)
    matches.newer[:, : round(share * 40)] += np.float32((0.02, -0.03))  # an object
    error = np.array([0.002, -0.001, 0.003])
    measured = RigidMotion(rotation_from_vector(error) @ MOTION.rotation, MOTION.translation)
    loose = CameraMotion(measured, np.diag([4e-6] * 3 + [1e-8] * 3))
    refined = refine(matches.selected(matches.usable(0.5)), loose, 0.5)
    np.testing.assert_allclose(refined.motion.rotation, MOTION.rotation, atol=2e-4)
    np.testing.assert_allclose(refined.motion.translation, MOTION.translation, atol=2e-4)
    # Each match across its line adds what it knows to the measured motion's.
    change = parallax(matches, refined, 0.5).across_change[..., round(share * 40) :].reshape(6, -1).astype(float)
    information = np.linalg.inv(np.diag([4e-6] * 3 + [1e-8] * 3)) + change @ change.T / SIGMA**2
    sigmas = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(np.sqrt(np.diag(refined.covariance)), sigmas, rtol=0.05)


def test_points_at_many_depths_tell_the_rotation_and_the_direction() -> None:
    found = self_motion(matches_of_points(np.random.default_rng(2).uniform(2, 6, (40, 60))), 0.5)
    assert found is not None and found.homography is None
    np.testing.assert_allclose(found.camera.motion.rotation, MOTION.rotation, atol=1e-3)
    direction = MOTION.translation / np.linalg.norm(MOTION.translation)
    np.testing.assert_allclose(found.camera.motion.translation, direction, atol=0.01)


def test_points_on_a_plane_tell_a_homography() -> None:
    matches = matches_of_points(np.full((40, 60), 3.0))
    found = self_motion(matches, 0.5)
    assert found is not None and found.homography is not None
    expected = MOTION.rotation + np.outer(MOTION.translation, (0, 0, 1 / 3))
    scale = expected[2, 2] / found.homography[2, 2]
    np.testing.assert_allclose(scale * found.homography, expected, atol=1e-4)
    off = replace(matches, newer=matches.newer + np.float32((3 * SIGMA, 4 * SIGMA)))
    noise = np.hypot(SIGMA, 0.05 * np.hypot(*np.moveaxis(off.newer - off.older, -1, 0)))  # with the shared errors
    # 3.44 standard deviations on two axes are as rare as 3 on one.
    np.testing.assert_allclose(found.residual(off), 5 * SIGMA / noise * 3 / 3.44, rtol=0.01)


def test_a_camera_that_only_turns_has_no_direction() -> None:
    turning = RigidMotion(MOTION.rotation, np.zeros(3))
    found = self_motion(matches_of_points(np.random.default_rng(3).uniform(2, 6, (40, 60)), turning), 0.5)
    assert found is not None and not found.camera.motion.translation.any()
    np.testing.assert_allclose(found.camera.motion.rotation, MOTION.rotation, atol=1e-5)
    np.testing.assert_allclose(found.homography, MOTION.rotation, atol=1e-5)


def test_flow_that_no_motion_explains_has_none() -> None:
    matches = matches_of_points(np.full((40, 60), 3.0))
    scattered = np.random.default_rng(4).uniform(-0.3, 0.3, matches.newer.shape).astype(np.float32)
    assert self_motion(replace(matches, newer=matches.newer + scattered), 0.5) is None
