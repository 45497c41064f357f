# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The soft census distance: how differently two images look around each pixel, whatever their brightness.

Source: UnFlow (Meister, Hur, Roth, AAAI 2018, section 3.3), as in UFlow and DDFlow: luma in 0..255, 7x7 window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

RADIUS = 3
TAPS = (2 * RADIUS + 1) ** 2
OUTSIDE = 1.0
"""The distance where the window leaves the image: above every distance that can occur (48/49 * 4/4.1)."""


def luma(images: Tensor) -> Tensor:
    """Turn RGB images ``(N, 3, H, W)`` in [0, 1] into luma ``(N, 1, H, W)`` in [0, 255] (ITU-R BT.601)."""
    red, green, blue = images.unbind(dim=1)
    return (0.2989 * red + 0.5870 * green + 0.1140 * blue)[:, None] * 255


def census_distance(first: Tensor, second: Tensor) -> Tensor:
    """Compare the 7x7 surroundings of each pixel: soft Hamming distance, mean over the 49 taps.

    Each tap's difference to the centre is squashed to t / sqrt(0.81 + t^2) in both images, and their difference D
    counts as D^2 / (0.1 + D^2). Adding a constant to an image changes nothing. 0 is a perfect match; random matches
    have a median of about 0.56. Multiply by 49 for UFlow's sum.

    Args:
        first: RGB ``(N, 3, H, W)`` in [0, 1].
        second: likewise; in a loss, the image warped by the flow that is learned.

    Returns:
        ``(N, 1, H, W)`` in [0, 1]; `OUTSIDE` on the border of 3 pixels, where the window leaves the image.
    """
    luma_pair = luma(first), luma(second)
    height, width = first.shape[-2:]
    # The tap at -d seen from p is the tap at d seen from p - d with its sign turned: half the window is enough.
    offsets = [(dy, dx) for dy in range(RADIUS + 1) for dx in range(-RADIUS, RADIUS + 1) if (dy, dx) > (0, 0)]
    total: Tensor | float = 0.0
    for dy, dx in offsets:
        left, right = max(-dx, 0), max(dx, 0)
        tapped = [
            image[..., dy:, right : width - left] - image[..., : height - dy, left : width - right]
            for image in luma_pair
        ]
        ternary = [difference * torch.rsqrt(0.81 + difference.square()) for difference in tapped]
        squared = (ternary[0] - ternary[1]).square()
        distance = squared / (0.1 + squared)
        top, start = RADIUS, RADIUS - left
        rows, columns = height - 2 * RADIUS, width - 2 * RADIUS
        total = total + distance[..., top : top + rows, start : start + columns]
        total = total + distance[..., top - dy : top - dy + rows, start - dx : start - dx + columns]
    assert isinstance(total, Tensor)
    return F.pad(total / TAPS, [RADIUS] * 4, value=OUTSIDE)


def inside_window(images: Tensor) -> Tensor:
    """Return ``(1, 1, H, W)``: 1 where the census window lies within the image, 0 on the border of 3 pixels."""
    height, width = images.shape[-2:]
    return F.pad(images.new_ones(1, 1, height - 2 * RADIUS, width - 2 * RADIUS), [RADIUS] * 4)
