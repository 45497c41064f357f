# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The supervised loss of training on ground-truth flow."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mdflow_training.losses.distillation import endpoint
from mdflow_training.networks.flow_network import upsample_flow

ROBUST_OFFSET = 0.01
"""Added to the error, in pixels, before the power is taken; keeps the gradient finite at zero (PWC-Net)."""


def differentiable_endpoint_error(flow: Tensor, ground_truth: Tensor) -> Tensor:
    """Return the length of the flow error ``(N, H, W)`` of flows ``(N, 2, H, W)``, pixels; differentiable at zero."""
    return endpoint(flow - ground_truth, smoothness=1e-8).squeeze(1)


def multi_scale_loss(flows: list[Tensor], ground_truth: Tensor, weights: list[float], exponent: float) -> Tensor:
    """Return the weighted sum over scales of the mean robust endpoint error.

    PWC-Net's training loss (Sun et al., CVPR 2018, section 3), with means instead of sums and with the best flow
    compared at full resolution. Robust: ``(error + 0.01)**exponent``, its fine-tuning form.

    Args:
        flows: ``(N, 2, h, w)`` in full-resolution pixels, the best last.
        ground_truth: ``(N, 2, H, W)`` pixels; ``h`` and ``w`` divide ``H`` and ``W``.
        weights: weight of each scale, in the order of ``flows``.
        exponent: 1 for the plain error; below 1, large errors count less.

    Returns:
        A scalar.
    """
    total = ground_truth.new_zeros(())
    for flow, weight in zip(flows[:-1], weights[:-1], strict=True):
        error = differentiable_endpoint_error(
            flow, F.adaptive_avg_pool2d(ground_truth, (flow.shape[-2], flow.shape[-1]))
        )
        total = total + weight * (error + ROBUST_OFFSET).pow(exponent).mean()
    finest = differentiable_endpoint_error(upsample_flow(flows[-1], ground_truth.shape[-2:]), ground_truth)
    return total + weights[-1] * (finest + ROBUST_OFFSET).pow(exponent).mean()
