# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered drives with ground truth for navigation: images, flow, depth, the camera's motion, and what moves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mdflow_training.synthetic.camera_effects import add_noise
from mdflow_training.synthetic.plane_renderer import (
    Rectangle,
    Texture,
    View,
    render_depth,
    render_flow,
    render_image,
)
from mdflow_training.synthetic.scene_parts import (
    CAMERA_HEIGHT,
    REST,
    block,
    camera_axes,
    camera_intrinsics,
    carton_picture,
    floor_texture,
    level,
    upright,
    wall_texture,
)
from mdflow_training.synthetic.warehouse import Warehouse, drive, shelf_texture

SIZE = (256, 320)
"""Height and width, pixels."""

CAMERA_NOISE = 2.0
"""Standard deviation in intensity levels."""


@dataclass(frozen=True, eq=False)
class Step:
    """Two images of a drive.

    Attributes:
        images: older and newer, RGB uint8.
        flow: ``(H, W, 2)`` pixels, from the older to the newer.
        depth: ``(H, W)`` meters in the older camera, on the older image's grid.
        newer_depth: ``(H, W)`` meters in the newer camera, on the newer image's grid.
        moving: ``(H, W)``, whether the pixel of the older image belongs to something that moves.
        newer_moving: the same for the newer image.
        rotation: ``(3, 3)`` from the older to the newer camera's axes.
        translation: ``(3,)`` meters, with ``newer = rotation @ older + translation``.
        intrinsics: ``(3, 3)`` pixels.
    """

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    flow: NDArray[np.float32]
    depth: NDArray[np.float32]
    newer_depth: NDArray[np.float32]
    moving: NDArray[np.bool_]
    newer_moving: NDArray[np.bool_]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    intrinsics: NDArray[np.float64]


def render_step(
    older: list[Rectangle],
    newer: list[Rectangle],
    views: tuple[View, View],
    size: tuple[int, int] = SIZE,
    seed: int = 0,
) -> Step:
    """Render two images of one world.

    Args:
        older: the world at the first image, with its motion until the second.
        newer: the world at the second image.
        views: of both.
        size: height and width, pixels.
        seed: of the camera's noise.
    """
    random = np.random.default_rng([seed, 7])
    first, second = views
    images = [
        np.asarray(add_noise(random, render_image(world, view, size).astype(np.float32), CAMERA_NOISE), np.uint8)
        for world, view in ((older, first), (newer, second))
    ]
    depth, number = render_depth(older, first, size)
    newer_depth, newer_number = render_depth(newer, second, size)
    moves = np.array([bool(np.any(rectangle.motion)) for rectangle in older] + [False])
    return Step(
        images=(images[0], images[1]),
        flow=render_flow(older, first, second, size),
        depth=depth,
        newer_depth=newer_depth,
        moving=moves[number],
        newer_moving=moves[newer_number],
        rotation=second.rotation @ first.rotation.T,
        translation=second.rotation @ (first.position - second.position),
        intrinsics=first.intrinsics,
    )


def hall_step(frame: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Step:
    """Return a step of the warehouse robot's drive past resting shelves and cartons."""
    world = Warehouse(seed).resting
    views = drive(frame + 1, size, seed)
    return render_step(world, world, (views[frame], views[frame + 1]), size, seed + frame)


def crossing_step(seed: int, size: tuple[int, int] = SIZE, speed: float = 0.06, max_turn: float = 0.01) -> Step:
    """Return a step toward cartons, of which two cross the robot's way.

    Args:
        seed: of the world.
        size: height and width, pixels.
        speed: of the robot, meters a step.
        max_turn: of the robot, radians a step.
    """
    random = np.random.default_rng([seed, 5])
    texture = carton_texture(random)
    resting = open_hall(random)
    for side in (-1, 1):
        resting += carton((side * random.uniform(0.8, 1.6), random.uniform(2.0, 4.0)), texture)
    older, newer = list(resting), list(resting)
    for depth in (random.uniform(1.6, 2.4), random.uniform(3.0, 4.0)):
        step = random.choice([-1, 1]) * random.uniform(0.05, 0.1) * depth / 2
        motion = np.array([step, 0, random.uniform(-0.03, 0.03)])
        faces = carton((random.uniform(-0.25, 0.25) * depth, depth), texture, motion)
        older += faces
        newer += [replace(face, corner=face.corner + motion) for face in faces]
    turn = random.uniform(-max_turn, max_turn)
    views = (forward_view(size), forward_view(size, position=(random.uniform(-speed, speed) / 6, 0, speed), yaw=turn))
    return render_step(older, newer, views, size, seed)


def approach_step(distance: float, speed: float, yaw: float = 0.0, size: tuple[int, int] = SIZE, seed: int = 0) -> Step:
    """Return a step toward a wall; ``distance`` is the wall's from the newer camera, ``speed`` in meters a step."""
    wall = shelf_texture(np.random.default_rng([seed, 6]))
    world = [upright((-8, distance), (8, distance), (-6, 6), wall)]
    views = forward_view(size, position=(0, 0, -speed)), forward_view(size, yaw=yaw)
    return render_step(world, world, views, size, seed)


def downward_step(
    height: float, moved: tuple[float, float, float], turn: float = 0.0, textured: bool = True, seed: int = 0
) -> Step:
    """Return a step of a camera that looks down, the image's top toward the robot's front.

    Args:
        height: of the older camera over the floor, meters.
        moved: meters forward, left and up.
        turn: to the left about the vertical, radians.
        textured: whether anything can be seen on the floor.
        seed: of texture and noise.
    """
    texture = floor_texture(np.random.default_rng([seed, 4]))
    if not textured:
        texture = Texture.of(np.full((256, 256, 3), 118, np.uint8), texture.pixels_per_meter)
    floor = level(CAMERA_HEIGHT - height, 12, 12, texture)
    # World: x right, y down, z forward. Image: right is the robot's right, down is the robot's rear.
    look_down = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    cosine, sine = np.cos(turn), np.sin(turn)
    # A turn to the left moves the image's axes clockwise as seen from above, which is about +y (down) by -turn.
    axes = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    position = np.array([0.1, 0.0, 0.2])
    there = position + np.array([-moved[1], -moved[2], moved[0]])
    views = View(camera_intrinsics(SIZE), look_down, position), View(camera_intrinsics(SIZE), look_down @ axes, there)
    return render_step([floor], [floor], views, SIZE, seed)


def forward_view(size: tuple[int, int], position: tuple[float, float, float] = (0, 0, 0), yaw: float = 0.0) -> View:
    """Return a camera that looks along z, turned to the right by ``yaw``, radians."""
    return View(camera_intrinsics(size), camera_axes(yaw, 0.0), np.array(position, float))


def carton_texture(random: np.random.Generator) -> Texture:
    """Return a carton's face."""
    return Texture.of(np.clip(carton_picture(random, 64, 64), 0, 255).astype(np.uint8), 128.0)


def open_hall(random: np.random.Generator) -> list[Rectangle]:
    """Return a floor and shelves around it, 6 m wide and 8 m ahead."""
    shelf = shelf_texture(random)
    return [
        level(0, 12, 12, floor_texture(random)),
        level(4.2, 12, 12, wall_texture(random)),
        upright((-3, -8), (-3, 9), (0, 4.2), shelf),
        upright((3, -8), (3, 9), (0, 4.2), shelf),
        upright((-3, 8), (3, 8), (0, 4.2), shelf),
    ]


def carton(center: tuple[float, float], texture: Texture, motion: NDArray[np.float64] | None = None) -> list[Rectangle]:
    """Return a carton that stands on the floor; ``center`` in ``(x, z)`` meters, ``motion`` until the next image."""
    return block(center, (0.25, 0.25), 0.8, texture, REST if motion is None else motion)
