# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Replayed pairs have ground truth, and depend only on the positions of the samples."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pytest.importorskip("torch", reason="training needs torch")

import numpy as np
import torch
from torch import Tensor, nn

from mdflow_training.adaptation.replay import Replay, replay_scenes, sample_frames
from mdflow_training.engine.batches import Batch
from mdflow_training.engine.seeds import derive_seed
from mdflow_training.settings.adaptation import ReplaySettings
from mdflow_training.synthetic.batches import Request
from mdflow_training.synthetic.pairs import SCENE_CLASSES

SETTINGS = ReplaySettings(weight=1.0, scenes=8, image_size=(128, 192))


class Recorder(nn.Module):
    """A network that stores its images and returns zero flow."""

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        self.images = torch.cat((first, second))
        return [first.new_zeros(2 * len(first), 2, *first.shape[-2:])]


def batch(*positions: int) -> Batch:
    images = torch.zeros(len(positions), 3, 64, 64)
    return Batch(list(positions), list(positions), images, images)


def replay_of(seed: int = 0, processes: int = 1, frames: Sequence[np.ndarray] = (), **changes: int) -> Replay:
    settings = SETTINGS.model_copy(update=changes)
    return Replay(settings, replay_scenes(settings, 0, frames), seed, processes)


def test_every_second_sample_brings_a_pair_that_its_position_decides() -> None:
    network, replay = Recorder(), replay_of()
    error = replay.loss(network, batch(0, 1, 2, 3))
    assert network.images.shape == (4, 3, 128, 192) and network.images.max() <= 1
    images = network.images
    assert float(error) > 0.3
    assert torch.equal(replay.loss(network, batch(0, 1, 2, 3)), error) and torch.equal(network.images, images)
    replay_of(seed=4).loss(network, batch(0, 1, 2, 3))
    assert not torch.equal(network.images, images)


@pytest.mark.parametrize(("every", "processes"), [(1, 1), (2, 1), (3, 2), (2, 4)])
def test_no_scene_comes_again_before_all_the_others(every: int, processes: int) -> None:
    replay = replay_of(every=every, processes=processes, scenes=24)
    share, drawn = 4, []
    for position in range(0, 40 * share * processes, share):
        drawn += replay.pairs_of(batch(*range(position, position + share)))
    assert drawn == list(range(len(drawn))) and len(drawn) > 24


def test_each_stage_has_pairs_of_its_own() -> None:
    numbers = [set(replay_of(seed=derive_seed(0, stage)).pairs_of(batch(*range(8)))) for stage in ("stage1", "control")]
    assert not numbers[0] & numbers[1]


def test_processes_share_the_pairs_that_one_would_draw() -> None:
    alone = list(replay_of(seed=3).pairs_of(batch(*range(8))))
    shared = [number for first in (0, 4) for number in replay_of(3, 2).pairs_of(batch(*range(first, first + 4)))]
    assert shared == alone


def test_every_second_step_has_the_loss_of_two() -> None:
    network = Recorder()
    each, second = replay_of(), replay_of(every=2)
    for step in range(4):
        error = float(second.loss(network, batch(*range(4 * step, 4 * step + 4))))
        same_pairs = batch(*range(2 * step, 2 * step + 4))
        assert error == (0 if step % 2 else pytest.approx(2 * float(each.loss(network, same_pairs))))


def test_frames_of_the_recording_are_textures_too() -> None:
    networks = Recorder(), Recorder()
    green = np.zeros((64, 80, 3), np.uint8)
    green[..., 1] = 200
    pairs = [(green, green)] * 3
    frames = sample_frames(pairs, 400)
    assert len(frames) == 3 and len(sample_frames(pairs, 2)) == 2 and sample_frames(pairs, 0) == []
    for network, own in zip(networks, ([], frames * 40), strict=True):
        replay_of(frames=own, scenes=16).loss(network, batch(*range(32)))
    procedural, mixed = (network.images.mean(dim=(0, 2, 3)) for network in networks)
    assert mixed[1] - mixed[0] > 0.1 + procedural[1] - procedural[0], "the frames' color, RGB"


def test_the_ground_truth_has_no_loss() -> None:
    class Answers(Recorder):
        """A network that returns a given flow."""

        def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
            super().forward(first, second)
            return [self.flow]

    network, replay = Answers(), replay_of()
    _, _, forward, backward = replay_scenes(SETTINGS, 0)[Request(0, SETTINGS.image_size)]
    network.flow = torch.stack((forward, backward))
    assert float(replay.loss(network, batch(0, 1))) < 0.01


def test_no_scene_needs_embree_which_robots_with_arm_lack() -> None:
    shares = replay_scenes(ReplaySettings(), 0).mixture
    assert set(shares) == set(SCENE_CLASSES) - {"solid", "traffic"}
    assert shares["flat"] > 0
