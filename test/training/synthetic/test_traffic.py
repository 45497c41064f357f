# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Vehicles have the measures that they are drawn with, and drive before a background that rests."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trimesh")
pytest.importorskip("embreex", reason="embreex is not installed (x86-64 only)")

from mdflow_training.synthetic.pairs import SCENE_CLASSES, render_pair
from mdflow_training.synthetic.textures import procedural_library
from mdflow_training.synthetic.traffic import traffic_scene
from mdflow_training.synthetic.vehicles import VEHICLE_TEXTURE, draw_vehicle, livery, vehicle_mesh

LIBRARY = procedural_library(1, 3, 256)


@pytest.mark.parametrize("seed", range(12))
def test_a_vehicle_fills_its_measures_and_stands_on_the_ground(seed: int) -> None:
    vehicle = draw_vehicle(np.random.default_rng(seed))
    corners = vehicle_mesh(vehicle).corners.reshape(-1, 3)
    np.testing.assert_allclose(corners.min(axis=0), [0, -vehicle.width / 2, 0], atol=0.06)
    np.testing.assert_allclose(corners.max(axis=0), [vehicle.length, vehicle.width / 2, vehicle.height], atol=0.06)
    assert 3.5 <= vehicle.length <= 9
    assert 1.3 < vehicle.height < 3.5


def test_windows_and_wheels_are_darker_than_bright_paint() -> None:
    for seed in range(30):
        random = np.random.default_rng(seed)
        vehicle = draw_vehicle(random)
        picture = livery(random, LIBRARY, vehicle)
        assert picture.shape == (VEHICLE_TEXTURE, VEHICLE_TEXTURE, 3)
        row, column = (np.array([vehicle.wheel * 0.15, vehicle.axles[0]]) * vehicle.texels_per_meter).astype(int)
        assert picture[row, column].max() < 60  # the tire below the hub
        if (paint := picture[-1].mean()) > 150:
            top = vehicle.belt + 0.5 * (vehicle.height - vehicle.belt)
            assert picture[int(top * vehicle.texels_per_meter)].min() < paint - 60


def test_vehicles_drive_and_the_rest_moves_as_the_camera_does() -> None:
    driving = 0
    for number in range(20):
        scene = traffic_scene(np.random.default_rng(number), LIBRARY, (64, 128))
        sky = scene.bodies[0]
        camera = sky.second @ sky.first.inverse()
        vehicles = [body for body in scene.bodies if body.texture.shape[0] == VEHICLE_TEXTURE]
        assert 3 <= len(vehicles) <= 12
        for body in scene.bodies:
            own = camera.inverse() @ body.second @ body.first.inverse()
            at_rest = np.allclose(own.rotation, np.eye(3)) and np.allclose(own.translation, 0, atol=1e-9)
            assert at_rest or body.texture.shape[0] == VEHICLE_TEXTURE
            driving += not at_rest
        for body in vehicles:
            depth = body.mesh.corners @ body.first.rotation[2] + body.first.translation[2]
            assert depth.min() > 1.5
    assert driving > 40


def test_traffic_is_part_of_the_mixture_and_often_fast_before_a_slow_background() -> None:
    assert SCENE_CLASSES["traffic"].share > 0
    lengths = [
        np.linalg.norm(render_pair(LIBRARY, 3, number, (128, 256), "traffic").forward, axis=-1) for number in range(12)
    ]
    faster = [np.percentile(length, 99) > 5 * np.median(length) + 5 for length in lengths]
    assert 2 <= sum(faster) < 12
