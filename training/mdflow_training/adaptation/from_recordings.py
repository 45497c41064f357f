# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapt the teacher to recordings: from bags, videos or images to an adapted model and its report."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from mdflow_ros.core.folder_lock import folder_lock
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_training.adaptation.mutual_distillation import AdaptationResult, adapt
from mdflow_training.adaptation.outcome import split_held_out, write_outcome, write_outcome_without_pairs
from mdflow_training.adaptation.run_time import RunTime
from mdflow_training.engine.distributed import ProcessContext, reduce_mean, use_threads_of_others
from mdflow_training.frames.preparation import NotEnoughFrames, PreparedPairs, prepare_pairs
from mdflow_training.judging.difference import MIN_PAIRS
from mdflow_training.judging.ground_truth import load_ground_truth
from mdflow_training.networks.students import build_student
from mdflow_training.networks.teacher import load_teacher
from mdflow_training.report.adapted_model import hash_recordings
from mdflow_training.report.report import Report
from mdflow_training.settings.adaptation import AdaptationConfig

CPU_CONFIG = Path(__file__).parents[1] / "configs" / "adapt_cpu.yaml"
"""Settings for a computer without a GPU. On a CPU, RAFT trains too slowly to be a useful student."""


def default_config() -> Path | None:
    """Return the settings file for this computer: `CPU_CONFIG` without a GPU, else None (the built-in defaults)."""
    return None if torch.cuda.is_available() else CPU_CONFIG


def prepare_together(
    sources: list[str], folder: Path, config: AdaptationConfig, context: ProcessContext
) -> PreparedPairs:
    """Decode recordings in the main process; the others wait, then read its cache or raise the same error."""

    def wait_for_all() -> None:
        reduce_mean(torch.zeros(1, device=context.device))

    if not context.is_main:
        wait_for_all()
        return prepare_pairs(sources, folder, config.frames, progress=False)
    try:
        return prepare_pairs(sources, folder, config.frames)
    finally:
        wait_for_all()


def adapt_from_recordings(
    sources: list[str],
    out: Path,
    config: AdaptationConfig,
    model: Path,
    context: ProcessContext,
    ground_truth: Path | None = None,
) -> Report | None:
    """Adapt a model to recordings and write the adapted model and its report into ``out``.

    Args:
        sources: recordings: bags, videos or folders of images.
        out: the run folder.
        config: all settings.
        model: the deployable model to start from.
        context: this process.
        ground_truth: a folder of ground truth for held-out pairs, or None.

    Returns:
        The report in the main process, None in the others.

    Raises:
        ValueError: recordings, settings, model or folder cannot be used; the text names the fix.
        OSError: a file cannot be read or written.
    """
    start = time.monotonic()
    if ground_truth is not None and not ground_truth.is_dir():
        raise NotADirectoryError(f"there is no folder {ground_truth}; give --ground-truth the folder of its files")
    teacher = load_teacher(model)
    if config.rounds:
        with torch.random.fork_rng(devices=[]):
            build_student(config.student, teacher)  # raise now, not after the long preparation
    try:
        prepared = prepare_together(sources, out / "frames", config, context)
    except NotEnoughFrames as error:
        return write_outcome_without_pairs(error, sources, out) if context.is_main else None
    to_choose_by, to_report_on = split_held_out(prepared.held_out)
    if context.is_main:
        print_preparation(prepared, config, context)
        if config.validation.maximum_pairs < MIN_PAIRS:
            print(
                f"warning: the verdict will be 'no change': any other needs {MIN_PAIRS} held-out pairs to report on; "
                f"raise validation.maximum_pairs to {MIN_PAIRS} or more",
                flush=True,
            )
        elif prepared.held_out and len(to_report_on) < MIN_PAIRS:
            print(f"warning: {describe_shortness(prepared, len(to_report_on), config)}", flush=True)
    check_sizes(prepared.smallest_frames)
    flows = load_ground_truth(ground_truth, to_report_on) if ground_truth is not None and context.is_main else None
    if not context.is_main:
        adapt(teacher, prepared.training, to_choose_by, config, out, context)
        return None
    with folder_lock(out):
        run_time = RunTime(out, start)
        recordings = hash_recordings(sources)  # now, because the recordings may be deleted before the training ends
        try:
            result = adapt(teacher, prepared.training, to_choose_by, config, out, context, run_time.save)
            print_decisions(result)
            use_threads_of_others()
            return write_outcome(result, to_report_on, recordings, config, model, out, run_time, flows)
        except KeyboardInterrupt:
            run_time.save()
            raise


def print_preparation(prepared: PreparedPairs, config: AdaptationConfig, context: ProcessContext) -> None:
    """Print which frames are used, and a hint if the student is too slow without a GPU."""
    print(prepared.summary)
    print(f"  see {prepared.contact_sheet}", flush=True)
    if context.device.type == "cpu" and config.rounds and config.student.name.startswith("raft"):
        print(f"no GPU: {config.student.name} trains slowly on a CPU; use --config {CPU_CONFIG}", flush=True)


def describe_shortness(prepared: PreparedPairs, pairs_to_report_on: int, config: AdaptationConfig) -> str:
    """Return a warning that the recordings are too short for any verdict but `no change`, and how long to record."""
    # The report uses half of each recording's held-out pairs, without the pair that shares a frame with the other half.
    recordings = len(set(prepared.held_out.recordings))
    frames = math.ceil((2 * MIN_PAIRS + 3 * recordings) / config.frames.held_out_share)
    rate = prepared.summary.rate_hz
    seconds = f", {frames / rate:.0f} s of motion at {rate:.3g} Hz," if rate else ""
    return (
        f"the verdict will be 'no change': any other needs {MIN_PAIRS} held-out pairs to report on, but there are "
        f"{pairs_to_report_on}. Record about {frames} usable frames{seconds} without a break, or raise "
        "frames.held_out_share"
    )


def check_sizes(smallest_frames: Mapping[str, Size]) -> None:
    """Check, before hours of training, that the frames are large enough for the deployed network.

    Args:
        smallest_frames: the smallest frame (width, height in pixels) of each recording.

    Raises:
        ValueError: the frames of a recording are too small.
    """
    for recording, (width, height) in smallest_frames.items():
        if min(width, height) < SIZE_MULTIPLE:
            raise ValueError(
                f"the frames of recording {recording} have {width}x{height} pixels; the network needs at least "
                f"{SIZE_MULTIPLE}x{SIZE_MULTIPLE}: record larger frames, or leave this recording out"
            )


def print_decisions(result: AdaptationResult) -> None:
    """Print the decisions of the run."""
    for note in result.notes:
        print(note)
    if result.stopped is not None:
        print(f"stopped early: {result.stopped}")
