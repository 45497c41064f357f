# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised training of the teacher on generated pairs: schedule, loop and logs."""

from __future__ import annotations

import copy
import csv
import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.model.architecture import FINEST_LEVEL
from mdflow_ros.model.weights import load_weights
from mdflow_training.engine import distributed
from mdflow_training.engine.checkpoint import capture_random_state, load_state, restore_random_state, save_state
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.log import progress_interval
from mdflow_training.engine.weight_update import WeightUpdate
from mdflow_training.losses.supervised import differentiable_endpoint_error, multi_scale_loss
from mdflow_training.networks.directions import stack_directions
from mdflow_training.networks.fastflownet import FastFlowNet
from mdflow_training.networks.flow_network import FastFlowNetwork, initialize_for_scratch, upsample_flow
from mdflow_training.settings.pretraining import Phase, PretrainConfig, load_pretrain_config
from mdflow_training.synthetic.batches import BatchPlan, BatchRequests, SyntheticPairs, load_batches
from mdflow_training.synthetic.pairs import SCENE_CLASSES
from mdflow_training.synthetic.texture_packages import CACHE
from mdflow_training.synthetic.textures import TextureLibrary, load_library, procedural_library

LOGGER = logging.getLogger(__name__)

VALIDATION_SEED = 0x5EED
MAX_BAD_STEPS = 20


@dataclass(frozen=True)
class Step:
    """What happens in one step.

    Attributes:
        phase: its settings.
        plan: its pairs.
        learning_rate: of the optimizer.
        ends_phase: number of the phase, from 1, whose last step this is; else None.
    """

    phase: Phase
    plan: BatchPlan
    learning_rate: float
    ends_phase: int | None


def schedule(config: PretrainConfig, world_size: int) -> list[Step]:
    """Return every step of a run; in each phase the learning rate rises linearly and falls as a cosine (one cycle)."""
    steps: list[Step] = []
    first = 0
    for phase_number, phase in enumerate(config.phases, 1):
        pairs = phase.batch * world_size
        count = math.ceil(phase.samples / (2 * pairs))
        for number in range(count):
            share = (number + 1) / count
            if share < config.warm_up:
                factor = share / config.warm_up
            else:
                fall = (share - config.warm_up) / (1 - config.warm_up)
                floor = phase.final_share
                factor = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * fall))
            plan = BatchPlan(first, phase.batch, phase.size)
            ends_phase = phase_number if number + 1 == count else None
            steps.append(Step(phase, plan, phase.learning_rate * factor, ends_phase))
            first += pairs
    return steps


def split(library: TextureLibrary, part: int = 10) -> tuple[TextureLibrary, TextureLibrary]:
    """Return the textures to train on and every tenth, held out for validation."""
    train, held_out = (
        TextureLibrary(
            [picture for number, picture in enumerate(library.photographs) if (number % part == 0) == held],
            [cutout for number, cutout in enumerate(library.cutouts) if (number % part == 0) == held],
        )
        for held in (False, True)
    )
    return train, held_out


def open_library(config: PretrainConfig) -> TextureLibrary:
    """Read the textures that ``config`` names."""
    if config.textures == Path("procedural"):
        return procedural_library(config.seed, 20, 256)
    return load_library(config.textures or CACHE)


class Training:
    """The networks and the optimizer: one step, validation, saving and restoring."""

    def __init__(self, config: PretrainConfig, context: ProcessContext) -> None:
        self.config = config
        self.context = context
        random.seed(config.seed)
        np.random.seed(config.seed)
        torch.manual_seed(config.seed)
        self.network = FastFlowNetwork(torch.bfloat16 if config.bfloat16 else None)
        assert isinstance(self.network.core, FastFlowNet)
        self.core = self.network.core
        if config.initial_weights:
            self.core.load_state_dict(load_initial_weights(config.initial_weights))
        else:
            initialize_for_scratch(self.network)
        self.network.to(context.device)
        partly = any(phase.finest_level != FINEST_LEVEL for phase in config.phases)
        self.parallel = distributed.wrap(self.network, find_unused_parameters=partly)
        self.average: nn.Module = copy.deepcopy(self.core).requires_grad_(False)
        self.update = WeightUpdate(self.network, config.weight_decay, config.gradient_clip)
        self.steps = 0
        self.samples = 0
        self.best = math.inf
        self.bad_steps = 0

    def step(self, step: Step, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Learn from one batch; return the loss and the endpoint error in pixels, detached."""
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
            self.bad_steps = 0
        else:
            self.bad_steps += 1
            if self.bad_steps > MAX_BAD_STEPS:
                raise FloatingPointError(
                    f"the gradient is not finite for {self.bad_steps} steps; lower the learning rate and resume"
                )
        self.steps += 1
        self.samples += len(ground_truth) * self.context.world_size
        self._update_average()
        return loss.detach(), error

    @torch.no_grad()
    def _update_average(self) -> None:
        """Move the average towards the weights, faster at first (as torch_ema and TensorFlow do)."""
        decay = min(self.config.average_decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.core.parameters()), 1 - decay)

    @torch.no_grad()
    def validate(self, pairs: SyntheticPairs) -> dict[str, float]:
        """Return the mean endpoint error of the averaged weights, pixels, float32.

        Returns:
            By scene class and over all classes, where decoding ends at level 3, as the node's default does; and over
            all classes where it ends at level 2.
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
        """Return all that resuming needs."""
        return {
            "network": self.core.state_dict(),
            "average": self.average.state_dict(),
            **self.update.state_dict(),
            "random": capture_random_state(),
            "steps": self.steps,
            "samples": self.samples,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        self.core.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.update.load_state_dict(state)
        restore_random_state(state["random"])
        self.steps, self.samples, self.best = state["steps"], state["samples"], state["best"]

    def export(self, path: Path, errors: dict[str, float]) -> None:
        """Write the averaged weights as a checkpoint that import_checkpoint.py reads."""
        notes = {"samples": self.samples, "steps": self.steps, "validation_epe": errors}
        weights = {name: value.cpu() for name, value in self.average.state_dict().items()}
        save_state(path, {"state_dict": weights, "cost_volume_normalization": True, "training": notes})


def load_initial_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a deployable model, of a ``.pth`` (plain or under ``state_dict``), or of a ``last.pt``."""
    if path.suffix == ".onnx":
        return {name: torch.from_numpy(value.copy()) for name, value in load_weights(path)[0].items()}
    content = load_state(path)
    return content.get("state_dict", content.get("network", content))


def keep_config(config: PretrainConfig, folder: Path, changed: bool) -> None:
    """Write ``config`` into a new run folder; in an old one, check that it is the same.

    Raises:
        ValueError: it differs and ``changed`` is false.
    """
    path = folder / "config.yaml"
    if path.exists() and load_pretrain_config(path) != config and not changed:
        raise ValueError(
            f"{path} differs from --config: name another --out, or continue with other settings by --changed-config"
        )
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def train(config: PretrainConfig, folder: Path, context: ProcessContext, changed: bool = False) -> None:
    """Train, from ``folder/last.pt`` if it is there, until every phase is over.

    Args:
        config: the settings.
        folder: of the run.
        context: which process this is.
        changed: whether settings or pairs are others than before, so that earlier validations do not compare.
    """
    train_textures, held_out = split(open_library(config))
    training = Training(config, context)
    if (folder / "last.pt").exists():
        training.restore(load_state(folder / "last.pt"))
        if changed:
            training.best = math.inf
        LOGGER.info("resumed at step %d, %d samples", training.steps, training.samples)
    steps = schedule(config, context.world_size)[training.steps :]
    requests = BatchRequests([step.plan for step in steps], context.rank)
    pairs = SyntheticPairs(train_textures, config.seed, config.mixture, config.uses, config.pool)
    batches = load_batches(pairs, requests, config.workers)
    report = PretrainingLog(folder, training, len(steps)) if context.is_main else None
    validation_pairs = SyntheticPairs(held_out, VALIDATION_SEED)
    for step, batch in zip(steps, batches, strict=True):
        loss, error = training.step(step, batch)
        if report:
            report.step(step, loss, error)
            if training.steps % config.validation_every == 0 or step.ends_phase:
                report.validation(training.validate(validation_pairs), step.ends_phase)
            if training.steps % config.save_every == 0 or step.ends_phase:
                save_state(folder / "last.pt", training.state())
    if report:
        report.close()


class PretrainingLog:
    """Progress bar, TensorBoard, ``curve.csv`` and the exported weights of a run."""

    def __init__(self, folder: Path, training: Training, steps: int) -> None:
        self.folder = folder
        self.training = training
        self.writer = SummaryWriter(folder / "tensorboard", purge_step=training.samples)
        total = training.steps + steps
        interval = progress_interval()
        self.bar = tqdm(total=total, initial=training.steps, unit="step", mininterval=interval, dynamic_ncols=True)
        self.errors: list[Tensor] = []
        self.started, self.samples_before = time.monotonic(), training.samples

    def step(self, step: Step, loss: Tensor, error: Tensor) -> None:
        """Record one step; every 20 steps, show and log the mean."""
        self.errors.append(error)
        self.bar.update()
        if len(self.errors) < 20:
            return
        mean = torch.stack(self.errors).mean().item()
        self.errors.clear()
        samples = self.training.samples
        rate = (samples - self.samples_before) / (time.monotonic() - self.started)
        self.bar.set_postfix_str(f"{samples} samples, {rate:.1f}/s, EPE {mean:.2f} px, rate {step.learning_rate:.1e}")
        self.writer.add_scalar("train/epe", mean, samples)
        self.writer.add_scalar("train/loss", loss.item(), samples)
        self.writer.add_scalar("train/learning_rate", step.learning_rate, samples)
        self.writer.add_scalar("train/samples_per_second", rate, samples)

    def validation(self, errors: dict[str, float], ended_phase: int | None) -> None:
        """Log a validation and export the weights: as best if they are, and permanently at the end of a phase."""
        samples = self.training.samples
        for name, value in errors.items():
            self.writer.add_scalar(f"validation/{name}", value, samples)
        self._extend_curve(errors)
        self.training.export(self.folder / "last.pth", errors)
        if ended_phase:
            self.training.export(self.folder / f"phase{ended_phase}.pth", errors)
        if errors["mean"] < self.training.best:
            self.training.best = errors["mean"]
            self.training.export(self.folder / "best.pth", errors)
        self.bar.write(f"{samples} samples: validation EPE " + ", ".join(f"{k} {v:.3f}" for k, v in errors.items()))

    def _extend_curve(self, errors: dict[str, float]) -> None:
        """Add a row to ``curve.csv``, without rows that a killed run wrote after its last state."""
        curve = self.folder / "curve.csv"
        header = ["samples", *(f"{name}_epe" for name in errors)]
        samples = self.training.samples
        rows = list(csv.reader(curve.read_text().splitlines()))[1:] if curve.exists() else []
        rows = [row for row in rows if int(row[0]) < samples]
        rows.append([str(samples), *(f"{value:.4f}" for value in errors.values())])
        replace_file(curve, "".join(",".join(row) + "\n" for row in [header, *rows]).encode())

    def close(self) -> None:
        """Finish the bar and the events."""
        self.bar.close()
        self.writer.close()
