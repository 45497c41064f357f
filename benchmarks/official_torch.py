# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""FastFlowNet in eager torch, as its official repository computes it: the reference for every speed-up.

It was written from the published description and shares no code with the other implementations. Both directions run in
one batch. The pyramid of both images is computed once for each direction, as in a call of the official network.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

KEPT = [(dx, dy) for dy in range(-4, 5) for dx in range(-4, 5) if (dx + dy) % 2 == 0 or (abs(dx) <= 2 and abs(dy) <= 2)]
"""The 53 displacements of the center-dense dilated correlation, in official order."""


class OfficialFastFlowNet:
    """The network with the weights of a deployable model.

    Args:
        model: the ONNX file; its card is in the same folder.
    """

    def __init__(self, model: Path) -> None:
        from mdflow_ros.model.weights import load_weights

        weights, card = load_weights(model)
        self._weights = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        self._normalize = card.cost_volume_normalization

    @torch.inference_mode()
    def both_directions(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the flows ``(2, H, W, 2)`` in pixels: from first to second, and from second to first.

        Args:
            first: ``(H, W, 3)`` uint8 RGB, sides multiples of 64.
            second: the newer image, same shape.
        """
        pair = torch.from_numpy(np.stack((first, second))).permute(0, 3, 1, 2).float() / 255
        pair = pair - pair.mean()
        flow = self._flow(pair, pair.flip(0))
        flow = 20 * F.interpolate(flow, scale_factor=4, mode="bilinear", align_corners=False)
        return flow.permute(0, 2, 3, 1).contiguous().numpy()

    def _flow(self, first: Tensor, second: Tensor) -> Tensor:
        firsts, seconds = self._pyramid(first), self._pyramid(second)
        flow = upsampled = first.new_zeros(len(first), 2, *firsts[6].shape[-2:])
        for level in (6, 5, 4, 3, 2):
            features, other = firsts[level], seconds[level]
            if level < 6:
                up = f"up{level + 1}"
                upsampled = F.conv_transpose2d(
                    flow, self._weights[f"{up}.weight"], self._weights[f"{up}.bias"], stride=2, padding=1
                )
                other = _warp(other, upsampled * (20 / 2**level))
            rectified = self._layer(f"rconv{level}.0", features)
            cost = _correlate(*(_normalized(features, other) if self._normalize else (features, other)))
            flow = self._decode(level, torch.cat((cost, rectified, upsampled), dim=1)) + upsampled
        return flow

    def _layer(self, name: str, features: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.leaky_relu(F.conv2d(features, weight, bias, stride, padding=1, groups=groups), 0.1)

    def _pyramid(self, image: Tensor) -> dict[int, Tensor]:
        levels: dict[int, Tensor] = {}
        for level, convolutions in ((1, 2), (2, 3), (3, 3)):
            for index in range(1, convolutions + 1):
                image = self._layer(f"pconv{level}_{index}.0", image, stride=2 if index == 1 else 1)
            levels[level] = image
        for level in (4, 5, 6):
            levels[level] = F.avg_pool2d(levels[level - 1], 2)
        return levels

    def _decode(self, level: int, features: Tensor) -> Tensor:
        features = self._layer(f"decoder{level}.conv1.0", features)
        for index in (2, 3, 4):
            features = self._layer(f"decoder{level}.conv{index}.0", features, groups=3)
            features = features.unflatten(1, (3, 32)).transpose(1, 2).flatten(1, 2)
        for index in (5, 6):
            features = self._layer(f"decoder{level}.conv{index}.0", features)
        name = f"decoder{level}.conv7"
        return F.conv2d(features, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], padding=1)


def _warp(features: Tensor, flow: Tensor) -> Tensor:
    """Sample at ``p + flow(p)``, corners aligned, zeros outside."""
    height, width = flow.shape[-2:]
    x = torch.arange(width) + flow[:, 0]
    y = torch.arange(height)[:, None] + flow[:, 1]
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=-1)
    return F.grid_sample(features, grid, align_corners=True)


def _normalized(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Normalize two feature maps by their common mean and standard deviation, per sample (UFlow)."""
    both = torch.cat((first, second), dim=1)
    mean, deviation = both.mean((1, 2, 3), keepdim=True), both.std((1, 2, 3), keepdim=True) + 1e-6
    return (first - mean) / deviation, (second - mean) / deviation


def _correlate(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean over channels of first(p) * second(p + d) for the 53 displacements, ``(N, 53, H, W)``."""
    height, width = first.shape[-2:]
    padded = F.pad(second, (4, 4, 4, 4))
    shifted = (padded[:, :, 4 + dy : 4 + dy + height, 4 + dx : 4 + dx + width] for dx, dy in KEPT)
    return torch.stack([(first * other).mean(1) for other in shifted], dim=1)
