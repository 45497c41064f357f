# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Replayed pairs come with their true flow, and the position of a sample decides which they are."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs torch")

import numpy as np
import torch
from torch import Tensor, nn

from mdflow_training.adaptation.replay import Replay, sample_frames
from mdflow_training.engine.batches import Batch
from mdflow_training.settings.adaptation import ReplaySettings

SETTINGS = ReplaySettings(weight=1.0, scenes=8, image_size=(128, 192))


class Recorder(nn.Module):
    """Keeps the images and answers with zero flow."""

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        self.images = torch.cat((first, second))
        return [first.new_zeros(2 * len(first), 2, *first.shape[-2:])]


def batch(*positions: int) -> Batch:
    images = torch.zeros(len(positions), 3, 64, 64)
    return Batch(list(positions), list(positions), images, images)


def test_every_second_sample_brings_a_pair_that_its_position_decides() -> None:
    network, replay = Recorder(), Replay(SETTINGS, seed=0)
    error = replay.loss(network, batch(0, 1, 2, 3))
    assert network.images.shape == (4, 3, 128, 192) and network.images.max() <= 1
    images = network.images
    assert float(error) > 0.3
    assert torch.equal(replay.loss(network, batch(0, 1, 2, 3)), error) and torch.equal(network.images, images)
    assert not torch.equal(Replay(SETTINGS, seed=4).loss(network, batch(0, 1, 2, 3)), error)


def test_every_second_step_has_the_loss_of_two_in_every_process() -> None:
    network = Recorder()
    each, second = (Replay(SETTINGS.model_copy(update={"every": every}), 0, processes=2) for every in (1, 2))
    for step, positions in ((0, (0, 1)), (0, (2, 3)), (1, (4, 5)), (1, (6, 7)), (2, (8, 9)), (2, (10, 11))):
        expected = 0.0 if step == 1 else 2 * float(each.loss(network, batch(*positions)))
        assert float(second.loss(network, batch(*positions))) == pytest.approx(expected)


def test_frames_of_the_recording_are_textures_too() -> None:
    networks = Recorder(), Recorder()
    green = np.zeros((64, 80, 3), np.uint8)
    green[..., 1] = 200
    pairs = [(green, green)] * 3
    frames = sample_frames(pairs, 400)
    assert len(frames) == 3 and len(sample_frames(pairs, 2)) == 2 and sample_frames(pairs, 0) == []
    for network, own in zip(networks, ([], frames * 40), strict=True):
        Replay(SETTINGS.model_copy(update={"scenes": 16}), seed=0, frames=own).loss(network, batch(*range(32)))
    made_up, mixed = (network.images.mean(dim=(0, 2, 3)) for network in networks)
    assert mixed[1] - mixed[0] > 0.1 + made_up[1] - made_up[0], "the frames' color, RGB"


def test_the_true_flow_has_no_loss() -> None:
    class Truth(Recorder):
        """Answers with the flow that it is told."""

        def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
            super().forward(first, second)
            return [self.flow]

    network, replay = Truth(), Replay(SETTINGS, seed=0)
    parts = [torch.stack(part) for part in zip(*(replay._pairs[r] for r in [_request(0)]), strict=True)]
    network.flow = torch.cat((parts[2], parts[3]))
    assert float(replay.loss(network, batch(0, 1))) < 0.01


def _request(number: int) -> object:
    from mdflow_training.synthetic.batches import Request

    return Request(number, SETTINGS.image_size)
