# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Paint boxes over one frame of a pair (RAFT's eraser).

The labels under a box stay valid, so the network learns to infer flow that it cannot see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mdflow_training.settings.adaptation import EraserSettings


class Box(NamedTuple):
    """A painted box: the index of the stacked frame, and the box's position and size in pixels."""

    frame: int
    top: int
    left: int
    height: int
    width: int


class Eraser(NamedTuple):
    """The boxes of a batch."""

    boxes: list[Box]

    def __call__(self, images: Tensor) -> Tensor:
        """Paint the boxes on stacked images ``(2N, 3, H, W)`` with the mean color of their frame."""
        images = images.clone()
        for frame, top, left, height, width in self.boxes:
            mean = images[frame].mean(dim=(1, 2), keepdim=True)
            images[frame, :, top : top + height, left : left + width] = mean
        return images


def draw_eraser(settings: EraserSettings, size: tuple[int, int], generators: Sequence[torch.Generator]) -> Eraser:
    """Draw the boxes of N pairs. A pair that gets boxes gets all of them in the same frame.

    Args:
        settings: how often boxes are painted, how many, and their sizes.
        size: height and width in pixels.
        generators: one per pair, on the CPU.
    """
    boxes = []
    for pair, generator in enumerate(generators):
        decision, which, number = torch.rand(3, generator=generator).tolist()
        if decision >= settings.probability:
            continue
        frame = pair + len(generators) * (which < 0.5)
        for _ in range(1 + int(number * settings.boxes)):
            boxes.append(_draw_box(frame, settings.side, size, generator))
    return Eraser(boxes)


def _draw_box(frame: int, side: tuple[float, float], size: tuple[int, int], generator: torch.Generator) -> Box:
    random = torch.rand(4, generator=generator).tolist()
    height, width = (
        min(round((side[0] + (side[1] - side[0]) * value) * size[0]), limit)
        for value, limit in zip(random[:2], size, strict=True)
    )
    top, left = int(random[2] * (size[0] - height + 1)), int(random[3] * (size[1] - width + 1))
    return Box(frame, top, left, height, width)
