# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render textured rectangles in space, of which nearer ones hide farther ones, with exact flow to the next view.

World and camera axes: x right, y down, z forward; lengths in meters.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SUPERSAMPLING = 2
MIN_DISTANCE = 0.05
"""Nearest distance to the camera, in meters; nearer surfaces are not drawn."""


@dataclass(frozen=True)
class Texture:
    """A picture that repeats endlessly in both directions.

    Attributes:
        levels: ``(H, W, 3)`` uint8, each half as large as the one before, against aliasing.
        pixels_per_meter: of the first level.
    """

    levels: list[NDArray[np.uint8]]
    pixels_per_meter: float

    @classmethod
    def of(cls, picture: NDArray[np.uint8], pixels_per_meter: float, levels: int = 5) -> Texture:
        """Make the smaller levels of ``picture``, whose sides are multiples of ``2 ** (levels - 1)``."""
        pyramid = [picture]
        for _ in range(levels - 1):
            height, width = pyramid[-1].shape[:2]
            smaller = cv2.resize(pyramid[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            pyramid.append(np.asarray(smaller, np.uint8))
        return cls(pyramid, pixels_per_meter)


@dataclass(frozen=True)
class Rectangle:
    """A textured rectangle.

    Attributes:
        corner: ``(3,)`` meters, where the texture begins.
        across: ``(3,)`` meters, the side along the texture's rows.
        down: ``(3,)`` meters, the side along its columns, at a right angle to ``across``.
        texture: what is painted on it, on both of its faces.
        motion: ``(3,)`` meters that it moves until the next view.
    """

    corner: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    texture: Texture
    motion: NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """A pinhole camera somewhere.

    Attributes:
        intrinsics: ``(3, 3)`` pixels.
        rotation: ``(3, 3)`` world to camera axes.
        position: ``(3,)`` meters.
    """

    intrinsics: NDArray[np.float64]
    rotation: NDArray[np.float64]
    position: NDArray[np.float64]

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pixels and depth ``(N, 3)`` of world points ``(N, 3)``; ignore points behind the camera."""
        seen = (points - self.position) @ self.rotation.T
        depth = seen[:, 2:]
        return np.hstack(((seen @ self.intrinsics.T)[:, :2] / np.where(depth == 0, 1, depth), depth))

    def finer(self, factor: int) -> View:
        """Return the same camera with ``factor`` times as many pixels on each side."""
        half = (factor - 1) / 2
        scale = np.array([[factor, 0, half], [0, factor, half], [0, 0, 1.0]])
        return View(scale @ self.intrinsics, self.rotation, self.position)


@dataclass
class _Surface:
    """The nearest surface at each pixel: rectangle number, depth, and position on the rectangle, all ``(H, W)``."""

    number: NDArray[np.int32]
    depth: NDArray[np.float32]
    across: NDArray[np.float32]
    down: NDArray[np.float32]


def render_image(rectangles: list[Rectangle], view: View, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image of ``view``, RGB ``(H, W, 3)``; each pixel is the mean of `SUPERSAMPLING` squared."""
    height, width = size
    fine_view, fine_size = view.finer(SUPERSAMPLING), (height * SUPERSAMPLING, width * SUPERSAMPLING)
    surface = _find_surface(rectangles, fine_view, fine_size)
    image = np.zeros((*fine_size, 3), np.uint8)
    focal = float(fine_view.intrinsics[0, 0])
    for number in np.unique(surface.number[surface.number >= 0]):
        seen = surface.number == number
        _paint(image, seen, surface, rectangles[number].texture, focal)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def render_flow(rectangles: list[Rectangle], view: View, next_view: View, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the flow ``(H, W, 2)`` in pixels from ``view`` to ``next_view``; NaN where nothing is seen."""
    surface = _find_surface(rectangles, view, size)
    flow = np.full((*size, 2), np.nan, np.float32)
    for number in np.unique(surface.number[surface.number >= 0]):
        seen = surface.number == number
        rectangle = rectangles[number]
        offsets = surface.across[seen][:, None] * _unit(rectangle.across) + surface.down[seen][:, None] * _unit(
            rectangle.down
        )
        there = next_view.project(rectangle.corner + rectangle.motion + offsets)
        rows, columns = np.nonzero(seen)
        shift = there[:, :2] - np.stack((columns, rows), axis=1)
        flow[seen] = np.where(there[:, 2:] > MIN_DISTANCE, shift, np.nan)
    return flow


def render_depth(
    rectangles: list[Rectangle], view: View, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return depth ``(H, W)`` in meters, infinite where nothing is seen, and each pixel's rectangle number or -1."""
    surface = _find_surface(rectangles, view, size)
    return surface.depth, surface.number


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def _find_surface(rectangles: list[Rectangle], view: View, size: tuple[int, int]) -> _Surface:
    """Compare depths, rectangle by rectangle (a z-buffer)."""
    surface = _Surface(
        np.full(size, -1, np.int32), np.full(size, np.inf, np.float32), *(np.zeros(size, np.float32) for _ in range(2))
    )
    for number, rectangle in enumerate(rectangles):
        part = _visible_part(rectangle, view, size)
        if part is not None:
            _cover(surface, part, number, rectangle, view)
    return surface


def _visible_part(rectangle: Rectangle, view: View, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the part of the image that a rectangle may cover, all of it where it reaches behind the camera."""
    corner, across, down = rectangle.corner, rectangle.across, rectangle.down
    corners = view.project(np.stack((corner, corner + across, corner + down, corner + across + down)))
    if (corners[:, 2] < MIN_DISTANCE).all():
        return None
    if (corners[:, 2] < MIN_DISTANCE).any():
        return slice(0, size[0]), slice(0, size[1])
    low = np.clip(np.floor(corners[:, :2].min(axis=0)), 0, size[::-1]).astype(int)
    high = np.clip(np.ceil(corners[:, :2].max(axis=0)) + 1, 0, size[::-1]).astype(int)
    return None if (low >= high).any() else (slice(low[1], high[1]), slice(low[0], high[0]))


def _cover(surface: _Surface, part: tuple[slice, slice], number: int, rectangle: Rectangle, view: View) -> None:
    """Add a rectangle where it is nearer than what is there (Hartley and Zisserman, section 13.1)."""
    unit_across, unit_down = _unit(rectangle.across), _unit(rectangle.down)
    seen = np.stack((unit_across, unit_down, rectangle.corner - view.position), axis=1)
    plane = view.rotation @ seen
    if abs(np.linalg.det(plane)) < 1e-9:  # seen edge-on
        return
    x = np.arange(part[1].start, part[1].stop, dtype=np.float32)[None, :]
    y = np.arange(part[0].start, part[0].stop, dtype=np.float32)[:, None]
    rows = np.linalg.inv(view.intrinsics @ plane).astype(np.float32)
    inverse_depth = rows[2, 0] * x + (rows[2, 1] * y + rows[2, 2])
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = 1 / inverse_depth
        across = (rows[0, 0] * x + (rows[0, 1] * y + rows[0, 2])) * depth
        down = (rows[1, 0] * x + (rows[1, 1] * y + rows[1, 2])) * depth
    width, height = np.linalg.norm(rectangle.across), np.linalg.norm(rectangle.down)
    nearer = (depth > MIN_DISTANCE) & (depth < surface.depth[part])
    nearer &= (across >= 0) & (across <= width) & (down >= 0) & (down <= height)
    for values, new in ((surface.depth, depth), (surface.across, across), (surface.down, down)):
        values[part][nearer] = new[nearer]
    surface.number[part][nearer] = number


def _paint(
    image: NDArray[np.uint8], seen: NDArray[np.bool_], surface: _Surface, texture: Texture, focal: float
) -> None:
    """Look a texture up, at the level whose pixels are about as large as the image's there."""
    footprint = surface.depth[seen] * (texture.pixels_per_meter / focal)
    level_of = np.clip(np.round(np.log2(np.maximum(footprint, 1e-6))), 0, len(texture.levels) - 1).astype(int)
    colors = np.zeros((len(level_of), 3), np.uint8)
    for level in np.unique(level_of):
        at = level_of == level
        scale = np.float32(texture.pixels_per_meter / 2**level)
        x = (surface.across[seen][at] * scale - 0.5)[None]
        y = (surface.down[seen][at] * scale - 0.5)[None]
        colors[at] = _look_up(texture.levels[level], x, y)
    image[seen] = colors


def _look_up(picture: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the colors ``(N, 3)`` of a repeating picture at points ``(1, N)``; OpenCV takes rows of 32766 at most."""
    longest = 32_766
    parts = [
        cv2.remap(
            picture, x[:, start : start + longest], y[:, start : start + longest], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )[0]
        for start in range(0, x.shape[1], longest)
    ]  # fmt: skip
    return np.asarray(np.concatenate(parts), np.uint8)
