# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""What all scenes of solid bodies have: textured bodies, a sky, ground, light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.rigid_motion import RigidMotion
from mdflow_training.synthetic.planar import photograph_patch
from mdflow_training.synthetic.solid_renderer import Body, Mesh, SolidScene
from mdflow_training.synthetic.solids import dome
from mdflow_training.synthetic.textures import TextureLibrary

SKY_DISTANCE = 150.0
"""Radius of the sphere that shows the sky, meters."""

BODY_TEXTURE = 256
"""Height and width of a body's texture, pixels."""

BACKGROUND_TEXTURE = 512
"""Height and width of the texture of walls, ground and sky, pixels."""

UPRIGHT = np.array([[1, 0, 0], [0, 0, -1], [0, 1.0, 0]])
"""Rotation from the axes of things on the ground, whose z axis is up, to those of the camera, whose y axis is down."""

AT_REST = RigidMotion(np.eye(3), np.zeros(3))


@dataclass(frozen=True)
class BodyFactory:
    """Makes bodies of meshes and pictures.

    Attributes:
        random: chooses the pictures.
        library: holds them.
        focal: focal length, pixels.
        camera: motion of the resting scene in the camera's axes, from the first to the second image.
    """

    random: np.random.Generator
    library: TextureLibrary
    focal: float
    camera: RigidMotion

    def body(self, mesh: Mesh, first: RigidMotion, second: RigidMotion, depth: float, side: int = BODY_TEXTURE) -> Body:
        """Return a body whose texture is about as fine as the image where the body is ``depth`` meters away.

        Args:
            mesh: its surface.
            first: its pose in the first image, in the first camera's axes.
            second: its pose in the second image, in the first camera's axes, too.
            depth: meters.
            side: height and width of its texture, pixels.
        """
        patch = photograph_patch(self.random, self.library, side, side)
        texture = np.asarray(cv2.resize(patch, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
        density = self.focal / depth * float(self.random.uniform(0.5, 1.2))
        return Body(mesh, texture, density, first, self.camera @ second)

    def sky(self) -> Body:
        """Return a photograph around everything."""
        return self.body(dome(SKY_DISTANCE), AT_REST, AT_REST, SKY_DISTANCE, BACKGROUND_TEXTURE)

    def ground(self, mesh: Mesh, camera_height: float) -> Body:
        """Return ``mesh``, ground whose z axis is up, ``camera_height`` meters below the camera."""
        pose = RigidMotion(UPRIGHT, np.array([0, camera_height, 0]))
        return self.body(mesh, pose, pose, 2 * camera_height, BACKGROUND_TEXTURE)


def ground_place(
    random: np.random.Generator, matrix: NDArray[np.float64], width: int, below: float, depth: float
) -> NDArray[np.float64]:
    """Draw a place in the view or a little beside it.

    Args:
        random: decides the column of the image.
        matrix: ``(3, 3)`` intrinsics, pixels.
        width: of the image, pixels.
        below: height of the camera above the place, meters.
        depth: meters.

    Returns:
        ``(3,)``, meters, in the camera's axes.
    """
    column = random.uniform(-0.1, 1.1) * width
    return np.array([(column - matrix[0, 2]) / matrix[0, 0] * depth, below, depth])


def lit(
    random: np.random.Generator, bodies: list[Body], matrix: NDArray[np.float64], camera: RigidMotion
) -> SolidScene:
    """Light the scene from above or from behind the camera; the light rests while the camera turns."""
    light = random.normal((0, -1.0, -1.5), 1)
    light /= np.linalg.norm(light)
    return SolidScene(bodies, matrix, light, camera.rotation @ light, float(random.uniform(0.5, 0.9)))
