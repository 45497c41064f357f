# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Replay of generated pairs with ground truth: keeps a teacher from forgetting motion that the recording lacks."""

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
from mdflow_training.synthetic.pairs import EMBREE_CLASSES, MIXTURE
from mdflow_training.synthetic.textures import TextureLibrary, procedural_library, pyramid

TEXTURES, TEXTURE_SIDE = 40, 256
"""Number and side of the procedural textures, which need no download."""

MAX_FIRST_USE = 1_000_000
"""Each stage starts at a random use of the scenes, smaller than this number. Different stages thus replay different
pairs."""

SHARES = {name: share for name, share in MIXTURE.items() if name not in EMBREE_CLASSES}
"""Relative shares of the scene classes: all but those that cannot be rendered on ARM, where robots adapt."""

FRAME_BLUR = 0.6
"""Standard deviation, in pixels, of the blur that removes the camera's noise from the textures. Noise that moves with a
texture would make matching easier than it is for the camera."""


class Replay:
    """The loss of a network on generated pairs.

    For N recorded pairs in a batch, each process uses N / 2 generated pairs, rounded up.

    Args:
        settings: which pairs, in which steps, and their weight.
        scenes: see `replay_scenes`; shared by the stages of a run.
        seed: seed of the stage; decides where the stage starts in the endless sequence of pairs.
        processes: number of processes that share a step.
    """

    def __init__(self, settings: ReplaySettings, scenes: SyntheticPairs, seed: int, processes: int = 1) -> None:
        self.settings, self._scenes, self._processes = settings, scenes, processes
        self._first_pair = seed % MAX_FIRST_USE * settings.scenes

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return ``every`` times the endpoint error in pixels, over both directions; 0 in steps without replay."""
        pairs = self.pairs_of(batch)
        if not pairs:
            return batch.first.new_zeros(())
        parts = zip(*(self._scenes[Request(number, self.settings.image_size)] for number in pairs), strict=True)
        first, second, forward, backward = (torch.stack(part).to(batch.first) for part in parts)
        ground_truth = stack_directions(forward, backward)
        predictions = network(first / 255, second / 255)
        mask = torch.ones_like(ground_truth[:, :1])
        error = sequence_loss(predictions, ground_truth, mask, self.settings.sequence_decay, "endpoint")
        return self.settings.every * error

    def pairs_of(self, batch: Batch) -> range:
        """Return the numbers of the generated pairs for this process's batch; empty in steps without replay."""
        share = len(batch.positions)
        step, place = divmod(min(batch.positions), share * self._processes)
        if step % self.settings.every:
            return range(0)
        count = (share + 1) // 2
        first = self._first_pair + (step // self.settings.every * self._processes + place // share) * count
        return range(first, first + count)


def replay_scenes(settings: ReplaySettings, seed: int, frames: Sequence[Image] = ()) -> SyntheticPairs:
    """Return the generated scenes: each is rendered once, and every use applies a different camera model to it.

    Args:
        settings: the number of scenes.
        seed: decides which scenes are generated.
        frames: frames of the recording, ``(H, W, 3)`` uint8 RGB, to add to the procedural textures.
    """
    procedural = procedural_library(seed, TEXTURES, TEXTURE_SIDE)
    library = TextureLibrary(procedural.photographs + [pyramid(_smooth_bgr(frame)) for frame in frames], [])
    return SyntheticPairs(library, seed, SHARES, uses=2 * MAX_FIRST_USE, pool=settings.scenes)


def sample_frames(pairs: FramePairs, count: int) -> list[Image]:
    """Return the first frames of ``count`` evenly spread pairs, or of all pairs if there are fewer."""
    return [pairs[index][0] for index in spread_evenly(len(pairs), count)]


def _smooth_bgr(frame: Image) -> Image:
    return np.ascontiguousarray(cv2.GaussianBlur(frame, (0, 0), FRAME_BLUR)[..., ::-1])
