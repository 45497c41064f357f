# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop of an adaptation's stages: steps, schedule, clipping, guards, exact resume, log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdflow_ros.core.resizing import Size
from mdflow_ros.quality import QUALITIES, Quality, choose_quality
from mdflow_training.engine.batches import Batch, FramePairs, PairBatches
from mdflow_training.engine.checkpoint import load_state, save_state
from mdflow_training.engine.distributed import ProcessContext, reduce_mean, wrap
from mdflow_training.engine.guards import Guards
from mdflow_training.engine.log import StageLog
from mdflow_training.engine.precision import autocast_type
from mdflow_training.engine.weight_update import WeightUpdate
from mdflow_training.networks.flow_network import FlowNetwork
from mdflow_training.settings.adaptation import AdaptationConfig, OptimizationSettings

State = dict[str, Tensor]

GOOD_STATE_INTERVAL = 50
"""Steps between two good states in memory. When a guard stops a stage, the stage returns to the last good state."""


class Outcome(NamedTuple):
    """The loss and metrics of a batch."""

    loss: Tensor
    """The loss to minimize: a scalar, the mean over this process's samples."""
    metrics: dict[str, Tensor]
    """Scalars to log; always includes ``visible``, the share of pixels that count as visible."""
    draw: Callable[[], NDArray[np.uint8]]
    """Draws a panel, see `mdflow_training.adaptation.panels`."""
    ramped_weight: float = 0.0
    """Current weight of the ramped loss term; losses with different weights are not comparable."""


class Objective(Protocol):
    """The loss function of a stage, with its state."""

    def __call__(self, network: nn.Module, batch: Batch, progress: float) -> Outcome:
        """Return the loss of ``network`` (a `FlowNetwork`, maybe wrapped) on a batch.

        ``progress`` is the share of the stage that is done, in [0, 1].
        """

    def observe(self, metrics: dict[str, float], progress: float) -> None:
        """Record the metrics of a step, averaged over all processes."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state for an exact resume."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""


@dataclass(frozen=True)
class Run:
    """Settings and data that the stages of an adaptation share.

    Attributes:
        config: all settings.
        folder: the run folder; with several machines, on shared storage.
        context: this process.
        pairs: the pairs to train on.
        size: image size of the training.
        on_checkpoint: called in the main process whenever a stage has saved its state.
    """

    config: AdaptationConfig
    folder: Path
    context: ProcessContext
    pairs: FramePairs
    size: Size
    on_checkpoint: Callable[[], None] = lambda: None

    @property
    def quality(self) -> Quality:
        """The node's quality to train for."""
        return quality_of(self.config, self.context)

    @property
    def autocast(self) -> torch.dtype | None:
        """The type of mixed precision, or None."""
        return autocast_type(self.config.precision, self.context.device)


def quality_of(config: AdaptationConfig, context: ProcessContext) -> Quality:
    """Return the node's quality to train for."""
    return QUALITIES[choose_quality(config.quality, context.device.type == "cuda")]


class StageResult(NamedTuple):
    """The result of a stage."""

    state: State
    """The trained network's core, on the CPU: after the last step, or the last good one."""
    stopped: str | None
    """Why a guard stopped the stage before its end, or None."""
    steps: int
    """Updates that went into ``state``."""


def learning_rate(settings: OptimizationSettings, step: int) -> float:
    """Return the learning rate of a step: linear warm-up, then linear decay."""
    progress = step / settings.steps
    if progress < settings.warm_up:
        return settings.learning_rate * (step + 1) / (settings.warm_up * settings.steps + 1)
    decay = (progress - settings.warm_up) / max(1 - settings.warm_up, 1e-9)
    return settings.learning_rate * (1 + (settings.final_learning_rate - 1) * decay)


def run_stage(
    name: str, network: FlowNetwork, objective: Objective, settings: OptimizationSettings, seed: int, run: Run
) -> StageResult:
    """Train ``network``, resume an interrupted stage, or return the result of a complete one.

    Args:
        name: name of the stage, unique in the run, for example ``round1/stage2``.
        network: the network with its initial weights, on the run's device; it receives the resulting weights.
        objective: the loss function.
        settings: settings of the optimizer.
        seed: decides the order of the pairs.
        run: settings and data that the stages share.
    """
    folder = run.folder / name
    finished = folder / "result.pt"
    if finished.exists():
        stored = load_state(finished)
        result = StageResult(stored["state"], stored["stopped"], stored["steps"])
    else:
        result = _Loop(name, network, objective, settings, run).train(seed)
        if run.context.is_main:
            save_state(finished, result._asdict())
            (folder / "checkpoint.pt").unlink(missing_ok=True)
            run.on_checkpoint()
    network.core.load_state_dict(result.state)
    return result


class _Loop:
    """One stage while it runs: its network, optimizer, guards and log, and the last good state."""

    def __init__(
        self, name: str, network: FlowNetwork, objective: Objective, settings: OptimizationSettings, run: Run
    ) -> None:
        self.name, self.network, self.objective, self.settings, self.run = name, network, objective, settings, run
        self.folder = run.folder / name
        self.checkpoint = self.folder / "checkpoint.pt"
        network.train()
        float16 = network.autocast is torch.float16
        self.update = WeightUpdate(network, settings.optimizer, settings.weight_decay, settings.gradient_clip, float16)
        self.guards = Guards(run.config.guards)
        self.step = 0
        self.good = StageResult(self._core_state(), None, 0)
        log_state = self._resume() if self.checkpoint.exists() else None
        events = run.folder / "tensorboard" / name
        self.log = StageLog(name, self.folder, events, run.context, self.step, settings.steps, settings.batch_size)
        if log_state is not None:
            self.log.load_state_dict(log_state)

    def train(self, seed: int) -> StageResult:
        """Run the remaining steps."""
        execution = self.run.config.execution
        wrapped = wrap(self.network)
        batches = PairBatches(
            self.run.pairs, self.run.size, self.settings.batch_size, seed, self.run.context, execution.workers
        )
        with self.log:
            for batch in batches.steps(self.step, self.settings.steps):
                stopped = self._train_step(wrapped, batch)
                if stopped is not None:
                    self.log.write(self.step)
                    return self._go_back(stopped)
                self.step += 1
                if self.step % execution.log_every == 0 or self.step == self.settings.steps:
                    self.log.write(self.step)
                if self.step % GOOD_STATE_INTERVAL == 0 or self.step == self.settings.steps:
                    state = self._core_state()
                    if not all(bool(value.isfinite().all()) for value in state.values()):
                        return self._go_back("the weights are not finite; lower the learning rate")
                    self.good = StageResult(state, None, self.step)
                if self.step % execution.checkpoint_every == 0:
                    self._save()
        return StageResult(self._core_state(), None, self.step)

    def _go_back(self, reason: str) -> StageResult:
        """Return the last good state, with the reason why the stage stopped."""
        return self.good._replace(stopped=f"{self.name} stopped at step {self.step}: {reason}")

    def _train_step(self, wrapped: nn.Module, batch: Batch) -> str | None:
        """Update the network once; return why a guard stopped it, or None."""
        progress = self.step / self.settings.steps
        rate = learning_rate(self.settings, self.step)
        outcome = self.objective(wrapped, batch, progress)
        metrics = self._reduce({"loss": outcome.loss, **outcome.metrics})
        stopped = self.guards.check(metrics["loss"], metrics["visible"], outcome.ramped_weight)
        if stopped is not None:
            return stopped
        norm = self.update.compute_gradient(outcome.loss)
        if (stopped := self.guards.check_gradient(norm, self.update.float16)) is not None:
            return stopped
        self.update.step(rate)
        self.objective.observe(metrics, progress)
        self.log.step({**metrics, "gradient_norm": norm, "learning_rate": rate})
        if self.run.context.is_main and self.step % self.run.config.execution.panel_every == 0:
            self.log.panel(outcome.draw(), self.step)
        return None

    def _reduce(self, metrics: dict[str, Tensor]) -> dict[str, float]:
        values = reduce_mean(torch.stack([value.detach().float() for value in metrics.values()])).tolist()
        return dict(zip(metrics, values, strict=True))

    def _core_state(self) -> State:
        return {name: value.detach().cpu().clone() for name, value in self.network.core.state_dict().items()}

    def _save(self) -> None:
        if not self.run.context.is_main:
            return
        save_state(
            self.checkpoint,
            {
                "step": self.step,
                "network": self._core_state(),
                "good": self.good._asdict(),
                **self.update.state_dict(),
                "objective": self.objective.state_dict(),
                "guards": self.guards.state_dict(),
                "log": self.log.state_dict(),
            },
        )
        self.run.on_checkpoint()

    def _resume(self) -> dict[str, Any]:
        state = load_state(self.checkpoint)
        self.step = state["step"]
        self.network.core.load_state_dict(state["network"])
        # Checkpoints of earlier versions have no good state; the checkpoint itself is used instead.
        self.good = StageResult(**state.get("good", {"state": state["network"], "stopped": None, "steps": self.step}))
        self.update.load_state_dict(state)
        self.objective.load_state_dict(state["objective"])
        self.guards.load_state_dict(state["guards"])
        return dict(state["log"])
