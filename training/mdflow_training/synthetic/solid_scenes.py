# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of solid bodies: things that float and turn before a wall, and things that stand on uneven ground.

The former follow FlyingThings3D (Mayer et al., CVPR 2016): the camera and each body move by themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_training.synthetic.draws import log_uniform
from mdflow_training.synthetic.planar import displacement
from mdflow_training.synthetic.roads_and_rooms import intrinsics, rotation_matrix
from mdflow_training.synthetic.solid_parts import BACKGROUND_TEXTURE, UPRIGHT, BodyFactory, ground_place, lit
from mdflow_training.synthetic.solid_renderer import SolidScene
from mdflow_training.synthetic.solids import as_mesh, random_mesh, uneven_ground
from mdflow_training.synthetic.textures import TextureLibrary

WALL_DISTANCE = 10.0
"""Distance of the wall behind floating bodies, meters."""


def solid_scene(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> SolidScene:
    """Draw floating or standing bodies.

    Args:
        random: decides everything.
        library: textures.
        size: height and width of the images, pixels.
    """
    return (floating_bodies if random.random() < 0.6 else standing_bodies)(random, library, size)


def floating_bodies(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> SolidScene:
    """Draw 4 to 24 bodies in front of an uneven wall; most of them move by themselves; see `solid_scene`."""
    height, width = size
    matrix = intrinsics(random, size, float(random.uniform(0.4, 0.6)))
    focal = matrix[0, 0]
    camera = _camera_motion(random, width, focal)
    wall = as_mesh(uneven_ground(random, 6 * WALL_DISTANCE, float(random.choice([0, 0.2, 0.6]))))
    # Half a turn, so that the side with the normals is seen.
    facing = RigidMotion(rotation_matrix(*random.normal((np.pi, 0, 0), 0.15)), np.array([0, 0, WALL_DISTANCE]))
    factory = BodyFactory(random, library, focal, camera)
    bodies = [factory.sky(), factory.body(wall, facing, facing, WALL_DISTANCE, BACKGROUND_TEXTURE)]
    for _ in range(int(log_uniform(random, 4, 25))):
        depth = float(random.uniform(2.5, 8.0))
        extent = log_uniform(random, 0.1, 0.8) * height
        pixel = random.uniform(-0.05, 1.05, 2) * (width, height)
        place = depth * np.array([(pixel[0] - matrix[0, 2]) / focal, (pixel[1] - matrix[1, 2]) / focal, 1])
        pose = RigidMotion(_any_rotation(random), place)
        moved = pose if random.random() < 0.25 else _moved(random, pose, width, focal)
        bodies.append(factory.body(random_mesh(random, extent * depth / focal), pose, moved, depth))
    return lit(random, bodies, matrix, camera)


def standing_bodies(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> SolidScene:
    """Draw 4 to 30 bodies on uneven ground, before a camera that drives or is held by hand; see `solid_scene`."""
    matrix = intrinsics(random, size, float(random.uniform(0.3, 0.55)))
    focal = matrix[0, 0]
    camera_height = float(random.uniform(0.3, 2.0))
    step = log_uniform(random, 0.01, 0.4) * camera_height
    direction = random.normal(0, 1, 3) if random.random() < 0.5 else np.array([0, 0, random.choice([-1, 1])])
    turn = rotation_matrix(*random.choice((0.05, 0.3, 1.0)) * random.normal(0, 0.02, 3))
    camera = RigidMotion(turn, step * direction / np.linalg.norm(direction))
    ground = as_mesh(uneven_ground(random, 40 * camera_height, float(random.choice([0, 0.05, 0.15])) * camera_height))
    factory = BodyFactory(random, library, focal, camera)
    bodies = [factory.sky(), factory.ground(ground, camera_height)]
    for _ in range(int(log_uniform(random, 4, 31))):
        depth = log_uniform(random, 1.5, 15) * camera_height
        extent = log_uniform(random, 0.15, 1.6) * camera_height
        mesh = random_mesh(random, extent)
        lowest = float(mesh.corners[..., 2].min())
        place = ground_place(random, matrix, size[1], camera_height + lowest, depth)
        heading = rotation_matrix(float(random.uniform(-np.pi, np.pi)), 0, 0)
        pose = RigidMotion(heading @ UPRIGHT, place)
        moved = _driven(random, pose, camera_height) if random.random() < 0.35 else pose
        bodies.append(factory.body(mesh, pose, moved, depth))
    return lit(random, bodies, matrix, camera)


def _camera_motion(random: np.random.Generator, width: int, focal: float) -> RigidMotion:
    """Draw the motion of the scene as the camera sees it; `displacement` is at half of the wall's distance."""
    shift = displacement(random, width) / focal * WALL_DISTANCE / 2
    forward = random.normal(0, 0.04) * WALL_DISTANCE / 2 * random.choice([0.1, 1])
    turn = displacement(random, width) * random.choice([0, 0.2, 1]) / focal
    return RigidMotion(
        rotation_matrix(turn[0], turn[1], random.normal(0, 0.03) * random.choice([0.1, 1])),
        np.array([shift[0], shift[1], forward]),
    )


def _moved(random: np.random.Generator, pose: RigidMotion, width: int, focal: float) -> RigidMotion:
    """Draw where a body with ``pose`` is in the second image: moved in any direction and turned around its middle."""
    depth = pose.translation[2]
    strength = random.choice([0.2, 1.0, 2.0])
    across = displacement(random, width) / focal * depth
    turn = rotation_matrix(*random.normal(0, 0.08 * strength, 3))
    step = np.array([across[0], across[1], random.normal(0, 0.03 * strength) * depth])
    return RigidMotion(turn @ pose.rotation, pose.translation + step)


def _driven(random: np.random.Generator, pose: RigidMotion, camera_height: float) -> RigidMotion:
    """Draw where a body that moves over the ground is in the second image; ``camera_height`` in meters."""
    travel = log_uniform(random, 0.01, 0.4) * camera_height
    angle = random.uniform(-np.pi, np.pi)
    turn = rotation_matrix(random.normal(0, 0.05), 0, 0)
    return RigidMotion(turn @ pose.rotation, pose.translation + travel * np.array([np.cos(angle), 0, np.sin(angle)]))


def _any_rotation(random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a rotation; the longest edges of furniture and boxes have any direction."""
    turned, _ = np.linalg.qr(random.normal(0, 1, (3, 3)))
    return np.asarray(turned * np.sign(np.linalg.det(turned)))
