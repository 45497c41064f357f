# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Print an evaluation as a table for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HEADINGS: tuple[str, ...] = (
    "set",
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
    "top 70 %",
    "ms",
)
FIRST_FIGURE = 2
NOTES = (
    "EPE: mean of images, EPE px: of pixels, noc, occ: where visible, hidden in the second image, all in px. "
    "<1px, <3px, Fl: % of pixels. AUSE: 0 is a perfect confidence. "
    "top 70 %: EPE of the most confident 70 %, and its difference to all. ms: median of a pair."
)


def format_table(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a row for the model, and one for each peer, on each set.

    Args:
        sets: the ``sets`` of a report, as `evaluate.report_of` makes it.
    """
    rows = [HEADINGS]
    for name, metrics in sets.items():
        rows.append(_row(name, "model", metrics))
        rows += [_row(name, peer, peer_metrics) for peer, peer_metrics in metrics.get("peers", {}).items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_aligned(cells, widths)) for cells in rows]
    return "\n".join((lines[0], "-" * len(lines[0]), *lines[1:], "", NOTES))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Align words left and figures right."""
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if column < FIRST_FIGURE else cell.rjust(width)


def _row(name: str, method: str, metrics: Mapping[str, Any]) -> tuple[str, ...]:
    kept = _figure(metrics, "epe_top_70", 2)
    if kept != "-" and metrics["epe"] > 0:
        kept += f" ({100 * (metrics['epe_top_70'] / metrics['epe'] - 1):+.0f} %)"
    return (
        name,
        method,
        str(metrics["images"]),
        *(_figure(metrics, key, 2) for key in ("epe", "epe_pixels", "epe_noc", "epe_occ")),
        *(_figure(metrics, key, 1) for key in ("accuracy_1px", "accuracy_3px", "fl_all")),
        _figure(metrics, "ause", 2),
        kept,
        f"{metrics['latency_ms']['p50']:.0f}",
    )


def _figure(metrics: Mapping[str, Any], key: str, digits: int) -> str:
    value = metrics.get(key, math.nan)
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
