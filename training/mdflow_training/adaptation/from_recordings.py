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
from mdflow_training.judging.held_out_metrics import load_ground_truth
from mdflow_training.judging.verdict import MIN_PAIRS
from mdflow_training.networks.students import build_student
from mdflow_training.networks.teacher import load_teacher
from mdflow_training.report.adapted_model import hash_recordings
from mdflow_training.report.comparison import Report
from mdflow_training.settings.adaptation import AdaptationConfig

CPU_CONFIG = Path(__file__).parents[1] / "configs" / "adapt_cpu.yaml"
"""Settings for a computer without a GPU, where RAFT learns too slowly to teach."""


def default_config() -> Path | None:
    """Return the settings for this computer: a file where there is no GPU, ``None`` for the defaults of the code."""
    return None if torch.cuda.is_available() else CPU_CONFIG


def prepare_together(
    sources: list[str], folder: Path, config: AdaptationConfig, context: ProcessContext
) -> PreparedPairs:
    """Decode recordings in the main process, then let the other processes read the cache, or fail alike."""

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
    """Go from recordings to an adapted teacher in ``out`` and the report on it, which the main process returns.

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
            build_student(config.student, teacher)  # one that cannot be built fails now, not after the preparation
    try:
        prepared = prepare_together(sources, out / "frames", config, context)
    except NotEnoughFrames as error:
        return write_outcome_without_pairs(error, sources, out) if context.is_main else None
    to_choose_by, to_report_on = split_held_out(prepared.held_out)
    if context.is_main:
        print_preparation(prepared, config, context)
        if prepared.held_out and len(to_report_on) < MIN_PAIRS:
            print(f"warning: {describe_shortness(prepared, len(to_report_on), config)}", flush=True)
    check_sizes(prepared.smallest_frames)
    flows = load_ground_truth(ground_truth, to_report_on) if ground_truth is not None and context.is_main else None
    if not context.is_main:
        adapt(teacher, prepared.training, to_choose_by, config, out, context)
        return None
    with folder_lock(out):
        run_time = RunTime(out, start)
        recordings = hash_recordings(sources)  # now, as the recording may be gone when the training ends
        try:
            result = adapt(teacher, prepared.training, to_choose_by, config, out, context, run_time.save)
            print_decisions(result)
            use_threads_of_others()
            return write_outcome(result, to_report_on, recordings, config, model, out, run_time, flows)
        except KeyboardInterrupt:
            run_time.save()
            raise


def print_preparation(prepared: PreparedPairs, config: AdaptationConfig, context: ProcessContext) -> None:
    """Print which frames are used, and a warning if the student suits a GPU alone."""
    print(prepared.summary)
    print(f"  see {prepared.contact_sheet}", flush=True)
    if context.device.type == "cpu" and config.rounds and config.student.name.startswith("raft"):
        print(f"no GPU: {config.student.name} learns slowly here; --config {CPU_CONFIG} is made for that", flush=True)


def describe_shortness(prepared: PreparedPairs, pairs_to_report_on: int, config: AdaptationConfig) -> str:
    """Tell that a recording is too short for any verdict but `no change`, and how long to record."""
    # Of each recording, half of the pairs held out are reported on, without the one that shares a frame with the rest.
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
    """Refuse, before hours of training, frames that no deployed model can estimate the flow of.

    Raises:
        ValueError: those of a recording are too small.
    """
    for recording, (width, height) in smallest_frames.items():
        if min(width, height) < SIZE_MULTIPLE:
            raise ValueError(
                f"the frames of recording {recording} have {width}x{height} pixels, the network needs "
                f"{SIZE_MULTIPLE}x{SIZE_MULTIPLE} at least: record larger ones, or leave it out"
            )


def print_decisions(result: AdaptationResult) -> None:
    """Print the decisions of the run."""
    for note in result.notes:
        print(note)
    if result.stopped is not None:
        print(f"stopped early: {result.stopped}")
