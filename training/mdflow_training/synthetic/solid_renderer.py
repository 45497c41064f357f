# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render solid bodies into two images with exact flow and occlusion, by casting rays (Embree).

Layers are flat. Bodies are meshes of triangles: they are round, they hide parts of themselves, and the flow on each of
them varies with depth. Both images show the same triangles at different positions. A pixel sees one point of one
triangle; the flow leads to the same point of the same triangle in the other image.

Camera axes: x right, y down, z forward; lengths in meters.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_training.flow_files import Flow, Image, Mask
from mdflow_training.synthetic.layers import FlowPair
from mdflow_training.synthetic.solid_textures import TextureAtlas, box_projection, compression

if TYPE_CHECKING:
    from embreex.rtcore_scene import EmbreeScene

NEAREST = 0.05
"""Points nearer to the camera's plane than this, meters, are projected as if they were this far away."""

DEPTH_TOLERANCE = 0.01
"""A point is hidden if another surface is nearer by more than this share of its depth."""

ROUNDING = 0.01
"""Points up to this far outside the image, pixels, count as inside, because projection has rounding errors."""


@dataclass(frozen=True)
class Mesh:
    """The surface of a body.

    Attributes:
        corners: ``(F, 3, 3)`` float32, the three corners of each triangle, meters, in the body's axes.
        normals: ``(F, 3, 3)`` float32, the unit normal of the surface at each corner; they shade it.
    """

    corners: NDArray[np.float32]
    normals: NDArray[np.float32]


@dataclass(frozen=True)
class Body:
    """A textured mesh and its pose in each image.

    Attributes:
        mesh: its surface.
        texture: ``(side, side, 3)`` uint8 BGR; it repeats mirrored.
        texels_per_meter: density of the texture.
        first, second: the body's axes to those of the camera, at the time of each image.
    """

    mesh: Mesh
    texture: Image
    texels_per_meter: float
    first: RigidMotion
    second: RigidMotion


@dataclass(frozen=True)
class SolidScene:
    """Bodies before a camera.

    Attributes:
        bodies: they must cover both images.
        intrinsics: ``(3, 3)``, pixels.
        light: ``(3,)`` unit vector from the surfaces to the light, in the first camera's axes.
        light_second: the same in the second camera's axes.
        ambient: brightness of a surface that faces away from the light, as a share of one that faces the light.
    """

    bodies: list[Body]
    intrinsics: NDArray[np.float64]
    light: NDArray[np.float64]
    light_second: NDArray[np.float64]
    ambient: float


@dataclass(frozen=True)
class _Surface:
    """All triangles of a scene in one image.

    Attributes:
        corners: ``(F, 3, 3)`` float32, meters, camera axes.
        shade: ``(F, 3, 1)`` float32 in [ambient, 1], the brightness at each corner.
        rays: finds the triangle that a ray hits first.
    """

    corners: NDArray[np.float32]
    shade: NDArray[np.float32]
    rays: EmbreeScene


@dataclass(frozen=True)
class _View:
    """What the pixels of an image see.

    Attributes:
        triangle: ``(H, W)`` number of the triangle, -1 for none.
        weights: ``(H, W, 3)`` float32, barycentric coordinates in it.
        depth: ``(H, W)`` float32, meters.
    """

    triangle: NDArray[np.int32]
    weights: NDArray[np.float32]
    depth: NDArray[np.float32]


def render_solids(scene: SolidScene, size: tuple[int, int]) -> FlowPair:
    """Render ``scene`` into two images of ``size`` (height, width), pixels.

    Raises:
        ValueError: the bodies do not cover an image.
    """
    bodies = scene.bodies
    owners = np.repeat(np.arange(len(bodies)), [len(body.mesh.corners) for body in bodies])
    surfaces = (
        _surface([(body.mesh, body.first) for body in bodies], scene.light, scene.ambient),
        _surface([(body.mesh, body.second) for body in bodies], scene.light_second, scene.ambient),
    )
    x, y = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
    views = [_cast(surface, scene.intrinsics, x, y) for surface in surfaces]
    if any((view.triangle < 0).any() for view in views):
        raise ValueError("the bodies of a scene must cover both images; add a surface behind them")
    first, second = _images(scene, owners, views, surfaces)
    forward, occluded_forward = _motion(views[0], surfaces[1], scene.intrinsics, x, y)
    backward, occluded_backward = _motion(views[1], surfaces[0], scene.intrinsics, x, y)
    return FlowPair(first, second, forward, backward, occluded_forward, occluded_backward)


def _images(
    scene: SolidScene, owners: NDArray[np.int64], views: list[_View], surfaces: tuple[_Surface, _Surface]
) -> list[Image]:
    """Return the color that each pixel sees, ``(H, W, 3)``, in both images; ``owners`` is the body of each triangle."""
    density = np.array([body.texels_per_meter for body in scene.bodies], np.float32)
    texels = (
        box_projection(np.concatenate([body.mesh.corners for body in scene.bodies])) * density[owners][:, None, None]
    )
    atlas = TextureAtlas([body.texture for body in scene.bodies])
    images = []
    for view, surface in zip(views, surfaces, strict=True):
        owner = owners[view.triangle]
        spacing = density[owner] * view.depth / np.float32(scene.intrinsics[0, 0])
        spacing *= compression(surface.corners)[view.triangle]
        colors = atlas.sample(owner, _interpolate(view, texels), spacing)
        shaded = np.asarray(colors * _interpolate(view, surface.shade), np.uint8)
        images.append(_smooth_outlines(shaded, owner))
    return images


def _surface(placed: list[tuple[Mesh, RigidMotion]], light: NDArray[np.float64], ambient: float) -> _Surface:
    corners = np.concatenate(
        [
            mesh.corners @ pose.rotation.T.astype(np.float32) + pose.translation.astype(np.float32)
            for mesh, pose in placed
        ]
    )
    # The light is turned into each body's axes, which is cheaper than turning the normals.
    facing = np.concatenate([mesh.normals @ (pose.rotation.T @ light).astype(np.float32) for mesh, pose in placed])
    return _Surface(corners, ambient + (1 - ambient) * np.maximum(facing, 0)[..., None], _ray_scene(corners))


def _ray_scene(corners: NDArray[np.float32]) -> EmbreeScene:
    """Prepare triangles ``(F, 3, 3)`` for rays.

    Raises:
        ModuleNotFoundError: see `require_embree`.
    """
    require_embree()
    # Imported here, because embreex has no wheels for ARM, where robots adapt without this class of scenes.
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, corners)
    return scene


def require_embree() -> None:
    """Check that rays can be cast.

    Raises:
        ModuleNotFoundError: embreex is not installed.
    """
    if find_spec("embreex") is None:
        raise ModuleNotFoundError(
            "scenes of solid bodies need embreex (x86-64 only): pip install embreex, "
            "or pip install --target build/packages embreex trimesh and copy that folder to a machine without network"
        )


def _cast(surface: _Surface, intrinsics: NDArray[np.float64], x: NDArray[np.float32], y: NDArray[np.float32]) -> _View:
    """Return what the rays through the points ``x, y`` of the image, ``(H, W)`` each, hit."""
    directions = np.ones((x.size, 3), np.float32)
    directions[:, 0] = (x.ravel() - np.float32(intrinsics[0, 2])) / np.float32(intrinsics[0, 0])
    directions[:, 1] = (y.ravel() - np.float32(intrinsics[1, 2])) / np.float32(intrinsics[1, 1])
    hit = surface.rays.run(np.zeros_like(directions), directions, query="INTERSECT", output=True)
    triangle, u, v, depth = (hit[name].reshape(x.shape) for name in ("primID", "u", "v", "tfar"))
    # Directions have z = 1, so the distance along the ray is the depth.
    return _View(triangle, np.stack((1 - u - v, u, v), axis=-1), depth)


def _motion(
    view: _View, other: _Surface, intrinsics: NDArray[np.float64], x: NDArray[np.float32], y: NDArray[np.float32]
) -> tuple[Flow, Mask]:
    """Return the flow ``(H, W, 2)`` of each pixel to the other image and whether its target is hidden or outside."""
    points = _interpolate(view, other.corners)
    depth = np.maximum(points[..., 2], np.float32(NEAREST))
    target_x = points[..., 0] / depth * np.float32(intrinsics[0, 0]) + np.float32(intrinsics[0, 2])
    target_y = points[..., 1] / depth * np.float32(intrinsics[1, 1]) + np.float32(intrinsics[1, 2])
    height, width = x.shape
    outside = _beyond(target_x, width) | _beyond(target_y, height)
    nearest = _cast(other, intrinsics, target_x, target_y).depth
    hidden = nearest < points[..., 2] * (1 - DEPTH_TOLERANCE)
    return np.stack((target_x - x, target_y - y), axis=-1), outside | hidden | (points[..., 2] < NEAREST)


def _beyond(place: NDArray[np.float32], side: int) -> Mask:
    return (place < -ROUNDING) | (place > side - 1 + ROUNDING)


def _interpolate(view: _View, at_corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return for each pixel a value ``(H, W, C)`` that is given at the corners of triangles, ``(F, 3, C)``."""
    return np.asarray(np.einsum("hwk,hwkc->hwc", view.weights, at_corners[view.triangle]), np.float32)


def _smooth_outlines(image: Image, owner: NDArray[np.int64]) -> Image:
    """Blend the pixels on both sides of each body's outline, which one ray a pixel leaves jagged."""
    outline = np.zeros(owner.shape, bool)
    across, down = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    outline[:, 1:] |= across
    outline[:, :-1] |= across
    outline[1:] |= down
    outline[:-1] |= down
    image[outline] = cv2.GaussianBlur(image, (3, 3), 0)[outline]
    return image
