# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Textures of solid bodies: where triangles lie on them, and how pixels sample them without aliasing."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_training.flow_files import Image

TEXTURE_LEVELS = 5
"""Sizes at which each texture is kept, each half as large as the one before, against aliasing."""

MIN_COSINE = 0.05
"""Triangles that are seen more from the side than this count as seen at this cosine."""


class TextureAtlas:
    """All textures of a scene in one picture: one below the other, and the levels of each side by side.

    Args:
        textures: ``(side, side, 3)`` uint8 BGR each; sides may differ.
    """

    def __init__(self, textures: list[Image]) -> None:
        self._sides = np.array([texture.shape[0] for texture in textures])
        self._tops = np.cumsum(self._sides) - self._sides
        self._picture = np.concatenate([_levels(texture, 2 * self._sides.max()) for texture in textures])

    def sample(
        self, owner: NDArray[np.int64], place: NDArray[np.float32], texels_per_pixel: NDArray[np.float32]
    ) -> Image:
        """Return the color ``(H, W, 3)`` of each pixel.

        Args:
            owner: ``(H, W)`` number of the texture.
            place: ``(H, W, 2)`` x and y in the endlessly mirrored texture, texels.
            texels_per_pixel: ``(H, W)`` how far apart the places of neighboring pixels are.
        """
        level = np.clip(np.rint(np.log2(texels_per_pixel)), 0, TEXTURE_LEVELS - 1).astype(np.int32)
        side = self._sides[owner]
        texel = (_mirrored(place, side[..., None]) + 0.5) / np.exp2(level)[..., None] - 0.5
        texel = np.clip(texel, 0, (side >> level)[..., None] - 1)
        columns = texel[..., 0] + (2 * side - (2 * side >> level))
        rows = texel[..., 1] + self._tops[owner]
        colors = cv2.remap(self._picture, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)
        return np.asarray(colors, np.uint8)


def box_projection(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where each triangle lies on its texture, meters, ``(F, 3, 2)``.

    A triangle is projected along that axis of its body which is nearest to its normal.

    Args:
        corners: ``(F, 3, 3)``, meters, in the axes of the body.
    """
    edges = corners[:, 1:] - corners[:, :1]
    along = np.abs(np.cross(edges[:, 0], edges[:, 1])).argmax(axis=1)
    kept = np.array([[1, 2], [0, 2], [0, 1]])[along]
    return np.take_along_axis(corners, kept[:, None, :], axis=2)


def compression(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much the slant of each triangle compresses its texture, ``(F,)``, 1 where it faces the camera.

    Args:
        corners: ``(F, 3, 3)``, meters, in the axes of the camera.
    """
    edges = corners[:, 1:] - corners[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    centers = corners.mean(axis=1)
    lengths = np.linalg.norm(normals, axis=1) * np.linalg.norm(centers, axis=1)
    cosine = np.abs(np.einsum("fc,fc->f", normals, centers)) / np.maximum(lengths, 1e-9)
    # The texture is compressed in one direction only. The square root blurs a little and aliases a little.
    return np.asarray(1 / np.sqrt(np.maximum(cosine, MIN_COSINE)), np.float32)


def _mirrored(texels: NDArray[np.float32], side: NDArray[np.int64]) -> NDArray[np.float64]:
    """Map endless texture coordinates to those of a texture that repeats mirrored, [0, side - 1]."""
    period = 2 * (side - 1)
    folded = np.mod(texels, period)
    return np.asarray(np.minimum(folded, period - folded), np.float64)


def _levels(texture: Image, width: int) -> Image:
    """Return a texture and its halvings side by side, ``(side, width, 3)``."""
    whole, left = texture.shape[0], 0
    row = np.zeros((whole, width, 3), np.uint8)
    for level in range(TEXTURE_LEVELS):
        side = whole >> level
        row[:side, left : left + side] = texture
        left += side
        texture = np.asarray(cv2.resize(texture, (side // 2, side // 2), interpolation=cv2.INTER_AREA), np.uint8)
    return row
