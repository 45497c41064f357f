# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render a stack of textured, moving layers into two images with exact flow and occlusion.

Every layer is a texture with two projective maps, one into each image, and may bend in the second image. Flat scenes
and scenes of planes in space are both such stacks: a plane seen by a moving pinhole camera moves by a homography
(Hartley and Zisserman, Multiple View Geometry, section 13.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.flow_files import Flow, Image, Mask

OPAQUE = 127
BEND_ITERATIONS = 12
COARSE = 4

Homography = NDArray[np.float64]
"""``(3, 3)`` projective map."""

Coordinates = NDArray[np.float32]
"""x or y of points, pixels, of any shape that broadcasts."""

Owners = NDArray[np.uint8]
"""``(H, W)``: number of the surface seen at each pixel; nearer ones have higher numbers."""


@dataclass(frozen=True)
class Layer:
    """A texture and its place in each image.

    Attributes:
        texture: ``(H, W, 3)`` uint8 BGR.
        alpha: ``(H, W)`` uint8, or None for a layer without borders, whose texture repeats mirrored.
        to_first: ``(3, 3)`` map from texture to first-image pixels.
        to_second: ``(3, 3)`` map from texture to second-image pixels, before bending.
        bend: ``(H, W, 2)`` float32 over the second image, pixels: its point ``q`` shows what the projective map puts at
            ``q + bend(q)``. Its gradient is below one. None for no bending.
        bounds: left, top, right, bottom of the part of the (endlessly mirrored) texture that exists, in texture pixels;
            for layers without alpha. Points behind the camera are not painted.
        continues: whether this layer continues the surface of the one before; the two do not occlude each other.
    """

    texture: Image
    alpha: Image | None
    to_first: Homography
    to_second: Homography
    bend: Flow | None = None
    bounds: tuple[float, float, float, float] | None = None
    continues: bool = False


@dataclass(frozen=True)
class FlowPair:
    """Two images with their flow in both directions.

    Attributes:
        first, second: ``(H, W, 3)`` uint8 BGR.
        forward: ``(H, W, 2)`` float32, pixels, from first to second, on the first image's grid.
        backward: the same from second to first, on the second image's grid.
        occluded_forward: ``(H, W)`` bool, first-image pixels that are hidden or outside in the second.
        occluded_backward: second-image pixels that are hidden or outside in the first.
    """

    first: Image
    second: Image
    forward: Flow
    backward: Flow
    occluded_forward: Mask
    occluded_backward: Mask


@dataclass
class _View:
    """One image while it is painted."""

    image: Image
    flow: Flow
    owner: Owners


Box = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of an image, in pixels; right and bottom are outside."""

Sampler = Callable[[Image, int], Image]
"""Samples a texture, with one of OpenCV's border modes."""


def render(layers: list[Layer], size: tuple[int, int]) -> FlowPair:
    """Paint ``layers``, the farthest first, into both images.

    Args:
        layers: the first must cover both images.
        size: height and width of the images, pixels.
    """
    views = [
        _View(np.zeros((*size, 3), np.uint8), np.zeros((*size, 2), np.float32), np.zeros(size, np.uint8))
        for _ in range(2)
    ]
    number = -1
    for layer in layers:
        number += not layer.continues
        for view, is_second in zip(views, (False, True), strict=True):
            _paint(view, layer, number, is_second)
    first, second = views
    return FlowPair(
        first.image,
        second.image,
        first.flow,
        second.flow,
        occluded(first.flow, first.owner, second.owner, number + 1),
        occluded(second.flow, second.owner, first.owner, number + 1),
    )


def occluded(flow: Flow, owner: Owners, other_owner: Owners, surfaces: int) -> Mask:
    """Return where the target of ``flow`` lies outside the other image or under a nearer surface.

    Args:
        flow: ``(H, W, 2)`` float32, pixels.
        owner: ``(H, W)`` number of the surface seen in this image, nearer ones have higher numbers.
        other_owner: the same in the other image.
        surfaces: how many there are.
    """
    height, width = owner.shape
    target_x = flow[..., 0] + np.arange(width, dtype=np.float32)
    target_y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    hidden = (target_x < 0) | (target_x > width - 1) | (target_y < 0) | (target_y > height - 1)
    for number in range(surfaces - 1):
        here = owner == number
        left, top, boxed_width, boxed_height = cv2.boundingRect(here.view(np.uint8))
        if not boxed_width:
            continue
        part = (slice(top, top + boxed_height), slice(left, left + boxed_width))
        nearer = (other_owner > number).astype(np.float32)
        cover = cv2.remap(nearer, target_x[part], target_y[part], cv2.INTER_LINEAR)
        hidden[part] |= here[part] & (cover > 0.5)
    return hidden


def _paint(view: _View, layer: Layer, number: int, second: bool) -> None:
    """Paint ``layer`` over ``view``, the second image or the first."""
    size = (view.owner.shape[0], view.owner.shape[1])
    place = layer.to_second if second else layer.to_first
    other = layer.to_first if second else layer.to_second
    margin = 0.0 if layer.bend is None else float(np.abs(layer.bend).max())
    box = (0, 0, size[1], size[0]) if layer.alpha is None else _bounding_box(layer, place, size, margin)
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        return
    from_image = np.asarray(np.linalg.inv(place), np.float64)
    seen: Mask | None = None
    if layer.bounds is not None:
        seen, box = _within(layer.bounds, from_image, size)
        left, top, right, bottom = box
        if right <= left:
            return
    part = (slice(top, bottom), slice(left, right))
    flow, sample = _flow_and_sampler(layer.bend, from_image, other @ from_image, box, second)
    color = sample(layer.texture, cv2.BORDER_REFLECT_101)
    if layer.alpha is not None:
        alpha = sample(layer.alpha, cv2.BORDER_CONSTANT)
        weight = alpha * np.float32(1 / 255)
        view.image[part] = cv2.blendLinear(color, np.ascontiguousarray(view.image[part]), weight, 1 - weight)
        seen = alpha > OPAQUE
    elif seen is not None:
        view.image[part][seen] = color[seen]
    else:
        view.image[part], view.flow[part], view.owner[part] = color, flow, number
        return
    view.flow[part][seen] = flow[seen]
    view.owner[part][seen] = number


def _flow_and_sampler(
    bend: Flow | None, from_image: Homography, to_other: Homography, box: Box, second: bool
) -> tuple[Flow, Sampler]:
    """Return a layer's flow ``(h, w, 2)`` in a box of an image, pixels, and a sampler of its textures there.

    Args:
        bend: of the layer, see `Layer`.
        from_image: ``(3, 3)`` map from the image's pixels to the texture's.
        to_other: ``(3, 3)`` map from the image's pixels to those of the other image, before bending.
        box: of the image.
        second: whether it is the second image, which shows the layer bent.
    """
    left, top, right, bottom = box
    x = np.arange(left, right, dtype=np.float32)[None, :]
    y = np.arange(top, bottom, dtype=np.float32)[:, None]
    if bend is not None and second:
        part = (slice(top, bottom), slice(left, right))
        bent_x, bent_y = x + bend[part][..., 0], y + bend[part][..., 1]
        other_x, other_y = project(to_other, bent_x, bent_y)
        sample = _remap_sampler(*project(from_image, bent_x, bent_y))
    else:
        other_x, other_y = project(to_other, x, y)
        if bend is not None:
            other_x, other_y = _unbend(bend, other_x, other_y)
        sample = _projective_sampler(from_image, box)
    return np.stack((other_x - x, other_y - y), axis=-1), sample


def project(homography: Homography, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Map points."""
    rows = homography.astype(np.float32)
    mapped_x = rows[0, 0] * x + (rows[0, 1] * y + rows[0, 2])
    mapped_y = rows[1, 0] * x + (rows[1, 1] * y + rows[1, 2])
    if rows[2, 0] == 0 and rows[2, 1] == 0:
        return mapped_x / rows[2, 2], mapped_y / rows[2, 2]
    depth = rows[2, 0] * x + (rows[2, 1] * y + rows[2, 2])
    with np.errstate(divide="ignore", invalid="ignore"):  # on the horizon, which nothing reaches
        return mapped_x / depth, mapped_y / depth


def _within(
    bounds: tuple[float, float, float, float], from_image: Homography, size: tuple[int, int]
) -> tuple[Mask, Box]:
    """Return which pixels show texture inside ``bounds`` in front of the camera, within a box around them, and the box.

    Every fourth pixel is tested first to find the box, which halves the cost of a scene.
    """
    whole = (0, 0, size[1], size[0])
    left, top, right, bottom = _box_around(_inside(bounds, from_image, whole, COARSE))
    if right <= left:
        return np.zeros((0, 0), bool), (0, 0, 0, 0)
    near = (
        max(left * COARSE - COARSE, 0),
        max(top * COARSE - COARSE, 0),
        min(right * COARSE + COARSE, size[1]),
        min(bottom * COARSE + COARSE, size[0]),
    )
    inside = _inside(bounds, from_image, near, 1)
    left, top, right, bottom = _box_around(inside)
    box = (near[0] + left, near[1] + top, near[0] + right, near[1] + bottom)
    return inside[top:bottom, left:right], box


def _inside(bounds: tuple[float, float, float, float], from_image: Homography, box: Box, step: int) -> Mask:
    """Return which of every ``step``-th pixel of ``box`` show texture inside ``bounds`` in front of the camera."""
    left, top, right, bottom = bounds
    x = np.arange(box[0], box[2], step, dtype=np.float32)[None, :]
    y = np.arange(box[1], box[3], step, dtype=np.float32)[:, None]
    texture_x, texture_y = project(from_image, x, y)
    inverse_depth = from_image[2, 0] * x + (from_image[2, 1] * y + from_image[2, 2])
    inside = (texture_x >= left) & (texture_x <= right) & (texture_y >= top) & (texture_y <= bottom)
    return inside & (inverse_depth > 0)


def _box_around(inside: Mask) -> Box:
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    return (left, top, left + width, top + height)


def _unbend(bend: Flow, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Find the points ``q`` with ``q + bend(q) = (x, y)``, by fixed-point iteration."""
    bent_x, bent_y = x, y
    for _ in range(BEND_ITERATIONS):
        shift = cv2.remap(bend, bent_x, bent_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        bent_x, bent_y = x - shift[..., 0], y - shift[..., 1]
    return bent_x, bent_y


def _bounding_box(layer: Layer, place: Homography, size: tuple[int, int], margin: float) -> Box:
    """Return the part of an image that ``layer`` can touch; the whole image where it reaches behind the camera."""
    height, width = layer.texture.shape[:2]
    corners = np.array([[-1, -1, 1], [width, -1, 1], [-1, height, 1], [width, height, 1]]) @ place.T
    if (corners[:, 2] * corners[0, 2] <= 0).any():
        return (0, 0, size[1], size[0])
    points = corners[:, :2] / corners[:, 2:]
    low = np.clip(np.floor(points.min(axis=0) - margin), 0, (size[1], size[0])).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + margin) + 1, 0, (size[1], size[0])).astype(int)
    return (int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _projective_sampler(from_image: Homography, box: Box) -> Sampler:
    """Return a function that samples a texture, by a homography, at the pixels of ``box``."""
    left, top, right, bottom = box
    shifted = from_image @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def sample(texture: Image, border: int) -> Image:
        size = (right - left, bottom - top)
        return np.asarray(cv2.warpPerspective(texture, shifted, size, flags=flags, borderMode=border), np.uint8)

    return sample


def _remap_sampler(texture_x: Coordinates, texture_y: Coordinates) -> Sampler:
    """Return a function that samples a texture at these points."""

    def sample(texture: Image, border: int) -> Image:
        return np.asarray(cv2.remap(texture, texture_x, texture_y, cv2.INTER_LINEAR, borderMode=border), np.uint8)

    return sample
