# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how often the verdict of an adaptation report agrees with the true error.

    python benchmarks/verdicts.py images:W/frames --ground-truth W/truth_of_recording --models A.onnx B.onnx C.onnx

Every two models are compared in both orders, with the measures and the rule of a report, on the pairs that an
adaptation holds out. Most measures are computed once for each model; only the error under known motion depends on both
models.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mdflow_ros.core.resizing import size_of
from mdflow_training.engine.batches import spread_evenly
from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.camera_noise import measure_noise
from mdflow_training.judging.difference import Difference, compare
from mdflow_training.judging.ground_truth import GroundTruth, load_ground_truth
from mdflow_training.judging.held_out_metrics import Metrics, known_motion_error, measure_pair
from mdflow_training.judging.known_motion import known_motion
from mdflow_training.judging.measures import DECIDING_MEASURES, KNOWN_MOTION
from mdflow_training.judging.two_way_flow import two_way_model_method
from mdflow_training.judging.verdict import Verdict, decide
from mdflow_training.losses.census import Census

TRUE_ERROR = "epe"
MIN_CHANGE = 0.02
"""Two models count as different if their true errors differ by this share or more."""

Row = dict[str, float]
"""The measures of a model on one pair."""

Comparison = tuple[Metrics, Metrics]
"""The measures of two models, pair by pair."""


def measure_pairs_of_models(
    models: list[Path], pairs: RecordedPairs, ground_truth: GroundTruth, maximum_pairs: int
) -> dict[tuple[int, int], Comparison]:
    """Measure every two models on evenly spread pairs; return the measures by the models' positions in the list."""
    methods, noise = [two_way_model_method(model) for model in models], measure_noise(pairs, size_of(pairs[0][0]))
    census = Census.for_noise(noise)
    rows_of_both: dict[tuple[int, int], list[list[Row]]] = {
        both: [] for both in itertools.combinations(range(len(models)), 2)
    }
    for index in tqdm(spread_evenly(len(pairs), maximum_pairs), unit="pair"):
        first, second = pairs[index]
        flows = [method(first, second) for method in methods]
        rows = [
            measure_pair(first, second, flow, method, census, ground_truth(index))
            for flow, method in zip(flows, methods, strict=True)
        ]
        for both, rows_of_these in rows_of_both.items():
            moved = known_motion(second, [flows[model].forward for model in both], noise, index)
            rows_of_these.append(
                [rows[model] | {KNOWN_MOTION: known_motion_error(methods[model], moved)} for model in both]
            )
    return {
        both: (_columns(rows_of_these, 0), _columns(rows_of_these, 1)) for both, rows_of_these in rows_of_both.items()
    }


def _columns(rows: list[list[Row]], model: int) -> Metrics:
    return {measure: np.array([row[model][measure] for row in rows]) for measure in (*DECIDING_MEASURES, TRUE_ERROR)}


def true_verdict(change: Difference) -> Verdict:
    """Return the verdict by the ground truth."""
    if abs(change.relative) < MIN_CHANGE:
        return Verdict.NO_CHANGE
    return Verdict.IMPROVED if change.has_fallen else Verdict.WORSE if change.has_risen else Verdict.NO_CHANGE


def main() -> None:
    """Print how often each measure has the sign of the true change, and how often the verdicts are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", help="see training/frame_source.py")
    parser.add_argument("--ground-truth", type=Path, required=True, help="folder of true flows, FIRST_SECOND.flo")
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="deployable models, two or more")
    parser.add_argument("--maximum-pairs", type=int, default=48, help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = prepare_pairs([options.recording], Path(folder)).held_out
        ground_truth = load_ground_truth(options.ground_truth, pairs)
        comparisons = measure_pairs_of_models(options.models, pairs, ground_truth, options.maximum_pairs)
    verdicts: Counter[tuple[str, str]] = Counter()
    agreements: dict[str, list[bool]] = {name: [] for name in DECIDING_MEASURES}
    for comparison in comparisons.values():
        for after, before in ((0, 1), (1, 0)):
            changes = {name: compare(comparison[after][name], comparison[before][name]) for name in comparison[after]}
            differences = {name: change for name, change in changes.items() if change is not None}
            true_change = differences.pop(TRUE_ERROR)
            verdicts[true_verdict(true_change).name, decide(differences, True)[0].name] += 1
            if true_verdict(true_change) is not Verdict.NO_CHANGE:
                for name, difference in differences.items():
                    agreements[name].append(difference.mean * true_change.mean > 0)
    print(f"{len(options.models)} models")
    for name, agreed in agreements.items():
        print(f"{DECIDING_MEASURES[name]} has the sign of the true change in {sum(agreed)} of {len(agreed)}")
    for (true, said), count in sorted(verdicts.items()):
        print(f"{true} by ground truth, called {said}: {count}")


if __name__ == "__main__":
    main()
