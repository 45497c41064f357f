# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""FastFlowNet once more, in plain float64 numpy from its published description, to compare every implementation with.

Nothing here is shared with the package: what both have in common would be wrong in both.
"""

import math

import numpy as np
import pytest
import torch
from full_resolution import to_full_resolution_pixels

from mdflow_ros.estimator import FlowEstimator
from mdflow_training.networks.checkpoints import import_checkpoint
from mdflow_training.networks.fastflownet import FastFlowNet

OFFICIAL_DISPLACEMENTS = (
    "0,2,4,6,8,10,12,14,16,18,20,21,22,23,24,26,28,29,30,31,32,33,34,36,38,39,40,41,42,44,46,47,48,49,50,51,52,54,56,"
    "57,58,59,60,62,64,66,68,70,72,74,76,78,80"
)
SIZE = (128, 192)
TOLERANCE = 1e-4


def convolve(image, weight, bias, stride=1, groups=1):
    """Cross-correlate (C, H, W) with 3x3 kernels and zero padding."""
    outputs, _, _, _ = weight.shape
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    result = np.zeros((outputs, -(-height // stride), -(-width // stride)))
    for group, (kernels, part) in enumerate(zip(np.split(weight, groups), np.split(padded, groups), strict=True)):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        for dy in range(3):
            for dx in range(3):
                shifted = part[:, dy : dy + height : stride, dx : dx + width : stride]
                result[rows] += np.tensordot(kernels[:, :, dy, dx], shifted, axes=1)
    return result + bias[:, None, None]


def transposed_convolution(image, weight, bias):
    """Upsample (2, H, W) twice: every pixel adds its 4x4 kernels around its place."""
    _, height, width = image.shape
    result = np.zeros((2, 2 * height + 2, 2 * width + 2))
    for dy in range(4):
        for dx in range(4):
            result[:, dy : dy + 2 * height : 2, dx : dx + 2 * width : 2] += np.tensordot(
                weight[:, :, dy, dx].T, image, axes=1
            )
    return result[:, 1:-1, 1:-1] + bias[:, None, None]


def leaky(values):
    return np.where(values > 0, values, 0.1 * values)


def average_pool(image):
    return (image[:, ::2, ::2] + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2]) / 4


def warp(image, flow):
    """Sample (C, H, W) bilinearly at p + flow(p); zeros outside."""
    _, height, width = image.shape
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + flow[0], rows + flow[1]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    result = np.zeros_like(image)
    for row in (top, top + 1):
        for column in (left, left + 1):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = (1 - abs(x - column)) * (1 - abs(y - row)) * inside
            result += share * image[:, row.clip(0, height - 1), column.clip(0, width - 1)]
    return result


def correlate(first, second):
    """Mean over channels of first(x, y) * second(x + dx, y + dy), for the 53 kept of 9x9 displacements."""
    channels, height, width = first.shape
    padded = np.pad(second, ((0, 0), (4, 4), (4, 4)))
    costs = []
    for index in map(int, OFFICIAL_DISPLACEMENTS.split(",")):
        row, column = divmod(index, 9)
        costs.append((first * padded[:, row : row + height, column : column + width]).sum(axis=0) / channels)
    return np.stack(costs)


def shuffle(features):
    """Interleave the channels of three groups: 0, 32, 64, 1, 33, 65, 2, .."""
    return features[[group * 32 + channel for channel in range(32) for group in range(3)]]


def upsample_four_times(flow):
    """Upsample (2, H, W) bilinearly, half pixels aligned, edges repeated."""
    for axis in (1, 2):
        side = flow.shape[axis]
        position = ((np.arange(4 * side) + 0.5) / 4 - 0.5).clip(0, side - 1)
        lower = np.minimum(np.floor(position).astype(int), side - 2)
        share = (position - lower).reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        flow = (1 - share) * flow.take(lower, axis) + share * flow.take(lower + 1, axis)
    return flow


class OfficialArithmetic:
    def __init__(self, weights):
        self.weights = {name: value.double().numpy() for name, value in weights.items()}

    def layer(self, name, features, **options):
        return leaky(convolve(features, self.weights[f"{name}.0.weight"], self.weights[f"{name}.0.bias"], **options))

    def pyramid(self, image):
        levels = {}
        for level, convolutions in ((1, 2), (2, 3), (3, 3)):
            for index in range(1, convolutions + 1):
                image = self.layer(f"pconv{level}_{index}", image, stride=2 if index == 1 else 1)
            levels[level] = image
        for level in (4, 5, 6):
            levels[level] = average_pool(levels[level - 1])
        return levels

    def decode(self, level, features):
        features = self.layer(f"decoder{level}.conv1", features)
        for index in (2, 3, 4):
            features = shuffle(self.layer(f"decoder{level}.conv{index}", features, groups=3))
        for index in (5, 6):
            features = self.layer(f"decoder{level}.conv{index}", features)
        return convolve(
            features, self.weights[f"decoder{level}.conv7.weight"], self.weights[f"decoder{level}.conv7.bias"]
        )

    def flow(self, first, second):
        """Return the flow (2, H, W) in pixels between two centered images (3, H, W)."""
        first_levels, second_levels = self.pyramid(first), self.pyramid(second)
        flow = upsampled = np.zeros((2, *first_levels[6].shape[1:]))
        for level in (6, 5, 4, 3, 2):
            features, other = first_levels[level], second_levels[level]
            if level < 6:
                up = f"up{level + 1}"
                upsampled = transposed_convolution(flow, self.weights[f"{up}.weight"], self.weights[f"{up}.bias"])
                other = warp(other, upsampled * {5: 0.625, 4: 1.25, 3: 2.5, 2: 5.0}[level])
            rectified = self.layer(f"rconv{level}", features)
            flow = self.decode(level, np.concatenate((correlate(features, other), rectified, upsampled))) + upsampled
        return 20 * upsample_four_times(flow)


@pytest.fixture(scope="module")
def weights():
    """The 104 tensors of an official checkpoint with random values; biases, too, so that a swapped bias shows."""
    generator = torch.Generator().manual_seed(0)
    state = FastFlowNet().state_dict()
    assert len(state) == 104
    return {
        name: torch.randn(value.shape, generator=generator)
        * (math.sqrt(2 / value[0].numel()) if value.ndim > 1 else 0.1)
        for name, value in state.items()
    }


@pytest.fixture(scope="module")
def images():
    """Two related images, (2, H, W, 3) uint8 RGB."""
    random = np.random.default_rng(0)
    coarse = random.uniform(0, 255, (SIZE[0] // 8 + 2, SIZE[1] // 8 + 2, 3))
    first = np.kron(coarse, np.ones((8, 8, 1)))[4 : 4 + SIZE[0], 4 : 4 + SIZE[1]]
    second = np.roll(first, (3, -5), axis=(0, 1)) + random.normal(0, 5, first.shape)
    return np.stack((first, second)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def centered(images):
    """Return MDFlow's network input, (2, 3, H, W): the images minus one mean over both images and all channels."""
    unit = images.transpose(0, 3, 1, 2) / 255
    return unit - unit.mean()


@pytest.fixture(scope="module")
def expected(weights, centered):
    flow = OfficialArithmetic(weights).flow(*centered)
    assert 1 < abs(flow).mean() < 1000, "the flow is neither trivial nor out of all proportion"
    return flow


def test_the_torch_network_computes_the_official_flow(weights, centered, expected):
    network = FastFlowNet(cost_volume_normalization=False).eval()
    network.load_state_dict(weights)
    for precision in (torch.float64, torch.float32):
        first, second = torch.from_numpy(centered)[:, None].to(precision)
        with torch.no_grad():
            flow = to_full_resolution_pixels(network.to(precision)(first, second)[0])[0]
        assert abs(flow.double().numpy() - expected).max() < TOLERANCE


def test_an_imported_checkpoint_computes_the_official_flow(weights, images, expected, tmp_path):
    torch.save(weights, tmp_path / "official.pth")
    import_checkpoint(tmp_path / "official.pth", tmp_path / "official.onnx")
    estimator = FlowEstimator(
        tmp_path / "official.onnx", backend="onnxruntime", inference_size=(192, 128), quality="best", refine=False
    )
    flow = estimator.estimate(*images).flow.transpose(2, 0, 1)
    assert abs(flow - expected).max() < TOLERANCE
