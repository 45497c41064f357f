# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Cars, vans and trucks: shapes of few faces, and textures of plain paint, dark windows and wheels.

Axes of a vehicle: x forward from its rear bumper, y to the left from its middle, z up from the ground; meters. With
these axes, the texture does not repeat along the side, and the front and the rear are symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from mdflow_training.flow_files import Image
from mdflow_training.synthetic.planar import photograph_patch
from mdflow_training.synthetic.solid_renderer import Mesh
from mdflow_training.synthetic.solids import as_mesh, join
from mdflow_training.synthetic.textures import TextureLibrary, value_noise

VEHICLE_TEXTURE = 384
"""Height and width of the texture of a vehicle, pixels; its width is the length of the vehicle."""


@dataclass(frozen=True)
class Vehicle:
    """The measures of a vehicle, meters.

    Attributes:
        length, width, height: of the whole.
        clearance: from the ground to the hull.
        belt: height at which the hull ends and the cabin begins.
        hull_top: ``(2,)`` x of the hull's rear and front at the belt.
        cabin: ``(2,)`` x of the cabin's rear and front at the belt.
        roof: ``(2,)`` x of the roof's rear and front.
        wheel: radius.
        axles: x of each axle.
    """

    length: float
    width: float
    height: float
    clearance: float
    belt: float
    hull_top: tuple[float, float]
    cabin: tuple[float, float]
    roof: tuple[float, float]
    wheel: float
    axles: tuple[float, ...]

    @property
    def texels_per_meter(self) -> float:
        """Density of the texture that `livery` makes."""
        return (VEHICLE_TEXTURE - 1) / self.length


def draw_vehicle(random: np.random.Generator) -> Vehicle:
    """Draw a car, sometimes a van or a truck."""
    return _car(random) if random.random() < 0.75 else _van(random)


def _car(random: np.random.Generator) -> Vehicle:
    length, height = random.uniform(3.5, 5.0), random.uniform(1.35, 1.8)
    belt = random.uniform(0.55, 0.65) * height
    rear = random.uniform(0.02, 0.2) * length
    front = random.uniform(0.66, 0.78) * length
    roof_rear = rear + random.uniform(0.02, 0.15) * length
    roof_front = front - random.uniform(0.08, 0.16) * length
    wheel = random.uniform(0.28, 0.37)
    axles = (random.uniform(0.16, 0.22) * length, random.uniform(0.78, 0.84) * length)
    hull_top = (random.uniform(0, 0.02) * length, random.uniform(0.96, 1) * length)
    width = random.uniform(1.6, 1.9)
    return Vehicle(length, width, height, 0.2, belt, hull_top, (rear, front), (roof_rear, roof_front), wheel, axles)


def _van(random: np.random.Generator) -> Vehicle:
    length, height = random.uniform(4.5, 9.0), random.uniform(1.9, 3.4)
    belt = random.uniform(0.4, 0.6) * height
    front = random.uniform(0.85, 0.99) * length
    roof_front = front - random.uniform(0.02, 0.1) * length
    wheel = random.uniform(0.33, 0.5)
    axles = (random.uniform(0.15, 0.25) * length, random.uniform(0.78, 0.86) * length)
    return Vehicle(
        length, random.uniform(1.8, 2.5), height, 0.3, belt, (0, length), (0, front), (0, roof_front), wheel, axles
    )


def vehicle_mesh(vehicle: Vehicle) -> Mesh:
    """Return the surface of ``vehicle``, in its axes."""
    bottom = (0.01 * vehicle.length, 0.99 * vehicle.length)
    parts = [
        _block((bottom, vehicle.hull_top), (vehicle.width, 0.97 * vehicle.width), (vehicle.clearance, vehicle.belt)),
        _block(
            (vehicle.cabin, vehicle.roof), (0.95 * vehicle.width, 0.75 * vehicle.width), (vehicle.belt, vehicle.height)
        ),
    ]
    for x in vehicle.axles:
        for side in (-1, 1):
            wheel = trimesh.creation.cylinder(radius=vehicle.wheel, height=0.22, sections=16)
            wheel.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
            wheel.apply_translation([x, side * (vehicle.width / 2 - 0.1), vehicle.wheel])
            parts.append(wheel)
    return as_mesh(join(parts))


def _block(
    ends: tuple[tuple[float, float], tuple[float, float]], widths: tuple[float, float], heights: tuple[float, float]
) -> trimesh.Trimesh:
    """Return a box that narrows upward: rear and front x, widths and heights, each below and above, meters."""
    mesh = trimesh.creation.box((1, 1, 1))
    vertices = np.array(mesh.vertices)
    upper = (vertices[:, 2] > 0).astype(int)
    front = (vertices[:, 0] > 0).astype(int)
    x = np.array(ends)[upper, front]
    mesh.vertices = np.stack((x, vertices[:, 1] * np.array(widths)[upper], np.array(heights)[upper]), axis=1)
    return mesh


def livery(random: np.random.Generator, library: TextureLibrary, vehicle: Vehicle) -> Image:
    """Paint the side of ``vehicle``: plain paint, dark windows, doors, wheels, sometimes a picture.

    Args:
        random: decides the colors.
        library: textures, for reflections and pictures.
        vehicle: its measures.

    Returns:
        ``(VEHICLE_TEXTURE, VEHICLE_TEXTURE, 3)`` uint8 BGR; columns are x, rows are z.
    """
    side = VEHICLE_TEXTURE
    picture = _faint(random, library, _paint_color(random), float(random.uniform(0.02, 0.2)))
    density = vehicle.texels_per_meter
    if random.random() < 0.15:
        _print_picture(random, library, vehicle, picture)
    windows = np.zeros((side, side), np.uint8)
    for outline in _window_outlines(random, vehicle):
        cv2.fillPoly(windows, [np.round(outline * density).astype(np.int32)], 1, cv2.LINE_8)
    glass = _faint(random, library, random.uniform(10, 70) * np.ones(3), float(random.uniform(0.05, 0.3)))
    np.copyto(picture, glass, where=windows[..., None] > 0)
    line = tuple(0.4 * value for value in cv2.mean(picture)[:3])
    for x in random.uniform(0.2, 0.8, int(random.integers(1, 4))) * vehicle.length:
        ends = np.round(np.array([[x, vehicle.clearance], [x, vehicle.belt]]) * density).astype(int)
        cv2.line(picture, ends[0].tolist(), ends[1].tolist(), line, 1)
    for x, color in ((0.02, (40, 40, 180)), (0.98, (220, 230, 230))):
        center = np.round(np.array([x * vehicle.length, 0.8 * vehicle.belt]) * density).astype(int).tolist()
        cv2.ellipse(picture, center, (side // 40, side // 60), 0, 0, 360, color, -1)
    rim = random.uniform(60, 200)
    for x in vehicle.axles:
        center = np.round(np.array([x, vehicle.wheel]) * density).astype(int).tolist()
        for share, gray in ((1.25, 15), (1.0, 35), (0.65, rim), (0.2, 30)):
            cv2.circle(picture, center, max(int(share * vehicle.wheel * density), 1), (gray, gray, gray), -1)
    return picture


def _paint_color(random: np.random.Generator) -> NDArray[np.float64]:
    """Draw a BGR color; most vehicles are white, gray or black."""
    gray = random.uniform(20, 240) * np.ones(3)
    return gray + random.normal(0, 3, 3) if random.random() < 0.7 else random.uniform(10, 220, 3)


def _faint(random: np.random.Generator, library: TextureLibrary, color: NDArray[np.float64], contrast: float) -> Image:
    """Return a plain picture with blurred reflections: clouds, and a photograph, ``contrast`` times as strong."""
    small = VEHICLE_TEXTURE // 4
    photograph = cv2.resize(photograph_patch(random, library, small, small), (small, small)).astype(np.float32)
    reflections = (
        contrast * (photograph - cv2.mean(photograph)[:3]) + 12 * value_noise(random, small, 2, 0.4)[..., None]
    )
    picture = np.clip(color + reflections, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(picture, (VEHICLE_TEXTURE, VEHICLE_TEXTURE), interpolation=cv2.INTER_CUBIC), np.uint8)


def _print_picture(random: np.random.Generator, library: TextureLibrary, vehicle: Vehicle, picture: Image) -> None:
    """Print a photograph on a part of the hull, as on delivery vans."""
    rows = np.sort(random.uniform(vehicle.clearance, vehicle.height, 2)) * vehicle.texels_per_meter
    columns = np.sort(random.uniform(0, vehicle.length, 2)) * vehicle.texels_per_meter
    (top, bottom), (left, right) = rows.astype(int), columns.astype(int)
    if bottom - top >= 4 and right - left >= 4:
        patch = photograph_patch(random, library, bottom - top, right - left)
        picture[top:bottom, left:right] = cv2.resize(patch, (right - left, bottom - top))


def _window_outlines(random: np.random.Generator, vehicle: Vehicle) -> list[NDArray[np.float64]]:
    """Return the corners of each window, ``(4, 2)``, x and z in meters, with pillars between them."""
    pillar = float(random.uniform(0.04, 0.1))
    low, high = vehicle.belt + 0.03, vehicle.height - float(random.uniform(0.08, 0.15))
    share = (high - vehicle.belt) / (vehicle.height - vehicle.belt)
    ends = [np.array(vehicle.cabin), np.array(vehicle.cabin) * (1 - share) + np.array(vehicle.roof) * share]
    cuts = np.sort(random.uniform(0.1, 0.9, int(random.integers(1, 4))))
    # The front and the rear show the first part of the side's texture, half as long as the vehicle is wide.
    rear = 0.4 * vehicle.width
    outlines = [np.array([[0, low], [rear, low], [rear, high], [0, high]])]
    for left, right in zip([0.0, *cuts], [*cuts, 1.0], strict=True):
        below, above = (end[0] + np.array([left, right]) * (end[1] - end[0]) + [pillar, -pillar] for end in ends)
        if below[1] > below[0] and above[1] > above[0]:
            outlines.append(np.array([[below[0], low], [below[1], low], [above[1], high], [above[0], high]]))
    return outlines
