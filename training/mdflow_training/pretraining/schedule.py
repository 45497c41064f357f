# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule of a pretraining run: the pairs and the learning rate of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mdflow_training.settings.pretraining import Phase, PretrainConfig
from mdflow_training.synthetic.batches import BatchPlan


@dataclass(frozen=True)
class TrainingStep:
    """One step of pretraining.

    Attributes:
        phase: settings of its phase.
        plan: its pairs.
        learning_rate: learning rate of the optimizer.
        ends_phase: number of the phase (from 1) if this is its last step, else None.
    """

    phase: Phase
    plan: BatchPlan
    learning_rate: float
    ends_phase: int | None


def schedule(config: PretrainConfig, world_size: int) -> list[TrainingStep]:
    """Return all steps of a run; in each phase, the learning rate rises linearly and then falls along a cosine."""
    steps: list[TrainingStep] = []
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
            size = phase.second_size if phase.second_size and number % 2 else phase.size
            plan = BatchPlan(first, phase.batch, size)
            ends_phase = phase_number if number + 1 == count else None
            steps.append(TrainingStep(phase, plan, phase.learning_rate * factor, ends_phase))
            first += pairs
    return steps
