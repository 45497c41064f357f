# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The teacher: FastFlowNet in torch, with the official parameter names.

Source: FastFlowNet (Kong, Shen, Yang, ICRA 2021); the optional cost-volume normalization is UFlow's
(Jonschkowski et al., ECCV 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mdflow_ros.model.architecture import (
    COARSEST_LEVEL,
    DECODER_CHANNELS,
    FINEST_LEVEL,
    GROUPED,
    GROUPS,
    LEAKY_SLOPE,
    LEVEL_CHANNELS,
    PYRAMID_CHANNELS,
    RECTIFIED_CHANNELS,
    warp_scale,
)
from mdflow_training.networks.cost_volume import cost_volume
from mdflow_training.networks.directions import stack_directions, swap_directions


def target_coordinates(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y of ``p + flow(p)`` for each pixel ``p``, ``(N, H, W)`` each, from ``(N, 2, H, W)`` pixels."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    return x + flow[:, 0], y + flow[:, 1]


def warp(image: Tensor, flow: Tensor, padding_mode: str = "zeros") -> Tensor:
    """Sample ``image`` at ``p + flow(p)``, bilinearly, with corners aligned.

    Args:
        image: ``(N, C, H, W)``.
        flow: ``(N, 2, H, W)`` in pixels, u right and v down.
        padding_mode: what to sample outside the image, ``zeros`` or ``border``.

    Returns:
        ``(N, C, H, W)``.
    """
    height, width = flow.shape[-2:]
    x, y = target_coordinates(flow)
    grid = torch.stack((x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1), dim=-1)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode=padding_mode, align_corners=True)


def normalize_features(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Normalize two feature maps by their common mean and standard deviation, per sample (after UFlow, section 3.1).

    Both maps are divided by the unbiased standard deviation about their common mean. UFlow instead takes the variance
    of each map about the mean of that map, and averages both. The deviation is computed from mean squares, because
    `torch.std` takes six times longer on a CPU.

    Args:
        first: ``(N, C, H, W)``.
        second: same shape.

    Returns:
        Both maps, normalized.
    """
    axes = (1, 2, 3)
    mean = (first.mean(axes, keepdim=True) + second.mean(axes, keepdim=True)) / 2
    first, second = first - mean, second - mean
    squares = [features.square().mean(axes, keepdim=True).float() for features in (first, second)]
    count = 2 * first[0].numel()
    variance = (squares[0] + squares[1]) / 2 * (count / (count - 1))
    # The square root has no finite gradient at 0.
    deviation = (variance.clamp(min=1e-24).sqrt() + 1e-6).to(first.dtype)
    return first / deviation, second / deviation


def shuffle_channels(features: Tensor, groups: int) -> Tensor:
    """Interleave the channels of ``groups`` groups (ShuffleNet)."""
    return features.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def _convolution(channels: tuple[int, int], stride: int = 1, groups: int = 1) -> nn.Sequential:
    inputs, outputs = channels
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups), nn.LeakyReLU(LEAKY_SLOPE, inplace=True)
    )


class Decoder(nn.Module):
    """Shuffle block decoder: cost volume, features and coarser flow to a flow residual."""

    def __init__(self) -> None:
        super().__init__()
        for name, channels in DECODER_CHANNELS.items():
            if name == "conv7":
                self.conv7 = nn.Conv2d(*channels, 3, padding=1)
            else:
                self.add_module(name, _convolution(channels, groups=GROUPS if name in GROUPED else 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, 87, H, W)`` to a flow of ``(N, 2, H, W)``, in the network's units."""
        for name in DECODER_CHANNELS:
            features = getattr(self, name)(features)
            if name in GROUPED:
                features = shuffle_channels(features, GROUPS)
        return features


class FastFlowNet(nn.Module):
    """The small network that is deployed; MDFlow's teacher.

    Args:
        cost_volume_normalization: normalize features before each correlation. It has no parameters but changes the
            function: official checkpoints need it off, networks trained by this package have it on.

    Attributes:
        finest_level: the level at which decoding ends; a level coarser than `FINEST_LEVEL` more than halves the work.
    """

    def __init__(self, cost_volume_normalization: bool = False) -> None:
        super().__init__()
        self.cost_volume_normalization = cost_volume_normalization
        self.finest_level = FINEST_LEVEL
        for name, channels in PYRAMID_CHANNELS.items():
            self.add_module(name, _convolution(channels, stride=2 if name.endswith("_1") else 1))
        for level in range(FINEST_LEVEL, COARSEST_LEVEL + 1):
            self.add_module(f"rconv{level}", _convolution((LEVEL_CHANNELS[level], RECTIFIED_CHANNELS)))
            self.add_module(f"decoder{level}", Decoder())
            if level > FINEST_LEVEL:
                self.add_module(f"up{level}", nn.ConvTranspose2d(2, 2, 4, 2, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def pyramid(self, images: Tensor) -> dict[int, Tensor]:
        """Return the features of ``images`` ``(N, 3, H, W)`` by level, finest first; level L has stride ``2**L``."""
        features = images
        levels: dict[int, Tensor] = {}
        for name in PYRAMID_CHANNELS:
            features = getattr(self, name)(features)
            levels[int(name[5])] = features  # "pconv3_2" is of level 3; the last layer of a level overwrites the others
        for level in range(4, COARSEST_LEVEL + 1):
            levels[level] = F.avg_pool2d(levels[level - 1], 2)
        return levels

    def forward(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Predict the flow from ``first`` to ``second``.

        Args:
            first: preprocessed images ``(N, 3, H, W)``, sides multiples of 64.
            second: the newer images, same shape.

        Returns:
            The flows ``(N, 2, h, w)``, finest first, from stride ``2**finest_level`` to 64, in units of 20
            full-resolution pixels (`FLOW_SCALE`).
        """
        levels = self.pyramid(stack_directions(first, second))
        return self.decode({level: tuple(features.chunk(2)) for level, features in levels.items()})

    def forward_both(self, first: Tensor, second: Tensor) -> list[Tensor]:
        """Predict both directions with a shared pyramid: like `forward`, but ``(2N, 2, h, w)``, stacked directions."""
        levels = self.pyramid(stack_directions(first, second))
        return self.decode({level: (features, swap_directions(features)) for level, features in levels.items()})

    def decode(self, levels: dict[int, tuple[Tensor, ...]]) -> list[Tensor]:
        """Decode the features of both images, given by level, into flows, finest first; see `forward`."""
        flow: Tensor | None = None
        flows: list[Tensor] = []
        for level in range(COARSEST_LEVEL, self.finest_level - 1, -1):
            first, second = levels[level]
            if flow is None:
                upsampled = first.new_zeros(first.shape[0], 2, *first.shape[-2:])
            else:
                with torch.autocast(flow.device.type, enabled=False):  # 16-bit types would round large flows
                    up = getattr(self, f"up{level + 1}")
                    upsampled = up(flow.to(up.weight.dtype))
                second = warp(second, upsampled * warp_scale(level))
            pair = normalize_features(first, second) if self.cost_volume_normalization else (first, second)
            features = torch.cat((cost_volume(*pair), getattr(self, f"rconv{level}")(first), upsampled), dim=1)
            flow = getattr(self, f"decoder{level}")(features) + upsampled
            flows.insert(0, flow)
        return flows
