# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of flat layers: a moving background and objects that move independently.

As in FlyingChairs (Dosovitskiy et al., ICCV 2015), with bending, thin structures and small fast objects added.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.flow_files import Flow, Image
from mdflow_training.synthetic.draws import log_uniform
from mdflow_training.synthetic.layers import Homography, Layer
from mdflow_training.synthetic.textures import TextureLibrary

MAX_MOTION = 0.2
"""Largest displacement, as a fraction of the image's width: 100 px at 512."""

MIN_MOTION = 0.3
"""Smallest displacement, pixels, except for scenes that do not move."""

MAX_PATCHES = 4
"""Maximum number of cuts from a photograph; the most detailed one is taken, because much of a photograph is sky."""


def translation(x: float, y: float) -> Homography:
    """Return the ``(3, 3)`` map that shifts by ``(x, y)`` pixels."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def similarity(scale: float, angle: float) -> Homography:
    """Return the ``(3, 3)`` map that scales and turns, by radians, around the origin."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])


def displacement(random: np.random.Generator, width: int, fast: bool = False) -> NDArray[np.float64]:
    """Draw a shift ``(x, y)`` in pixels: any direction, log-uniform length, one in ten not moving unless ``fast``."""
    if random.random() < 0.1 and not fast:
        return np.zeros(2)
    smallest = 0.02 * width if fast else MIN_MOTION
    length = log_uniform(random, smallest, MAX_MOTION * width)
    angle = random.uniform(0, 2 * np.pi)
    return length * np.array([np.cos(angle), np.sin(angle)])


def motion(random: np.random.Generator, width: int, center: NDArray[np.float64], fast: bool = False) -> Homography:
    """Draw a ``(3, 3)`` projective motion around ``center``, first-image to second-image pixels."""
    strength = random.choice([0.05, 0.3, 1.0, 2.0])
    deform = similarity(np.exp(random.normal(0, 0.04 * strength)), random.normal(0, 0.04 * strength))
    if random.random() < 0.3:
        deform = deform @ np.array(
            [[1, random.normal(0, 0.04 * strength), 0], [random.normal(0, 0.04 * strength), 1, 0], [0, 0, 1.0]]
        )
    if random.random() < 0.3:
        deform[2, :2] = np.clip(random.normal(0, 0.06 * strength, 2), -0.15, 0.15) / width
    return translation(*(center + displacement(random, width, fast))) @ deform @ translation(*-center)


def nearly_still(random: np.random.Generator) -> Homography:
    """Draw the ``(3, 3)`` motion of a resting camera: less than two pixels."""
    return translation(*random.uniform(-1.4, 1.4, 2) * random.random())


def bending(random: np.random.Generator, size: tuple[int, int]) -> Flow:
    """Draw a smooth field ``(H, W, 2)`` of displacements in pixels whose gradient stays below one half."""
    cells = int(random.integers(2, 6))
    cell = size[1] / cells
    grid = random.standard_normal((cells + 2, cells + 3, 2), dtype=np.float32)
    field = cv2.resize(grid, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    steepest = max(float(np.abs(np.diff(field, axis=axis)).max()) for axis in (0, 1))
    wanted = float(random.uniform(0.01, 0.06)) * cell
    return field * min(wanted, 0.2 / max(steepest, 1e-6))


def photograph_patch(random: np.random.Generator, library: TextureLibrary, height: int, width: int) -> Image:
    """Cut ``(height, width)`` or a little less out of a photograph, at one of its sizes, in varied colors."""
    levels = library.photographs[random.integers(len(library.photographs))]
    fitting = [level for level in levels if level.shape[0] >= height and level.shape[1] >= width] or levels[:1]
    level = fitting[random.integers(len(fitting))]
    patches = []
    for _ in range(int(random.integers(1, MAX_PATCHES + 1))):
        top = int(random.integers(max(level.shape[0] - height, 0) + 1))
        left = int(random.integers(max(level.shape[1] - width, 0) + 1))
        patches.append(level[top : top + height, left : left + width])
    patch = max(patches, key=detail) if len(patches) > 1 else patches[0]
    if random.random() < 0.5:
        patch = patch[:, ::-1]
    return recolor(random, patch) if random.random() < 0.5 else np.ascontiguousarray(patch)


def detail(patch: Image) -> float:
    """Return how much texture ``patch`` has: the mean difference of pixels two apart, of some of its green channel."""
    some = patch[::4, ::2, 1].astype(np.int16)
    return float(np.abs(np.diff(some, axis=1)).mean()) if some.shape[1] > 1 else 0.0


def recolor(random: np.random.Generator, patch: Image) -> Image:
    """Vary contrast and brightness of each channel; now and then nearly flat, like a wall."""
    low = 0.1 if random.random() < 0.1 else 0.6
    gain = float(random.uniform(low, 1.3)) * random.uniform(0.85, 1.15, 3)
    middle = np.array(cv2.mean(patch)[:3])
    offset = middle * (1 - gain) + random.normal(0, 25, 3)
    values = np.arange(256, dtype=np.float64)[:, None] * gain + offset
    table = np.clip(values, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(np.ascontiguousarray(patch), table), np.uint8)


def blob_outline(random: np.random.Generator, side: int) -> NDArray[np.float64]:
    """Return the points of a polygon or of a smooth closed curve that fits ``side`` pixels, ``(N, 2)`` float."""
    if random.random() < 0.4:
        angles = np.sort(random.uniform(0, 2 * np.pi, int(random.integers(3, 9))))
        radii = random.uniform(0.5, 1.0, len(angles))
    else:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        radii = np.ones(48)
        for frequency in range(1, 6):
            radii += random.normal(0, 0.35 / frequency) * np.cos(frequency * angles + random.uniform(0, 2 * np.pi))
        radii = np.clip(radii / radii.max(), 0.08, 1)
    points = radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return (points * random.uniform(0.5, 1.0, 2) * 0.48 + 0.5) * side


def blob(random: np.random.Generator, side: int) -> Image:
    """Return the alpha of a polygon or blob, sometimes with holes; ``(side, side)`` uint8."""
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [_fixed_point(blob_outline(random, side))], 255, cv2.LINE_AA, 4)
    if random.random() < 0.25:
        for _ in range(int(random.integers(1, 4))):
            hole = blob_outline(random, max(side // 4, 4)) + random.uniform(0.15, 0.6, 2) * side
            cv2.fillPoly(alpha, [_fixed_point(hole)], 0, cv2.LINE_AA, 4)
    return alpha


def thin_structure(random: np.random.Generator, side: int) -> Image:
    """Return the alpha of wires, a fence or a ring, 1 to 5 pixels thick; ``(side, side)`` uint8."""
    alpha = np.zeros((side, side), np.uint8)
    thickness = int(random.integers(1, 6))
    kind = random.integers(3)
    if kind == 0:
        for _ in range(int(random.integers(1, 5))):
            steps = random.normal(0, 0.25 * side, (int(random.integers(2, 6)), 2))
            points = np.clip(np.cumsum(steps, axis=0) + side / 2, 2, side - 3)
            cv2.polylines(alpha, [_fixed_point(points)], False, 255, thickness, cv2.LINE_AA, 4)
    elif kind == 1:
        period = int(random.integers(3, 8)) * thickness
        alpha[:, np.arange(side) % period < thickness] = 255
        if random.random() < 0.5:
            alpha[np.arange(side) % period < thickness] = 255
    else:
        cv2.polylines(alpha, [_fixed_point(blob_outline(random, side))], True, 255, thickness, cv2.LINE_AA, 4)
    return alpha


def _fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert to the sixteenths of a pixel that OpenCV's ``shift=4`` draws with."""
    return np.round(points * 16).astype(np.int32)


def object_texture(random: np.random.Generator, library: TextureLibrary, side: int, small: bool) -> tuple[Image, Image]:
    """Return the texture ``(H, W, 3)`` and alpha ``(H, W)`` of an object about ``side`` pixels large."""
    choice = random.random()
    if library.cutouts and choice < 0.35 and not small:
        cutout = library.cutouts[random.integers(len(library.cutouts))]
        scale = side / max(cutout.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        cutout = np.asarray(cv2.resize(cutout, None, fx=scale, fy=scale, interpolation=method), np.uint8)
        alpha = np.ascontiguousarray(cutout[..., 3])
        if random.random() < 0.5:
            return np.ascontiguousarray(cutout[..., :3]), alpha
    elif choice < 0.55 and not small:
        alpha = thin_structure(random, side)
    else:
        alpha = blob(random, side)
    patch = photograph_patch(random, library, *alpha.shape)
    return np.asarray(cv2.resize(patch, (alpha.shape[1], alpha.shape[0])), np.uint8), alpha


def planar_scene(
    random: np.random.Generator, library: TextureLibrary, size: tuple[int, int], objects: tuple[int, int] = (2, 10)
) -> list[Layer]:
    """Draw a scene of a background and objects.

    Args:
        random: decides everything.
        library: textures.
        size: height and width of the images, pixels.
        objects: range of their number.

    Returns:
        The layers, the farthest first.
    """
    height, width = size
    center = np.array([width / 2, height / 2])
    texture = photograph_patch(random, library, int(1.4 * height), int(1.4 * width))
    place = (
        translation(*(center + random.normal(0, 0.05 * width, 2)))
        @ similarity(float(random.uniform(0.7, 1.4)), random.normal(0, 0.15))
        @ translation(-texture.shape[1] / 2, -texture.shape[0] / 2)
    )
    background = motion(random, width, center) if random.random() < 0.65 else nearly_still(random)
    bend = bending(random, size) if random.random() < 0.2 else None
    layers = [Layer(texture, None, place, background @ place, bend)]
    for _ in range(int(random.integers(objects[0], objects[1] + 1))):
        layers.append(moving_object(random, library, size, background))
    return layers


def crowded_scene(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a `planar_scene` with 12 to 24 objects; FlyingChairs has 16 to 24."""
    return planar_scene(random, library, size, objects=(12, 24))


def moving_object(
    random: np.random.Generator, library: TextureLibrary, size: tuple[int, int], background: Homography
) -> Layer:
    """Draw one object, mostly moving on top of the ``background``'s motion."""
    height, width = size
    small = random.random() < 0.2
    side = int(log_uniform(random, *((0.03, 0.1) if small else (0.2, 0.9))) * height) + 4
    texture, alpha = object_texture(random, library, side, small)
    center = random.uniform(0, 1, 2) * (width, height)
    place = (
        translation(*center)
        @ similarity(float(random.uniform(0.8, 1.25)), random.uniform(-np.pi, np.pi))
        @ translation(-alpha.shape[1] / 2, -alpha.shape[0] / 2)
    )
    own = motion(random, width, center, fast=random.random() < 0.6)
    bend = bending(random, size) if not small and random.random() < 0.2 else None
    moved = own @ place if random.random() < 0.25 else background @ own @ place
    return Layer(texture, alpha, place, moved, bend)
