# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compute the gradient of a loss, clip it and update the weights; used by pretraining and adaptation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mdflow_training.engine.muon import Muon
from mdflow_training.settings.base import OptimizerName


class WeightUpdate:
    """Updates the trainable weights of a network.

    Args:
        network: the network to train; the loss may be computed by a wrapper of it.
        optimizer: ``adamw`` for all weights, or ``muon`` for convolution kernels and AdamW for the rest.
        weight_decay: decoupled weight decay, multiplied by the learning rate.
        gradient_clip: maximum norm of the gradient; a larger gradient is scaled down to it.
        float16: whether the loss is computed in float16. It is then scaled; if a gradient overflows, the step is
            skipped and the scale is reduced.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerName,
        weight_decay: float,
        gradient_clip: float,
        float16: bool = False,
    ) -> None:
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimizers = _create_optimizers(network, optimizer, weight_decay)
        self._scaler = torch.amp.GradScaler(self._parameters[0].device.type, enabled=float16)
        self._gradient_clip = gradient_clip
        self.float16 = float16

    def compute_gradient(self, loss: Tensor) -> float:
        """Compute the gradient (averaged over all processes) and clip it; return its norm before clipping."""
        for parameter in self._parameters:
            parameter.grad = None
        self._scaler.scale(loss).backward()
        for optimizer in self._optimizers:
            self._scaler.unscale_(optimizer)
        return float(nn.utils.clip_grad_norm_(self._parameters, self._gradient_clip))

    def step(self, learning_rate: float) -> None:
        """Update the weights with the gradient from `compute_gradient`."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the state for an exact resume."""
        optimizers = [optimizer.state_dict() for optimizer in self._optimizers]
        return {"optimizers": optimizers, "scaler": self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned; other keys of ``state`` are ignored."""
        for optimizer, content in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(content)
        self._scaler.load_state_dict(state.get("scaler", {}))


def _create_optimizers(network: nn.Module, name: OptimizerName, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Return optimizers that together update all trainable weights."""
    kernels: dict[int, list[Tensor]] = {}
    if name == "muon":
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.weight.requires_grad:
                kernels.setdefault(module.groups, []).append(module.weight)
    by_muon = {id(kernel) for some in kernels.values() for kernel in some}
    others = [weight for weight in network.parameters() if weight.requires_grad and id(weight) not in by_muon]
    optimizers: list[torch.optim.Optimizer] = [Muon(kernels, weight_decay)] if kernels else []
    return [*optimizers, torch.optim.AdamW(others, weight_decay=weight_decay)] if others else optimizers
