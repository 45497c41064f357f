# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Replay of generated pairs with ground truth, so that a teacher does not forget what the recording does not show."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from mdflow_training.engine.batches import Batch, FramePairs, Image, spread_evenly
from mdflow_training.losses.distillation import sequence_loss
from mdflow_training.networks.directions import stack_directions
from mdflow_training.settings.adaptation import ReplaySettings
from mdflow_training.synthetic.batches import Request, SyntheticPairs
from mdflow_training.synthetic.textures import TextureLibrary, procedural_library, pyramid

TEXTURES, TEXTURE_SIDE = 40, 256
"""Number and side of the made-up textures, which need no download."""

FRAME_BLUR = 0.6
"""Standard deviation, in pixels, of the blur against the camera's noise, which would move with the texture."""


class Replay:
    """The loss of a network on generated pairs, one for every second pair of a batch.

    Args:
        settings: which pairs, in which steps, and their weight.
        seed: decides them, together with the position of the sample.
        processes: how many share a step.
        frames: of the recording, ``(H, W, 3)`` uint8 RGB, which join the made-up textures.
    """

    def __init__(self, settings: ReplaySettings, seed: int, processes: int = 1, frames: Sequence[Image] = ()) -> None:
        self.settings, self._processes = settings, processes
        made_up = procedural_library(seed, TEXTURES, TEXTURE_SIDE)
        library = TextureLibrary(made_up.photographs + [pyramid(_smooth_bgr(frame)) for frame in frames], [])
        # Each scene is rendered once; every use applies another camera model to it.
        self._pairs = SyntheticPairs(library, seed, uses=1_000_000, pool=settings.scenes)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the endpoint error of ``network``, both directions; 0 in the steps in between, more in the others."""
        step = min(batch.positions) // (len(batch.positions) * self._processes)
        if step % self.settings.every:
            return batch.first.new_zeros(())
        requests = [Request(position, self.settings.image_size) for position in batch.positions[::2]]
        parts = zip(*(self._pairs[request] for request in requests), strict=True)
        first, second, forward, backward = (torch.stack(part).to(batch.first) for part in parts)
        ground_truth = stack_directions(forward, backward)
        predictions = network(first / 255, second / 255)
        mask = torch.ones_like(ground_truth[:, :1])
        error = sequence_loss(predictions, ground_truth, mask, self.settings.sequence_decay, "endpoint")
        return self.settings.every * error


def sample_frames(pairs: FramePairs, count: int) -> list[Image]:
    """Return ``count`` frames, evenly spread over the pairs, or one of each pair if there are fewer."""
    return [pairs[index][0] for index in spread_evenly(len(pairs), count)]


def _smooth_bgr(frame: Image) -> Image:
    return np.ascontiguousarray(cv2.GaussianBlur(frame, (0, 0), FRAME_BLUR)[..., ::-1])
