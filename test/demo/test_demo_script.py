# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""scripts/demo.sh as a user runs it, with the real node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest
from places import ROOT
from process_helpers import processes_with

FRAMES = 20

pytestmark = pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv" or not (ROOT / ".venv" / "mdflow_setup.stamp").exists(),
    reason="needs the .venv that scripts/setup.sh makes",
)


@pytest.fixture
def clip(tmp_path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    texture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (128, 192, 3), np.uint8), (0, 0), 2)
    for index in range(FRAMES):
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.roll(texture, 2 * index, 1))
    return folder


def start(clip: Path, output: Path, mark: str, rate: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ROOT / "scripts" / "demo.sh", clip],
        env={**os.environ, "DEMO_OUTPUT": str(output), "DEMO_RATE": str(rate), "DEMO_TEST_MARK": mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_shows_flow_and_leaves_nothing_behind(clip, tmp_path):
    mark, output = uuid.uuid4().hex, tmp_path / "output"
    process = start(clip, output, mark, rate=5)
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0, text
    summary = json.loads((output / "summary.json").read_text())
    assert 0 < summary["pairs_received"] < FRAMES
    assert summary["pairs_received"] >= 0.95 * summary["pairs_computed"]
    assert summary["backend"] and len(summary["model_sha256"]) == 64
    assert {path.name for path in output.iterdir()} >= {"contact_sheet.png", "flow.mp4", "summary.json"}
    assert processes_with(mark) == []


def test_an_interrupted_demo_writes_what_it_has_and_leaves_no_process(clip, tmp_path):
    mark, output = uuid.uuid4().hex, tmp_path / "output"
    process = start(clip, output, mark, rate=3)
    for line in process.stdout:
        if "pairs" in line:
            break
    assert len(processes_with(mark)) >= 4, "the script, the node, the player and the recorder"
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert (output / "contact_sheet.png").exists()
    assert "Traceback" not in text
    assert processes_with(mark) == []
