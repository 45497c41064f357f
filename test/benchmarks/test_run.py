# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's arithmetic and page; the times themselves are measured by hand, in a quiet moment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from places import ROOT

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")
pytest.importorskip("torch", reason="eager torch is one of the methods")


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    request.addfinalizer(lambda: sys.path.remove(str(ROOT / "benchmarks")))
    import run

    return run


def test_methods_take_turns_and_each_round_begins_with_another(run) -> None:
    from interleaving import interleave

    order: list[str] = []

    def method(name: str, seconds: float):
        return lambda: (order.append(name), seconds)[1]

    times = interleave({"a": method("a", 1.0), "b": method("b", 2.0)}, seconds=0, min_rounds=2, warm_up=0)
    assert order == ["a", "b", "b", "a"] and times == {"a": [1.0, 1.0], "b": [2.0, 2.0]}


def test_ratios_are_medians_of_rounds(run) -> None:
    default, alone = (run.ours_name("balanced", "onnxruntime", confidence) for confidence in (True, False))
    times = {run.TORCH: [0.3, 0.4, 9.0], default: [0.1, 0.1, 0.1], alone: [0.08, 0.08, 0.08]}
    result = run.summarize(run.Size(640, 384), times, ["onnxruntime"])
    assert result[f"ratio of {run.TORCH} to {default}"] == 4.0
    assert result["surcharge of the confidence, onnxruntime"] == 0.25
    assert result[run.TORCH] == 400.0


def test_the_table_replaces_what_stands_between_the_markers(run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{run.START}\nold\n{run.END}\nbelow\n")
    results = {
        "processor": "a processor",
        "threads": 2,
        "speed": {"320x256": {"DIS fast": 3.0}, "640x384": {"DIS fast": 9.0}},
        "node": {"320x256": {"rate_hz": 25.0}},
        "errors": {"balanced": {"chairs": 2.7}},
    }
    run.write_markdown(page, run.table(results))
    text = page.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and "old" not in text
    assert "| DIS fast | 3.0 | 9.0 |" in text and "| 320x256 | 25.0 |" in text and "| balanced | 2.70 |" in text
