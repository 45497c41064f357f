# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The error of a prediction against a pseudo-label, inside the label's mask. Labels and masks get no gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from mdflow_training.losses.unsupervised import masked_mean
from mdflow_training.networks.flow_network import upsample_flow

MAX_LABEL = 400.0
"""Labels of this length or more, in pixels, are ignored (as in RAFT's training)."""


def l1(difference: Tensor) -> Tensor:
    """Return |du| + |dv| (ARFlow), ``(N, 1, H, W)`` from ``(N, 2, H, W)``."""
    return difference.abs().sum(dim=1, keepdim=True)


def endpoint(difference: Tensor, smoothness: float = 1e-6) -> Tensor:
    """Return the length of the difference, ``(N, 1, H, W)`` from ``(N, 2, H, W)``, smooth at zero (Charbonnier).

    At zero it is the square root of ``smoothness``.
    """
    return (difference.square().sum(dim=1, keepdim=True) + smoothness).sqrt()


ERRORS: dict[str, Callable[[Tensor], Tensor]] = {"l1": l1, "endpoint": endpoint}


def masked_error(prediction: Tensor, label: Tensor, mask: Tensor, error: str = "l1") -> Tensor:
    """Average the error of ``prediction`` over ``mask``.

    Args:
        prediction: ``(N, 2, H, W)`` in pixels.
        label: ``(N, 2, H, W)`` in pixels.
        mask: ``(N, 1, H, W)`` weights in [0, 1].
        error: one of `ERRORS`.

    Returns:
        A scalar in pixels.
    """
    label, mask = label.detach(), mask.detach()
    reasonable = (label.square().sum(dim=1, keepdim=True) < MAX_LABEL**2).to(mask.dtype)
    return masked_mean(ERRORS[error](prediction - label), mask * reasonable)


def sequence_loss(
    predictions: Sequence[Tensor], label: Tensor, mask: Tensor, decay: float = 0.8, error: str = "l1"
) -> Tensor:
    """Sum the weighted errors of successively refined predictions; the last has weight 1 (RAFT, section 3.4).

    Predictions of frozen decoders are skipped, unless all decoders are frozen.

    Args:
        predictions: K flows ``(N, 2, h, w)`` in full-resolution pixels at any stride, the best last.
        label: ``(N, 2, H, W)`` in pixels.
        mask: ``(N, 1, H, W)`` weights in [0, 1].
        decay: prediction i of K has the weight ``decay ** (K - i)``.
        error: one of `ERRORS`.

    Returns:
        A scalar, in pixels.
    """
    loss = label.new_zeros(())
    some_learn = any(flow.requires_grad for flow in predictions)
    for steps_before_last, flow in enumerate(reversed(predictions)):
        weight = decay**steps_before_last
        if weight > 0 and (flow.requires_grad or not some_learn):
            loss = loss + weight * masked_error(upsample_flow(flow, label.shape[-2:]), label, mask, error)
    return loss
