# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare two models on pairs without labels: improved, no change, or worse."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from mdflow_ros.backends.onnxruntime_backend import load_onnxruntime
from mdflow_ros.core.resizing import Size, network_size, scaled_size, size_of
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_ros.model.card import load_card
from mdflow_ros.quality import AUTO, QUALITIES, choose_quality
from mdflow_training.engine.batches import FramePairs, spread_evenly
from mdflow_training.evaluation.baselines import dis_flow
from mdflow_training.judging.camera_noise import measure_noise
from mdflow_training.judging.difference import Difference, compare
from mdflow_training.judging.forgetting import describe_forgetting, error_on_generated_pairs
from mdflow_training.judging.ground_truth import GroundTruth
from mdflow_training.judging.held_out_metrics import Metrics, measure_methods
from mdflow_training.judging.measures import MATCH_ERROR, MEASURES
from mdflow_training.judging.two_way_flow import TwoWayMethod, baseline_method, two_way_model_method
from mdflow_training.judging.verdict import (
    decide,
    describe_control,
    describe_enlarged,
    describe_ground_truth,
)
from mdflow_training.losses.census import Census
from mdflow_training.report.page import ReportFrame
from mdflow_training.report.report import AFTER, BEFORE, CONTROL, DIS, Report

MAX_PAIRS = 48

ENLARGEMENTS = {f"{BEFORE} at {scale:g} times the size": scale for scale in (1.5, 2.0)}
"""Scales of the old model's network input relative to the images: an alternative to training, but slower.

Measured only where the input is larger than the one that the node chooses for these images."""

MAX_ENLARGED_PIXELS = 400_000
"""Images are not enlarged beyond this many pixels: it is slow, and large images gain little."""


def compare_models(
    models: Mapping[str, Path],
    pairs: FramePairs,
    ground_truth: GroundTruth | None = None,
    chosen: bool = True,
    max_pairs: int = MAX_PAIRS,
    recordings: Sequence[str] = (),
) -> tuple[Report, list[ReportFrame]]:
    """Measure the models, the old model at larger input sizes, and OpenCV's DIS on held-out pairs, and decide.

    Args:
        models: the ONNX files of ``before``, ``after`` and, optionally, ``control``.
        pairs: pairs that no model was trained on, in the order of time.
        ground_truth: returns the ground truth of some of the pairs; None if there is none.
        chosen: whether the label-free check of the training chose ``after``.
        max_pairs: largest number of pairs to measure, evenly spread.
        recordings: the recording of each pair, for a separate comparison on each recording.

    Returns:
        The report, and three pairs to show: the greatest gain, the median, and the greatest loss.

    Raises:
        ModelError: a model is missing or damaged.
        ValueError: the ground truth does not fit the images.
    """
    if len(pairs) == 0:
        return Report(*decide({}, chosen)), []
    size = size_of(pairs[0][0])
    usual_size = QUALITIES[choose_quality(AUTO, on_gpu=False)].inference_size(size)
    enlarged = enlarged_sizes(size, usual_size)
    methods = _methods(models, enlarged)
    noise = measure_noise(pairs, size)
    indices = spread_evenly(len(pairs), max_pairs)
    metrics = measure_methods(methods, pairs, indices, Census.for_noise(noise), ground_truth, noise, (BEFORE, AFTER))
    differences = {f"{AFTER} - {other}": _differences(metrics, other) for other in metrics if other not in (AFTER, DIS)}
    generated = {name: error_on_generated_pairs(model) for name, model in models.items()}
    verdict, reason = decide(differences[f"{AFTER} - {BEFORE}"], chosen)
    reason += _remarks(differences, enlarged, usual_size) + describe_forgetting(generated, BEFORE, AFTER)
    images = {**size._asdict(), "held_out_pairs": len(pairs), "noise_gray_levels": noise}
    about = {"models": _describe_models(models), "images": images, "error_on_generated_pairs": generated}
    about["versions"] = _versions()
    by_recording = _compare_recordings([recordings[index] for index in indices] if recordings else [], metrics)
    report = Report(verdict, reason, indices, metrics, differences, by_recording, about)
    return report, _frames_to_show(report, methods, pairs, ground_truth)


def _methods(models: Mapping[str, Path], enlarged: Iterable[str]) -> dict[str, TwoWayMethod]:
    """Return the methods to measure: the models, the old model at the ``enlarged`` sizes, and DIS."""
    methods = {name: two_way_model_method(model) for name, model in models.items()}
    methods |= {name: two_way_model_method(models[BEFORE], ENLARGEMENTS[name]) for name in enlarged}
    return methods | {DIS: baseline_method(dis_flow(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM))}


def _remarks(
    differences: Mapping[str, Mapping[str, Difference]], enlarged: Mapping[str, Size], usual_size: Size
) -> str:
    """Describe what does not affect the verdict: ground truth, control, and the old model at larger sizes."""
    remarks = describe_ground_truth(differences[f"{AFTER} - {BEFORE}"])
    if (control := f"{AFTER} - {CONTROL}") in differences:
        remarks += f"; {describe_control(differences[control])}"
    for name, inference_size in enlarged.items():
        remarks += describe_enlarged(differences[f"{AFTER} - {name}"], inference_size, usual_size)
    return remarks


def _differences(metrics: Mapping[str, Metrics], other: str) -> dict[str, Difference]:
    """Return the differences of the new model to another method, by the measure's name."""
    changes = {measure: compare(metrics[AFTER][measure], metrics[other][measure]) for measure in MEASURES}
    return {measure: change for measure, change in changes.items() if change is not None}


def enlarged_sizes(size: Size, usual_size: Size) -> dict[str, Size]:
    """Return the larger network inputs to measure for images of ``size``, by the names in `ENLARGEMENTS`.

    Args:
        size: size of the images.
        usual_size: input size that the node chooses for them; the node enlarges small images itself.
    """
    sizes = {}
    for name, scale in ENLARGEMENTS.items():
        enlarged = network_size(scaled_size(size, scale), SIZE_MULTIPLE)
        fits = size.width * size.height * scale**2 <= MAX_ENLARGED_PIXELS
        if fits and math.prod(enlarged) > math.prod(usual_size):
            sizes[name] = enlarged
    return sizes


def _compare_recordings(names: Sequence[str], metrics: Mapping[str, Metrics]) -> dict[str, dict[str, Difference]]:
    """Return ``after - before`` for each recording; {} if there are fewer than two.

    Args:
        names: the recording of each row of the metrics.
        metrics: each measure of each method.
    """
    unique = list(dict.fromkeys(names))
    if len(unique) < 2:
        return {}
    rows = {name: [row for row, other in enumerate(names) if other == name] for name in unique}
    return {
        name: {
            measure: difference
            for measure in MEASURES
            if (difference := compare(metrics[AFTER][measure][selected], metrics[BEFORE][measure][selected]))
            is not None
        }
        for name, selected in rows.items()
    }


def _frames_to_show(
    report: Report, methods: Mapping[str, TwoWayMethod], pairs: FramePairs, ground_truth: GroundTruth | None
) -> list[ReportFrame]:
    """Run both models again on the pairs with the greatest gain, the median change and the greatest loss."""
    order = np.argsort(report.metrics[AFTER][MATCH_ERROR] - report.metrics[BEFORE][MATCH_ERROR], kind="stable")
    rows = {"greatest gain": order[0], "median": order[len(order) // 2], "greatest loss": order[-1]}
    frames = []
    for title, row in rows.items():
        index = report.indices[row]
        first, second = pairs[index]
        old, new = (report.metrics[name][MATCH_ERROR][row] for name in (BEFORE, AFTER))
        frames.append(
            ReportFrame(
                f"{title}: pair {index}, match error {old:.4f} → {new:.4f}",
                first,
                methods[BEFORE](first, second),
                methods[AFTER](first, second),
                ground_truth(index) if ground_truth else None,
            )
        )
    return frames


def _describe_models(models: Mapping[str, Path]) -> dict[str, dict[str, str | None]]:
    cards = {name: load_card(model) for name, model in models.items()}
    return {
        name: {"path": str(models[name]), "name": card.name, "sha256": card.sha256, "parent": card.parent}
        for name, card in cards.items()
    }


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": load_onnxruntime("onnxruntime").__version__,
        "opencv": cv2.__version__,
        "processor": platform.processor() or platform.machine(),
    }
