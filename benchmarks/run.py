# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure the speed and the error of our levels and engines beside OpenCV and eager torch.

    python benchmarks/run.py --quick --out speed.json            # a minute
    python benchmarks/run.py --out speed.json --markdown docs/benchmarks.md --data ../eval --plot docs/benchmarks.png
    python benchmarks/run.py --out speed.json --compare OTHER_CHECKOUT

All methods run interleaved, so that other load on the machine affects all of them equally; ratios are medians over
the rounds. A time is that of one frame of a stream: encoding it and estimating the flow from the frame before.
``speedup_*`` is the time of eager torch (official arithmetic, both directions in one batch) divided by that of the
default level (flow and confidence). ``--compare`` adds the default of another checkout, and its time divided by ours.
Close everything else first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from interleaving import Times, interleave, median_ratio, timed
from machine import cpu_name, estimate_macs, matrix_peak
from numpy.typing import NDArray
from official_torch import OfficialFastFlowNet
from torchvision.models.optical_flow import raft_small
from worker import frames_of

from mdflow_ros.backends.selection import working_backends
from mdflow_ros.core.argument_types import at_least
from mdflow_ros.core.atomic_files import replace_file, write_json
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.quality import QUALITIES
from mdflow_training.commands.evaluate import find_data
from mdflow_training.evaluation.baselines import farneback_of_gray

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_LEVEL, REFERENCE_ENGINE = "balanced", "onnxruntime"
RAFT_SMALL = "torchvision raft_small, 12 updates, eager torch"
TORCH, OTHER_CHECKOUT = "eager torch, both directions", "default of the other checkout"
SIZES = (Size(320, 256), Size(640, 384), Size(640, 480), Size(160, 128), Size(1280, 704))
"""The first two are those of a quick run."""

MAX_RAFT_SIDE = 640
"""Longest side of images that raft_small runs on: its time and memory grow with the square of the area."""

RATES, CAMERAS = (10.0, 30.0, 60.0), (2, 4)
"""Images a second that one node gets, and how many nodes get the lowest of these rates at once."""

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
START, END = "<!-- measured -->", "<!-- /measured -->"


class Worker:
    """A process that times the estimator of one checkout.

    Args:
        checkout: its root.
        threads: of everything in it.
    """

    def __init__(self, checkout: Path, threads: int) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, str(ROOT / "benchmarks" / "worker.py"), str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
        )

    def time(self, quality: str, backend: str, size: Size, with_confidence: bool) -> float:
        """Return the seconds of a frame."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = f"{quality} {backend} {size.width}x{size.height} {int(with_confidence)}"
        print(request, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended at '{request}'; see its error above")
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


def raft_small_method(size: Size) -> Callable[[], object]:
    """Return torchvision's raft_small on a pair of this size; its weights do not change the time."""
    network = raft_small(weights=None).eval()
    first, second = (torch.from_numpy(frame).permute(2, 0, 1)[None] / 127.5 - 1 for frame in frames_of(*size)[:2])

    def run() -> object:
        with torch.inference_mode():
            return network(first, second, num_flow_updates=12)[-1]

    return run


def measure_speed(
    size: Size, ours: Worker, other: Worker | None, engines: list[str], seconds: float, with_raft: bool
) -> Times:
    """Return the seconds of every method at one size, round by round."""
    torch_pair = frames_of(*size)[:2]
    official = OfficialFastFlowNet(BUNDLED_MODEL)
    methods = {name: timed(work) for name, work in opencv_methods(size).items()}
    if size.width % 64 == 0 and size.height % 64 == 0:
        methods[TORCH] = timed(lambda: official.both_directions(*torch_pair))
    if with_raft:
        methods[RAFT_SMALL] = timed(raft_small_method(size))
    for engine in engines:
        for quality in QUALITIES:
            for confidence in (True, False):
                request = (quality, engine, size, confidence)
                methods[ours_name(quality, engine, confidence)] = partial(ours.time, *request)
    if other is not None:
        methods[OTHER_CHECKOUT] = lambda: other.time(DEFAULT_LEVEL, REFERENCE_ENGINE, size, True)
    return interleave(methods, seconds)


def measure_speeds(options: argparse.Namespace, sizes: Sequence[Size], engines: list[str]) -> dict[str, dict[str, Any]]:
    """Return the times of every method at every size, as `summarize` gives them; the workers end in any case."""
    speed = {}
    with (
        closing(Worker(ROOT, options.threads)) as ours,
        closing(Worker(options.compare.resolve(), options.threads)) if options.compare else nullcontext() as other,
    ):
        for size in sizes:
            with_raft = not options.quick and max(size) <= MAX_RAFT_SIDE
            times = measure_speed(size, ours, other, engines, 5.0 if options.quick else 25.0, with_raft)
            speed[f"{size.width}x{size.height}"] = summarize(times, engines)
    return speed


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


def measure_node(sizes: tuple[Size, ...], pairs: int) -> dict[str, dict[str, float]]:
    """Return the metrics of the live node over DDS, as fast as it goes."""
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


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    peak = ", ".join(f"{value:g} Gflop/s in {name}" for name, value in results["matrix_peak_gflops"].items())
    lines = [
        f"{results['processor']}, {results['threads']} threads, milliseconds of a frame, medians.",
        "",
        f"A matrix product reaches {peak} here. *{ours_name(DEFAULT_LEVEL, REFERENCE_ENGINE, False)}* at 640x384 "
        f"makes {results['peak_share']:.0%} of the peak in fp32.",
        "",
    ]
    sizes = list(results["speed"])
    lines += ["| method | " + " | ".join(sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for name in dict.fromkeys(name for size in sizes for name in results["speed"][size]):
        values = (results["speed"][size].get(name, "") for size in sizes)
        lines.append(f"| {name} | " + " | ".join(str(value) for value in values) + " |")
    if results["node"]:
        names = list(next(iter(results["node"].values())))
        lines += [
            "",
            "The live node over DDS, flow and confidence, camera and consumer in another process, `auto` backend:",
            "",
        ]
        lines += ["| image | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for size, metrics in results["node"].items():
            lines.append(f"| {size} | " + " | ".join(str(value) for value in metrics.values()) + " |")
    if results["errors"]:
        sets = list(next(iter(results["errors"].values())))
        lines += ["", "Endpoint error in pixels, mean of the images of a set:", ""]
        lines += ["| method | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
        for name, errors in results["errors"].items():
            lines.append(f"| {name} | " + " | ".join(f"{errors[one]:.2f}" for one in sets) + " |")
    return "\n".join(lines) + "\n"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw error against time at 640x384; the error is the mean over the sets relative to DIS medium."""
    from matplotlib import pyplot

    speed, errors = results["speed"]["640x384"], results["errors"]
    reference = next(name for name in errors if "medium" in name.lower())
    relative = {
        name: float(np.mean([by_set[one] / errors[reference][one] for one in by_set]))
        for name, by_set in errors.items()
    }
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")

    def label(text: str, milliseconds: float, error: float) -> None:
        axes.annotate(text, (milliseconds, error), xytext=(6, 5), textcoords="offset points", fontsize=8)

    for engine in results["engines"]:
        points = [(speed[ours_name(level, engine, True)], relative[level]) for level in QUALITIES]
        axes.plot(*zip(*points, strict=True), "o-", label=f"ours on {engine}")
        for level, point in zip(QUALITIES, points, strict=True):
            label(level, *point)
    by_key = {method.lower(): milliseconds for method, milliseconds in speed.items()}
    for name in errors:
        if (key := name.lower().replace("_", " ")) in by_key:
            axes.plot(by_key[key], relative[name], "s", color="black")
            label(key.replace("dis", "DIS").replace("farneback", "Farneback"), by_key[key], relative[name])
    axes.legend()
    axes.set(xscale="log", xlabel="ms of a frame of 640x384", ylabel="error relative to DIS medium")
    axes.set_xlim(right=1.3 * axes.get_xlim()[1])  # room for the names
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def write_markdown(path: Path, text: str) -> None:
    """Replace the text between the markers of a page."""
    page = path.read_text()
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    replace_file(path, f"{before}{START}\n\n{text}\n{END}{after}".encode())


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
    """Parse the command line, and refuse what would only fail after everything is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="a minute: fewer rounds, two sizes, one node run")
    parser.add_argument("--threads", type=at_least(1), default=2, help="of every method; default: %(default)s")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout, whose default is measured in the same rounds",
    )
    parser.add_argument("--data", type=Path, help="data sets for the errors, see training/evaluate.py")
    parser.add_argument("--markdown", type=Path, help="page in which to replace the table")
    parser.add_argument("--plot", type=Path, help="PNG to draw error against time into; needs --data")
    options = parser.parse_args(arguments)
    try:
        check_files(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return options


def check_files(options: argparse.Namespace) -> None:
    """Raise OSError or ValueError where something that is read or written later is missing."""
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
    """Measure every time; return the content of the JSON file, without errors."""
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
