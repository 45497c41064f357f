# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Time to contact on approaches at known speed."""

from __future__ import annotations

import numpy as np
import pytest
from navigation_scenes import RealFlow, camera_of, matches_of, pixels_of

from mdflow_ros.core.resizing import Size
from mdflow_ros.navigation.camera import Camera
from mdflow_ros.navigation.matches import CORE_SPREAD, Matches, flow_sigma, match
from mdflow_ros.navigation.rigid_motion import rotation_from_vector
from mdflow_ros.navigation.self_motion import _of_essential, self_motion
from mdflow_ros.navigation.time_to_contact import Sectors, TimeToContact, nearest_contact, time_to_contact
from mdflow_training.synthetic.navigation_world import Step, approach_step

INTERVAL = 0.1


def measure(step: Step, matches: Matches, sectors: Sectors | None = None) -> TimeToContact:
    found = self_motion(matches, 0.5)
    rotation = found.camera.motion.rotation if found else np.eye(3)
    return time_to_contact(matches, rotation, INTERVAL, sectors or Sectors())


@pytest.mark.parametrize(("distance", "speed", "yaw"), [(3, 0.1, 0), (1, 0.1, 0), (2, 0.1, 0.03), (2, 0.1, -0.03)])
def test_approach_at_known_speed(distance: float, speed: float, yaw: float) -> None:
    step = approach_step(distance, speed, yaw)
    contact = measure(step, matches_of(step, np.random.default_rng(0)))
    np.testing.assert_allclose(contact.seconds, distance / speed * INTERVAL, rtol=0.15)
    assert (contact.confidence > 0.99).all()
    assert nearest_contact(contact, 0.99) == pytest.approx(distance / speed * INTERVAL, rel=0.15)


def test_receding_wall_is_never_touched() -> None:
    step = approach_step(2, -0.1)
    contact = measure(step, matches_of(step, np.random.default_rng(0)))
    assert np.isinf(contact.seconds).all() and (contact.confidence < 0.01).all()
    assert nearest_contact(contact, 0.99) == np.inf


def test_turning_alone_is_no_approach() -> None:
    step = approach_step(2, 0.0, yaw=0.04)
    contact = measure(step, matches_of(step, np.random.default_rng(0)))
    assert nearest_contact(contact, 0.99) > 10


@pytest.mark.parametrize("turned", [0.0, 2.0, 3.1])
def test_an_essential_matrix_of_any_rotation_gives_a_motion(turned: float) -> None:
    step = approach_step(2.0, 0.2)
    direction = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]])
    essential = direction @ rotation_from_vector(np.array([0.0, turned, 0.0]))
    matches = matches_of(step, np.random.default_rng(0))
    found = _of_essential(essential, matches.selected(matches.usable(0.5)))
    assert np.isclose(np.linalg.norm(found.motion.translation), 1)


def test_unknown_without_confident_flow() -> None:
    step = approach_step(2, 0.1)
    confidence = np.full(step.depth.shape, 0.95, np.float32)
    confidence[:, :64] = 0.1
    contact = measure(step, match(step.flow, confidence, camera_of(step), 2))
    assert np.isnan(contact.seconds[0, :2]).all() and (contact.confidence[0, :2] == 0).all()
    assert np.isfinite(contact.seconds[0, 3:]).all()


def test_one_sector_may_be_nearer_than_the_rest() -> None:
    near, far = approach_step(1, 0.1), approach_step(4, 0.1)
    flow = far.flow.copy()
    flow[:, 128:192] = near.flow[:, 128:192]
    matches = match(flow, np.full(near.depth.shape, 0.95, np.float32), camera_of(near), 2)
    contact = time_to_contact(matches, np.eye(3), INTERVAL, Sectors(columns=5))
    np.testing.assert_allclose(contact.seconds[0], [4, 4, 1, 4, 4], rtol=0.02)


def test_backward_flow_gives_the_same_time() -> None:
    # Head-on, each ray shrinks toward the center by the ratio of the distances.
    step = approach_step(2, 0.1)
    camera = camera_of(step)
    height, width = step.depth.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    flow = (pixels_of(camera, camera.rays(grid) * np.float32(2 / 2.1)) - grid).astype(np.float32)
    matches = match(flow, np.full((height, width), 0.95, np.float32), camera, 2, backward=True)
    contact = time_to_contact(matches, np.eye(3), INTERVAL, Sectors(rows=2), backward=True)
    np.testing.assert_allclose(contact.seconds, 2.0, rtol=0.01)


def test_real_estimator_within_15_percent() -> None:
    flow = RealFlow()
    for distance in (3, 2):
        step = approach_step(distance, 0.1)
        contact = measure(step, flow.matches(step))
        assert np.median(contact.seconds) == pytest.approx(distance, rel=0.15)


def test_a_sector_of_which_less_than_half_is_confident_still_approaches() -> None:
    step = approach_step(1, 0.1)
    confidence = np.where(np.random.default_rng(0).random(step.depth.shape) < 0.3, 0.95, 0.1).astype(np.float32)
    contact = measure(step, match(step.flow, confidence, camera_of(step), 2))
    np.testing.assert_allclose(contact.seconds, 1, rtol=0.1)
    assert (contact.confidence > 0.99).all()


def test_a_lens_whose_rays_end_inside_the_view_leaves_side_sectors_known() -> None:
    """An equidistant lens of 160 degrees before a wall: rays beyond 70 degrees are unknown."""
    focal = 160 / np.deg2rad(80)
    camera = Camera(
        Size(320, 256), np.array([[focal, 0, 159.5], [0, focal, 127.5], [0, 0, 1]]), np.zeros(4), "equidistant"
    )
    pixels = np.stack(np.meshgrid(np.arange(320), np.arange(256)), axis=-1).astype(np.float32)
    rays = camera.rays(pixels) * np.float32(1.1)  # the wall comes from 1.1 to 1 meters
    angle = np.arctan(np.hypot(rays[..., 0], rays[..., 1]))
    scale = focal * angle / np.maximum(np.hypot(rays[..., 0], rays[..., 1]), 1e-9)
    flow = rays * scale[..., None] + np.float32([159.5, 127.5]) - pixels
    matches = match(flow.astype(np.float32), np.full((256, 320), 0.95, np.float32), camera, 2)
    contact = time_to_contact(matches, np.eye(3), INTERVAL, Sectors(columns=5))
    np.testing.assert_allclose(contact.seconds, 1, rtol=0.03)


@pytest.mark.parametrize("place", [-0.3, -0.1, 0.0, 0.2])
def test_an_obstacle_that_is_narrower_than_a_third_of_the_view_is_not_late(place: float) -> None:
    step, random = approach_step(8.0, 0.2), np.random.default_rng(0)
    camera, flow = camera_of(step), step.flow.copy()
    width, height = camera.size
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    center, focal = (np.array(camera.size) - 1) / 2, camera.intrinsics[0, 0]
    near = np.abs(pixels[..., 0] - center[0] - place * focal) < 0.15 / 2.2 * focal  # 0.3 m wide, 2.2 m ahead
    flow[near] = ((pixels - center) * 0.1)[near]
    flow += random.normal(0, 0.2, flow.shape).astype(np.float32)
    contact = time_to_contact(
        match(flow, np.full(flow.shape[:2], 0.95, np.float32), camera, 2), np.eye(3), INTERVAL, Sectors()
    )
    # Where its edge lies in a sector, the growth is too large: that errs on the safe side.
    assert 0.4 < nearest_contact(contact, 0.99) < 1.15


@pytest.mark.parametrize("stride", [2, 8, 16])
def test_the_sectors_cover_the_view_evenly_with_every_stride(stride: int) -> None:
    """640 pixels are 40 matches with a stride of 16, which 15 does not divide."""
    camera = Camera(Size(640, 480), np.array([[448.0, 0, 319.5], [0, 448.0, 239.5], [0, 0, 1]]), np.zeros(0))
    pixels = np.stack(np.meshgrid(np.arange(640), np.arange(480)), axis=-1).astype(np.float32)

    def seconds(left: int, right: int) -> np.ndarray:
        """A post between two columns of the image, 1 s away."""
        post = (pixels[..., :1] >= left) & (pixels[..., :1] < right)
        flow = np.where(post, (pixels - np.float32([319.5, 239.5])) * np.float32(0.1), np.float32(0))
        matches = match(flow, np.full((480, 640), 0.95, np.float32), camera, stride)
        return time_to_contact(matches, np.eye(3), INTERVAL, Sectors()).seconds[0]

    assert seconds(420, 480).argmin() == 10 and seconds(420, 480)[10] < 1.1
    assert seconds(576, 640).argmin() >= 13 and seconds(576, 640)[14] < 1.1


def test_probability_that_the_contact_is_later() -> None:
    contact = TimeToContact(np.array([[0.1, 0.05, np.nan]]), np.array([[0.005, 0.005, np.nan]]), 0.1)
    np.testing.assert_allclose(contact.seconds, [[1, 2, np.nan]])
    later = contact.later_than(1.5)
    assert later[0, 0] < 0.01 and later[0, 1] > 0.99 and later[0, 2] == 0


@pytest.mark.parametrize("backward", [False, True])
def test_growth_and_its_standard_error_follow_from_the_matches(backward: bool) -> None:
    side, sigma, stride, growth = 40, 1e-3, 2, 0.05
    older = np.stack(np.meshgrid(np.linspace(0.1, 0.5, side), np.linspace(-0.3, 0.3, side)), axis=-1)
    grids = [np.float32(older), np.float32(older * (1 + growth))]
    sure = np.full((side, side), 0.9, np.float32)
    matches = Matches(*grids, grids[1], sure, np.full_like(sure, sigma), stride)
    whole = Sectors(columns=1, rows=1, top=0.0, bottom=1.0)
    contact = time_to_contact(matches, np.eye(3), INTERVAL, whole, backward)
    assert contact.growth.item() == pytest.approx(growth, rel=1e-4)
    # Errors that are 8 pixels apart count as independent, and 0.3 of an error is common to all. Growth is the mean of
    # two slopes. Backward flow is on the newer grid, which is larger, and measures -a / (1 + a) instead of a.
    independent, common = (8 / stride) ** 2 * sigma**2 / side**2, (0.3 * sigma) ** 2
    across, down = (grids[backward][..., axis].var() for axis in (0, 1))
    of_slopes = (independent / across + independent / down) / 4 + common / ((across + down) / 2) / 2
    expected = np.sqrt(of_slopes) * ((1 + growth) ** 2 if backward else 1)
    assert contact.sigma.item() == pytest.approx(expected, rel=0.01)


def test_each_sector_has_the_standard_error_of_its_own_matches() -> None:
    """Three sectors: as exact as they say; three times worse, as they say; three times worse than they say."""
    sides, sigma = (30, 90), np.repeat(np.float32([[1e-3, 3e-3, 1e-3]]), 30, axis=1).repeat(30, axis=0)
    place = np.stack(np.meshgrid(np.linspace(-0.9, 0.9, sides[1]), np.linspace(-0.3, 0.3, sides[0])), axis=-1)
    noise = np.random.default_rng(0).normal(0, 1e-3, place.shape) * np.repeat([1, 3, 3], 30)[:, None]
    older, sure = place.astype(np.float32), np.full(sides, 0.9, np.float32)
    matches = Matches(older, (place + noise).astype(np.float32), older, sure, sigma, 2)
    contact = time_to_contact(matches, np.eye(3), INTERVAL, Sectors(columns=3, rows=1, top=0.0, bottom=1.0))
    as_said, worse, worse_than_said = contact.sigma[0]
    assert worse == pytest.approx(3 * as_said, rel=0.1)
    assert worse_than_said > 2 * as_said


@pytest.mark.parametrize(("length", "radius"), [(0, 1), (10, 1), (100, 5)])
def test_the_confidence_is_the_probability_of_an_error_within_the_radius(length: float, radius: float) -> None:
    """An error on two axes of one standard deviation is within one with probability 1 - exp(-1/2) (Rayleigh)."""
    confidence = np.float32([[1 - np.exp(-0.5), 1 - np.exp(-2), 0, 1]])
    sigma = flow_sigma(confidence, np.full_like(confidence, length)) / (CORE_SPREAD * radius)
    np.testing.assert_allclose(sigma[0, :2], [1, 0.5], rtol=1e-5)
    assert np.isfinite(sigma).all() and sigma[0, 2] > 1 and sigma[0, 3] > 0.2


def test_the_middle_of_the_view_is_the_robots_path() -> None:
    growth = np.arange(15.0)[None]
    contact = TimeToContact(growth, growth, 0.1)
    np.testing.assert_array_equal(contact.middle(0.5).growth, growth[:, 4:11])
    assert contact.middle(1.0).growth.shape == (1, 15) and contact.middle(0.0).growth.shape == (1, 1)
