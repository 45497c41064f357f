# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes of textured planes and boxes in space, seen by a moving camera: driving-like roads and rooms.

Camera axes: x right, y down, z forward; lengths in meters. A plane's texture pixel ``(a, b)`` lies at ``origin + a *
across + b * along``, hence its homography into a camera with intrinsics K and pose (R, t) is
``K [R across, R along, R origin + t]`` (Hartley and Zisserman, section 13.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdflow_training.flow_files import Image
from mdflow_training.synthetic.draws import log_uniform
from mdflow_training.synthetic.layers import Layer
from mdflow_training.synthetic.planar import object_texture, photograph_patch, recolor
from mdflow_training.synthetic.textures import TextureLibrary

BANDS = ((0.0, 5.0), (5.0, 12.0), (12.0, 28.0), (28.0, 90.0))
"""Distance ranges in meters; each shows a road or wall texture at a coarser size, against aliasing."""

BAND_SIDE = 384
"""Largest side of the texture of a band, pixels; it repeats mirrored."""

TURNING = (0.05, 0.3, 1.0)
"""Factors of the camera's usual rotation; each scene draws one."""

SKY_DISTANCE = 1000.0


@dataclass(frozen=True)
class MovingCamera:
    """A pinhole camera before and after its motion.

    Attributes:
        intrinsics: ``(3, 3)``, pixels.
        rotation: ``(3, 3)``, first to second camera axes.
        shift: ``(3,)`` meters, ``second = rotation @ first + shift``.
    """

    intrinsics: NDArray[np.float64]
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def layer(
        self,
        texture: Image,
        plane: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
        alpha: Image | None = None,
        bounds: tuple[float, float, float, float] | None = None,
        own_motion: NDArray[np.float64] | None = None,
        continues: bool = False,
    ) -> Layer:
        """Place ``texture`` on a plane.

        Args:
            texture: ``(H, W, 3)`` uint8.
            plane: across and along, meters a texture pixel, and origin, meters; each ``(3,)``.
            alpha: see `Layer`.
            bounds: see `Layer`.
            own_motion: ``(3,)`` meters that the plane itself moves between the images.
            continues: see `Layer`.
        """
        first = np.stack(plane, axis=1)
        second = first.copy()
        if own_motion is not None:
            second[:, 2] += own_motion
        second = self.rotation @ second
        second[:, 2] += self.shift
        return Layer(texture, alpha, self.intrinsics @ first, self.intrinsics @ second, None, bounds, continues)


def rotation_matrix(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return the rotation by radians around y, x and z, in that order."""
    cosine, sine = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    around_y = np.array([[cosine[0], 0, sine[0]], [0, 1, 0], [-sine[0], 0, cosine[0]]])
    around_x = np.array([[1, 0, 0], [0, cosine[1], -sine[1]], [0, sine[1], cosine[1]]])
    around_z = np.array([[cosine[2], -sine[2], 0], [sine[2], cosine[2], 0], [0, 0, 1]])
    return around_z @ around_x @ around_y


def intrinsics(random: np.random.Generator, size: tuple[int, int], horizon: float) -> NDArray[np.float64]:
    """Draw a camera whose whole image contains the rendered one as a part, up to 2.5 times smaller.

    Args:
        random: decides.
        size: height and width of the part, pixels.
        horizon: height of the principal point in the whole image, 0 at the top and 1 at the bottom.

    Returns:
        ``(3, 3)``, pixels of the part; the focal length is 0.5 to 1.1 widths of the whole.
    """
    height, width = size
    larger = log_uniform(random, 1, 2.5)
    focal = float(random.uniform(0.5, 1.1)) * width * larger
    x, y = random.uniform(-0.5, 0.5, 2) * (larger - 1)
    return np.array([[focal, 0, width * (0.5 + x)], [0, focal, height * (horizon + y)], [0, 0, 1]])


def world_scene(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a road or a room; arguments and result as of `planar_scene`."""
    return road(random, library, size) if random.random() < 0.65 else room(random, library, size)


def driving_scene(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw a street seen from a vehicle at speed, among vehicles as fast; arguments and result as of `planar_scene`."""
    return road(random, library, size, speeds=(0.4, 2.5), others=1.2)


def road(
    random: np.random.Generator,
    library: TextureLibrary,
    size: tuple[int, int],
    speeds: tuple[float, float] = (0.01, 1.4),
    others: float = 0.7,
) -> list[Layer]:
    """Draw a street: sky or far view, ground, walls at both sides, boxes and boards, some moving by themselves.

    Args:
        random: decides everything.
        library: textures.
        size: height and width of the images, pixels.
        speeds: range of the camera's forward motion, meters between the images.
        others: standard deviation of the motion of moving objects, meters.
    """
    speed = log_uniform(random, *speeds) * random.choice([1, 1, 1, -1])
    camera = MovingCamera(
        intrinsics(random, size, float(random.uniform(0.35, 0.6))),
        rotation_matrix(*random.choice(TURNING) * random.normal(0, (0.02, 0.006, 0.006))),
        np.array([random.normal(0, 0.06), random.normal(0, 0.03), 0]) * abs(speed) - [0, 0, speed],
    )
    ground = float(random.uniform(1.2, 2.2))
    half_width = float(random.uniform(3.5, 12))
    layers = [far_view(random, library, size, camera)]
    layers += ground_plane(random, library, camera, ground)
    for side in (-1, 1):
        if random.random() < 0.8:
            layers += wall(random, library, camera, side * half_width, (ground, ground - random.uniform(2, 14)))
    distances = np.sort(np.exp(random.uniform(np.log(4.5), np.log(45), int(random.integers(2, 9)))))[::-1]
    for distance in distances:
        place = np.array([random.uniform(-0.9, 0.9) * half_width, ground, distance])
        own = None
        if random.random() < 0.5:
            own = np.array([random.normal(0, 0.85 * others), 0, random.normal(0, others)])
        layers += box(random, library, camera, place, own) if random.random() < 0.6 else []
        layers += [board(random, library, camera, place, own)] if random.random() < 0.4 else []
    return layers


def room(random: np.random.Generator, library: TextureLibrary, size: tuple[int, int]) -> list[Layer]:
    """Draw an indoor scene: floor, ceiling, three walls, boxes and boards. A hand-held camera moves anywhere."""
    step = log_uniform(random, 0.01, 0.3)
    direction = random.normal(0, 1, 3)
    camera = MovingCamera(
        intrinsics(random, size, float(random.uniform(0.3, 0.7))),
        rotation_matrix(*random.choice(TURNING) * random.normal(0, 0.02, 3)),
        step * direction / np.linalg.norm(direction),
    )
    half_width, depth = float(random.uniform(1.5, 4)), float(random.uniform(3, 9))
    floor, ceiling = float(random.uniform(0.8, 1.7)), -float(random.uniform(0.8, 1.6))
    layers = [facing_wall(random, library, size, camera, depth)]
    layers += ground_plane(random, library, camera, floor)
    layers += ground_plane(random, library, camera, ceiling)
    for side in (-1, 1):
        layers += wall(random, library, camera, side * half_width, (floor, ceiling))
    layers = [_clipped(layer, depth) for layer in layers]
    distances = np.sort(random.uniform(1.6, depth, int(random.integers(2, 9))))[::-1]
    for distance in distances:
        place = np.array([random.uniform(-0.9, 0.9) * half_width, floor, distance])
        if random.random() < 0.5:
            layers += box(random, library, camera, place, None, 0.5)
        else:
            place[1] = random.uniform(ceiling, floor)
            own = random.normal(0, 0.1, 3) if random.random() < 0.5 else None
            layers.append(board(random, library, camera, place, own, 0.5))
    return layers


def _clipped(layer: Layer, depth: float) -> Layer:
    """Return ``layer``; its texture rows run along the viewing direction and end at ``depth`` meters."""
    return layer if layer.bounds is None else _with_far_end(layer, depth)


def _with_far_end(layer: Layer, depth: float) -> Layer:
    left, top, right, bottom = layer.bounds  # type: ignore[misc]
    row = layer.to_first[2]
    return Layer(
        layer.texture,
        None,
        layer.to_first,
        layer.to_second,
        bounds=(left, top, right, min(bottom, (depth - row[2]) / row[1])),
        continues=layer.continues,
    )


def far_view(
    random: np.random.Generator, library: TextureLibrary, size: tuple[int, int], camera: MovingCamera
) -> Layer:
    """Cover everything with a photograph so far away that only rotation moves it."""
    return facing_wall(random, library, size, camera, SKY_DISTANCE)


def facing_wall(
    random: np.random.Generator, library: TextureLibrary, size: tuple[int, int], camera: MovingCamera, depth: float
) -> Layer:
    """Cover everything with a photograph on a plane across the view, ``depth`` meters away."""
    texture = photograph_patch(random, library, int(1.2 * size[0]), int(1.2 * size[1]))
    scale = depth / camera.intrinsics[0, 0] * float(random.uniform(0.7, 1.3))
    center = np.array([texture.shape[1], texture.shape[0]]) / 2
    plane = (np.array([scale, 0, 0]), np.array([0, scale, 0]), np.array([*(-scale * center), depth]))
    return camera.layer(texture, plane)


def banded(
    random: np.random.Generator,
    library: TextureLibrary,
    camera: MovingCamera,
    across: NDArray[np.float64],
    origin: NDArray[np.float64],
    extent: tuple[float, float],
) -> list[Layer]:
    """Cover a plane that runs along the view with one texture, coarser with distance; the farthest band first.

    Args:
        random: decides the texture.
        library: textures.
        camera: sees the plane.
        across: ``(3,)`` unit direction of the texture's rows.
        origin: ``(3,)`` meters, where the plane starts beside the camera.
        extent: meters from ``origin`` in the direction ``across``.
    """
    levels = library.photographs[random.integers(len(library.photographs))]
    meters = BANDS[0][1] / camera.intrinsics[0, 0] * float(random.uniform(0.5, 1.2))
    color = int(random.integers(2**32))
    layers: list[Layer] = []
    for number, (near, far) in reversed(list(enumerate(BANDS))):
        # One level coarser than the distance alone asks for: along the view, the plane is foreshortened as well.
        level = min(number + 1, len(levels) - 1)
        whole = levels[level]
        texture = recolor(np.random.default_rng(color), whole[-BAND_SIDE:, -BAND_SIDE:])
        pixel = meters * 2**level
        plane = (across * pixel, np.array([0, 0, pixel]), origin)
        bounds = (extent[0] / pixel, near / pixel, extent[1] / pixel, (far + 1e-3) / pixel)
        layers.append(camera.layer(texture, plane, bounds=bounds, continues=bool(layers)))
    return layers


def ground_plane(
    random: np.random.Generator, library: TextureLibrary, camera: MovingCamera, height: float
) -> list[Layer]:
    """Cover the plane ``height`` meters below the camera (above, if negative)."""
    return banded(random, library, camera, np.array([1.0, 0, 0]), np.array([0, height, 0.0]), (-100, 100))


def wall(
    random: np.random.Generator, library: TextureLibrary, camera: MovingCamera, x: float, heights: tuple[float, float]
) -> list[Layer]:
    """Put up a wall beside the path, ``x`` meters to the right, between two heights (y down)."""
    low, high = min(heights), max(heights)
    return banded(random, library, camera, np.array([0, 1.0, 0]), np.array([x, low, 0.0]), (0, high - low))


def board(
    random: np.random.Generator,
    library: TextureLibrary,
    camera: MovingCamera,
    place: NDArray[np.float64],
    own: NDArray[np.float64] | None,
    scale: float = 1.0,
) -> Layer:
    """Stand a flat object, turned a little, with its foot at ``place``."""
    size = scale * float(random.uniform(0.5, 3.5))
    side = int(np.clip(1.2 * camera.intrinsics[0, 0] * size / place[2], 8, 360))
    texture, alpha = object_texture(random, library, side, small=side < 16)
    pixel = size / side
    turn = random.normal(0, 0.5)
    across = np.array([np.cos(turn), 0, np.sin(turn)]) * pixel
    down = np.array([0, pixel, 0])
    origin = place - across * alpha.shape[1] / 2 - down * alpha.shape[0]
    return camera.layer(texture, (across, down, origin), alpha, own_motion=own)


def box(
    random: np.random.Generator,
    library: TextureLibrary,
    camera: MovingCamera,
    place: NDArray[np.float64],
    own: NDArray[np.float64] | None,
    scale: float = 1.0,
) -> list[Layer]:
    """Return the visible side and the front of a box; the middle of the front's lower edge is at ``place``."""
    width, height, length = scale * random.uniform(0.6, (2.5, 3.0, 5.0))
    inner = -1.0 if place[0] > 0 else 1.0
    side_origin = place + np.array([inner * width / 2, -height, 0])
    front_origin = place + np.array([-width / 2, -height, 0])
    layers: list[Layer] = []
    for across, origin, extent in (
        (np.array([0, 0, 1.0]), side_origin, length),
        (np.array([1.0, 0, 0]), front_origin, width),
    ):
        pixels = np.clip(camera.intrinsics[0, 0] * np.array([height, extent]) / place[2], 8, 360).astype(int)
        texture = photograph_patch(random, library, int(pixels[0]), int(pixels[1]))
        alpha = np.full(texture.shape[:2], 255, np.uint8)
        plane = (across * extent / texture.shape[1], np.array([0, height / texture.shape[0], 0]), origin)
        layers.append(camera.layer(texture, plane, alpha, own_motion=own))
    return layers
