# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of frame pairs; their order depends only on the seed and the step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mdflow_ros.core.resizing import Size, resize_image
from mdflow_ros.quality import Quality
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.seeds import derive_seed
from mdflow_training.networks.sides import nearest_side
from mdflow_training.settings.adaptation import AdaptationConfig

Image = NDArray[np.uint8]


class FramePairs(Protocol):
    """Pairs of frames to learn from, such as a list of tuples; the same index always gives the same pair."""

    def __len__(self) -> int:
        """Return the number of pairs."""

    def __getitem__(self, index: int, /) -> tuple[Image, Image]:
        """Return the earlier and the later frame, ``(H, W, 3)`` uint8 RGB."""


def spread_evenly(length: int, count: int) -> list[int]:
    """Return ``count`` evenly spread indices below ``length``, or all if ``length`` is smaller."""
    count = min(count, length)
    return [number * length // count for number in range(count)]


class Batch(NamedTuple):
    """The N pairs of this process in one step."""

    indices: list[int]
    """Indices of the pairs in the data."""
    positions: list[int]
    """Positions of the pairs in the endless sequence of samples of the stage; unique."""
    first: Tensor
    """``(N, 3, H, W)`` RGB in [0, 1]."""
    second: Tensor


def training_size(frame: Size, config: AdaptationConfig, quality: Quality) -> Size:
    """Return the image size of the training for frames of this size.

    It is the size at which the node runs the network, reduced if it has more than ``config.maximum_pixels``. Sides are
    multiples of 64 and at least 128, so the aspect ratio is kept only approximately.
    """
    if config.image_size is not None:
        height, width = config.image_size
        return Size(width, height)
    deployed = quality.inference_size(frame)
    scale = min(1.0, math.sqrt(config.maximum_pixels / (deployed.width * deployed.height)))
    return Size(*(nearest_side(side * scale) for side in deployed))


def to_tensor(images: Tensor, device: torch.device) -> Tensor:
    """Convert uint8 images ``(N, H, W, 3)`` to ``(N, 3, H, W)`` float32 in [0, 1]."""
    return images.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 255


class _ResizedPairs(Dataset[tuple[int, Tensor, Tensor]]):
    """Pairs resized to the training size: (index, first frame, second frame)."""

    def __init__(self, pairs: FramePairs, size: Size) -> None:
        self.pairs, self.size = pairs, size

    def __getitem__(self, index: int) -> tuple[int, Tensor, Tensor]:
        first, second = (torch.from_numpy(resize_image(image, self.size)) for image in self.pairs[index])
        return index, first, second


class PairBatches:
    """The batches of a stage.

    Step k always has the same pairs, also after a resume and with any number of processes.

    Args:
        pairs: the data.
        size: image size of the training.
        batch_size: pairs per step, summed over all processes; every process takes an equal share.
        seed: decides the order.
        context: this process.
        workers: number of processes that load images in advance.

    Raises:
        ValueError: there are no pairs, or the batch cannot be shared equally.
    """

    def __init__(
        self, pairs: FramePairs, size: Size, batch_size: int, seed: int, context: ProcessContext, workers: int = 0
    ) -> None:
        if len(pairs) == 0:
            raise ValueError("there are no pairs of frames to learn from")
        if batch_size % context.world_size:
            raise ValueError(
                f"a batch of {batch_size} pairs cannot be shared by {context.world_size} processes: "
                "choose a batch_size that is a multiple"
            )
        self.pairs, self.size, self.batch_size, self.seed = pairs, size, batch_size, seed
        self.context, self.workers = context, workers
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def steps(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps ``start`` to ``stop - 1``."""
        positions = [self._positions(step) for step in range(start, stop)]
        loader = DataLoader(
            _ResizedPairs(self.pairs, self.size),
            batch_sampler=[[self._index_at(position) for position in step] for step in positions],
            num_workers=self.workers,
            pin_memory=self.context.device.type == "cuda",
            generator=torch.Generator(),
        )
        device = self.context.device
        for step, (indices, first, second) in zip(positions, loader, strict=True):
            yield Batch(indices.tolist(), step, to_tensor(first, device), to_tensor(second, device))

    def _positions(self, step: int) -> list[int]:
        share = self.batch_size // self.context.world_size
        first = step * self.batch_size + self.context.rank * share
        return list(range(first, first + share))

    def _index_at(self, position: int) -> int:
        epoch, place = divmod(position, len(self.pairs))
        if self._order is None or self._order[0] != epoch:
            generator = np.random.default_rng(derive_seed(self.seed, "order", epoch))
            self._order = epoch, generator.permutation(len(self.pairs))
        return int(self._order[1][place])
