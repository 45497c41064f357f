# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""MDFlow's augmentor: one random draw per pair, shared by its images, flows and masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mdflow_training.adaptation_config import AugmentationSettings
from mdflow_training.appearance_augmentation import draw_appearance_change
from mdflow_training.eraser_augmentation import draw_eraser
from mdflow_training.spatial_augmentation import SpatialTransform, draw_spatial_transform


class Augmentation:
    """A draw for N pairs. Geometry acts on everything, appearance and eraser on images only, in this order.

    Args:
        settings: which kinds of augmentation are on, and their ranges.
        size: height and width in pixels.
        generators: one per pair, on the CPU: they alone decide the draw.
    """

    def __init__(
        self, settings: AugmentationSettings, size: tuple[int, int], generators: Sequence[torch.Generator]
    ) -> None:
        identity = torch.eye(3, dtype=torch.float64).repeat(2 * len(generators), 1, 1)
        self.spatial = SpatialTransform(identity)
        if settings.spatial is not None:
            self.spatial = draw_spatial_transform(settings.spatial, size, generators)
        self.appearance = draw_appearance_change(settings.appearance, generators) if settings.appearance else None
        self.eraser = draw_eraser(settings.eraser, size, generators) if settings.eraser else None

    def images(self, stacked: Tensor) -> Tensor:
        """Augment frames ``(2N, 3, H, W)`` in [0, 1], first frames, then second frames."""
        stacked = self.spatial(stacked)
        if self.appearance is not None:
            stacked = self.appearance(stacked)
        return stacked if self.eraser is None else self.eraser(stacked)

    def flow(self, stacked: Tensor) -> Tensor:
        """Augment flows ``(2N, 2, H, W)`` in pixels, stacked directions."""
        return self.spatial.flow(stacked)

    def mask(self, stacked: Tensor) -> Tensor:
        """Augment masks ``(2N, 1, H, W)``, stacked directions; they become soft weights at their edges."""
        return self.spatial(stacked)
