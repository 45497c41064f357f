# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of a procedural texture under an affine motion: images and flows are exact."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class AffinePair:
    """Two frames of a random texture of waves, the second moved by an affine map.

    Attributes: ``first`` and ``second`` (1, 3, H, W) in [0, 1]; ``forward`` and ``backward`` (1, 2, H, W) in pixels.
    """

    def __init__(
        self,
        size: tuple[int, int],
        shift: tuple[float, float],
        rotation: float = 0.0,
        shortest_wave: float = 8.0,
        seed: int = 0,
    ) -> None:
        height, width = size
        y, x = torch.meshgrid(
            torch.arange(height, dtype=torch.float64), torch.arange(width, dtype=torch.float64), indexing="ij"
        )
        grid = torch.stack((x, y))
        center = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)[:, None, None]
        move = torch.tensor(shift, dtype=torch.float64)[:, None, None]
        angle = torch.tensor(rotation, dtype=torch.float64)
        turn = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
        there = torch.einsum("ij,jhw->ihw", turn, grid - center) + center + move
        back = torch.einsum("ji,jhw->ihw", turn, grid - center - move) + center
        self.forward, self.backward = (there - grid)[None].float(), (back - grid)[None].float()
        self.first, self.second = (_waves(where, shortest_wave, seed) for where in (grid, back))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the frames as ``(H, W, 3)`` uint8 RGB."""
        first, second = (
            (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy() for image in (self.first, self.second)
        )
        return first, second


def _waves(where: Tensor, shortest: float, seed: int) -> Tensor:
    """Return an RGB image of 24 plane waves, (1, 3, H, W) in [0, 1]."""
    random = np.random.default_rng(seed)
    image = torch.zeros(3, *where.shape[1:], dtype=torch.float64)
    for _ in range(24):
        frequency = 2 * np.pi / (shortest * 2 ** random.uniform(0, 2.5))
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        wave = torch.sin(frequency * (np.cos(angle) * where[0] + np.sin(angle) * where[1]) + phase)
        image += torch.tensor(random.uniform(0.2, 1, 3))[:, None, None] * wave
    return torch.sigmoid(image / 2)[None].float()


def pairs(count: int, size: tuple[int, int], largest: float = 6.0) -> list[AffinePair]:
    """Return differently textured pairs with shifts of up to ``largest`` pixels per axis."""
    random = np.random.default_rng(count)
    return [
        AffinePair(size, tuple(random.uniform(-largest, largest, 2)), random.uniform(-0.02, 0.02), seed=seed)
        for seed in range(count)
    ]
