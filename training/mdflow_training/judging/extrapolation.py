# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Label-free error of the flow of pixels that leave the image.

A pixel that leaves the image has no match to compare with. But a pixel that leaves a crop is still visible in the full
image: there the flow of the crop alone is compared with that of the full image. Training on such parts is known
as hallucinated occlusion (DDFlow, Liu et al., AAAI 2019, section 3); here they serve to measure.
"""

from __future__ import annotations

from torch import Tensor

from mdflow_training.losses.occlusion import forward_backward_visibility, leads_inside
from mdflow_training.networks.directions import swap_directions
from mdflow_training.networks.sides import side_within

MAX_PART = 0.8
"""The middle has at most this share of each side, but at least `mdflow_training.settings.adaptation.MIN_SIDE`."""


def center_crop(height: int, width: int) -> tuple[slice, slice] | None:
    """Return rows and columns of the middle part of an image, in sizes that networks take; None if it has none."""
    sides = [side_within(MAX_PART * side) for side in (height, width)]
    if sides[0] > height or sides[1] > width or sides == [height, width]:
        return None
    top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
    return slice(top, top + sides[0]), slice(left, left + sides[1])


def extrapolation_error(whole: Tensor, alone: Tensor, part: tuple[slice, slice]) -> Tensor:
    """Compare the flow of a part alone with the whole image's, where that leaves the part for a visible place.

    Args:
        whole: flow of the whole images, ``(2N, 2, H, W)`` pixels, stacked directions.
        alone: flow of the part of both images, ``(2N, 2, h, w)``.
        part: from `center_crop`.

    Returns:
        A scalar in [0, 1]: the share of the part's pixels that leave it for a place in the whole image, times their
        mean error, relative to the flow's length plus 1 px, at most 1. Errors are known where the whole flow agrees
        with the flow back; where it never does, they count as 1.
    """
    rows, columns = part
    visible = forward_backward_visibility(whole, swap_directions(whole))[..., rows, columns]
    in_whole = leads_inside(whole)[..., rows, columns]
    expected = whole[..., rows, columns]
    leaves = in_whole & ~leads_inside(expected)
    known = (leaves * visible).mean()
    error = (alone - expected).norm(dim=1, keepdim=True) / (expected.norm(dim=1, keepdim=True) + 1)
    mean_error = (error.clamp(max=1) * leaves * visible).mean() / known if known > 0 else known.new_ones(())
    return leaves.float().mean() * mean_error
