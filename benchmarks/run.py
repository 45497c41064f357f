# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare the speed and the error of our quality levels and backends with OpenCV and eager torch.

    python benchmarks/run.py --quick --out speed.json            # a minute
    python benchmarks/run.py --out speed.json --markdown docs/benchmarks.md --data ../eval --plot docs/benchmarks.png
    python benchmarks/run.py --out speed.json --compare OTHER_CHECKOUT

All methods run in turn, so that other load on the machine affects all of them equally; ratios are medians over the
rounds. A time is the time for one frame of a stream: encode it, and estimate the flow from the previous frame to it.
``speedup_*`` is the time of eager torch (official arithmetic, both directions in one batch) divided by the time of the
default level (flow and confidence). Without ``--quick``, torchvision's raft_small and ptlflow's FastFlowNet are timed,
too, if they are installed. ``--compare`` also measures the default level of another checkout, and gives its time
divided by ours. Close all other programs first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import cpu_name, estimate_macs, matrix_peak
from speed_methods import (
    DEFAULT_LEVEL,
    REFERENCE_ENGINE,
    ROOT,
    TORCH,
    Worker,
    measure_speed,
    ours_name,
    summarize,
)
from speed_page import END, START, draw, table, write_markdown

from mdflow_ros.backends.selection import working_backends
from mdflow_ros.core.argument_types import at_least
from mdflow_ros.core.atomic_files import write_json
from mdflow_ros.core.resizing import Size
from mdflow_ros.quality import QUALITIES
from mdflow_training.commands.evaluate import find_data

SIZES = (Size(320, 256), Size(640, 384), Size(640, 480), Size(160, 128), Size(1280, 704))
"""A quick run measures the first two sizes only."""

MAX_PEER_SIDE = 640
"""Longest image side for other packages' networks: raft_small's time and memory grow with the square of the area."""

RATES, CAMERAS = (10.0, 30.0, 60.0), (2, 4)
"""Images a second for a single node; and numbers of nodes that run at the same time, each at the lowest rate."""


def measure_speeds(options: argparse.Namespace, sizes: Sequence[Size], engines: list[str]) -> dict[str, dict[str, Any]]:
    """Return the times of every method at every size, from `summarize`; the workers are closed even after an error."""
    speed = {}
    with (
        closing(Worker(ROOT, options.threads)) as ours,
        closing(Worker(options.compare.resolve(), options.threads)) if options.compare else nullcontext() as other,
    ):
        for size in sizes:
            with_peers = not options.quick and max(size) <= MAX_PEER_SIDE
            times = measure_speed(size, ours, other, engines, 5.0 if options.quick else 25.0, with_peers)
            speed[f"{size.width}x{size.height}"] = summarize(times, engines)
    return speed


def measure_node(sizes: tuple[Size, ...], pairs: int) -> dict[str, dict[str, float]]:
    """Return the metrics of the running node over DDS, at its highest rate."""
    return {f"{size.width}x{size.height}": _mean_of_nodes(1, size, None, pairs) for size in sizes}


def measure_loads(size: Size, pairs: int) -> dict[str, dict[str, float]]:
    """Return the metrics of nodes at a fixed rate of images: one node at several rates, and several nodes at once."""
    loads = [(1, rate) for rate in RATES] + [(count, RATES[0]) for count in CAMERAS]
    return {
        f"{size.width}x{size.height}, {count} x {rate:g} Hz": _mean_of_nodes(count, size, rate, pairs)
        for count, rate in loads
    }


def _mean_of_nodes(count: int, size: Size, rate: float | None, pairs: int) -> dict[str, float]:
    command = [sys.executable, str(ROOT / "benchmarks" / "node_load.py"), "--pairs", str(pairs)]
    command += ["--size", str(size.width), str(size.height), *(["--rate", str(rate)] if rate else [])]
    nodes = [
        subprocess.Popen([*command, "--namespace", f"/camera{number}"], stdout=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    metrics = [json.loads(node.communicate()[0].splitlines()[-1]) for node in nodes]
    return {name: round(float(np.mean([of_node[name] for of_node in metrics])), 2) for name in metrics[0]}


def measure_errors(data: Path, threads: int) -> dict[str, dict[str, float]]:
    """Return the endpoint error of each level and of OpenCV's methods, by data set, from `evaluate.py`."""
    errors: dict[str, dict[str, float]] = {}
    for quality in QUALITIES:
        report = ROOT / "build" / f"benchmark_{quality}.json"
        command = [sys.executable, ROOT / "training" / "evaluate.py", "--data", data, "--out", report]
        command += ["--quality", quality, "--backend", REFERENCE_ENGINE, "--threads", threads, "--baselines"]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        for name, metrics in json.loads(report.read_text())["sets"].items():
            errors.setdefault(quality, {})[name] = metrics["epe"]
            for baseline, values in metrics["baselines"].items():
                errors.setdefault(baseline, {})[name] = values["epe"]
    return errors


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    options = parse_arguments(arguments)
    cv2.setNumThreads(options.threads)
    results = collect(options)
    write_json(options.out, results)
    if options.data:
        results["errors"] = measure_errors(options.data, options.threads)
        write_json(options.out, results)
    if options.markdown:
        write_markdown(options.markdown, table(results))
    if options.plot:
        draw(results, options.plot)
    for name in ("speedup_640x384", "speedup_320x256", "confidence_surcharge", "peak_share", "rate_320x256_hz"):
        print(f"{name} {results[name]}")
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line; exit with an error now if an argument would only fail after all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="a minute: fewer rounds, two sizes, one node run")
    parser.add_argument("--threads", type=at_least(1), default=2, help="threads of every method; default: %(default)s")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout; its default level is measured in the same rounds",
    )
    parser.add_argument("--data", type=Path, help="data sets to measure the errors on, see training/evaluate.py")
    parser.add_argument("--markdown", type=Path, help="page in which to replace the table")
    parser.add_argument("--plot", type=Path, help="PNG to draw error against time into; needs --data")
    options = parser.parse_args(arguments)
    try:
        check_files(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return options


def check_files(options: argparse.Namespace) -> None:
    """Raise OSError or ValueError if a file or folder is missing that is read or written after the measurements."""
    if not options.out.absolute().parent.is_dir():
        raise ValueError(f"--out {options.out}: there is no folder {options.out.parent}; make it first")
    if options.compare and not (options.compare / "mdflow_ros").is_dir():
        raise ValueError(f"--compare {options.compare} holds no mdflow_ros; name the root of a checkout")
    if options.markdown and not (START in (page := options.markdown.read_text()) and END in page):
        raise ValueError(f"--markdown {options.markdown} lacks {START} or {END}; add both where the table goes")
    if options.plot and not options.data:
        raise ValueError("--plot needs the errors; give --data too")
    if options.plot and not options.plot.absolute().parent.is_dir():
        raise ValueError(f"--plot {options.plot}: there is no folder {options.plot.parent}; make it first")
    if options.data:
        find_data(str(options.data))


def collect(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all times; return the content of the JSON file, with empty ``errors``."""
    peak = matrix_peak(2.0 if options.quick else 6.0, options.threads)
    engines = working_backends()
    sizes = SIZES[:2] if options.quick else SIZES
    speed = measure_speeds(options, sizes, engines)
    node = measure_node(SIZES[:1] if options.quick else (SIZES[0], SIZES[2]), 30 if options.quick else 100)
    if not options.quick:
        node |= measure_loads(SIZES[0], 100)
    results: dict[str, Any] = {
        "processor": cpu_name(),
        "threads": options.threads,
        "engines": engines,
        "matrix_peak_gflops": {name: round(value, 1) for name, value in peak.items()},
        "speed": speed,
        "node": node,
        "errors": {},
    }
    default = ours_name(DEFAULT_LEVEL, REFERENCE_ENGINE, True)
    for size in SIZES[:2]:
        key = f"{size.width}x{size.height}"
        results[f"speedup_{key}"] = speed[key].get(f"ratio of {TORCH} to {default}")
    large = Size(640, 384)
    flops = 2 * estimate_macs(large, 1, QUALITIES[DEFAULT_LEVEL].decoding.level, encoded_images=1)
    seconds = speed["640x384"][ours_name(DEFAULT_LEVEL, REFERENCE_ENGINE, False)] / 1e3
    results["confidence_surcharge"] = speed["640x384"][f"surcharge of the confidence, {REFERENCE_ENGINE}"]
    results["peak_share"] = round(flops / seconds / 1e9 / peak["fp32"], 3)
    results["rate_320x256_hz"] = node["320x256"]["rate_hz"]
    return results


if __name__ == "__main__":
    sys.exit(main())
