# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU check on a stand-in for the GPU: the measured values mean nothing, but the files are checked."""

import json
import math
import operator
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")

from places import ROOT
from stand_in_gpu import GPU, StandInCuda, count_builds, stand_in_tensorrt

from mdflow_ros.backends.tensorrt import backend as tensorrt_backend
from mdflow_ros.backends.tensorrt import cuda_driver, cuda_memory
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.model.graphs import PARTS, ModelGraphs
from mdflow_ros.quality import QUALITIES
from mdflow_training.flow_files import write_flow

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu_check


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    texture = cv2.resize(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8), (132, 68))
    for number, offset in ((1, 4), (2, 2)):
        cv2.imwrite(str(folder / f"frame{number}.png"), texture[:64, offset : offset + 128])
    write_flow(folder / "flow1.flo", np.full((64, 128, 2), (2, 0), np.float32))
    return folder


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    cuda = StandInCuda()
    for module in (tensorrt_backend, gpu_check):
        monkeypatch.setattr(module, "load_tensorrt", lambda: (stand_in_tensorrt(cuda), GPU))
    monkeypatch.setattr(cuda_memory, "runtime", cuda)
    monkeypatch.setattr(gpu_check, "AGREEMENT_SIZE", (128, 64))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    count_builds(monkeypatch)
    return cuda


def check(tmp_path, pairs, *arguments):
    out = tmp_path / "out"
    code = gpu_check.main(["--pairs", str(pairs), "--out", str(out), "--seconds", "0", *arguments])
    return code, json.loads((out / "gpu_check.json").read_text()), (out / "gpu_check.md").read_text()


def test_it_measures_each_configuration_and_compares_one(gpu, pairs, tmp_path):
    code, report, table = check(tmp_path, pairs, "--only", "128x64,fp32", "64x64,fp16")
    assert code == 0
    assert report["machine"]["gpu"] == "Stand-in"
    assert report["left_out"] == []
    large, small = report["measurements"]
    assert (large["size"], large["precision"]) == ("128x64", "fp32")
    assert large["latency"]["p95"] >= large["latency"]["p50"] > 0
    assert 0 < large["latency"]["copy_share"] < 1
    # What goes into and comes out of the three engines, once on the device and once pinned.
    graphs = ModelGraphs(BUNDLED_MODEL, QUALITIES["best"].decoding, Size(128, 64))
    ends = [value for part in PARTS for graph in (graphs.write(part).graph,) for value in (*graph.input, *graph.output)]
    sizes = [math.prod(length.dim_value for length in value.type.tensor_type.shape.dim) for value in ends]
    widths = [1 if value.name == "image" else 4 for value in ends]
    assert large["memory_megabytes"] == round(2 * sum(map(operator.mul, sizes, widths)) / 1e6, 1)
    assert large["agreement"]["pairs"] == 1
    assert large["agreement"]["largest_distance"] < 1e-3
    assert abs(large["agreement"]["error_difference"]) < 1e-3
    assert small["agreement"] is None
    assert [line.split(" | ")[0] for line in table.splitlines() if "64" in line][-2:] == ["| 128x64", "| 64x64"]
    assert not gpu.live


def test_what_the_time_does_not_allow_is_said(gpu, pairs, tmp_path):
    code, report, table = check(tmp_path, pairs, "--budget", "0", "--only", "64x64,fp32", "128x64,fp32")
    assert code == 0
    assert [measurement["size"] for measurement in report["measurements"]] == ["64x64"]
    assert report["left_out"] == ["128x64 fp32: 0 s are over; engines are cached, so run this again"]
    assert "Not measured: 128x64 fp32" in table


def test_other_backends_are_measured_in_their_one_precision(pairs, tmp_path):
    arguments = ("--backend", "onnxruntime", "--only", "64x64,fp16", "64x64,fp32")
    code, report, _ = check(tmp_path, pairs, *arguments)
    assert code == 0
    (measurement,) = report["measurements"]
    assert measurement["precision"] == "fp32"
    assert measurement["memory_megabytes"] is measurement["latency"]["copy_share"] is None


def test_without_a_gpu_no_figure_is_written(monkeypatch, pairs, tmp_path, capsys):
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", "libno-such-driver.so.1")
    assert gpu_check.main(["--pairs", str(pairs), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("nothing was measured: there is no NVIDIA driver here")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pairs_is_refused(gpu, tmp_path, capsys):
    assert gpu_check.main(["--pairs", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "no images with their flow" in capsys.readouterr().err


def test_the_script_runs_from_anywhere(tmp_path):
    script = subprocess.run([BENCHMARKS / "gpu_check.sh", "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert script.returncode == 0
    assert "--pairs" in script.stdout


def test_the_script_finds_files_from_where_it_is_called(pairs, tmp_path):
    command = [BENCHMARKS / "gpu_check.sh", "--backend", "onnxruntime", "--seconds", "0", "--only", "64x64,fp32"]
    command += ["--pairs", pairs.name, "--out", "here"]
    script = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert script.returncode == 0, script.stderr
    assert (tmp_path / "here" / "gpu_check.md").is_file()


def test_where_there_is_no_tensorrt_onnx_runtime_on_the_gpu_is_checked(monkeypatch):
    monkeypatch.setattr(gpu_check, "working_backends", lambda: ["onnxruntime", "onnxruntime-cuda", "openvino"])
    assert gpu_check.gpu_backend() == "onnxruntime-cuda"
    monkeypatch.setattr(gpu_check, "working_backends", lambda: ["onnxruntime"])
    assert gpu_check.gpu_backend() == "tensorrt"
