# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""An affine augmentation that transforms images, masks and the flows of both directions consistently.

The two frames of a pair get different affine maps, which adds a relative motion (ARFlow's augmentation). A map shows
only what is inside the original frame, so every pixel is defined. But some matches move out of view. Their pixels
become occlusions that have a label.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mdflow_training.networks.directions import stack_directions, swap_directions
from mdflow_training.networks.fastflownet import warp
from mdflow_training.settings.adaptation import SpatialSettings

CANDIDATES = 64
"""Maps drawn per sample. The first one that shows only the inside of the frame is used; if there is none, the sample is
only flipped and cropped."""


class SpatialTransform:
    """One affine map per frame.

    Args:
        matrices: ``(2N, 3, 3)`` float64, stacked frames (first frames, then second frames): maps from pixels of the
            original to pixels of the augmented image.
    """

    def __init__(self, matrices: Tensor) -> None:
        self.matrices = matrices

    def __call__(self, values: Tensor) -> Tensor:
        """Transform stacked images or masks ``(2N, C, H, W)``; masks become soft at their edges."""
        grid = _homogeneous_pixels(values)
        inverse = torch.linalg.inv(self.matrices) - torch.eye(3, dtype=torch.float64)
        return warp(values, _affine(inverse, grid), padding_mode="border")

    def flow(self, flow: Tensor) -> Tensor:
        """Transform stacked flows ``(2N, 2, H, W)``, pixels, to match the augmented images.

        With the maps A of this frame and B of the other one, the vector from x to x + F(x) becomes the one from A x to
        B (x + F(x)), and is stored at A x.
        """
        target = swap_directions(self.matrices)
        moved = _affine(target - self.matrices, _homogeneous_pixels(flow))
        rotated = torch.einsum("nij,njhw->nihw", target[:, :2, :2].to(flow), flow)
        return self(moved + rotated)


def draw_spatial_transform(
    settings: SpatialSettings, size: tuple[int, int], generators: Sequence[torch.Generator]
) -> SpatialTransform:
    """Draw the maps of N pairs.

    Args:
        settings: the ranges.
        size: height and width in pixels.
        generators: one per pair, on the CPU.
    """
    pairs = [_draw_pair(settings, size, generator) for generator in generators]
    return SpatialTransform(
        stack_directions(torch.stack([first for first, _ in pairs]), torch.stack([second for _, second in pairs]))
    )


def _draw_pair(settings: SpatialSettings, size: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    common = _draw_maps(
        size,
        generator,
        zoom=settings.zoom,
        squeeze=settings.squeeze,
        rotation=settings.rotation,
        translation=settings.translation,
    )
    relative = _draw_maps(
        size,
        generator,
        zoom=settings.relative_zoom,
        squeeze=(1.0, 1.0),
        rotation=settings.relative_rotation,
        translation=settings.relative_translation,
    )
    flip_and_crop = _draw_flip(settings, size, generator) @ _draw_crop(settings.crop, size, generator)
    first, second = flip_and_crop @ common, flip_and_crop @ relative @ common
    usable = _show_only_the_inside(first, size) & _show_only_the_inside(second, size)
    if not usable.any():
        return flip_and_crop, flip_and_crop
    chosen = int(usable.int().argmax())
    return first[chosen], second[chosen]


def _show_only_the_inside(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(M,)`` bool: whether the corners of the augmented image come from inside the original one."""
    height, width = size
    corners = torch.tensor(
        [[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], dtype=torch.float64
    ).T
    limit = torch.tensor([[width - 1], [height - 1]], dtype=torch.float64)
    origins = (torch.linalg.inv(maps) @ corners)[:, :2]
    return ((origins >= -1e-6) & (origins <= limit + 1e-6)).all(dim=(1, 2))


def _draw_maps(
    size: tuple[int, int],
    generator: torch.Generator,
    zoom: tuple[float, float],
    squeeze: tuple[float, float],
    rotation: float,
    translation: float,
) -> Tensor:
    """Draw `CANDIDATES` maps of a frame, ``(CANDIDATES, 3, 3)`` float64.

    ARFlow's maps act in coordinates from -1 to 1; these act in pixels. Therefore rotation and squeeze do not depend on
    the aspect ratio, and the same ``translation``, a share of the side, moves a frame twice as far as in ARFlow.
    """
    height, width = size
    random = torch.rand(5, CANDIDATES, generator=generator, dtype=torch.float64)
    zooms = zoom[0] + (zoom[1] - zoom[0]) * random[0]
    squeezes = squeeze[0] + (squeeze[1] - squeeze[0]) * random[1]
    angle = rotation * (2 * random[2] - 1)
    shift_x, shift_y = translation * width * (random[3] - 0.5), translation * height * (random[4] - 0.5)
    cosine, sine = angle.cos(), angle.sin()
    maps = torch.eye(3, dtype=torch.float64).repeat(CANDIDATES, 1, 1)
    maps[:, 0, 0], maps[:, 0, 1] = cosine * zooms * squeezes, sine * zooms / squeezes
    maps[:, 1, 0], maps[:, 1, 1] = -sine * zooms * squeezes, cosine * zooms / squeezes
    center = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
    maps[:, :2, 2] = center - maps[:, :2, :2] @ center + torch.stack((shift_x, shift_y), dim=-1)
    return maps


def _draw_flip(settings: SpatialSettings, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    height, width = size
    flip = torch.eye(3, dtype=torch.float64)
    horizontal, vertical = torch.rand(2, generator=generator).tolist()
    if horizontal < settings.horizontal_flip:
        flip[0, 0], flip[0, 2] = -1, width - 1
    if vertical < settings.vertical_flip:
        flip[1, 1], flip[1, 2] = -1, height - 1
    return flip


def _draw_crop(crop: float, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Magnify a window of at least ``1 - crop`` of each side to the whole frame (UFlow, section 3.4)."""
    height, width = size
    share, x, y = torch.rand(3, generator=generator, dtype=torch.float64).tolist()
    scale = 1 / (1 - crop * share)
    window = torch.eye(3, dtype=torch.float64)
    window[0, 0], window[1, 1] = scale, scale
    window[0, 2], window[1, 2] = (1 - scale) * x * (width - 1), (1 - scale) * y * (height - 1)
    return window


def _homogeneous_pixels(like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    x = torch.arange(width, device=like.device, dtype=like.dtype).expand(height, width)
    y = torch.arange(height, device=like.device, dtype=like.dtype)[:, None].expand(height, width)
    return torch.stack((x, y, torch.ones_like(x)))


def _affine(matrices: Tensor, grid: Tensor) -> Tensor:
    return torch.einsum("nij,jhw->nihw", matrices[:, :2].to(grid), grid)
