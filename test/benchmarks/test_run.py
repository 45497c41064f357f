# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The arithmetic and the page of the speed benchmark. The times themselves are not tested."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

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
    result = run.summarize(times, ["onnxruntime"])
    assert result[f"ratio of {run.TORCH} to {default}"] == 4.0
    assert result["surcharge of the confidence, onnxruntime"] == 0.25
    assert result[run.TORCH] == 400.0


def test_networks_of_other_packages_are_measured_where_installed(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    import speed_methods
    import torch

    class Network(torch.nn.Module):
        def forward(self, inputs):
            return inputs["images"].shape, torch.is_inference_mode_enabled()

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert speed_methods.peer_methods(run.Size(128, 128)) == {}
    monkeypatch.setitem(sys.modules, "ptlflow", SimpleNamespace(get_model={"fastflownet": Network()}.get))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ptlflow" or None)
    (work,) = speed_methods.peer_methods(run.Size(192, 128)).values()
    assert work() == ((1, 2, 3, 128, 192), True)


def test_the_table_replaces_what_stands_between_the_markers(run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{run.START}\nold\n{run.END}\nbelow\n")
    results = {
        "processor": "a processor",
        "threads": 2,
        "matrix_peak_gflops": {"fp32": 120.5, "bf16": 800.0},
        "peak_share": 0.25,
        "speed": {"320x256": {"DIS fast": 3.0}, "640x384": {"DIS fast": 9.0}},
        "node": {"320x256": {"rate_hz": 25.0}},
        "errors": {"balanced": {"chairs": 2.7}},
    }
    run.write_markdown(page, run.table(results))
    text = page.read_text()
    assert text.startswith("above\n") and text.endswith("below\n") and "old" not in text
    assert "reaches 120.5 Gflop/s in fp32, 800 Gflop/s in bf16" in text and "reaches 25% of the peak" in text
    assert "| DIS fast | 3.0 | 9.0 |" in text and "| 320x256 | 25.0 |" in text and "| balanced | 2.70 |" in text


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--threads", "0"], "0 is less than 1"),
        (["--data", "no_data"], "no_data"),
        (["--markdown", "no_page.md"], "no_page.md"),
        (["--markdown", "empty.md"], "lacks <!-- measured -->"),
        (["--plot", "plot.png"], "--plot needs the errors"),
        (["--compare", "no_checkout"], "no_checkout holds no mdflow_ros"),
        (["--out", "no_folder/speed.json"], "there is no folder no_folder"),
    ],
)
def test_what_would_fail_later_is_refused_before_anything_is_measured(
    run,
    arguments: list[str],
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run, "collect", lambda options: pytest.fail("it measures"))
    monkeypatch.chdir(tmp_path)
    Path("empty.md").touch()
    with pytest.raises(SystemExit):
        run.main(["--out", "speed.json", *arguments])
    assert fault in capsys.readouterr().err


def test_times_are_kept_if_the_errors_fail(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(data: Path, threads: int) -> dict[str, dict[str, float]]:
        raise RuntimeError("no errors")

    monkeypatch.setattr(run, "collect", lambda options: {"speed": 1})
    monkeypatch.setattr(run, "measure_errors", failing)
    with pytest.raises(RuntimeError):
        run.main(["--out", str(tmp_path / "speed.json"), "--data", "synthetic:1"])
    assert json.loads((tmp_path / "speed.json").read_text()) == {"speed": 1}


def test_workers_end_though_a_measurement_fails(run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Worker:
        def __init__(self, checkout: Path, threads: int) -> None:
            self.checkout = checkout

        def close(self) -> None:
            closed.append(self.checkout.name)

    def failing(*_: object) -> None:
        raise RuntimeError("the worker ended")

    closed: list[str] = []
    monkeypatch.setattr(run, "Worker", Worker)
    monkeypatch.setattr(run, "matrix_peak", lambda *_: {})
    monkeypatch.setattr(run, "working_backends", list)
    monkeypatch.setattr(run, "measure_speed", failing)
    with pytest.raises(RuntimeError, match="the worker ended"):
        run.collect(argparse.Namespace(quick=True, threads=1, compare=Path("other")))
    assert sorted(closed) == sorted([ROOT.name, "other"])


def test_the_worker_gives_each_tensorrt_engine_its_size(run, monkeypatch: pytest.MonkeyPatch) -> None:
    import worker

    made: list[tuple[str, object]] = []

    class Estimator:
        def __init__(self, backend: str, inference_size: object, options: object, quality: str) -> None:
            made.append((backend, inference_size))

        def encode(self, frame: object) -> object:
            return frame

        def estimate(self, older: object, newer: object, with_confidence: bool) -> None: ...

    monkeypatch.setattr(worker, "FlowEstimator", Estimator)
    monkeypatch.setattr(sys, "argv", ["worker.py", "1"])
    requests = [f"fast {backend} {size} 1" for backend in ("tensorrt", "openvino") for size in ("64x64", "128x64")]
    monkeypatch.setattr(sys, "stdin", requests)
    worker.main()
    assert made == [("tensorrt", (64, 64)), ("tensorrt", (128, 64)), ("openvino", None)]


def test_the_picture_shows_the_engines_that_were_measured(run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    speed = {run.ours_name(level, "onnxruntime-cuda", True): 5.0 for level in run.QUALITIES}
    errors = {name: {"chairs": 2.0} for name in (*run.QUALITIES, "dis_medium")}
    run.draw({"engines": ["onnxruntime-cuda"], "speed": {"640x384": speed}, "errors": errors}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
