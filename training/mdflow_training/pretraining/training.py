# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The teacher in supervised training: one step, validation, saving and restoring."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mdflow_ros.model.architecture import FINEST_LEVEL
from mdflow_training.engine import distributed
from mdflow_training.engine.checkpoint import load_state, save_state
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.guards import MAX_SKIPPED_STEPS
from mdflow_training.engine.precision import autocast_type
from mdflow_training.engine.weight_update import WeightUpdate
from mdflow_training.losses.supervised import differentiable_endpoint_error, multi_scale_loss
from mdflow_training.networks.directions import stack_directions
from mdflow_training.networks.fastflownet import FastFlowNet
from mdflow_training.networks.flow_network import FastFlowNetwork, initialize_for_scratch, upsample_flow
from mdflow_training.networks.students import load_core
from mdflow_training.networks.teacher import load_teacher
from mdflow_training.pretraining.schedule import TrainingStep
from mdflow_training.settings.pretraining import PretrainConfig
from mdflow_training.synthetic.batches import BatchPlan, BatchRequests, SyntheticPairs, load_batches
from mdflow_training.synthetic.pairs import SCENE_CLASSES


class Training:
    """The networks and the optimizer: one step, validation, saving and restoring."""

    def __init__(self, config: PretrainConfig, context: ProcessContext) -> None:
        self.config = config
        self.context = context
        torch.manual_seed(config.seed)
        self.network = FastFlowNetwork(autocast_type(config.precision, context.device, on_gpu=torch.bfloat16))
        assert isinstance(self.network.core, FastFlowNet)
        self.core = self.network.core
        if config.initial_weights:
            load_core(self.core, load_initial_weights(config.initial_weights), str(config.initial_weights))
        else:
            initialize_for_scratch(self.network)
        self.network.to(context.device)
        partly = any(phase.finest_level != FINEST_LEVEL for phase in config.phases)
        self.parallel = distributed.wrap(self.network, find_unused_parameters=partly)
        self.average: nn.Module = copy.deepcopy(self.core).requires_grad_(False)
        self.update = WeightUpdate(self.network, config.optimizer, config.weight_decay, config.gradient_clip)
        self.steps = 0
        self.samples = 0
        self.best = math.inf
        self.skipped_steps = 0

    def step(self, step: TrainingStep, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Train on one batch; return the loss and the mean endpoint error in pixels, both detached.

        Raises:
            FloatingPointError: the gradient was not finite for too many steps in a row.
        """
        first, second, forward, backward = (tensor.to(self.context.device, non_blocking=True) for tensor in batch)
        ground_truth = stack_directions(forward, backward)
        self.core.finest_level = step.phase.finest_level
        flows = self.parallel(first / 255, second / 255)
        *coarse, finest = self.config.scale_weights
        weights = [*coarse[: len(flows) - 1], finest]
        loss = multi_scale_loss(flows, ground_truth, weights, step.phase.exponent)
        with torch.no_grad():
            error = differentiable_endpoint_error(
                upsample_flow(flows[-1], ground_truth.shape[-2:]), ground_truth
            ).mean()
        if math.isfinite(self.update.compute_gradient(loss)):
            self.update.step(step.learning_rate)
            self.skipped_steps = 0
        else:
            self.skipped_steps += 1
            if self.skipped_steps > MAX_SKIPPED_STEPS:
                raise FloatingPointError(
                    f"the gradient is not finite for {self.skipped_steps} steps; lower the learning rate and resume"
                )
        self.steps += 1
        self.samples += len(ground_truth) * self.context.world_size
        self._update_average()
        return loss.detach(), error

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the moving average of the weights, with a smaller decay at first (as torch_ema and TensorFlow do)."""
        decay = min(self.config.average_decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.core.parameters()), 1 - decay)

    @torch.no_grad()
    def validate(self, pairs: SyntheticPairs) -> dict[str, float]:
        """Return the mean endpoint errors of the averaged weights in pixels, computed in float32.

        Returns:
            Errors at level 3: one for each scene class, and their ``mean``. Error at level 2 over all classes:
            ``mean_level2``.
        """
        evaluated = FastFlowNetwork().to(self.context.device).eval()
        evaluated.core = self.average
        size, count = self.config.validation_size, self.config.validation_pairs
        plans = [BatchPlan(number, 1, size, name) for name in SCENE_CLASSES for number in range(count)]
        errors: dict[str, list[float]] = {name: [] for name in SCENE_CLASSES}
        finest: list[float] = []
        for plan, batch in zip(plans, load_batches(pairs, BatchRequests(plans), 0), strict=True):
            first, second, forward, backward = (tensor.to(self.context.device) for tensor in batch)
            ground_truth = stack_directions(forward, backward)
            *_, level3, level2 = (
                differentiable_endpoint_error(upsample_flow(flow, ground_truth.shape[-2:]), ground_truth).mean().item()
                for flow in evaluated(first / 255, second / 255)
            )
            errors[str(plan.scene_class)].append(level3)
            finest.append(level2)
        means = {name: sum(values) / len(values) for name, values in errors.items()}
        return {**means, "mean": sum(means.values()) / len(means), "mean_level2": sum(finest) / len(finest)}

    def state(self) -> dict[str, Any]:
        """Return the state for an exact resume."""
        return {
            "network": self.core.state_dict(),
            "average": self.average.state_dict(),
            **self.update.state_dict(),
            "steps": self.steps,
            "samples": self.samples,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self.core.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.update.load_state_dict(state)
        self.steps, self.samples, self.best = state["steps"], state["samples"], state["best"]

    def export(self, path: Path, errors: dict[str, float]) -> None:
        """Write the averaged weights as a checkpoint that import_checkpoint.py reads."""
        notes = {"samples": self.samples, "steps": self.steps, "validation_epe": errors}
        weights = {name: value.cpu() for name, value in self.average.state_dict().items()}
        save_state(path, {"state_dict": weights, "cost_volume_normalization": True, "training": notes})


def load_initial_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a deployable model, of a ``.pth`` (plain or under ``state_dict``), or of a ``last.pt``.

    Raises:
        OSError: there is no such file.
        ValueError: the file cannot be read, or is marked as trained without cost-volume normalization.
    """
    if path.suffix == ".onnx":
        return load_teacher(path)
    content = load_state(path)
    if content.get("cost_volume_normalization") is False:
        raise ValueError(f"{path} was trained without cost-volume normalization; choose other initial_weights")
    return content.get("state_dict", content.get("network", content))
