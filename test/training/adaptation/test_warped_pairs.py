# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The flow of warped pairs is exact, and the mean flow is in pixels of the original size."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="training needs torch")

import numpy as np
import torch
from shifted_images import shifted_pair
from torch import Tensor, nn

from mdflow_ros.core.resizing import Size, resize_image
from mdflow_training.adaptation.label_cache import Labels
from mdflow_training.adaptation.mean_flow import mean_flow
from mdflow_training.adaptation.warped_pairs import WarpedPairs
from mdflow_training.augmentation.warped_pair import CameraNoise
from mdflow_training.engine.batches import Batch
from mdflow_training.judging.known_motion import known_motion
from mdflow_training.networks.fastflownet import warp
from mdflow_training.networks.flow_network import FlowNetwork
from mdflow_training.settings.adaptation import LabelSettings, WarpedPairsSettings

HEIGHT, WIDTH = 192, 256


def smooth(channels: int, seed: int) -> Tensor:
    coarse = torch.rand(2, channels, 6, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)


class Recorder(nn.Module):
    """A network that stores its inputs and returns a fixed flow."""

    def forward(self, first: Tensor, second: Tensor, with_backward: bool = True) -> list[Tensor]:
        assert not with_backward
        self.first, self.second = first, second
        return [self.flow if hasattr(self, "flow") else first.new_zeros(len(first), 2, *first.shape[-2:])]


def warped_pairs(**settings: object) -> tuple[WarpedPairs, Batch]:
    batch = Batch([0, 1], [10, 11], smooth(3, 0), smooth(3, 1))
    flow = torch.cat((12 * smooth(2, 2) - 6, 12 * smooth(2, 3) - 6))
    labels = Labels(flow, torch.ones_like(flow[:, :1]), torch.ones(2))
    given = WarpedPairsSettings(weight=1.0, blur=0.0, **settings)
    return WarpedPairs(given, lambda asked: labels, noise=CameraNoise(0.0), seed=5), batch


def test_the_flow_leads_from_the_warped_frame_to_the_frame() -> None:
    pairs, batch = warped_pairs(crop=0.0)
    for made in pairs.pairs(batch):
        assert made.flow.abs().max() > 3
        assert made.mask.mean() > 0.8
        assert ((warp(made.second, made.flow, "border") - made.first).abs() * made.mask).max() < 1e-4


def test_motion_leaves_the_cropped_view_with_known_flow() -> None:
    pairs, batch = warped_pairs(scale=(2.0, 2.0))
    for made in pairs.pairs(batch):
        assert made.first.shape[-2:] == (128, 192)
        assert made.mask.mean() > 0.9, "only what leaves the whole frame is unknown"


def test_the_true_flow_has_no_loss_and_the_position_decides_the_draw() -> None:
    pairs, batch = warped_pairs()
    network = Recorder()
    network.flow = torch.cat([made.flow for made in pairs.pairs(batch)])
    assert float(pairs.loss(network, batch)) < 0.01
    assert float(pairs.loss(network, batch._replace(positions=[12, 13]))) > 0.5


def test_held_out_frames_move_as_said_and_noise_is_added() -> None:
    _, second = shifted_pair(192, 256, right=6, down=-4)
    flows = [np.full((192, 256, 2), motion, np.float32) for motion in ((5, -5), (7, -3))]
    still = known_motion(second, flows, 0.0, 3)
    noisy = known_motion(second, flows, 8.0, 3)
    assert still.flow.shape == (*still.first.shape[:2], 2)
    middle = np.nanmedian(still.flow, axis=(0, 1))
    assert 0.6 < abs(middle[0]) / 6 < 1.5 and -1.5 < middle[1] / 4 < -0.6
    luma = (noisy.second.astype(float) - still.second) @ [0.299, 0.587, 0.114]
    assert 7 < np.std(luma) < 9


class Shift(FlowNetwork):
    """A network that returns 3 px right and 2 px down, in pixels of its input; mirrored if the input is mirrored."""

    def predict(self, first: Tensor, second: Tensor) -> list[Tensor]:
        sign = 1.0 if first[0, 0, 0, 0] < first[0, 0, 0, -1] else -1.0
        flow = first.new_tensor([sign * 3.0 * first.shape[-1] / WIDTH, 2.0 * first.shape[-2] / HEIGHT])
        return [flow.view(1, 2, 1, 1).expand(len(first), 2, *first.shape[-2:])]


@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.5), (0.5, 1.5)])
def test_mean_flow_is_in_pixels_of_the_pair(scales: tuple[float, ...]) -> None:
    ramp = torch.linspace(0.1, 0.9, WIDTH).expand(1, 3, HEIGHT, WIDTH)
    flow = mean_flow(Shift(nn.Identity(), "none"), ramp, ramp, LabelSettings(scales=scales, mirrored=True))
    assert flow.shape == (2, 2, HEIGHT, WIDTH)
    torch.testing.assert_close(flow, torch.tensor([3.0, 2.0]).view(1, 2, 1, 1).expand_as(flow))


@pytest.mark.parametrize("enlargement", [0.5, 1.0, 1.25])
def test_noise_is_that_of_frames_that_were_resized(enlargement: float) -> None:
    size = Size(320, 256)
    frame = np.full((round(size.height / enlargement), round(size.width / enlargement), 3), 128, np.uint8)
    noisy = frame + np.random.default_rng(0).normal(0, 8, frame.shape[:2])[..., None]
    expected = resize_image(noisy.round().astype(np.uint8), size).std()
    image = torch.full((1, 3, size.height, size.width), 128 / 255)
    drawn = CameraNoise(8 / 255, enlargement).added_to(image, torch.Generator().manual_seed(0))
    assert float(drawn.std()) * 255 == pytest.approx(expected, rel=0.1)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
