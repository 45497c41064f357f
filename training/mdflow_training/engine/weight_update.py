# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""From a loss to new weights: gradient, clipping, and one step of AdamW. Pretraining and adaptation share it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class WeightUpdate:
    """Updates the trainable weights of a network.

    Args:
        network: to be trained; wrapped copies of it may compute the loss.
        weight_decay: of AdamW.
        gradient_clip: longest gradient; a longer one is scaled down to it.
        float16: whether the loss is computed in float16, whose gradients need scaling. Steps whose gradient overflows
            are then skipped, and the scale is lowered.
    """

    def __init__(self, network: nn.Module, weight_decay: float, gradient_clip: float, float16: bool = False) -> None:
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=weight_decay)
        self._scaler = torch.amp.GradScaler(self._parameters[0].device.type, enabled=float16)
        self._gradient_clip = gradient_clip
        self.float16 = float16

    def compute_gradient(self, loss: Tensor) -> float:
        """Compute the gradient, the mean over all processes, and clip it; return its norm before."""
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        return float(nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip))

    def step(self, learning_rate: float) -> None:
        """Change the weights by the gradient that `compute_gradient` left."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {"optimizer": self._optimizer.state_dict(), "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; other keys of ``state`` are ignored."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state.get("scaler", {}))
