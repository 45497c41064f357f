# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The worlds in which a robot's drive can be rendered: their objects, the camera's motion, and the light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from mdflow_training.synthetic.plane_renderer import Rectangle, Texture, View
from mdflow_training.synthetic.scene_parts import (
    CAMERA_HEIGHT,
    block,
    camera_axes,
    camera_intrinsics,
    carton_picture,
    finished,
    floor_texture,
    grain,
    level,
    upright,
    wall_texture,
)
from mdflow_training.synthetic.warehouse import Warehouse, drive

LENGTH = 90.0
"""Meters of corridor or field before and behind the start."""


class Scene(Protocol):
    """The objects of a world."""

    def rectangles(self, frame: int) -> list[Rectangle]:
        """Return everything there is at a frame, with its motion until the next one."""


@dataclass(frozen=True)
class World:
    """A kind of world.

    Attributes:
        build: makes the scene of a seed.
        drive: returns the camera at every frame plus one, from the number of frames, the size (height, width) of
            the images, and a seed.
        light: share of the light that fills the range of intensity levels.
        noise: of the camera, standard deviation in intensity levels.
    """

    build: Callable[[int], Scene]
    drive: Callable[[int, tuple[int, int], int], list[View]]
    light: float
    noise: float


@dataclass(frozen=True)
class Walker:
    """A person, as a box that walks along the corridor.

    Attributes:
        x: meters from the middle.
        start: meters along the corridor.
        speed: meters a frame, negative towards the start.
        texture: of the clothes.
    """

    x: float
    start: float
    speed: float
    texture: Texture

    def rectangles(self, frame: int) -> list[Rectangle]:
        """Return its faces at a frame."""
        position = self.start + self.speed * frame
        return block((self.x, position), (0.22, 0.14), 1.75, self.texture, np.array([0.0, 0.0, self.speed]))


class Corridor:
    """A corridor with doors and people who walk in both directions."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 11])
        wall, half_width, height = door_texture(random), 1.3, 2.6
        self._resting = [
            level(0, half_width, LENGTH, floor_texture(random)),
            level(height, half_width, LENGTH, wall_texture(random)),
            *(upright((x, -LENGTH), (x, LENGTH), (0, height), wall) for x in (-half_width, half_width)),
            upright((-half_width, LENGTH), (half_width, LENGTH), (0, height), wall),
        ]
        self._walkers = [
            Walker(
                float(random.choice([-1, 1]) * random.uniform(0.45, 0.95)),
                float(3 + 5 * number + random.uniform(0, 3)),
                float(random.choice([-0.09, -0.06, 0.05, 0.13])),
                finished(carton_picture(random, 64, 32) * random.uniform(0.4, 1.2, 3).astype(np.float32)),
            )
            for number in range(16)
        ]

    def rectangles(self, frame: int) -> list[Rectangle]:
        """See `Scene.rectangles`."""
        return [*self._resting, *(face for walker in self._walkers for face in walker.rectangles(frame))]


class Field:
    """Planted rows under a bright sky."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 12])
        plants, sky = leaf_texture(random), sky_texture(random)
        self._resting = [level(0, 40, LENGTH, soil_texture(random))]
        self._resting += [
            face
            for row in range(-9, 9)
            for face in block((0.75 * row + 0.375, 0.0), (0.13, LENGTH), float(random.uniform(0.18, 0.34)), plants)
        ]
        self._resting += [upright((x, -LENGTH), (x, LENGTH), (0, 40), sky) for x in (-40.0, 40.0)]
        self._resting.append(upright((-40, LENGTH), (40, LENGTH), (0, 40), sky))

    def rectangles(self, frame: int) -> list[Rectangle]:
        """See `Scene.rectangles`."""
        return self._resting


class Ground:
    """Open ground with boxes of the height of cars and sheds, seen from a drone."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 13])
        self._resting = [level(0, LENGTH, LENGTH, soil_texture(random, 8.0))]
        for _ in range(120):
            center, half = random.uniform(-40, 40, 2), random.uniform(0.6, 2.0, 2)
            texture = finished(carton_picture(random, 64, 64) * random.uniform(0.5, 1.3, 3).astype(np.float32), 24.0)
            height = float(random.uniform(0.5, 3.0))
            self._resting += block((center[0], center[1]), (half[0], half[1]), height, texture)

    def rectangles(self, frame: int) -> list[Rectangle]:
        """See `Scene.rectangles`."""
        return self._resting


def door_texture(random: np.random.Generator) -> Texture:
    """Return a painted wall with a door every four meters, and a board between the doors."""
    picture = np.full((384, 512, 3), (168, 170, 160), np.float32) + grain(random, 384, 512, 3)
    picture[384 - 270 :, 60:176] = np.array((120, 92, 60)) + grain(random, 270, 116, 3)
    picture[384 - 270 :, [60, 61, 174, 175]] *= 0.5
    picture[140:220, 300:420] = random.uniform(90, 230, (5, 8, 3)).repeat(16, 0).repeat(15, 1)
    picture[-20:] *= 0.6
    return finished(picture)


def leaf_texture(random: np.random.Generator) -> Texture:
    """Return dense leaves of two sizes."""
    picture = np.zeros((256, 256, 3), np.float32)
    for cells, strength in ((32, 60), (64, 40), (128, 30)):
        spots = random.uniform(0, strength, (cells, cells)).astype(np.float32)
        picture += cv2.resize(spots, (256, 256), interpolation=cv2.INTER_NEAREST)[..., None]
    return finished(picture * np.array((0.55, 1.0, 0.4), np.float32) + 10)


def soil_texture(random: np.random.Generator, pixels_per_meter: float = 64.0) -> Texture:
    """Return soil with clods of many sizes."""
    picture = np.full((512, 512, 3), (116, 96, 74), np.float32)
    for cells in (8, 32, 128, 512):
        spots = random.normal(0, 9, (cells, cells)).astype(np.float32)
        picture += cv2.resize(spots, (512, 512), interpolation=cv2.INTER_CUBIC)[..., None]
    return finished(picture, pixels_per_meter)


def sky_texture(random: np.random.Generator) -> Texture:
    """Return clouds, bright and almost without contrast; 40 m high."""
    clouds = cv2.resize(random.normal(0, 8, (16, 16)).astype(np.float32), (320, 320), interpolation=cv2.INTER_CUBIC)
    picture = np.full((320, 320, 3), (205, 215, 228), np.float32) + clouds[..., None]
    picture[-48:] = np.array((70, 92, 66)) + grain(random, 48, 320, 8)
    return finished(picture, 8.0)


def _straight_drive(
    frames: int, size: tuple[int, int], seed: int, speed: float, shaking: float, weave: float
) -> list[View]:
    """Drive along z, weaving a little, on wheels that shake the camera."""
    phases = np.random.default_rng([seed, 14]).uniform(0, 2 * np.pi, 3)
    views = []
    for frame in range(frames + 1):
        shake = np.sin(frame * np.array([1.7, 2.3, 2.9]) + phases)
        yaw = 0.10 * np.sin(frame / 29 + phases[0]) + shaking * shake[0]
        position = np.array([weave * np.sin(frame / 41 + phases[1]), 0.02 * shake[2], speed * frame])
        views.append(View(camera_intrinsics(size), camera_axes(yaw, 1.5 * shaking * shake[1] - 0.1), position))
    return views


def corridor_drive(frames: int, size: tuple[int, int], seed: int) -> list[View]:
    """Drive through the corridor."""
    return _straight_drive(frames, size, seed, speed=0.08, shaking=0.003, weave=0.25)


def field_drive(frames: int, size: tuple[int, int], seed: int) -> list[View]:
    """Drive between the rows, over clods that shake the camera."""
    return _straight_drive(frames, size, seed, speed=0.09, shaking=0.012, weave=0.05)


def drone_flight(frames: int, size: tuple[int, int], seed: int) -> list[View]:
    """Fly in wide curves at a changing height, with the camera looking down."""
    phases = np.random.default_rng([seed, 15]).uniform(0, 2 * np.pi, 4)
    views = []
    for frame in range(frames + 1):
        height = 9.0 + 2.0 * np.sin(frame / 53 + phases[0])
        position = np.array(
            [25 * np.sin(frame / 110 + phases[1]), CAMERA_HEIGHT - height, 25 * np.sin(frame / 83 + phases[2])]
        )
        yaw = 0.6 * np.sin(frame / 67 + phases[3])
        pitch = 0.3 - np.pi / 2 + 0.05 * np.sin(frame / 9)
        views.append(View(camera_intrinsics(size), camera_axes(yaw, pitch), position))
    return views


WORLDS = {
    "warehouse": World(Warehouse, drive, light=0.38, noise=4.5),
    "corridor": World(Corridor, corridor_drive, light=0.55, noise=3.0),
    "field": World(Field, field_drive, light=0.85, noise=1.5),
    "drone": World(Ground, drone_flight, light=0.75, noise=2.0),
}
