# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A warehouse: repetitive floor and shelves, cartons in the way, two moving carts; and a robot's drive through it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.synthetic.plane_renderer import Rectangle, Texture, View

PIXELS_PER_METER = 128.0
HALF_BLOCK = np.array([1.5, 3.5])
"""Half the width and length in meters of the shelves in the middle, around which the robot drives."""

AISLE = 2.4
CORNER_RADIUS = 1.1
CAMERA_HEIGHT = 0.55
SHELF_HEIGHT = 3.0
SPEEDS = (0.12, 0.06)
"""Meters a frame on the straight and in corners."""

FOCAL_LENGTH = 0.7
"""As a share of the image width."""

REST = np.zeros(3)


def grain(random: np.random.Generator, height: int, width: int, strength: float) -> NDArray[np.float32]:
    """Return noise of two sizes that repeats without a seam, ``(height, width, 1)`` in intensity levels."""
    fine = random.normal(0, strength, (height, width)).astype(np.float32)
    coarse = random.normal(0, strength, (height // 16, width // 16)).astype(np.float32)
    padded = cv2.copyMakeBorder(coarse, 1, 1, 1, 1, cv2.BORDER_WRAP)
    larger = cv2.resize(padded, (width + 32, height + 32), interpolation=cv2.INTER_LINEAR)
    return np.asarray(fine + larger[16:-16, 16:-16], np.float32)[..., None]


def finished(picture: NDArray[np.float32], pixels_per_meter: float = PIXELS_PER_METER) -> Texture:
    """Return the texture of a picture ``(H, W, 3)`` in intensity levels, sides multiples of 16."""
    return Texture.of(np.clip(picture, 0, 255).astype(np.uint8), pixels_per_meter)


def floor_texture(random: np.random.Generator) -> Texture:
    """Return concrete slabs of half a meter, nearly alike; it repeats after 2 m."""
    side = 256
    picture = np.full((side, side, 3), (118, 116, 110), np.float32)
    picture += np.kron(random.normal(0, 5, (4, 4)), np.ones((64, 64)))[..., None]
    picture += grain(random, side, side, 5)
    for line in range(0, side, 64):
        picture[line : line + 2] *= 0.6
        picture[:, line : line + 2] *= 0.6
    return finished(picture)


def wall_texture(random: np.random.Generator) -> Texture:
    """Return pale blockwork that repeats after 2 m."""
    picture = np.full((256, 256, 3), (150, 150, 142), np.float32) + grain(random, 256, 256, 4)
    for row, line in enumerate(range(0, 256, 32)):
        picture[line : line + 2] *= 0.75
        for column in range((row % 2) * 32, 256, 64):
            picture[line : line + 32, column : column + 2] *= 0.75
    return finished(picture)


def ceiling_texture(random: np.random.Generator) -> Texture:
    """Return dark sheets with beams and lamps, repeating after 2 m by 4 m."""
    picture = np.full((512, 256, 3), (70, 72, 76), np.float32) + grain(random, 512, 256, 3)
    picture[:, ::32] *= 0.8
    picture[:24] = (52, 54, 60)
    picture[200:216, 64:192] = (235, 235, 225)
    return finished(picture)


def carton_picture(random: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Return the face of a carton with tape and a label, ``(height, width, 3)``."""
    color = np.array((165, 125, 82)) * random.uniform(0.75, 1.15)
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = color
    picture += random.normal(0, 4, (height, width, 1))
    picture[:, width // 2 - 2 : width // 2 + 2] *= 1.18
    top, left = int(random.integers(height // 6, height // 2)), int(random.integers(2, max(width // 2, 3)))
    label = picture[top : top + height // 3, left : left + width // 3]
    label[:] = 225
    label[2::4, 2:-2] = 60
    picture[:2] *= 0.5
    picture[:, :2] *= 0.5
    return picture


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


def upright(start: tuple[float, float], end: tuple[float, float], heights: tuple[float, float], texture: Texture,
            motion: NDArray[np.float64] = REST) -> Rectangle:  # fmt: skip
    """Stand a rectangle on the line between two points ``(x, z)``, between two heights over the floor, meters."""
    low, high = heights
    corner = np.array([start[0], CAMERA_HEIGHT - high, start[1]])
    across = np.array([end[0] - start[0], 0, end[1] - start[1]])
    return Rectangle(corner, across, np.array([0, high - low, 0.0]), texture, motion)


def level(height: float, half_width: float, half_length: float, texture: Texture) -> Rectangle:
    """Lay a rectangle around the middle of the hall, ``height`` meters over the floor."""
    corner = np.array([-half_width, CAMERA_HEIGHT - height, -half_length])
    return Rectangle(corner, np.array([2 * half_width, 0, 0.0]), np.array([0, 0, 2 * half_length]), texture, REST)


def block(center: tuple[float, float], half: tuple[float, float], height: float, texture: Texture,
          motion: NDArray[np.float64] = REST) -> list[Rectangle]:  # fmt: skip
    """Return the four faces and the top of a box that stands on the floor; ``center`` and ``half`` in ``(x, z)``."""
    (x, z), (width, length) = center, half
    corners = [(x - width, z - length), (x + width, z - length), (x + width, z + length), (x - width, z + length)]
    faces = [
        upright(a, b, (0, height), texture, motion) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    top = level(height, width, length, texture)
    return [*faces, replace(top, corner=top.corner + np.array([x, 0, z]), motion=motion)]


@dataclass(frozen=True)
class Cart:
    """A box that goes to and fro beside the robot's way.

    Attributes:
        center: ``(x, z)`` meters, the middle of its way.
        reach: ``(x, z)`` meters from there to where it turns.
        period: frames to and fro.
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
    """Return the robot's camera at every frame, and at one more: round after round, never the very same way.

    Args:
        frames: how many; 220 are about a round.
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


def camera_intrinsics(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the camera matrix ``(3, 3)`` of images of this height and width."""
    height, width = size
    focal = FOCAL_LENGTH * width
    return np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])


def camera_axes(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Return world to camera axes of a camera that looks along ``yaw`` (0 along z, to the right) and up by pitch."""
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
    return np.asarray(nod @ turn)


def _on_the_way(traveled: float) -> tuple[NDArray[np.float64], float, bool]:
    """Return place ``(x, z)``, heading in radians, and whether it turns, after some meters, clockwise from above.

    The way is a rectangle with round corners in the middle of the aisles.
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
