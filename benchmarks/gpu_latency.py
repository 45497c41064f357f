# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how long a backend takes for a new frame of a stream, and which share of that time is copying."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Backend

WARM_UP_RUNS = 10
MIN_RUNS = 20


@dataclass(frozen=True)
class Latency:
    """Times in milliseconds from a new uint8 image in the host's memory to its flow there.

    Attributes:
        p50: median.
        p95: 95th percentile.
        frames_per_second: rate if frames are processed one after the other, as in a node.
        runs: number of measured frames.
        copy_share: share of the median that the copies between host and GPU take; ``None`` if it cannot be measured.
    """

    p50: float
    p95: float
    frames_per_second: float
    runs: int
    copy_share: float | None = None


def measure_latency(
    backend: Backend, images: NDArray[np.uint8], with_confidence: bool, seconds: float, warm_up_runs: int = WARM_UP_RUNS
) -> Latency:
    """Encode the second image and decode the pair for ``seconds`` after a warm-up, but at least `MIN_RUNS` times."""
    mean = np.full((1, 3), 0.5, np.float32)
    first = backend.encode(images[0], mean)
    times = _time(
        lambda: backend.decode(first, backend.encode(images[1], mean), with_confidence), seconds, warm_up_runs
    )
    p50, p95 = np.percentile(times, (50, 95))
    copies = _time_copies(backend, with_confidence, seconds / 4)
    return Latency(
        p50=round(p50, 3),
        p95=round(p95, 3),
        frames_per_second=round(1000 / float(np.mean(times)), 1),
        runs=len(times),
        copy_share=None if copies is None else round(copies / p50, 3),
    )


def _time(work: Callable[[], object], seconds: float, warm_up_runs: int) -> list[float]:
    """Return the milliseconds that each of many runs took."""
    for _ in range(warm_up_runs):
        work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < MIN_RUNS or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begin))
    return times


def _time_copies(backend: Backend, with_confidence: bool, seconds: float) -> float | None:
    """Return the median milliseconds of the copies without the network; None for all backends but TensorRT."""
    runners = getattr(backend, "runners", None)
    if runners is None:
        return None
    used = (runners["encoder"], runners["decoder-both" if with_confidence else "decoder"])

    def copy() -> None:
        for runner in used:
            runner.enqueue_upload()
            runner.enqueue_download()
            runner.stream.synchronize()

    return float(np.median(_time(copy, seconds, WARM_UP_RUNS)))
