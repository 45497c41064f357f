# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Outputs of a pretraining run: progress bar, TensorBoard, ``curve.csv``, and exported weights."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mdflow_ros.core.atomic_files import replace_file
from mdflow_training.engine.log import progress_interval
from mdflow_training.pretraining.schedule import TrainingStep
from mdflow_training.pretraining.training import Training


class PretrainingLog:
    """Progress bar, TensorBoard, ``curve.csv`` and the exported weights of a run."""

    def __init__(self, folder: Path, training: Training, steps: int) -> None:
        self.folder = folder
        self.training = training
        self.writer = SummaryWriter(folder / "tensorboard", purge_step=training.samples)
        total = training.steps + steps
        interval = progress_interval()
        self.bar = tqdm(total=total, initial=training.steps, unit="step", mininterval=interval, dynamic_ncols=True)
        self.losses: list[Tensor] = []
        self.errors: list[Tensor] = []
        self.started, self.samples_before = time.monotonic(), training.samples

    def step(self, step: TrainingStep, loss: Tensor, error: Tensor) -> None:
        """Record one step; every 20 steps, show and log the means."""
        self.losses.append(loss)
        self.errors.append(error)
        self.bar.update()
        if len(self.errors) < 20:
            return
        mean_loss, mean = (torch.stack(values).mean().item() for values in (self.losses, self.errors))
        self.losses.clear()
        self.errors.clear()
        samples = self.training.samples
        rate = (samples - self.samples_before) / (time.monotonic() - self.started)
        self.bar.set_postfix_str(f"{samples} samples, {rate:.1f}/s, EPE {mean:.2f} px, rate {step.learning_rate:.1e}")
        self.writer.add_scalar("train/epe", mean, samples)
        self.writer.add_scalar("train/loss", mean_loss, samples)
        self.writer.add_scalar("train/learning_rate", step.learning_rate, samples)
        self.writer.add_scalar("train/samples_per_second", rate, samples)

    def validation(self, errors: dict[str, float], ended_phase: int | None) -> None:
        """Log a validation and export the weights.

        Args:
            errors: endpoint errors in pixels, from `Training.validate`; ``mean`` decides which weights are the best.
            ended_phase: number of the phase that this step ends; its weights are kept as ``phaseN.pth``. Else None.
        """
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
        """Add a row to ``curve.csv``, and remove rows that a killed run wrote after its last saved state."""
        curve = self.folder / "curve.csv"
        header = ["samples", *(f"{name}_epe" for name in errors)]
        samples = self.training.samples
        rows = list(csv.reader(curve.read_text().splitlines()))[1:] if curve.exists() else []
        rows = [row for row in rows if int(row[0]) < samples]
        rows.append([str(samples), *(f"{value:.4f}" for value in errors.values())])
        replace_file(curve, "".join(",".join(row) + "\n" for row in [header, *rows]).encode())

    def close(self) -> None:
        """Close the progress bar and the TensorBoard writer."""
        self.bar.close()
        self.writer.close()
