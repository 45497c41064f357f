# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Flat scenes that each show one difficulty of optical flow.

Every function takes a random generator, textures and a size (height, width), and returns layers, the farthest first.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.synthetic.draws import log_uniform
from mdflow_training.synthetic.layers import Homography, Layer
from mdflow_training.synthetic.planar import (
    bending,
    blob,
    motion,
    nearly_still,
    object_texture,
    photograph_patch,
    planar_scene,
    similarity,
    thin_structure,
    translation,
)
from mdflow_training.synthetic.textures import TextureLibrary, value_noise

MAX_DISPLACEMENT = 0.4
"""Displacement of a fast object, as a share of the image's width."""


def _centered(texture: NDArray[np.uint8], center: NDArray[np.float64], scale: float, angle: float) -> Homography:
    """Return the map that places ``texture`` with its middle at ``center`` (x, y), pixels; ``angle`` in radians."""
    middle = translation(-texture.shape[1] / 2, -texture.shape[0] / 2)
    return np.asarray(translation(*center) @ similarity(scale, angle) @ middle)


def _background(
    random: np.random.Generator, texture: NDArray[np.uint8], size: tuple[int, int], camera: Homography
) -> Layer:
    """Cover the image with ``texture``, moved by ``camera``."""
    place = _centered(texture, np.array([size[1], size[0]]) / 2, float(random.uniform(0.8, 1.3)), random.normal(0, 0.1))
    return Layer(texture, None, place, camera @ place)


def _photograph(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> NDArray[np.uint8]:
    return photograph_patch(random, library, int(1.4 * size[0]), int(1.4 * size[1]))


def fast_objects(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw one to three objects that cross a static or slow scene, by up to `MAX_DISPLACEMENT` between the images."""
    height, width = size
    center = np.array([width, height]) / 2
    camera = nearly_still(random) if random.random() < 0.6 else motion(random, width, center)
    layers = [_background(random, _photograph(random, library, size), size, camera)]
    for _ in range(int(random.integers(1, 4))):
        side = int(log_uniform(random, 0.15, 0.8) * height) + 4
        texture, alpha = object_texture(random, library, side, small=False)
        length, angle = log_uniform(random, 0.05, MAX_DISPLACEMENT) * width, random.normal(0, 0.35)
        step = length * np.array([np.cos(angle), np.sin(angle)]) * random.choice([-1, 1])
        # The middle of the path is inside, so that both ends mostly are.
        middle = random.uniform(0.15, 0.85, 2) * (width, height)
        place = _centered(alpha, middle - step / 2, float(random.uniform(0.8, 1.25)), random.normal(0, 0.3))
        turn = similarity(float(np.exp(random.normal(0, 0.05))), random.normal(0, 0.05))
        moved = translation(*(middle + step / 2)) @ turn @ translation(*(step / 2 - middle)) @ place
        layers.append(Layer(texture, alpha, place, moved))
    return layers


def thin_objects(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw wires, fences and rings that move relative to the background, as near objects do."""
    height, width = size
    center = np.array([width, height]) / 2
    layers = [_background(random, _photograph(random, library, size), size, motion(random, width, center))]
    for _ in range(int(random.integers(2, 6))):
        side = int(random.uniform(0.4, 1.0) * height)
        alpha = thin_structure(random, side)
        texture = np.asarray(cv2.resize(photograph_patch(random, library, side, side), (side, side)), np.uint8)
        middle = random.uniform(0, 1, 2) * (width, height)
        place = _centered(alpha, middle, float(random.uniform(0.8, 1.25)), random.uniform(-np.pi, np.pi))
        layers.append(Layer(texture, alpha, place, motion(random, width, middle) @ place))
    return layers


def repeated_patterns(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a wall of equal tiles and some objects in front; uneven light makes the tiles slightly different."""
    height, width = size
    period = int(random.integers(8, max(width // 6, 10)))
    tile = photograph_patch(random, library, period, int(period * random.uniform(0.6, 1.6)) + 4)
    rows, columns = int(1.5 * height) // tile.shape[0] + 1, int(1.5 * width) // tile.shape[1] + 1
    texture = np.tile(tile, (rows, columns, 1))
    light = cv2.resize(value_noise(random, 64, 2), (texture.shape[1], texture.shape[0]), interpolation=cv2.INTER_CUBIC)
    shade = light[..., None] * float(random.uniform(3, 25))
    texture = np.clip(texture + shade, 0, 255).astype(np.uint8)
    camera = motion(random, width, np.array([width, height]) / 2)
    layers = [_background(random, texture, size, camera)]
    return layers + _some_objects(random, library, size, camera, 3)


def bare_walls(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw smooth surfaces with almost no texture, and a few objects; only their outlines show the motion."""
    height, width = size
    camera = motion(random, width, np.array([width, height]) / 2)
    layers = [_background(random, _bare(random, (int(1.4 * height), int(1.4 * width))), size, camera)]
    for _ in range(int(random.integers(2, 6))):
        side = int(random.uniform(0.2, 0.7) * height)
        alpha = blob(random, side)
        middle = random.uniform(0, 1, 2) * (width, height)
        place = _centered(alpha, middle, 1.0, random.uniform(-np.pi, np.pi))
        layers.append(Layer(_bare(random, (side, side)), alpha, place, camera @ motion(random, width, middle) @ place))
    return layers + _some_objects(random, library, size, camera, 2)


def _bare(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a surface ``(H, W, 3)`` that varies slowly, by a few intensity levels."""
    shade = cv2.resize(value_noise(random, 32, 2, 0.4), (size[1], size[0]), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(random.uniform(30, 225, 3) + shade * random.uniform(1, 8), 0, 255).astype(np.uint8)


def _some_objects(
    random: np.random.Generator, library: TextureLibrary, size: tuple[int, int], camera: Homography, most: int
) -> list[Layer]:
    """Draw up to ``most`` textured objects; half of them are static."""
    height, width = size
    layers = []
    for _ in range(int(random.integers(0, most + 1))):
        texture, alpha = object_texture(random, library, int(random.uniform(0.2, 0.6) * height), small=False)
        middle = random.uniform(0, 1, 2) * (width, height)
        place = _centered(alpha, middle, 1.0, random.uniform(-np.pi, np.pi))
        own = motion(random, width, middle) if random.random() < 0.5 else np.eye(3)
        layers.append(Layer(texture, alpha, place, camera @ own @ place))
    return layers


def still_scene(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a scene in which nothing moves or, one time in three, only one object does."""
    layers = [replace(layer, to_second=layer.to_first, bend=None) for layer in planar_scene(random, library, size)]
    if random.random() < 0.33:
        layers += fast_objects(random, library, size)[-1:]
    return layers


def zooming_camera(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a scene that the camera zooms into or out of, or that turns around the viewing axis."""
    height, width = size
    center = np.array([width, height]) * random.uniform(0.3, 0.7, 2)
    zoom = similarity(float(np.exp(random.uniform(-0.3, 0.3))), random.normal(0, 0.12))
    camera = translation(*center) @ zoom @ translation(*-center)
    return [replace(layer, to_second=camera @ layer.to_second) for layer in planar_scene(random, library, size)]


def bending_objects(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw surfaces that bend strongly, each in two scales, like cloth, plants and people."""

    def bend() -> NDArray[np.float32]:
        return np.asarray(1.5 * bending(random, size) + 0.5 * bending(random, size), np.float32)

    return [
        replace(layer, bend=bend()) if random.random() < 0.8 else layer
        for layer in planar_scene(random, library, size)[:6]
    ]


def rolling_shutter(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a flat scene whose rows are exposed one after the other by a shaking camera: the image wobbles."""
    height, width = size
    rows = np.linspace(0, 1, height, dtype=np.float32)
    bend = np.zeros((height, width, 2), np.float32)
    for axis, strength in ((0, 0.03), (1, 0.012)):
        frequency, phase = random.uniform(0.2, 2.0), random.uniform(0, 2 * np.pi)
        # The gradient along the rows stays below one half, which keeps the map invertible.
        amplitude = min(strength * width * random.random(), 0.3 * height / (2 * np.pi * frequency))
        bend[..., axis] = (amplitude * np.sin(2 * np.pi * frequency * rows + phase))[:, None]
    return [replace(layer, bend=bend) for layer in planar_scene(random, library, size)]
