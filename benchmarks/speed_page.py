# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the results of `run.py` as a Markdown page and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from speed_methods import DEFAULT_LEVEL, REFERENCE_ENGINE, ours_name

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.quality import QUALITIES

START, END = "<!-- measured -->", "<!-- /measured -->"
"""Markers of the page: everything between them is replaced."""


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    peak = ", ".join(f"{value:g} Gflop/s in {name}" for name, value in results["matrix_peak_gflops"].items())
    lines = [
        f"{results['processor']}, {results['threads']} threads, milliseconds per frame, medians.",
        "",
        f"A matrix product reaches {peak} here. *{ours_name(DEFAULT_LEVEL, REFERENCE_ENGINE, False)}* at 640x384 "
        f"reaches {results['peak_share']:.0%} of the peak in fp32.",
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
            "The running node over DDS: flow and confidence, camera and consumer in another process, `auto` backend:",
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
    """Draw error against time at 640x384; the error is relative to DIS medium, mean over the sets."""
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
    axes.set_xlim(right=1.3 * axes.get_xlim()[1])  # space for the names
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def write_markdown(path: Path, text: str) -> None:
    """Replace the text between the markers of a Markdown page."""
    page = path.read_text()
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    replace_file(path, f"{before}{START}\n\n{text}\n{END}{after}".encode())
