# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A pair with exact flow, made of a real frame: the frame, and the same frame warped by a flow.

A flow is only approximately true for the pair it was estimated on, but exactly true for the pair it makes: the warped
frame shows at ``p`` what the frame shows at ``p + flow(p)``. Texture, light and the kind of motion are the robot's.
RealFlow makes training pairs from estimated flow in a related way (Han et al., ECCV 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow_training.losses.gaussian_blur import blur_images
from mdflow_training.losses.occlusion import leads_inside
from mdflow_training.networks.directions import mirror_flow
from mdflow_training.networks.fastflownet import warp
from mdflow_training.networks.sides import side_within
from mdflow_training.settings.adaptation import WarpedPairsSettings


class WarpedPair(NamedTuple):
    """A pair, ``(1, C, h, w)`` each, and its exact flow."""

    first: Tensor
    """RGB in [0, 1]: the warped frame."""
    second: Tensor
    """RGB in [0, 1]: the frame."""
    flow: Tensor
    """From the first to the second, pixels."""
    mask: Tensor
    """1 where the flow leads to a pixel that the camera has seen."""


@dataclass(frozen=True)
class CameraNoise:
    """Noise of a camera whose frames were resized.

    Attributes:
        deviation: standard deviation of the luma's noise in frames as the camera gives them, for images in [0, 1].
        enlargement: side of the images divided by that of the frames.
    """

    deviation: float
    enlargement: float = 1.0

    def added_to(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Add the same noise to all channels of ``(1, C, H, W)``: independent noise is a third weaker in the luma."""
        sides = [max(1, round(side / self.enlargement)) for side in image.shape[-2:]]
        noise = torch.randn((1, 1, *sides), generator=generator)
        # As `mdflow_ros.core.resizing.resize_image` does with frames.
        noise = F.interpolate(noise, image.shape[-2:], mode="area" if self.enlargement < 1 else "bilinear")
        return (image + self.deviation * noise.to(image)).clamp(0, 1)


def make_warped_pair(
    frame: Tensor, flow: Tensor, settings: WarpedPairsSettings, noise: CameraNoise, generator: torch.Generator
) -> WarpedPair:
    """Warp a frame.

    Args:
        frame: RGB ``(3, H, W)`` in [0, 1].
        flow: ``(2, H, W)`` pixels, of a motion that ends at the frame.
        settings: by how much to scale the flow, and how much to cut away.
        noise: of the camera; drawn separately for both images.
        generator: decides the draw, on the CPU.
    """
    share, flip, *place = torch.rand(4, generator=generator).tolist()
    low, high = settings.scale
    flow = (low + (high - low) * share) * flow[None]
    frame = blur_images(frame[None], frame.new_tensor([settings.blur]))
    pair = WarpedPair(warp(frame, flow, padding_mode="border"), frame, flow, leads_inside(flow).to(flow))
    pair = WarpedPair(*(_crop(part, settings.crop, place) for part in pair))
    if flip < 0.5:
        pair = _mirrored(pair)
    first, second = (noise.added_to(image, generator) for image in (pair.first, pair.second))
    return pair._replace(first=first, second=second)


def _crop(image: Tensor, crop: float, place: list[float]) -> Tensor:
    """Crop a window with sides that every network accepts. The flow is known even where motion leaves the window."""
    window = image
    for axis, where in zip((-2, -1), place, strict=True):
        side = image.shape[axis]
        kept = min(side, side_within((1 - crop) * side))
        window = window.narrow(axis, int(where * (side - kept + 1)), kept)
    return window


def _mirrored(pair: WarpedPair) -> WarpedPair:
    return WarpedPair(pair.first.flip(-1), pair.second.flip(-1), mirror_flow(pair.flow), pair.mask.flip(-1))
