# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Muon for convolution kernels: the momentum is orthogonalized, so that an update changes all directions equally.

Sources: Jordan et al., Muon, https://kellerjordan.github.io/posts/muon, 2024. The update is scaled to work with the
learning rates of AdamW: Liu et al., Muon is Scalable for LLM Training, arXiv 2502.16982, 2025. torch.optim.Muon accepts
only matrices. Here, each group of a convolution is one matrix of its kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration, chosen by Jordan et al. to converge in few steps."""

ITERATIONS = 5
UPDATE_SIZE = 0.2
"""Root mean square of the update relative to the learning rate; typical of AdamW."""


class Muon(torch.optim.Optimizer):
    """Updates convolution kernels by their orthogonalized momentum.

    Args:
        kernels: kernels ``(C_out, C_in / groups, h, w)``, by the number of groups of their convolutions.
        weight_decay: decoupled weight decay, multiplied by the learning rate.
        momentum: share of the momentum that is kept in each step.
    """

    def __init__(self, kernels: dict[int, list[Tensor]], weight_decay: float, momentum: float = 0.95) -> None:
        parameters: list[dict[str, Any]] = [{"params": some, "groups": groups} for groups, some in kernels.items()]
        super().__init__(parameters, {"lr": 0.0, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the kernels that have a gradient; ``closure`` is not supported."""
        assert closure is None
        for settings in self.param_groups:
            learning_rate, momentum = settings["lr"], settings["momentum"]
            for kernel in settings["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                average = state.setdefault("momentum", torch.zeros_like(kernel))
                average.lerp_(kernel.grad, 1 - momentum)
                matrices = kernel.grad.lerp(average, momentum).view(settings["groups"], -1, kernel[0].numel())
                kernel.mul_(1 - learning_rate * settings["weight_decay"])
                size = UPDATE_SIZE * max(matrices.shape[1:]) ** 0.5
                kernel.add_(orthogonalized(matrices).view_as(kernel), alpha=-learning_rate * size)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return matrices ``(N, rows, columns)`` with the same singular vectors and singular values of about 0.7 to 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    matrices = matrices.mT if tall else matrices
    matrices = matrices / torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = matrices @ matrices.mT
        matrices = torch.baddbmm(matrices, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), matrices, beta=a)
    return matrices.mT if tall else matrices
