# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Format an evaluation as a text table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HEADINGS: tuple[str, ...] = (
    "method",
    "pairs",
    "EPE",
    "EPE px",
    "noc",
    "occ",
    "<1px",
    "<3px",
    "Fl",
    "AUSE",
    "ECE",
    "top 70 %",
    "ms",
)
NOTES = """\
EPE: mean of images, EPE px: of pixels, noc, occ: where visible, hidden in the second image, in px.
<1px, <3px, Fl: % of pixels. AUSE, ECE: 0 is a perfect confidence.
top 70 %: EPE of the most confident 70 %. ms: median of a pair."""


def format_table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return each set's name, below it a row for the model and one for each baseline; it fits into 100 columns.

    Args:
        sets: the ``sets`` of a report, as `evaluate.report_of` makes it.
    """
    rows = {name: list(_rows(metrics)) for name, metrics in sets.items()}
    columns = zip(HEADINGS, *(row for group in rows.values() for row in group), strict=True)
    widths = [max(map(len, column)) for column in columns]
    heading = _aligned(HEADINGS, widths)
    lines = [heading, "-" * len(heading)]
    for name, group in rows.items():
        lines += [name, *(_aligned(row, widths) for row in group)]
    return "\n".join((*lines, "", NOTES))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align the method left and numbers right."""
    method, *metrics = map(str.rjust, cells, widths)
    return "  ".join((method.strip().ljust(widths[0]), *metrics))


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    yield _row("model", metrics)
    for baseline, baseline_metrics in metrics.get("baselines", {}).items():
        yield _row(baseline, baseline_metrics)


def _row(method: str, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        method,
        str(metrics["images"]),
        *(_figure(metrics, key, 2) for key in ("epe", "epe_pixels", "epe_noc", "epe_occ")),
        *(_figure(metrics, key, 1) for key in ("accuracy_1px", "accuracy_3px", "fl_all")),
        _figure(metrics, "ause", 2),
        _figure(metrics, "ece", 2),
        _figure(metrics, "epe_top_70", 2),
        f"{metrics['latency_ms']['p50']:.0f}",
    )


def _figure(metrics: Mapping[str, Any], key: str, digits: int) -> str:
    value = metrics.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
