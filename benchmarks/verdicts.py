# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How often the verdict of an adaptation report agrees with the true error.

    python benchmarks/verdicts.py images:W/frames --ground-truth W/truth_of_recording --models A.onnx B.onnx C.onnx

Every two models are compared in both orders, by the measures and the rule of a report, on the pairs that an adaptation
holds out. A network answers once for each measure; the known motion depends on both models that are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.resizing import size_of
from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.judging.camera_noise import measure_noise
from mdflow_training.judging.held_out_metrics import (
    JUDGES,
    KNOWN_MOTION,
    known_motion_error,
    load_ground_truth,
    measure_pair,
    model_method,
)
from mdflow_training.judging.known_motion import known_motion
from mdflow_training.judging.verdict import Difference, Verdict, compare, decide
from mdflow_training.losses.census import Census

TRUE_ERROR = "epe"
MIN_CHANGE = 0.02
"""Share of the true error by which two models must differ to count as different."""

Comparison = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""The values of two models by measure, ``(pairs,)`` each."""


def compare_all(
    recording: str, ground_truth: Path, models: list[Path], maximum_pairs: int
) -> dict[tuple[str, str], Comparison]:
    """Measure every two models on the held-out pairs of a recording; the result is by their positions, as text."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = prepare_pairs([recording], Path(folder)).held_out
        true_flow = load_ground_truth(ground_truth, pairs)
        noise = measure_noise(pairs, size_of(pairs[0][0]))
        census, methods = Census.for_noise(noise), [model_method(model) for model in models]
        count = min(len(pairs), maximum_pairs)
        rows: dict[tuple[int, int], list[tuple[dict[str, float], dict[str, float]]]] = {
            both: [] for both in itertools.combinations(range(len(models)), 2)
        }
        for index in tqdm([position * len(pairs) // count for position in range(count)], unit="pair"):
            first, second = pairs[index]
            flows = [method(first, second) for method in methods]
            measured = [
                measure_pair(first, second, flow, method, census, true_flow(index))
                for flow, method in zip(flows, methods, strict=True)
            ]
            for both, of_both in rows.items():
                moved = known_motion(second, [flows[one].forward for one in both], noise, index)
                one, other = (
                    {**measured[model], KNOWN_MOTION: known_motion_error(methods[model], moved)} for model in both
                )
                of_both.append((one, other))
    return {
        (str(one), str(other)): {
            measure: (np.array([row[0][measure] for row in of_both]), np.array([row[1][measure] for row in of_both]))
            for measure in (*JUDGES, TRUE_ERROR)
        }
        for (one, other), of_both in rows.items()
    }


def true_verdict(change: Difference) -> Verdict:
    """Return what the ground truth says."""
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
    parser.add_argument("--out", type=Path, help="JSON file for the values of every pair")
    options = parser.parse_args()
    comparisons = compare_all(options.recording, options.ground_truth, options.models, options.maximum_pairs)
    if options.out:
        values = {
            " ".join(names): {measure: [one.tolist(), other.tolist()] for measure, (one, other) in comparison.items()}
            for names, comparison in comparisons.items()
        }
        content = {"models": [str(model) for model in options.models], "comparisons": values}
        replace_file(options.out, json.dumps(content).encode())
    verdicts: Counter[tuple[str, str]] = Counter()
    agreements: dict[str, list[bool]] = {name: [] for name in JUDGES}
    for comparison in comparisons.values():
        for after, before in ((0, 1), (1, 0)):
            changes = {name: compare(values[after], values[before]) for name, values in comparison.items()}
            differences = {name: change for name, change in changes.items() if change is not None}
            true_change = differences.pop(TRUE_ERROR)
            verdicts[true_verdict(true_change).name, decide(differences, True)[0].name] += 1
            if true_verdict(true_change) is not Verdict.NO_CHANGE:
                for name, difference in differences.items():
                    agreements[name].append(difference.mean * true_change.mean > 0)
    print(f"{len(options.models)} models")
    for name, agreed in agreements.items():
        print(f"{JUDGES[name]} has the sign of the true change in {np.mean(agreed):.0%} of {len(agreed)}")
    for (true, said), count in sorted(verdicts.items()):
        print(f"{true} by ground truth, called {said}: {count}")


if __name__ == "__main__":
    main()
