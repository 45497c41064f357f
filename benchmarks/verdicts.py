# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How often the verdict of the adaptation report agrees with the true error, from reports with ground truth.

    python training/adaptation_report.py images:W/frames --ground-truth W/truth_of_recording --after A.onnx --out a
    python training/adaptation_report.py images:W/frames --ground-truth W/truth_of_recording --after B.onnx --out b
    python benchmarks/verdicts.py a/report.json b/report.json

Compares every two models in these reports, in both orders. The reports must be of the same recording.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np

from mdflow_training.judging.held_out_metrics import JUDGES, Metrics
from mdflow_training.judging.verdict import Difference, Verdict, compare, decide
from mdflow_training.report.comparison import AFTER, BEFORE, CONTROL

TRUE_ERROR = "epe"
MIN_CHANGE = 0.02
"""Share of the true error by which two models must differ to count as different."""


def read_reports(paths: list[Path]) -> dict[str, Metrics]:
    """Return the measures of each model, by its checksum."""
    models: dict[str, Metrics] = {}
    for path in paths:
        report = json.loads(path.read_text())
        for name in (BEFORE, AFTER, CONTROL):
            if name in report["models"]:
                rows = [pair[name] for pair in report["pairs"]]
                models[report["models"][name]["sha256"]] = {
                    measure: np.array([row.get(measure, np.nan) for row in rows], float) for measure in rows[0]
                }
    return models


def true_verdict(change: Difference) -> Verdict:
    """Return what the ground truth says."""
    if abs(change.relative) < MIN_CHANGE:
        return Verdict.NO_CHANGE
    return Verdict.IMPROVED if change.has_fallen else Verdict.WORSE if change.has_risen else Verdict.NO_CHANGE


def main() -> None:
    """Print how often each measure has the sign of the true change, and how often the verdicts are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", help="report.json of runs with --ground-truth")
    models = read_reports(parser.parse_args().reports)
    verdicts: Counter[tuple[str, str]] = Counter()
    agreements: dict[str, list[bool]] = {name: [] for name in JUDGES}
    for before, after in itertools.permutations(models.values(), 2):
        changes = {name: compare(after[name], before[name]) for name in (*JUDGES, TRUE_ERROR)}
        differences = {name: change for name, change in changes.items() if change is not None}
        true_change = differences.pop(TRUE_ERROR)
        verdicts[true_verdict(true_change).name, decide(differences, True)[0].name] += 1
        if true_verdict(true_change) is not Verdict.NO_CHANGE:
            for name, difference in differences.items():
                agreements[name].append(difference.mean * true_change.mean > 0)
    print(f"{len(models)} models")
    for name, agreed in agreements.items():
        print(f"{JUDGES[name]} has the sign of the true change in {np.mean(agreed):.0%} of {len(agreed)}")
    for (true, said), count in sorted(verdicts.items()):
        print(f"{true} by ground truth, called {said}: {count}")


if __name__ == "__main__":
    main()
