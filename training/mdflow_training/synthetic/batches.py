# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Feed synthetic pairs to torch; which pair comes when follows from a seed and a count, so resuming meets the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mdflow_training.synthetic.pairs import synthetic_pair
from mdflow_training.synthetic.textures import TextureLibrary


@dataclass(frozen=True)
class Request:
    """One pair to make.

    Attributes:
        number: in the sequence.
        size: height and width, pixels.
        world_share: see `synthetic_pair`.
    """

    number: int
    size: tuple[int, int]
    world_share: float


class SyntheticPairs(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Makes each requested pair: images ``(3, H, W)`` uint8 RGB, flows forth and back ``(2, H, W)`` float32 pixels."""

    def __init__(self, library: TextureLibrary, seed: int) -> None:
        self.library = library
        self.seed = seed

    def __getitem__(self, request: Request) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Make one pair."""
        pair = synthetic_pair(self.library, self.seed, request.number, request.size, request.world_share)
        images = [
            torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
            for image in (pair.first, pair.second)
        ]
        flows = [
            torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1))) for flow in (pair.forward, pair.backward)
        ]
        return images[0], images[1], flows[0], flows[1]


@dataclass(frozen=True)
class BatchPlan:
    """What one step needs: `pairs` for each process, numbered from `first` on over all processes."""

    first: int
    pairs: int
    size: tuple[int, int]
    world_share: float


class BatchRequests(Sampler[list[Request]]):
    """The batches of one process; every pair number occurs once over all processes.

    Args:
        plans: of the steps still to come.
        rank: of this process.
    """

    def __init__(self, plans: list[BatchPlan], rank: int = 0) -> None:
        self.plans = plans
        self.rank = rank

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.plans)

    def __iter__(self) -> Iterator[list[Request]]:
        """Yield the batches."""
        for plan in self.plans:
            start = plan.first + self.rank * plan.pairs
            yield [Request(number, plan.size, plan.world_share) for number in range(start, start + plan.pairs)]


def load_batches(pairs: SyntheticPairs, requests: BatchRequests, workers: int) -> DataLoader:
    """Return a loader that makes the batches in ``workers`` processes besides this one (0: in this one)."""
    return DataLoader(
        pairs,
        batch_sampler=requests,
        num_workers=workers,
        worker_init_fn=_use_one_thread,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),
    )


def _use_one_thread(worker: int) -> None:
    del worker
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
