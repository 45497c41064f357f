# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Every import of the benchmarks works. They are run by hand, so without this test a moved name would show late."""

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


@pytest.mark.parametrize(
    ("name", "arguments", "fault"),
    [
        ("node_load", ["--pairs", "6"], "6 is less than 7"),
        ("node_load", ["--rate", "0"], "0 is not a number above 0"),
        ("soak", ["--minutes", "2"], "2 is less than 3"),
        ("soak", ["--rate", "-1"], "-1 is not a number above 0"),
    ],
)
def test_too_little_to_measure_is_refused_before_the_run(
    name: str,
    arguments: list[str],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="benchmark")["main"](arguments)
    assert fault in capsys.readouterr().err
