# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Make a pair with exact flow from a recorded frame: the frame, and the same frame warped by a flow.

An estimated flow is only approximately right for the pair on which it was estimated. For the warped pair, it is exactly
right: the warped frame shows at ``p`` what the frame shows at ``p + flow(p)``. Texture, light and kind of motion are
those of the robot's recording. RealFlow (Han et al., ECCV 2022) makes training pairs from estimated flow in a related
way.
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
        deviation: standard deviation of the luma's noise in the camera's original frames, for images in [0, 1].
        enlargement: side of the resized images divided by the side of the original frames.
    """

    deviation: float
    enlargement: float = 1.0

    def added_to(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Return a resized image ``(1, C, H, W)`` with noise.

        All channels get the same noise: independent noise in each channel would be a third weaker in the luma.
        """
        sides = [max(1, round(side / self.enlargement)) for side in image.shape[-2:]]
        noise = torch.randn((1, 1, *sides), generator=generator)
        # Resize the noise as `mdflow_ros.core.resizing.resize_image` resizes frames.
        noise = F.interpolate(noise, image.shape[-2:], mode="area" if self.enlargement < 1 else "bilinear")
        return (image + self.deviation * noise.to(image)).clamp(0, 1)


def make_warped_pair(
    frame: Tensor, flow: Tensor, settings: WarpedPairsSettings, noise: CameraNoise, generator: torch.Generator
) -> WarpedPair:
    """Make a warped pair from a frame.

    Args:
        frame: RGB ``(3, H, W)`` in [0, 1].
        flow: ``(2, H, W)`` pixels, a flow that leads from another image to the frame.
        settings: by how much to scale the flow, and how much to cut away.
        noise: the camera's noise; both images get different noise.
        generator: the only source of random numbers, on the CPU.
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
