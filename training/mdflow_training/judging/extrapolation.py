# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Label-free error of the flow of pixels that leave the image.

A pixel that leaves the image has no match to compare with. But a pixel that leaves a crop is still visible in the full
image: for such pixels, the flow of the crop alone is compared with the flow of the full image. Training with crops like
this is known as hallucinated occlusion (DDFlow, Liu et al., AAAI 2019, section 3); here, they are used to measure.
"""

from __future__ import annotations

from torch import Tensor

from mdflow_training.losses.occlusion import forward_backward_visibility, leads_inside
from mdflow_training.networks.directions import swap_directions
from mdflow_training.networks.sides import side_within

MAX_CROP = 0.8
"""The center crop has at most this share of each side, but at least `mdflow_training.settings.adaptation.MIN_SIDE`."""


def center_crop(height: int, width: int) -> tuple[slice, slice] | None:
    """Return rows and columns of the center crop, with sides that networks accept; None if the image is too small."""
    sides = [side_within(MAX_CROP * side) for side in (height, width)]
    if sides[0] > height or sides[1] > width or sides == [height, width]:
        return None
    top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
    return slice(top, top + sides[0]), slice(left, left + sides[1])


def extrapolation_error(whole: Tensor, cropped: Tensor, crop: tuple[slice, slice]) -> Tensor:
    """Compare the flow of a crop alone with the flow of the whole image, at pixels that leave the crop.

    Args:
        whole: flow of the whole images, ``(2N, 2, H, W)`` pixels, stacked directions.
        cropped: flow computed from the crops of both images, ``(2N, 2, h, w)`` pixels.
        crop: rows and columns of the crop, from `center_crop`.

    Returns:
        A scalar in [0, 1]: the share of the crop's pixels that leave the crop but not the whole image, times their mean
        error. The error of a pixel is relative to its flow's length plus 1 px, and at most 1. The mean covers only
        pixels where the whole image's flow passes the forward-backward check; if no pixel passes, the mean counts as 1.
    """
    rows, columns = crop
    visible = forward_backward_visibility(whole, swap_directions(whole))[..., rows, columns]
    in_whole = leads_inside(whole)[..., rows, columns]
    expected = whole[..., rows, columns]
    leaves = in_whole & ~leads_inside(expected)
    known = (leaves * visible).mean()
    error = (cropped - expected).norm(dim=1, keepdim=True) / (expected.norm(dim=1, keepdim=True) + 1)
    mean_error = (error.clamp(max=1) * leaves * visible).mean() / known if known > 0 else known.new_ones(())
    return leaves.float().mean() * mean_error
