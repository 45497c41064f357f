# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The methods whose speed `run.py` compares, and their times at one image size."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from interleaving import Times, interleave, median_ratio, timed
from numpy.typing import NDArray
from official_torch import OfficialFastFlowNet
from worker import frames_of

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.quality import QUALITIES
from mdflow_training.evaluation.baselines import farneback_of_gray

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_LEVEL, REFERENCE_ENGINE = "balanced", "onnxruntime"
RAFT_SMALL = "torchvision raft_small, 12 updates, eager torch"
PTLFLOW = "ptlflow FastFlowNet, one direction, eager torch"
TORCH, OTHER_CHECKOUT = "eager torch, both directions", "default of the other checkout"
PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class Worker:
    """A process that times the estimator of one checkout.

    Args:
        checkout: root of the checkout.
        threads: number of threads of OpenCV and of the backend.
    """

    def __init__(self, checkout: Path, threads: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, str(ROOT / "benchmarks" / "worker.py"), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
        )

    def time(self, quality: str, backend: str, size: Size, with_confidence: bool) -> float:
        """Return the seconds that a frame takes."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = f"{quality} {backend} {size.width}x{size.height} {int(with_confidence)}"
        print(request, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker stopped at '{request}'; its error is printed above")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def opencv_methods(size: Size) -> dict[str, Callable[[], object]]:
    """Return OpenCV's methods on a pair of this size."""
    first, second = (np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in frames_of(*size)[:2])
    methods: dict[str, Callable[[], object]] = {}
    for name, preset in PRESETS.items():
        dis = cv2.DISOpticalFlow.create(preset)
        methods[f"DIS {name}"] = partial(dis.calc, first, second, None)
        methods[f"DIS {name}, both directions"] = partial(_both_directions, dis, first, second)
    methods["Farneback"] = partial(farneback_of_gray, first, second)
    return methods


def _both_directions(dis: cv2.DISOpticalFlow, first: NDArray[Any], second: NDArray[Any]) -> None:
    dis.calc(first, second, None)  # type: ignore[call-overload]
    dis.calc(second, first, None)  # type: ignore[call-overload]


def peer_methods(size: Size) -> dict[str, Callable[[], object]]:
    """Return the networks of torchvision and ptlflow, if these are installed, on a pair of this size.

    Their weights are random, because weights do not change the time.
    """
    pair = torch.stack([torch.from_numpy(frame).permute(2, 0, 1) / 255 for frame in frames_of(*size)[:2]])[None]
    methods: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("torchvision") is not None:
        from torchvision.models.optical_flow import raft_small

        methods[RAFT_SMALL] = partial(_infer, raft_small(weights=None).eval(), *(2 * pair - 1).unbind(1))
    if importlib.util.find_spec("ptlflow") is not None:
        import ptlflow

        methods[PTLFLOW] = partial(_infer, ptlflow.get_model("fastflownet").eval(), {"images": pair})
    return methods


@torch.inference_mode()
def _infer(network: torch.nn.Module, *inputs: object) -> object:
    return network(*inputs)


def measure_speed(
    size: Size, ours: Worker, other: Worker | None, engines: list[str], seconds: float, with_peers: bool
) -> Times:
    """Return the seconds of every method at one size, round by round."""
    torch_pair = frames_of(*size)[:2]
    official = OfficialFastFlowNet(BUNDLED_MODEL)
    methods = {name: timed(work) for name, work in opencv_methods(size).items()}
    if size.width % 64 == 0 and size.height % 64 == 0:
        methods[TORCH] = timed(lambda: official.both_directions(*torch_pair))
    if with_peers:
        methods |= {name: timed(work) for name, work in peer_methods(size).items()}
    for engine in engines:
        for quality in QUALITIES:
            for confidence in (True, False):
                request = (quality, engine, size, confidence)
                methods[ours_name(quality, engine, confidence)] = partial(ours.time, *request)
    if other is not None:
        methods[OTHER_CHECKOUT] = lambda: other.time(DEFAULT_LEVEL, REFERENCE_ENGINE, size, True)
    return interleave(methods, seconds)


def ours_name(quality: str, engine: str, with_confidence: bool) -> str:
    """Return the name of one of our methods in the tables."""
    return f"{quality}, {engine}, {'flow and confidence' if with_confidence else 'flow alone'}"


def summarize(times: Times, engines: list[str]) -> dict[str, Any]:
    """Return medians in milliseconds, and ratios to the baselines."""
    result: dict[str, Any] = {name: round(1e3 * float(np.median(values)), 2) for name, values in times.items()}
    for engine in engines:
        name = ours_name(DEFAULT_LEVEL, engine, True)
        for other in (TORCH, OTHER_CHECKOUT):
            if other in times:
                result[f"ratio of {other} to {name}"] = round(median_ratio(times, other, name), 2)
        surcharge = median_ratio(times, name, ours_name(DEFAULT_LEVEL, engine, False)) - 1
        result[f"surcharge of the confidence, {engine}"] = round(surcharge, 3)
    return result
