# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a comparison: its content, as text, as ``report.json`` and as a page."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdflow_ros.core.atomic_files import finite_or_none, write_json
from mdflow_training.judging.difference import CONFIDENCE_LEVEL, Difference
from mdflow_training.judging.held_out_metrics import Metrics, mean_metrics
from mdflow_training.judging.measures import MEASURES
from mdflow_training.judging.verdict import RULE, Verdict
from mdflow_training.report.page import Page, ReportFrame, write_page

BEFORE, AFTER, CONTROL, DIS = "before", "after", "control", "OpenCV DIS"


@dataclass(frozen=True)
class Report:
    """The comparison on held-out pairs.

    Attributes:
        verdict: see `mdflow_training.judging.verdict.RULE`.
        reason: the reason for the verdict, as text.
        indices: indices of the measured pairs.
        metrics: each measure of each method, pair by pair.
        differences: by measure: ``after - before``, ``after - control``, and ``after`` minus the old model at larger
            input sizes.
        recordings: ``after - before`` for each recording, by measure; empty if there is only one.
        about: further information for the reader: settings, recordings, models, time.
        rule: the rule that decided the verdict, as text.
    """

    verdict: Verdict
    reason: str
    indices: list[int] = field(default_factory=list)
    metrics: dict[str, Metrics] = field(default_factory=dict)
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)
    recordings: dict[str, dict[str, Difference]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    rule: str = RULE

    def means(self) -> dict[str, dict[str, float]]:
        """Return the mean of each measure of each method."""
        return {name: mean_metrics(metrics) for name, metrics in self.metrics.items()}

    def __str__(self) -> str:
        means = self.means()
        before, after = means.get(BEFORE, {}), means.get(AFTER, {})
        lines = [
            f"  {measure.label}: {measure.show(before[name])} before, {measure.show(after[name])} after"
            for name, measure in MEASURES.items()
            if name in before and name in after
        ]
        return "\n".join([f"{self.verdict.value}: {self.reason}", *lines])

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``report.json`` as plain types."""
        pairs = [
            {"pair": index}
            | {name: {measure: values[row] for measure, values in metrics.items()} for name, metrics in self._rows()}
            for row, index in enumerate(self.indices)
        ]
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "rule": self.rule,
            "means": self.means(),
            "differences": {
                name: {measure: dataclasses.asdict(difference) for measure, difference in of_pair.items()}
                for name, of_pair in self.differences.items()
            },
            "recordings_apart": {
                name: {measure: dataclasses.asdict(difference) for measure, difference in of_recording.items()}
                for name, of_recording in self.recordings.items()
            },
            "interval": CONFIDENCE_LEVEL,
            **self.about,
            "pairs": pairs,
        }

    def _rows(self) -> list[tuple[str, dict[str, list[float]]]]:
        return [
            (name, {measure: values.tolist() for measure, values in metrics.items()})
            for name, metrics in self.metrics.items()
        ]


def write_report(report: Report, frames: list[ReportFrame], folder: Path, run_folder: Path | None = None) -> None:
    """Write ``report.json`` and ``report.html``; the page shows the loss curves of ``run_folder`` if it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", report.as_dict())
    about = finite_or_none(report.about)
    page = Page(
        report.verdict.value,
        report.reason,
        report.rule,
        report.means(),
        report.differences,
        report.recordings,
        frames,
        about,
    )
    write_page(page, folder / "report.html", run_folder)
