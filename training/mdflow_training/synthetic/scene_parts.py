# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of rendered worlds: textures, walls, floors and boxes of rectangles, and the robot's camera."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.synthetic.plane_renderer import Rectangle, Texture

PIXELS_PER_METER = 128.0
CAMERA_HEIGHT = 0.55
"""Height of the robot's camera over the floor, meters."""

FOCAL_LENGTH = 0.7
"""Focal length as a share of the image width."""

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
