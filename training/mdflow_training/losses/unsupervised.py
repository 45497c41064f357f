# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Losses that need no labels: photometric and smoothness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow_training.losses.census import TAPS, Census, inside_window
from mdflow_training.networks.fastflownet import warp

ORIGINAL_CENSUS = Census()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average ``values`` over ``mask`` in each sample, then over the samples.

    Because each sample is averaged separately, processes that share a batch compute the same gradient as one process.

    Args:
        values: ``(N, 1, H, W)``.
        mask: ``(N, 1, H, W)`` weights in [0, 1].

    Returns:
        A scalar; a sample with an empty mask counts as 0.
    """
    weighted = (values * mask).mean(dim=(1, 2, 3))
    return (weighted / (mask.mean(dim=(1, 2, 3)) + 1e-7)).mean()


def photometric_loss(
    source: Tensor, target: Tensor, flow: Tensor, visible: Tensor, census: Census = ORIGINAL_CENSUS
) -> Tensor:
    """Compare each visible pixel with its match by the flow: robust census loss (UFlow, section 3.3).

    Args:
        source: ``(N, 1, H, W)``, the image where the flow starts, from `Census.prepare`.
        target: the image where the flow ends, same shape, from `Census.prepare`.
        flow: ``(N, 2, H, W)`` in full-resolution pixels; the only argument that gets a gradient.
        visible: ``(N, 1, H, W)``, 1 where the pixel is visible in ``target``.
        census: how to compare images.

    Returns:
        A scalar, about 1 for good flow and 4 for random flow.
    """
    distance = census.distance(source, warp(target, flow, padding_mode="border")) * TAPS
    return masked_mean((distance + 0.01) ** 0.4, visible.detach() * inside_window(source))


def smoothness_loss(image: Tensor, flow: Tensor, order: int = 1, edge_sensitivity: float = 10.0) -> Tensor:
    """Penalize changes of the flow where the image has no edge (UFlow, section 3.3; Wang et al., CVPR 2018).

    Args:
        image: RGB ``(N, 3, H, W)`` in [0, 1].
        flow: ``(N, 2, h, w)`` in full-resolution pixels, at any stride; its changes count in pixels of ``(h, w)``.
        order: 1 favors constant flow; 2 favors flow that changes linearly, as on the road under a car. For order 2,
            the image edge is the larger of the two differences between the three pixels; UFlow uses the difference of
            the outer two.
        edge_sensitivity: how much an image edge reduces the penalty, per unit of color difference.

    Returns:
        A scalar.
    """
    stride = image.shape[-1] / flow.shape[-1]
    image = F.interpolate(image, flow.shape[-2:], mode="area")
    flow = flow / stride
    along_x = _smoothness_along(-1, image, flow, order, edge_sensitivity)
    return (along_x + _smoothness_along(-2, image, flow, order, edge_sensitivity)) / 2


def _smoothness_along(axis: int, image: Tensor, flow: Tensor, order: int, edge_sensitivity: float) -> Tensor:
    change = flow.diff(n=order, dim=axis)
    edge = image.diff(dim=axis).abs().mean(dim=1, keepdim=True)
    if order == 2:
        length = edge.shape[axis] - 1
        edge = torch.maximum(edge.narrow(axis, 0, length), edge.narrow(axis, 1, length))
    return (torch.exp(-edge_sensitivity * edge) * (change.square() + 1e-6).sqrt()).mean()
