# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""MDFlow's augmentor: one random draw per pair, shared by its images, flows and masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mdflow_training.augmentation.appearance import draw_appearance_change
from mdflow_training.augmentation.eraser import draw_eraser
from mdflow_training.augmentation.spatial import draw_spatial_transform
from mdflow_training.engine.batches import Batch
from mdflow_training.engine.seeds import generator_for
from mdflow_training.settings.adaptation import AugmentationSettings


class Augmentation:
    """A random augmentation of N pairs.

    The spatial transform changes images, flows and masks. After it, appearance and eraser change the images only.

    Args:
        settings: which kinds of augmentation are on, and their ranges.
        size: height and width in pixels.
        generators: one per pair, on the CPU; the only source of random numbers.
    """

    def __init__(
        self, settings: AugmentationSettings, size: tuple[int, int], generators: Sequence[torch.Generator]
    ) -> None:
        self.spatial = draw_spatial_transform(settings.spatial, size, generators) if settings.spatial else None
        self.appearance = draw_appearance_change(settings.appearance, generators) if settings.appearance else None
        self.eraser = draw_eraser(settings.eraser, size, generators) if settings.eraser else None

    def images(self, stacked: Tensor) -> Tensor:
        """Augment frames ``(2N, 3, H, W)`` in [0, 1], first frames, then second frames."""
        for change in (self.spatial, self.appearance, self.eraser):
            stacked = stacked if change is None else change(stacked)
        return stacked

    def flow(self, stacked: Tensor) -> Tensor:
        """Augment flows ``(2N, 2, H, W)`` in pixels, stacked directions."""
        return stacked if self.spatial is None else self.spatial.flow(stacked)

    def mask(self, stacked: Tensor) -> Tensor:
        """Augment masks ``(2N, 1, H, W)``, stacked directions; they become soft weights at their edges."""
        return stacked if self.spatial is None else self.spatial(stacked)


NO_AUGMENTATION = AugmentationSettings(spatial=None, appearance=None, eraser=None)


def augmentation_of(batch: Batch, settings: AugmentationSettings | None, seed: int) -> Augmentation:
    """Draw the augmentation of a batch; it depends only on the seed and the samples' positions."""
    generators = [generator_for(seed, "augmentation", position) for position in batch.positions]
    height, width = batch.first.shape[-2:]
    return Augmentation(settings or NO_AUGMENTATION, (height, width), generators)
