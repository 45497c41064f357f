# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Learn from pairs with exact flow: a frame of the recording, and the same frame warped by a label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mdflow_training.adaptation.label_cache import Labels
from mdflow_training.augmentation.warped_pair import CameraNoise, WarpedPair, make_warped_pair
from mdflow_training.engine.batches import Batch
from mdflow_training.engine.seeds import generator_for
from mdflow_training.losses.distillation import sequence_loss
from mdflow_training.settings.adaptation import WarpedPairsSettings


class WarpedPairs:
    """The loss of a network on warped pairs.

    Args:
        settings: how to make the pairs, and their weight.
        labels: returns the flow of the recorded pairs.
        noise: the camera's noise.
        seed: the seed and the position of a sample decide all random numbers.
    """

    def __init__(
        self, settings: WarpedPairsSettings, labels: Callable[[Batch], Labels], noise: CameraNoise, seed: int
    ) -> None:
        self.settings, self.labels, self.noise, self.seed = settings, labels, noise, seed

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the endpoint error, in pixels, of ``network`` on one warped pair for each pair of the batch."""
        pairs = self.pairs(batch)
        first, second, flow, mask = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        predictions = network(first, second, with_backward=False)
        return sequence_loss(predictions, flow, mask, self.settings.sequence_decay, "endpoint")

    def pairs(self, batch: Batch) -> list[WarpedPair]:
        """Make one warped pair from each pair of a batch, at random from its first or its second frame."""
        forward, backward = self.labels(batch).flow.chunk(2)
        made = []
        for row, position in enumerate(batch.positions):
            generator = generator_for(self.seed, "warped pair", position)
            ends_at_second = torch.rand((), generator=generator) < 0.5
            frame, flow = (batch.second, forward) if ends_at_second else (batch.first, backward)
            made.append(make_warped_pair(frame[row], flow[row], self.settings, self.noise, generator))
        return made
