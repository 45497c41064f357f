# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Feed synthetic pairs to torch; a seed and a number determine each pair, so a resumed run sees the same pairs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mdflow_training.synthetic.layers import FlowPair
from mdflow_training.synthetic.pairs import MIXTURE, choose_class, mirror_pair, record_pair, render_pair
from mdflow_training.synthetic.textures import TextureLibrary

MIRRORED = ((False, False), (True, False), (True, True), (False, True))
"""Whether a scene is mirrored horizontally and vertically, at each of its uses in turn."""


@dataclass(frozen=True)
class Request:
    """One pair to make.

    Attributes:
        number: in the sequence.
        size: height and width, pixels.
        scene_class: see `SCENE_CLASSES`; None draws it from the mixture.
    """

    number: int
    size: tuple[int, int]
    scene_class: str | None = None


class SyntheticPairs(Dataset[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """Makes each requested pair: images ``(3, H, W)`` uint8 RGB, both directions of flow ``(2, H, W)`` float32 pixels.

    Args:
        library: textures.
        seed: decides the sequence of pairs.
        mixture: relative shares of the scene classes.
        uses: how often each rendered scene is used; each time with different mirroring and camera effects.
        pool: pairs between two uses of a scene.
    """

    def __init__(
        self,
        library: TextureLibrary,
        seed: int,
        mixture: Mapping[str, float] = MIXTURE,
        uses: int = 1,
        pool: int = 256,
    ) -> None:
        self.library = library
        self.seed = seed
        self.mixture = mixture
        self.uses = uses
        self.pool = pool
        self._rendered: OrderedDict[tuple[int, tuple[int, int], str], FlowPair] = OrderedDict()

    def __getitem__(self, request: Request) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Make one pair."""
        block, within = divmod(request.number, self.pool * self.uses)
        use, place = divmod(within, self.pool)
        number = block * self.pool + place
        scene_class = request.scene_class or choose_class(self.seed, number, self.mixture)
        pair = mirror_pair(self._render(number, request.size, scene_class), *MIRRORED[use % len(MIRRORED)])
        pair = record_pair(pair, self.seed, number, scene_class, use)
        images = [
            torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
            for image in (pair.first, pair.second)
        ]
        flows = [
            torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1))) for flow in (pair.forward, pair.backward)
        ]
        return images[0], images[1], flows[0], flows[1]

    def _render(self, number: int, size: tuple[int, int], scene_class: str) -> FlowPair:
        """Render a scene, or return it from the cache of scenes kept for further uses."""
        if self.uses == 1:
            return render_pair(self.library, self.seed, number, size, scene_class)
        key = (number, size, scene_class)
        if key not in self._rendered:
            self._rendered[key] = render_pair(self.library, self.seed, number, size, scene_class)
            if len(self._rendered) > self.pool:
                self._rendered.popitem(last=False)
        return self._rendered[key]


@dataclass(frozen=True)
class BatchPlan:
    """The pairs of one step: `pairs` for each process, numbered from `first` on over all processes."""

    first: int
    pairs: int
    size: tuple[int, int]
    scene_class: str | None = None


class BatchRequests(Sampler[list[Request]]):
    """The batches of one process; every pair number occurs once over all processes.

    Args:
        plans: plans of the remaining steps.
        rank: number of this process.
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
            yield [Request(number, plan.size, plan.scene_class) for number in range(start, start + plan.pairs)]


def load_batches(pairs: SyntheticPairs, requests: BatchRequests, workers: int) -> DataLoader:
    """Return a loader that generates the batches in ``workers`` other processes, or in this one if 0."""
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
