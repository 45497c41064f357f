# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the peak rate of the machine, and count the operations of the network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.architecture import COARSEST_LEVEL, FINEST_LEVEL, parameter_shapes

MATRIX_SIDES = (512, 1024, 2048)


def matrix_peak(seconds: float, threads: int) -> dict[str, float]:
    """Return the best rate of a matrix product in Gflop/s, by precision; a multiply-add counts as two operations.

    bf16 is left out where the CPU has no instruction for it.
    """
    import torch

    torch.set_num_threads(threads)
    precisions = {"fp32": torch.float32}
    if {"avx512_bf16", "amx_bf16", "bf16"} & _cpu_flags():
        precisions["bf16"] = torch.bfloat16
    share = seconds / len(precisions) / len(MATRIX_SIDES)
    return {
        name: max(_product_rate(torch.rand(side, side).to(kind), share) for side in MATRIX_SIDES)
        for name, kind in precisions.items()
    }


def _product_rate(matrix: object, seconds: float) -> float:
    import torch

    assert isinstance(matrix, torch.Tensor)
    out, best = torch.empty_like(matrix), float("inf")
    torch.mm(matrix, matrix, out=out)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(matrix, matrix, out=out)
        best = min(best, time.perf_counter() - start)
    return float(2 * len(matrix) ** 3 / best / 1e9)


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}


def cpu_name() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def convolution_macs(size: Size) -> dict[str, float]:
    """Return the multiply-adds of the convolutions for one direction, by part.

    The parts are ``pyramid`` (both images), and ``decoder6`` to ``decoder2``, each with all convolutions of its level.
    """
    parts = {"pyramid": 0.0, **{f"decoder{level}": 0.0 for level in range(COARSEST_LEVEL, FINEST_LEVEL - 1, -1)}}
    for part, level, weights, images in _layers():
        parts[part] += images * weights * size[0] * size[1] / 4**level
    return parts


def _layers() -> Iterator[tuple[str, int, int, int]]:
    """Yield for each layer: its part, the level of its output, multiply-adds per output pixel, number of images."""
    for name, shape in parameter_shapes().items():
        if not name.endswith("weight"):
            continue
        weights = shape[0] * shape[1] * shape[2] * shape[3]
        layer = name.split(".")[0]
        if layer.startswith("pconv"):
            yield "pyramid", int(layer[5]), weights, 2
        elif layer.startswith("up"):  # a transposed convolution works at its input's level
            yield f"decoder{int(layer[2]) - 1}", int(layer[2]), weights, 1
        else:
            yield f"decoder{layer[-1]}", int(layer[-1]), weights, 1


def estimate_macs(size: Size, directions: int, finest_level: int = FINEST_LEVEL, encoded_images: int = 2) -> float:
    """Return the multiply-adds of an estimate that decodes ``directions`` down to ``finest_level``.

    In a stream, only one of the two images has to be encoded: the other one was part of the previous pair.
    """
    macs = convolution_macs(size)
    decoders = sum(macs[f"decoder{level}"] for level in range(finest_level, COARSEST_LEVEL + 1))
    return encoded_images / 2 * macs["pyramid"] + directions * decoders
