# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The results of an adaptation: models with their cards, and the report that says whether to use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mdflow_ros.core.printable import printable
from mdflow_ros.model.card import MAX_NAME_LENGTH, ModelCard, load_card
from mdflow_training.adaptation.mutual_distillation import AdaptationResult
from mdflow_training.adaptation.run_folder import RUN_NAME
from mdflow_training.adaptation.run_time import RunTime
from mdflow_training.frames.preparation import NotEnoughFrames
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.ground_truth import GroundTruth
from mdflow_training.judging.verdict import Verdict
from mdflow_training.report.adapted_model import add_metrics, export_adapted, hash_recordings
from mdflow_training.report.comparison import compare_models
from mdflow_training.report.report import AFTER, BEFORE, CONTROL, Report, write_report
from mdflow_training.settings.adaptation import AdaptationConfig
from mdflow_training.settings.reading import ConfigError

INITIAL = "initial"
ADAPTED_NAME, REJECTED_NAME, CONTROL_NAME = "teacher.onnx", "rejected.onnx", "control.onnx"


def split_held_out(held_out: RecordedPairs) -> tuple[RecordedPairs, RecordedPairs]:
    """Split the held-out pairs into those that choose the teacher and those that the report measures.

    A model looks better than it is on the pairs that it was chosen by, so the report uses frames that influenced no
    decision.

    Returns:
        The earlier and the later half of each recording's pairs. A later pair that shares a frame with the earlier half
        is dropped, unless no pair would remain.
    """
    to_choose_by: list[int] = []
    to_report_on: list[int] = []
    for name in dict.fromkeys(held_out.recordings):
        positions = np.flatnonzero(held_out.recordings == name).tolist()
        half = (len(positions) + 1) // 2
        seen = set(held_out.numbers[positions[:half]].ravel().tolist())
        to_choose_by += positions[:half]
        unseen = [position for position in positions[half:] if seen.isdisjoint(held_out.numbers[position])]
        to_report_on += unseen or positions[half:]  # a single pair never decides a verdict
    return held_out.select(to_choose_by), held_out.select(to_report_on)


def best_new_teacher(result: AdaptationResult) -> str:
    """Return the name of the teacher to judge: the chosen one, or the best new one if the initial one was kept."""
    if result.chosen != INITIAL:
        return result.chosen
    new = [name for name in result.teachers if name not in (INITIAL, CONTROL)]
    return min(new, key=lambda name: result.scores[name].error)


def write_outcome(
    result: AdaptationResult,
    held_out: RecordedPairs,
    recordings: list[dict[str, Any]],
    config: AdaptationConfig,
    model: Path,
    out: Path,
    run_time: RunTime,
    ground_truth: GroundTruth | None = None,
) -> Report:
    """Export the models of an adaptation, compare them, and write the report.

    Args:
        result: the result of the adaptation.
        held_out: pairs that were used neither for training nor for the choice of the teacher.
        recordings: the recordings that were adapted to, see `hash_recordings`.
        config: all settings.
        model: the deployable model that the adaptation started from.
        out: receives ``teacher.onnx`` if a new teacher was chosen, else ``rejected.onnx``; ``control.onnx`` if there
            is a control; and the report.
        run_time: the time that the run has taken so far.
        ground_truth: returns the ground truth of some of the pairs; None if there is none.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: the ground truth does not fit the pairs.
    """
    history = _history(result, recordings, config)
    models = {BEFORE: model} | _export_teachers(result, load_card(model), history, out)
    chosen, max_pairs = result.chosen != INITIAL, config.validation.maximum_pairs
    report, frames = compare_models(models, held_out, ground_truth, chosen, max_pairs, held_out.recordings.tolist())
    run_time.save()
    seconds = {
        "seconds_of_this_run": round(run_time.of_all_parts, 1),
        "seconds_of_its_last_part": round(run_time.of_this_part, 1),
    }
    report = dataclasses.replace(report, about={**report.about, **seconds, **history})
    write_report(report, frames, out, out)
    means = report.means()
    add_metrics(models[AFTER], {"verdict": report.verdict.value, "reason": report.reason, "held_out": means})
    return report


def _history(result: AdaptationResult, recordings: list[dict[str, Any]], config: AdaptationConfig) -> dict[str, Any]:
    """Return how the adaptation went, for the report and the cards."""
    return {
        "recordings": recordings,
        "teacher": best_new_teacher(result),
        "notes": result.notes,
        "stopped": result.stopped,
        "label_free_scores": {teacher: score._asdict() for teacher, score in result.scores.items()},
        "training_size": [result.size.height, result.size.width],
        "settings": config.model_dump(mode="json"),
    }


def _export_teachers(
    result: AdaptationResult, parent: ModelCard, history: dict[str, Any], out: Path
) -> dict[str, Path]:
    """Write the new teacher and, if there is one, the control; return the files by the models' roles."""
    models = {AFTER: out / (REJECTED_NAME if result.chosen == INITIAL else ADAPTED_NAME)}
    name = printable(out.resolve().name, MAX_NAME_LENGTH - len(f"-{CONTROL}")) or "adapted"
    export_adapted(result.teachers[history["teacher"]], parent, models[AFTER], name=name, training=history)
    if CONTROL in result.teachers:
        models[CONTROL] = out / CONTROL_NAME
        control = f"{name}-{CONTROL}"
        export_adapted(result.teachers[CONTROL], parent, models[CONTROL], name=control, training=history)
    return models


def write_outcome_without_pairs(error: NotEnoughFrames, sources: Sequence[str], out: Path) -> Report:
    """Write the report for recordings with too few usable frames: keep the old model.

    Raises:
        ConfigError: the folder contains the run of another recording; its report must not be overwritten.
    """
    if (out / RUN_NAME).exists():
        raise ConfigError(f"{error}\n{out} holds the run of another recording and is left as it is")
    about = {"recordings": hash_recordings(sources), "frames": error.summary.as_dict()}
    report = Report(Verdict.NO_CHANGE, f"keep the old model: {error}", about=about)
    write_report(report, [], out)
    return report
