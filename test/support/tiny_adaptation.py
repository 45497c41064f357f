# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapt the bundled teacher in a few steps. Tests run this file as a program, to kill it or start it twice."""

import sys
from pathlib import Path

import torch
from textured_pairs import pairs

import mdflow_ros
from mdflow_ros.model.weights import load_weights
from mdflow_training.adaptation.mutual_distillation import AdaptationResult, adapt
from mdflow_training.engine.distributed import setup, teardown
from mdflow_training.settings.adaptation import load_adaptation_config

SETTINGS = (
    "rounds=1",
    "control=false",
    "precision=float32",  # runs are compared bit by bit, or nearly so
    "validation.gate=false",
    "student.updates=2",
    *(f"stage{number}.optimization.steps=3" for number in (1, 2, 3)),
    *(f"stage{number}.optimization.batch_size=2" for number in (1, 2, 3)),
    "stage1.occlusion.start=0.3",
    "stage1.distillation.start=0.5",
    "execution.checkpoint_every=1",
    "execution.log_every=1",
)


def run(folder: Path, *changes: str) -> AdaptationResult:
    """Adapt the bundled teacher to three textured pairs, one thread per process."""
    torch.set_num_threads(1)
    frames = [pair.arrays() for pair in pairs(4, (128, 128), largest=3)]
    context = setup()
    try:
        weights, _ = load_weights(Path(mdflow_ros.__file__).parent / "model" / "teacher.onnx")
        state = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        return adapt(
            state, frames[:3], frames[3:], load_adaptation_config(None, [*SETTINGS, *changes]), folder, context
        )
    finally:
        teardown()


if __name__ == "__main__":
    run(Path(sys.argv[1]), *sys.argv[2:])
