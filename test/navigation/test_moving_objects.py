# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Moving objects on rendered worlds, with odometry and without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from navigation_scenes import RealFlow, camera_of, matches_of, measured_motion, pixels_of

from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.navigation.matches import Matches, flow_sigma, match, transformed
from mdflow_ros.navigation.moving_objects import (
    MovingLimits,
    ground_points,
    moving_objects,
    static_residual,
)
from mdflow_ros.navigation.regions import moving_regions
from mdflow_ros.navigation.rigid_motion import CameraMotion, RigidMotion, rotation_from_vector
from mdflow_ros.navigation.self_motion import self_motion
from mdflow_training.synthetic.navigation_world import (
    Step,
    crossing_step,
    forward_view,
    hall_step,
    open_hall,
    render_step,
)

MIN_DEPTH = 0.3


def residual_with_odometry(step: Step, matches: Matches, random: np.random.Generator) -> np.ndarray:
    found = static_residual(matches, measured_motion(step, random), MIN_DEPTH, 0.5)
    assert found is not None
    return found


def residual_without_odometry(step: Step, matches: Matches, random: np.random.Generator) -> np.ndarray:
    found = static_residual(matches, None, MIN_DEPTH, 0.5)
    assert found is not None
    return found


MODES = pytest.mark.parametrize("residual_of", [residual_with_odometry, residual_without_odometry])


def find(step: Step, matches: Matches, residual_of: Callable, random: np.random.Generator):
    return moving_objects(matches, residual_of(step, matches, random), camera_of(step).size, MovingLimits())


def precision_and_recall(found: list[np.ndarray], true: list[np.ndarray]) -> tuple[float, float]:
    seen, ground_truth = np.stack(found) > 0, np.stack(true)
    hits = (seen & ground_truth).sum()
    return hits / seen.sum(), hits / ground_truth.sum()


@MODES
def test_precision_and_recall(residual_of: Callable) -> None:
    random, masks, ground_truths = np.random.default_rng(0), [], []
    for seed in range(8):
        step = crossing_step(seed)
        mask, objects = find(step, matches_of(step, random), residual_of, random)
        assert 1 <= len(objects) <= 2
        masks.append(mask)
        ground_truths.append(step.newer_moving)
    precision, recall = precision_and_recall(masks, ground_truths)
    assert precision >= 0.8 and recall >= 0.8


@MODES
def test_nothing_moves_in_a_resting_world(residual_of: Callable) -> None:
    random = np.random.default_rng(0)
    for frame in range(0, 220, 44):
        step = hall_step(frame)
        mask, objects = find(step, matches_of(step, random), residual_of, random)
        assert not objects and not mask.any()


def test_box_holds_its_object() -> None:
    step, random = crossing_step(2), np.random.default_rng(0)
    mask, objects = find(step, matches_of(step, random), residual_with_odometry, random)
    rows, columns = np.nonzero(mask)
    left, right = min(o.left for o in objects), max(o.left + o.width for o in objects)
    top, bottom = min(o.top for o in objects), max(o.top + o.height for o in objects)
    assert (left, right, top, bottom) == (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
    assert all(0.9 < found.score <= 1 for found in objects)


def test_a_resting_camera_sees_what_moves() -> None:
    step, random = crossing_step(1, speed=0.0, max_turn=0.0), np.random.default_rng(0)
    flow = step.flow + random.normal(0, 0.2, step.flow.shape)
    matches = match(flow.astype(np.float32), np.full(step.depth.shape, 0.95, np.float32), camera_of(step), 2)
    mask, _ = find(step, matches, residual_without_odometry, random)
    precision, recall = precision_and_recall([mask], [step.newer_moving])
    assert precision >= 0.8 and recall >= 0.8


def test_too_little_confident_flow_gives_no_motion() -> None:
    step = crossing_step(0)
    matches = match(step.flow, np.full(step.depth.shape, 0.1, np.float32), camera_of(step), 2)
    assert self_motion(matches, 0.5) is None


def test_ground_points_lie_where_the_object_stands() -> None:
    # A camera 1 m high that looks forward: a ray that falls by 0.5 per meter meets the ground 2 m ahead.
    pose = RigidMotion.from_quaternion(np.array([0, 0, 1.0]), np.array([-0.5, 0.5, -0.5, 0.5]))
    rays = np.array([[[-0.1, 0.5], [0.1, 0.5]], [[0, -0.1], [0.2, -0.1]]], np.float32)
    points = ground_points(rays, pose)
    np.testing.assert_allclose(points[:, 1:], np.tile([1.0, 2.0], (len(points), 1)), atol=1e-6)
    np.testing.assert_allclose([points[:, 0].min(), points[:, 0].max()], [-0.2, 0.2], atol=1e-6)
    assert ground_points(np.zeros((0, 2, 2), np.float32), pose).shape == (0, 3)


def test_real_estimator_end_to_end() -> None:
    flow, random = RealFlow("best"), np.random.default_rng(0)  # balanced has a recall of 0.77: boxes are small
    found: dict[Callable, list[np.ndarray]] = {residual_with_odometry: [], residual_without_odometry: []}
    ground_truths = []
    for seed in range(6):
        step = crossing_step(seed)
        matches = flow.matches(step)
        ground_truths.append(step.newer_moving)
        for residual_of, masks in found.items():
            masks.append(find(step, matches, residual_of, random)[0])
    for masks in found.values():
        precision, recall = precision_and_recall(masks, ground_truths)
        assert precision >= 0.8 and recall >= 0.8


def test_a_distorting_lens_does_not_reverse_the_motion() -> None:
    # The rays of what leaves the image are unknown.
    camera = Camera(
        Size(320, 256), np.array([[224.0, 0, 159.5], [0, 224.0, 127.5], [0, 0, 1]]), np.array([-0.28, 0.07, 0, 0])
    )
    pixels = np.stack(np.meshgrid(np.arange(320), np.arange(256)), axis=-1).astype(np.float32)
    rays = np.dstack((camera.rays(pixels), np.ones((256, 320))))
    depth = 2 + 3 * cv2.resize(np.random.default_rng(0).random((6, 8)), (320, 256), interpolation=cv2.INTER_CUBIC)
    forward = np.array([0.0, 0.0, -0.15])
    ahead = (rays * depth[..., None] + forward).reshape(-1, 3)
    moved, _ = cv2.projectPoints(ahead, np.zeros(3), np.zeros(3), camera.intrinsics, camera.distortion)
    flow = (moved.reshape(256, 320, 2) - pixels).astype(np.float32)
    matches = match(flow, np.full((256, 320), 0.95, np.float32), camera, 2)
    assert not matches.confidence[~np.isfinite(matches.newer).all(axis=-1)].any()
    found = self_motion(matches, 0.5)
    assert found is not None
    np.testing.assert_allclose(found.camera.motion.translation, [0, 0, -1], atol=0.05)
    assert (found.residual(matches) > 3).mean() < 0.02
    with_all = self_motion(matches, 0.0)
    assert with_all is not None
    np.testing.assert_allclose(with_all.camera.motion.translation, [0, 0, -1], atol=0.05)


@pytest.mark.parametrize("turned", [0.0, 0.04])
def test_a_camera_that_does_not_translate_sees_what_moves_by_odometry(turned: float) -> None:
    """The epipolar lines have no direction where the camera does not translate."""
    step, random = crossing_step(1, speed=0.0, max_turn=0.0), np.random.default_rng(0)
    rotation = rotation_from_vector(np.array([0.0, turned, 0.0]))
    matches = matches_of(step, random)
    matches = replace(matches, newer=transformed(matches.newer, rotation))
    motion = CameraMotion.with_sigmas(RigidMotion(rotation, np.zeros(3)), 0.02, 0.003)
    off = static_residual(matches, motion, MIN_DEPTH, 0.5)
    assert off is not None
    mask, _ = moving_objects(matches, off, camera_of(step).size, MovingLimits())
    precision, recall = precision_and_recall([mask], [step.newer_moving])
    assert precision >= 0.8 and recall >= 0.75


@pytest.mark.parametrize("share", [0.06, 0.2, 0.3])
def test_a_camera_that_turns_on_the_spot_sees_what_moves_by_the_flow_alone(share: float) -> None:
    camera, random = camera_of(crossing_step(0)), np.random.default_rng(0)
    width, height = camera.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    flow = (
        pixels_of(camera, transformed(camera.rays(pixels), rotation_from_vector(np.array([0.0, 0.03, 0.0])))) - pixels
    )
    moving = np.zeros((height, width), bool)
    side = round(np.sqrt(share * width * height))
    moving[20 : 20 + side, 60 : 60 + side] = True
    flow[moving] += np.float32([3, 2])
    flow += random.normal(0, 0.2, flow.shape).astype(np.float32)
    matches = match(flow, np.full(moving.shape, 0.95, np.float32), camera, 2)
    mask, objects = find_by_flow(matches, camera.size)
    assert len(objects) == 1 and 0.9 < (mask > 0).mean() / share < 1.1


def find_by_flow(matches: Matches, size: Size):
    found = self_motion(matches, 0.5)
    assert found is not None
    return moving_objects(matches, found.residual(matches), size, MovingLimits())


@pytest.mark.parametrize("scale", [1.0, 0.25, 0.1])
def test_nothing_moves_in_a_hall_that_is_passed_slowly(scale: float) -> None:
    random, wrong = np.random.default_rng(0), 0
    for frame in range(0, 220, 44):
        step = hall_step(frame)
        camera = camera_of(step)
        width, height = camera.size
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
        points = np.dstack((camera.rays(pixels), np.ones((height, width)))) * step.depth[..., None]
        rotation = rotation_from_vector(scale * cv2.Rodrigues(step.rotation)[0].ravel())
        moved = points @ rotation.T + scale * step.translation
        flow = pixels_of(camera, (moved[..., :2] / moved[..., 2:]).astype(np.float32)) - pixels
        confidence = np.full((height, width), 0.95, np.float32)
        sigma = flow_sigma(confidence, np.hypot(flow[..., 0], flow[..., 1]))
        flow += (random.standard_normal(flow.shape) * sigma[..., None]).astype(np.float32)
        wrong += bool(find_by_flow(match(flow, confidence, camera, 2), camera.size)[1])
    assert wrong == 0


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_errors_that_neighbors_share_are_no_object(stride: int) -> None:
    camera, wrong = camera_of(crossing_step(0)), 0
    width, height = camera.size
    for seed in range(4):
        noise = np.random.default_rng(seed).standard_normal((height, width, 2))
        noise = cv2.GaussianBlur(noise, (0, 0), 16 / (2 * np.sqrt(np.pi)))  # correlated over 16 pixels
        confidence = np.full((height, width), 0.95, np.float32)
        flow = noise / noise.std() * flow_sigma(confidence, np.zeros_like(confidence))[..., None]
        wrong += bool(find_by_flow(match(flow.astype(np.float32), confidence, camera, stride), camera.size)[1])
    assert wrong == 0


@pytest.mark.parametrize("stride", [2, 4, 8, 16])
def test_boxes_are_centered_on_their_object_at_every_stride(stride: int) -> None:
    camera = Camera(Size(642, 480), np.array([[450.0, 0, 320.5], [0, 450, 239.5], [0, 0, 1]]), np.zeros(0))
    off = np.zeros((480, 642), np.float32)
    off[160:256, 224:352] = 9
    matches = match(np.zeros((480, 642, 2), np.float32), np.full((480, 642), 0.9, np.float32), camera, stride)
    mask, (found,) = moving_objects(matches, off[::stride, ::stride], camera.size, MovingLimits())
    assert found.left + found.width / 2 == pytest.approx(288 - stride / 2, abs=1)
    assert found.top + found.height / 2 == pytest.approx(208 - stride / 2, abs=1)
    rows, columns = np.nonzero(mask)
    assert (columns.min(), rows.min()) == (found.left, found.top) and mask.shape == (480, 642)


def test_a_region_near_the_border_does_not_grow_to_it() -> None:
    off = np.zeros((240, 320), np.float32)
    off[150:232, 100:200] = 9
    mask = moving_regions(off, np.ones_like(off), 2, 3.0, 0.5)
    assert np.nonzero(mask)[0].max() < 236


@pytest.mark.parametrize("max_turn", [0.0, 0.03])
def test_a_camera_on_the_spot_with_the_real_estimator(max_turn: float) -> None:
    flow, masks, ground_truths = RealFlow(), [], []
    for seed in range(8):
        step = crossing_step(seed, speed=0.0, max_turn=max_turn)
        masks.append(find_by_flow(flow.matches(step), camera_of(step).size)[0])
        ground_truths.append(step.newer_moving)
    precision, recall = precision_and_recall(masks, ground_truths)
    assert precision >= 0.75 and recall >= 0.75


@MODES
@pytest.mark.parametrize("yaw", [0.03, 0.06, 0.1])
def test_nothing_moves_in_a_hall_in_which_the_robot_turns_on_the_spot(residual_of: Callable, yaw: float) -> None:
    flow, random, size = RealFlow(), np.random.default_rng(0), (256, 320)
    for seed in range(4):
        hall = open_hall(np.random.default_rng([seed, 5]))
        step = render_step(hall, hall, (forward_view(size), forward_view(size, yaw=yaw)), size, seed)
        _, objects = find(step, flow.matches(step), residual_of, random)
        assert not objects
