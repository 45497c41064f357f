# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write a report as one self-contained HTML file, with embedded pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.flow_color import confidence_to_color, flow_to_color
from mdflow_ros.core.picture_files import encode_picture
from mdflow_ros.core.resizing import shrink
from mdflow_training.evaluation.pictures import figure_to_png
from mdflow_training.flow_files import Flow, Image
from mdflow_training.judging.difference import CONFIDENCE_LEVEL, Difference
from mdflow_training.judging.measures import MEASURES
from mdflow_training.judging.two_way_flow import TwoWayFlow

PICTURE_WIDTH = 320
COLORS = {"improved": "#1a7f37", "no change": "#6e7781"}
"""Color of each verdict; every other verdict is red."""

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #1f2328 }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .3em .8em; border-bottom: 1px solid #d0d7de }
td { text-align: right; white-space: nowrap } th, td:first-child { text-align: left; white-space: normal }
.verdict { color: #fff; padding: .6em 1em }
.best { font-weight: bold } figure { display: inline-block; margin: 0 .5em .5em 0; vertical-align: top }
figure img { max-width: 320px; display: block } pre { background: #f6f8fa; padding: 1em; overflow-x: auto }
"""


@dataclass(frozen=True)
class ReportFrame:
    """A pair to show.

    Attributes:
        caption: which pair it is and why it is shown.
        image: the first frame, ``(H, W, 3)`` uint8 RGB.
        before: the old model's result.
        after: the new model's result.
        ground_truth: ``(H, W, 2)`` in pixels, NaN where unknown; None if there is none.
    """

    caption: str
    image: Image
    before: TwoWayFlow
    after: TwoWayFlow
    ground_truth: Flow | None = None


@dataclass(frozen=True)
class Page:
    """Content of the page; see `mdflow_training.report.comparison.Report`."""

    verdict: str
    reason: str
    rule: str
    means: Mapping[str, Mapping[str, float]]
    differences: Mapping[str, Mapping[str, Difference]]
    recordings: Mapping[str, Mapping[str, Difference]]
    frames: list[ReportFrame]
    about: Mapping[str, Any]


def write_page(page: Page, path: Path, run_folder: Path | None = None) -> None:
    """Write the page; loss curves are drawn from the stages' ``metrics.jsonl`` under ``run_folder``."""
    color = COLORS.get(page.verdict, "#cf222e")
    parts = [
        f"<h1>Adaptation report</h1><p class=verdict style='background:{color}'><b>{escape(page.verdict)}</b>: "
        f"{escape(page.reason)}</p><p>{escape(page.rule)}</p>"
    ]
    if page.means:
        parts += ["<h2>Held-out pairs</h2>", _means_table(page.means)]
    parts += [f"<h3>{escape(name)}</h3>{_difference_table(values)}" for name, values in page.differences.items()]
    if page.recordings:
        parts.append("<h2>Recording by recording: after - before</h2>")
        parts += [f"<h3>{escape(name)}</h3>{_difference_table(values)}" for name, values in page.recordings.items()]
    if page.frames:
        parts.append("<h2>The same frames, before and after</h2><p>Color shows direction, saturation shows length, on "
                     "the same scale within each row. Yellow means high confidence.</p>")  # fmt: skip
        parts += [_frame_row(frame) for frame in page.frames]
    curves = read_curves(run_folder) if run_folder else {}
    if curves:
        parts += ["<h2>Training</h2>", _embed(draw_curves(curves), "loss curves")]
    parts += [
        f"<h2>{escape(name.replace('_', ' ').capitalize())}</h2><pre>{escape(json.dumps(value, indent=2))}</pre>"
        for name, value in page.about.items()
    ]
    text = "<!doctype html><html lang=en><meta charset=utf-8><title>Adaptation report</title>"
    text += f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    replace_file(path, text.encode(errors="backslashreplace"))  # names of files may be of any bytes


def _means_table(means: Mapping[str, Mapping[str, float]]) -> str:
    lines = ["<table><tr><th>mean", *(f"<th>{escape(name)}" for name in means), "</tr>"]
    for name, measure in MEASURES.items():
        values = {method: metrics[name] for method, metrics in means.items() if name in metrics}
        if not values:
            continue
        best = (min if measure.lower_is_better else max)(values.values())
        lines.append(f"<tr><td>{escape(measure.label)}, {'lower' if measure.lower_is_better else 'higher'} is better")
        for method in means:
            mark = " class=best" if values.get(method) == best else ""
            lines.append(f"<td{mark}>{measure.show(values.get(method))}")
        lines.append("</tr>")
    return "".join([*lines, "</table>"])


def _difference_table(differences: Mapping[str, Difference]) -> str:
    lines = [f"<table><tr><th>difference<th>mean<th>relative<th>{CONFIDENCE_LEVEL:.0%} interval<th>pairs</tr>"]
    for name, difference in differences.items():
        measure = MEASURES[name]
        low, high = (measure.show(end, "+") for end in difference.interval)
        lines.append(
            f"<tr><td>{escape(measure.label)}<td>{measure.show(difference.mean, '+')}"
            f"<td>{difference.relative:+.1%}<td>{low} to {high}<td>{difference.pairs}</tr>"
        )
    return "".join([*lines, "</table>"])


def _frame_row(frame: ReportFrame) -> str:
    flows = {"flow before": frame.before.forward, "flow after": frame.after.forward}
    if frame.ground_truth is not None:
        flows["true flow, black: unknown"] = frame.ground_truth
    lengths = np.concatenate([np.hypot(flow[..., 0], flow[..., 1]).ravel() for flow in flows.values()])
    scale = max(1.0, float(np.nanquantile(lengths, 0.99)))
    pictures = {"image": frame.image} | {name: flow_to_color(flow, scale) for name, flow in flows.items()}
    for name, estimate in (("before", frame.before), ("after", frame.after)):
        if estimate.confidence is not None:
            pictures[f"confidence {name}"] = confidence_to_color(estimate.confidence)
    encoded = {name: encode_picture(shrink(picture, PICTURE_WIDTH), ".png") for name, picture in pictures.items()}
    figures = "".join(
        f"<figure>{_embed(png, name)}<figcaption>{escape(name)}</figcaption></figure>" for name, png in encoded.items()
    )
    return f"<h3>{escape(frame.caption)}; full color: {scale:.1f} px</h3>{figures}"


def _embed(png: bytes, description: str) -> str:
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def read_curves(run_folder: Path) -> dict[str, list[dict[str, float]]]:
    """Return the logged values of every stage by its name, in the order in which the stages ran."""
    files = sorted(run_folder.glob("**/metrics.jsonl"), key=lambda file: file.stat().st_mtime)
    curves = {
        file.parent.relative_to(run_folder).as_posix(): [json.loads(line) for line in file.read_text().splitlines()]
        for file in files
    }
    return {name: lines for name, lines in curves.items() if lines}


def draw_curves(curves: Mapping[str, list[dict[str, float]]]) -> bytes:
    """Draw the loss and the visible share of each stage; return a PNG."""
    figure = Figure(figsize=(3.2 * len(curves), 4.2), layout="constrained")
    axes = figure.subplots(2, len(curves), squeeze=False, sharex="col")
    for column, (name, lines) in enumerate(curves.items()):
        steps = [line["step"] for line in lines]
        for row, value in enumerate(("loss", "visible")):
            axes[row, column].plot(steps, [line.get(value, np.nan) for line in lines])
            axes[row, column].grid(alpha=0.3)
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("step")
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("visible share")
    return figure_to_png(figure, 80)
