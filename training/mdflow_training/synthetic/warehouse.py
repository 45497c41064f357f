# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A warehouse: repetitive floor and shelves, cartons in the way, two moving carts; and a robot's drive through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdflow_training.synthetic.plane_renderer import Rectangle, Texture, View
from mdflow_training.synthetic.scene_parts import (
    PIXELS_PER_METER,
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

HALF_BLOCK = np.array([1.5, 3.5])
"""Half the width and length in meters of the shelves in the middle, around which the robot drives."""

AISLE = 2.4
CORNER_RADIUS = 1.1
SHELF_HEIGHT = 3.0
SPEEDS = (0.12, 0.06)
"""Meters a frame, on straights and in corners."""


def ceiling_texture(random: np.random.Generator) -> Texture:
    """Return dark sheets with beams and lamps, repeating after 2 m by 4 m."""
    picture = np.full((512, 256, 3), (70, 72, 76), np.float32) + grain(random, 512, 256, 3)
    picture[:, ::32] *= 0.8
    picture[:24] = (52, 54, 60)
    picture[200:216, 64:192] = (235, 235, 225)
    return finished(picture)


def shelf_texture(random: np.random.Generator) -> Texture:
    """Return bays of a shelf, four meters of three kinds of cartons, then the same again."""
    height, width, bay = int(SHELF_HEIGHT * PIXELS_PER_METER), 512, 128
    picture = np.full((height, width, 3), (28, 28, 32), np.float32)
    kinds = [carton_picture(random, int(random.integers(50, 74)), int(random.integers(36, 54))) for _ in range(3)]
    for base in range(95, height + 1, 96):
        for left in range(0, width, bay):
            _fill_bay(random, picture, kinds, base, left + 8, left + bay)
        picture[base - 6 : base + 3] = (36, 62, 128)
    for left in range(0, width, bay):
        picture[:, left : left + 8] = (196, 92, 30)
        picture[6::24, left + 2 : left + 6] = (40, 30, 26)
    return finished(picture + grain(random, height, width, 2))


def _fill_bay(
    random: np.random.Generator,
    picture: NDArray[np.float32],
    kinds: list[NDArray[np.float32]],
    base: int,
    left: int,
    right: int,
) -> None:
    kind = kinds[random.integers(len(kinds))]
    while left + kind.shape[1] < right:
        if random.random() < 0.85:
            picture[base - 6 - kind.shape[0] : base - 6, left : left + kind.shape[1]] = kind
        left += kind.shape[1] + 3


@dataclass(frozen=True)
class Cart:
    """A box that moves back and forth beside the robot's path.

    Attributes:
        center: ``(x, z)`` meters, the middle of its path.
        reach: ``(x, z)`` meters from there to where it turns.
        period: frames of one cycle.
        texture: of its faces.
    """

    center: tuple[float, float]
    reach: tuple[float, float]
    period: float
    texture: Texture

    def rectangles(self, frame: int) -> list[Rectangle]:
        """Return its faces at a frame."""
        here, there = (np.sin(2 * np.pi * (frame + ahead) / self.period) * np.array(self.reach) for ahead in (0, 1))
        center, step = here + self.center, there - here
        motion = np.array([step[0], 0, step[1]])
        return block((float(center[0]), float(center[1])), (0.25, 0.35), 0.9, self.texture, motion)


class Warehouse:
    """The hall, by its seed."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 1])
        shelf = shelf_texture(random)
        carton = finished(carton_picture(random, 64, 64))
        outer = HALF_BLOCK + AISLE
        self.resting = [
            level(0, 12, 12, floor_texture(random)),
            level(4.2, 12, 12, ceiling_texture(random)),
            *block((0, 0), (HALF_BLOCK[0], HALF_BLOCK[1]), SHELF_HEIGHT, shelf),
        ]
        for side in (-1, 1):
            x, z = side * outer[0], side * outer[1]
            self.resting += [
                upright((x, -outer[1]), (x, outer[1]), (0, SHELF_HEIGHT), shelf),
                upright((-outer[0], z), (outer[0], z), (0, 4.2), wall_texture(random)),
                upright((x, -12), (x, 12), (SHELF_HEIGHT, 4.2), wall_texture(random)),
            ]
        for _ in range(14):
            self.resting += self._carton_in_the_way(random, carton)
        self._carts = [
            Cart((outer[0] - 0.4, 0.0), (0.0, 2.6), 90, shelf),
            Cart((0.0, -(outer[1] - 0.45)), (0.9, 0.0), 70, carton),
        ]

    @staticmethod
    def _carton_in_the_way(random: np.random.Generator, texture: Texture) -> list[Rectangle]:
        """Put a carton against the inner or outer shelves."""
        half = random.uniform(0.12, 0.28, 2)
        offset = HALF_BLOCK[0] + (half[0] if random.random() < 0.5 else AISLE - half[0])
        center = (random.choice([-1, 1]) * offset, random.uniform(-1, 1) * (HALF_BLOCK[1] + 0.5 * AISLE))
        return block(center, (half[0], half[1]), float(random.uniform(0.2, 0.7)), texture)

    def rectangles(self, frame: int) -> list[Rectangle]:
        """Return everything there is at a frame, with its motion until the next one."""
        return [*self.resting, *(face for cart in self._carts for face in cart.rectangles(frame))]


def drive(frames: int, size: tuple[int, int], seed: int) -> list[View]:
    """Return the robot's camera at every frame plus one: several rounds, each on a slightly different path.

    Args:
        frames: how many; about 220 make a round.
        size: height and width of the images, pixels.
        seed: of the robot's vibration.
    """
    intrinsics = camera_intrinsics(size)
    phases = np.random.default_rng([seed, 2]).uniform(0, 2 * np.pi, 3)
    views, traveled = [], 0.0
    for frame in range(frames + 1):
        place, heading, turning = _on_the_way(traveled)
        shaking = np.sin(frame * np.array([1.7, 2.3, 2.9]) + phases)
        traveled += SPEEDS[1] if turning else SPEEDS[0]
        sideways = 0.25 * np.sin(frame / 37) + 0.1 * np.sin(frame / 11)
        yaw = heading + 0.06 * np.sin(frame / 23) + 0.004 * shaking[0]
        position = np.array(
            [place[0] + sideways * np.cos(heading), 0.01 * shaking[2], place[1] - sideways * np.sin(heading)]
        )
        views.append(View(intrinsics, camera_axes(yaw, 0.06 + 0.006 * shaking[1]), position))
    return views


def _on_the_way(traveled: float) -> tuple[NDArray[np.float64], float, bool]:
    """Return place ``(x, z)``, heading in radians, and whether it turns, after some meters, clockwise from above.

    The path is a rectangle with round corners in the middle of the aisles.
    """
    half = HALF_BLOCK + AISLE / 2
    straights = 2 * (half - CORNER_RADIUS)
    arc = CORNER_RADIUS * np.pi / 2
    left = traveled % (2 * (straights.sum() + 2 * arc))
    place, heading = np.array([-half[0], -half[1] + CORNER_RADIUS]), 0.0
    for number in range(4):
        forward, right = (np.array([np.sin(heading + turn), np.cos(heading + turn)]) for turn in (0, np.pi / 2))
        straight = straights[1 - number % 2]
        if left < straight:
            return place + left * forward, heading, False
        left, place = left - straight, place + straight * forward
        if left < arc:
            angle = left / CORNER_RADIUS
            offset = CORNER_RADIUS * (np.sin(angle) * forward + (1 - np.cos(angle)) * right)
            return place + offset, heading + angle, True
        left, place, heading = left - arc, place + CORNER_RADIUS * (forward + right), heading + np.pi / 2
    raise AssertionError("the remainder is less than a round")
