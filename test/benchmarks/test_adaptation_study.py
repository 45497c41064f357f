# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The ablation study on a rendered world, with two steps per stage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from places import ROOT

from mdflow_training.commands.robot_world import main as robot_world
from mdflow_training.flow_files import write_flow

ROWS = ("before", "the preset", "upper bound: supervised by the ground truth")
SMALL = (
    *(f"stage{number}.optimization.{setting}" for number in (1, 2, 3) for setting in ("steps=2", "batch_size=1")),
    *("image_size=[128, 128]", "replay.image_size=[128, 128]", "replay.scenes=2", "replay.frames=2"),
)


def test_the_study_measures_every_row_on_the_recording_and_on_other_scenes(tmp_path: Path) -> None:
    world, others = tmp_path / "world", tmp_path / "data" / "others"
    assert robot_world(["--out", str(world), "--frames", "32"]) == 0
    assert robot_world(["--out", str(world), "--match", f"images:{world / 'frames'}"]) == 0
    others.mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(others / f"pair_img{number}.png"), np.full((128, 128, 3), 90 * number, np.uint8))
    write_flow(others / "pair_flow.flo", np.zeros((128, 128, 2), np.float32))

    command = [
        sys.executable,
        ROOT / "benchmarks" / "adaptation_study.py",
        world / "frames",
        "--out",
        tmp_path / "study",
    ]
    command += ["--ground-truth", world / "truth_of_recording", "--seeds", "0", "--data", tmp_path / "data"]
    command += ["--only", *ROWS, *(argument for change in SMALL for argument in ("--set", change))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert result.returncode == 0, result.stderr
    errors = json.loads((tmp_path / "study" / "seed0" / "errors.json").read_text())
    assert set(errors) == set(ROWS)
    assert set(errors["the preset"]) == {"stage1", "student", "stage3", "control", "others"}
    assert all(row["stage3"] > 0 and "others" in row for row in errors.values())
    assert all(f"| {row} |" in result.stdout for row in ROWS)
