# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks run by hand, so a name that moved would be noticed late."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from places import ROOT

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")
pytest.importorskip("torch", reason="needs torch")


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_name_that_a_benchmark_imports_exists(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(path.parent), *sys.path])
    runpy.run_path(str(path), run_name="benchmark")
