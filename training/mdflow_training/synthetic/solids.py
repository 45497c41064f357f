# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Shapes of solid bodies: round ones, boxes, furniture of thin parts, rocks, uneven ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh

from mdflow_training.synthetic.draws import log_uniform
from mdflow_training.synthetic.solid_renderer import Mesh

Shape = Callable[[np.random.Generator], trimesh.Trimesh]


def random_mesh(random: np.random.Generator, size: float) -> Mesh:
    """Draw a body whose largest extent is ``size`` meters, around the origin of its axes."""
    shape = SHAPES[int(random.choice(len(SHAPES), p=SHARES))]
    mesh = shape(random)
    mesh.apply_translation(-mesh.bounds.mean(axis=0))
    mesh.apply_scale(size / mesh.extents.max())
    return as_mesh(mesh)


def as_mesh(mesh: trimesh.Trimesh) -> Mesh:
    """Convert a mesh; faces that meet at less than half a right angle are shaded as one smooth surface."""
    faces = np.asarray(mesh.triangles, np.float32)
    flat = np.repeat(mesh.face_normals[:, None], 3, axis=1)
    smooth = mesh.vertex_normals[mesh.faces]
    is_edge = np.einsum("fkc,fkc->fk", flat, smooth) < np.cos(np.pi / 8)
    return Mesh(faces, np.where(is_edge[..., None], flat, smooth).astype(np.float32))


def ellipsoid(random: np.random.Generator) -> trimesh.Trimesh:
    """Return a ball that is stretched along each axis."""
    mesh = trimesh.creation.icosphere(subdivisions=3)
    mesh.apply_scale(random.uniform(0.4, 1, 3))
    return mesh


def rock(random: np.random.Generator) -> trimesh.Trimesh:
    """Return a ball with bumps and hollows of several sizes."""
    mesh = trimesh.creation.icosphere(subdivisions=4)
    directions = mesh.vertices
    radius = np.ones(len(directions))
    for frequency in (1.5, 3, 6):
        for wave in random.normal(0, frequency, (3, 3)):
            radius += 0.22 / frequency * np.sin(directions @ wave + random.uniform(0, 2 * np.pi))
    mesh.vertices = directions * np.maximum(radius, 0.3)[:, None] * random.uniform(0.5, 1, 3)
    return mesh


def cylinder(random: np.random.Generator) -> trimesh.Trimesh:
    """Return anything from a disk to a pole."""
    return trimesh.creation.cylinder(radius=log_uniform(random, 0.05, 1), height=1, sections=24)


def cone(random: np.random.Generator) -> trimesh.Trimesh:
    """Return a cone."""
    return trimesh.creation.cone(radius=float(random.uniform(0.2, 0.8)), height=1, sections=24)


def ring(random: np.random.Generator) -> trimesh.Trimesh:
    """Return a torus, thin or thick."""
    return trimesh.creation.torus(1, log_uniform(random, 0.05, 0.5), 32, 12)


def box(random: np.random.Generator) -> trimesh.Trimesh:
    """Return anything from a board to a cube."""
    return trimesh.creation.box([log_uniform(random, 0.1, 1) for _ in range(3)])


def furniture(random: np.random.Generator) -> trimesh.Trimesh:
    """Return a seat or a table top on four legs, often with a back of bars or of one piece."""
    width, depth, height = random.uniform(0.4, 1, 3).tolist()
    leg = float(random.uniform(0.02, 0.1))
    parts = [bar((width, depth, leg), (0, 0, 0))]
    for side in (-1, 1):
        for end in (-1, 1):
            place = (side * (width - leg) / 2, end * (depth - leg) / 2, -height / 2)
            parts.append(bar((leg, leg, height), place))
    if random.random() < 0.7:
        back = float(random.uniform(0.3, 1))
        if random.random() < 0.4:
            parts.append(bar((width, leg, back), (0, depth / 2, back / 2)))
        else:
            for x in np.linspace(-0.5, 0.5, int(random.integers(2, 7))) * (width - leg):
                parts.append(bar((leg, leg, back), (float(x), depth / 2, back / 2)))
            parts.append(bar((width, leg, leg), (0, depth / 2, back)))
    return join(parts)


def join(parts: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    """Return one mesh of all ``parts``, which keep their places."""
    return trimesh.Trimesh(
        *trimesh.util.append_faces([part.vertices for part in parts], [part.faces for part in parts])
    )


def bar(extents: tuple[float, float, float], center: tuple[float, float, float]) -> trimesh.Trimesh:
    """Return a box with these extents along x, y and z around ``center``, meters."""
    mesh = trimesh.creation.box(extents)
    mesh.apply_translation(center)
    return mesh


def uneven_ground(random: np.random.Generator, side: float, roughness: float, cells: int = 48) -> trimesh.Trimesh:
    """Return a square in the plane z = 0, with hills.

    Args:
        random: decides the hills.
        side: meters.
        roughness: standard deviation of the hills' height, meters.
        cells: triangles are half of one of ``cells`` by ``cells`` squares.
    """
    line = np.linspace(-side / 2, side / 2, cells + 1)
    x, y = np.meshgrid(line, line)
    height = np.zeros_like(x)
    for waves in (1.5, 3, 6):
        for along in random.normal(0, 2 * np.pi * waves / side, (4, 2)):
            height += np.sin(along[0] * x + along[1] * y + random.uniform(0, 2 * np.pi)) / waves
    height *= roughness / max(float(height.std()), 1e-9)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    faces = np.concatenate(
        [
            np.stack((corner, corner + 1, corner + cells + 2), 1),
            np.stack((corner, corner + cells + 2, corner + cells + 1), 1),
        ]
    )
    return trimesh.Trimesh(np.stack((x, y, height), axis=-1).reshape(-1, 3), faces, process=False)


def dome(radius: float) -> Mesh:
    """Return a sphere around the origin of its axes, meters, to cover everything behind the other bodies."""
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    sphere.invert()  # it is seen from inside
    return as_mesh(sphere)


SHAPES: tuple[Shape, ...] = (ellipsoid, rock, cylinder, cone, ring, box, furniture)
SHARES = (0.15, 0.15, 0.12, 0.06, 0.07, 0.2, 0.25)
