# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of traffic: vehicles that cross the view or drive along it, among houses, trees and poles at rest.

On the real road pair of KITTI, the network misses a fast car of plain paint in front of a background at rest.
"""

from __future__ import annotations

import numpy as np
import trimesh
from numpy.typing import NDArray

from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_training.synthetic.draws import log_uniform
from mdflow_training.synthetic.roads_and_rooms import intrinsics, rotation_matrix
from mdflow_training.synthetic.solid_parts import UPRIGHT, BodyFactory, ground_place, lit
from mdflow_training.synthetic.solid_renderer import Body, SolidScene
from mdflow_training.synthetic.solids import as_mesh, bar, rock, uneven_ground
from mdflow_training.synthetic.textures import TextureLibrary
from mdflow_training.synthetic.vehicles import draw_vehicle, livery, vehicle_mesh

GROUND_SIDE = 250.0
"""Side of the square of ground, meters."""


def traffic_scene(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> SolidScene:
    """Draw 3 to 12 vehicles on a plain, seen from a vehicle that drives or waits; arguments as of `solid_scene`."""
    matrix = intrinsics(random, size, float(random.uniform(0.35, 0.6)))
    camera = _camera_motion(random)
    camera_height = float(random.uniform(1.0, 2.2))
    factory = BodyFactory(random, library, matrix[0, 0], camera)
    ground = as_mesh(uneven_ground(random, GROUND_SIDE, 0.0, cells=8))
    bodies = [factory.sky(), factory.ground(ground, camera_height)]
    for draw, (fewest, most), (nearest, farthest) in RESTING:
        for _ in range(int(random.integers(fewest, most + 1))):
            depth = log_uniform(random, nearest, farthest)
            heading = rotation_matrix(random.normal(0, 0.3), 0, 0) @ UPRIGHT
            pose = RigidMotion(heading, ground_place(random, matrix, size[1], camera_height, depth))
            bodies += [factory.body(as_mesh(mesh), pose, pose, depth) for mesh in draw(random)]
    for _ in range(int(random.integers(3, 13))):
        place = ground_place(random, matrix, size[1], camera_height, log_uniform(random, 5, 40))
        bodies.append(_vehicle(factory, place))
    return lit(random, bodies, matrix, camera)


def _camera_motion(random: np.random.Generator) -> RigidMotion:
    """Draw the motion of the resting scene as the camera sees it; in a third of the scenes the camera waits."""
    speed = log_uniform(random, 0.05, 2) if random.random() < 0.67 else 0.0
    turn = rotation_matrix(*random.choice([0.05, 0.3, 1.0]) * random.normal(0, (0.02, 0.005, 0.005)))
    return RigidMotion(turn, np.array([random.normal(0, 0.05), random.normal(0, 0.03), -1]) * speed)


def _vehicle(factory: BodyFactory, place: NDArray[np.float64]) -> Body:
    """Draw a vehicle behind ``place``: parked or not, across the view or along it; up to 2 m between the images."""
    random = factory.random
    vehicle = draw_vehicle(random)
    across, along = (0, np.pi), (np.pi / 2, -np.pi / 2)
    yaw = random.choice(across if random.random() < 0.6 else along) + random.normal(0, 0.15)
    heading = rotation_matrix(yaw, 0, 0) @ UPRIGHT
    # No vehicle reaches behind the camera: its middle is at least half its length farther away than its place.
    middle = place + np.array([0, 0, vehicle.length / 2])
    first = RigidMotion(heading, middle - heading @ [vehicle.length / 2, 0, 0])
    second = first
    if random.random() < 0.75:
        step = heading @ [log_uniform(random, 0.1, 2), 0, 0]
        turn = rotation_matrix(random.normal(0, 0.015), 0, 0)
        second = RigidMotion(turn @ heading, first.translation + step)
    texture = livery(random, factory.library, vehicle)
    return Body(vehicle_mesh(vehicle), texture, vehicle.texels_per_meter, first, factory.camera @ second)


def _house(random: np.random.Generator) -> list[trimesh.Trimesh]:
    """Return a house, a wall or a hedge."""
    height = log_uniform(random, 1, 12)
    return [bar((random.uniform(4, 30), random.uniform(1, 10), height), (0, 0, height / 2))]


def _tree(random: np.random.Generator) -> list[trimesh.Trimesh]:
    """Return a trunk and a crown."""
    height, width = float(random.uniform(3, 9)), float(random.uniform(1.5, 5))
    crown = rock(random)
    crown.apply_scale(width / crown.extents.max())
    crown.apply_translation([0, 0, height])
    return [_pole(height, 0.05 + 0.02 * height), crown]


def _sign(random: np.random.Generator) -> list[trimesh.Trimesh]:
    """Return a pole, mostly with a sign or a light on top."""
    height = log_uniform(random, 1.5, 7)
    pole = _pole(height, float(random.uniform(0.03, 0.12)))
    if random.random() < 0.3:
        return [pole]
    return [pole, bar((random.uniform(0.2, 1.2), 0.1, random.uniform(0.3, 1.2)), (0, -0.15, height))]


def _pole(height: float, radius: float) -> trimesh.Trimesh:
    mesh = trimesh.creation.cylinder(radius=radius, height=height, sections=8)
    mesh.apply_translation([0, 0, height / 2])
    return mesh


RESTING = (
    (_house, (2, 8), (15.0, 90.0)),
    (_tree, (0, 6), (8.0, 70.0)),
    (_sign, (0, 5), (4.0, 30.0)),
)
"""Things at rest: the function that draws their parts, the range of their number, that of their distance, meters."""
