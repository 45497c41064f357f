# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare two models on recordings without labels: better, the same, or worse.

    python training/adaptation_report.py robot.mcap --after adaptations/robot/teacher.onnx --out report
    python training/adaptation_report.py robot.mcap --before A.onnx --after B.onnx --ground-truth flows --out report

Every adaptation ends with the same kind of report. Writes ``report.html`` (with embedded pictures) and ``report.json``.
Exit status: 0 improved, 3 no change, 4 worse, 1 error.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.model.card import BUNDLED_MODEL, load_card
from mdflow_training.adaptation.outcome import split_held_out
from mdflow_training.adaptation.run_folder import RUN_NAME
from mdflow_training.existing_report import check_report
from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.difference import MIN_PAIRS
from mdflow_training.judging.ground_truth import load_ground_truth
from mdflow_training.judging.verdict import RULE, RULE_FOR_OTHER_RECORDINGS
from mdflow_training.report.adapted_model import hash_recordings
from mdflow_training.report.comparison import MAX_PAIRS, compare_models
from mdflow_training.report.report import AFTER, BEFORE, CONTROL, write_report
from mdflow_training.settings.frames import FrameSettings
from mdflow_training.settings.reading import checked


def pairs_to_judge_by(sources: Sequence[str], models: Mapping[str, Path], folder: Path) -> tuple[RecordedPairs, str]:
    """Return the pairs to compare on, and the text of the rule for the verdict.

    If the card of a model shows (by SHA-256) that it was adapted to one of the recordings, only the pairs that its own
    report used are returned.

    Raises:
        ValueError: recordings or models cannot be used.
    """
    for card in map(load_card, models.values()):
        try:
            learned_from = {recording["sha256"] for recording in card.training["recordings"]}
            frames = card.training["settings"]["frames"]
        except (KeyError, TypeError):  # not adapted, or adapted by another program with a different history
            continue
        if learned_from & {recording["sha256"] for recording in hash_recordings(sources)}:
            settings = checked(FrameSettings, frames)
            return split_held_out(prepare_pairs(sources, folder, settings).held_out)[1], RULE
    return prepare_pairs(sources, folder).held_out, RULE_FOR_OTHER_RECORDINGS


def prepare_output(folder: Path) -> None:
    """Check that no file of another tool would be overwritten.

    Raises:
        FileExistsError: the folder contains the run of an adaptation, or another kind of report.
    """
    if (folder / RUN_NAME).exists():
        raise FileExistsError(f"{folder} holds an adaptation and its report; choose another --out")
    check_report(folder / "report.json", "verdict")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "sources", nargs="+", help="see frame_source.py; only the last 20 %% (held out by adaptations) of each is used"
    )
    parser.add_argument("--before", type=Path, default=BUNDLED_MODEL, help="the old model (default: bundled)")
    parser.add_argument("--after", type=Path, required=True, help="the new model")
    parser.add_argument("--control", type=Path, help="another model to compare the new one with")
    parser.add_argument(
        "--ground-truth", "--truth", type=Path, help="folder of FIRST_SECOND.flo, named by the stamps in ns"
    )
    parser.add_argument(
        "--maximum-pairs", type=int, default=MAX_PAIRS, help="maximum number of pairs to use; default: %(default)s"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the decoded frames")
    options = parser.parse_args(arguments)
    if options.maximum_pairs < MIN_PAIRS:
        parser.error(f"--maximum-pairs must be at least {MIN_PAIRS}: fewer pairs never show a change")
    models = {BEFORE: options.before, AFTER: options.after}
    if options.control is not None:
        models[CONTROL] = options.control
    try:
        prepare_output(options.out)
        pairs, rule = pairs_to_judge_by(options.sources, models, options.out / "frames")
        ground_truth = load_ground_truth(options.ground_truth, pairs) if options.ground_truth else None
        report, frames = compare_models(models, pairs, ground_truth, max_pairs=options.maximum_pairs)
        write_report(dataclasses.replace(report, rule=rule), frames, options.out)
    except (ValueError, OSError, BackendError, BackendUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{report}\nsee {options.out / 'report.html'}")
    return report.verdict.exit_status


if __name__ == "__main__":
    sys.exit(main())
