# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure methods on recorded pairs: without labels, and against ground truth if there is any."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.core.resizing import Size, scaled_size, size_of
from mdflow_ros.estimator import FlowEstimator
from mdflow_training.engine.batches import FramePairs, to_tensor
from mdflow_training.evaluation.baselines import Baseline
from mdflow_training.evaluation.confidence_metrics import sparsification_error
from mdflow_training.evaluation.flow_evaluation import Confidence
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.flow_files import Flow, Image, known_pixels, read_flow
from mdflow_training.frames.sequences import RecordedPairs
from mdflow_training.judging.extrapolation import center_crop, extrapolation_error
from mdflow_training.judging.known_motion import KnownMotion, known_motion
from mdflow_training.judging.label_free_score import DISAGREEMENT_WEIGHT, RANDOM_MATCH, match_error, match_measures
from mdflow_training.losses.census import Census, inside_window
from mdflow_training.losses.occlusion import forward_backward_visibility
from mdflow_training.networks.directions import swap_directions

EQUAL_CONFIDENCE = 0.5
"""The confidence at which the coverage of all models is compared."""


@dataclass(frozen=True)
class Measure:
    """Description of a measure.

    Attributes:
        label: its name in reports.
        unit: ``""``, ``px`` or ``%``; with ``%``, values are shares in [0, 1] and shown in percent.
        lower_is_better: whether lower values are better; otherwise higher ones are.
    """

    label: str
    unit: str
    lower_is_better: bool

    def show(self, value: float | None, sign: str = "") -> str:
        """Format a value; None and NaN give ``-``. With ``sign="+"``, positive values are shown with their sign."""
        if value is None or math.isnan(value):
            return "-"
        return f"{100 * value:{sign}.1f} %" if self.unit == "%" else f"{value:{sign}.4f} {self.unit}".rstrip()


MATCH_ERROR, EXTRAPOLATION, KNOWN_MOTION = "match_error", "extrapolation", "known_motion_error"
CENSUS = "census_visible"

MEASURES = {
    MATCH_ERROR: Measure(
        f"match error: census distance everywhere + {DISAGREEMENT_WEIGHT} disagreement + {RANDOM_MATCH} extrapolation",
        "",
        True,
    ),
    CENSUS: Measure("census distance on visible pixels", "", True),
    "disagreement": Measure("disagreement of forward and backward flow, relative to their length", "", True),
    EXTRAPOLATION: Measure("extrapolation: error where motion leaves a part of the view", "", True),
    KNOWN_MOTION: Measure("endpoint error on frames that were moved by a known motion", "px", True),
    "consistency": Measure("pixels that pass the forward-backward check", "%", False),
    "coverage": Measure(f"pixels of confidence {EQUAL_CONFIDENCE} and more", "%", False),
    "epe": Measure("endpoint error", "px", True),
    "ause": Measure("AUSE (area under the sparsification error curve)", "", True),
}
"""All measures by name. The match error also chooses the teacher in the training: see
`mdflow_training.judging.label_free_score.LabelFreeScore`."""

DECIDING_MEASURES = {
    MATCH_ERROR: "the match error",
    CENSUS: "the census distance of the visible pixels",
    KNOWN_MOTION: "the error under known motion",
    EXTRAPOLATION: "the extrapolation",
}
"""The measures that decide the verdict, and their names in sentences; for all of them, lower is better."""


@dataclass(frozen=True)
class TwoWayFlow:
    """A method's flows in both directions on one pair.

    Attributes:
        forward: ``(H, W, 2)`` in pixels, first image to second.
        backward: same shape, second to first.
        confidence: confidence of the forward flow, ``(H, W)`` in [0, 1]; None if the method has none.
    """

    forward: Flow
    backward: Flow
    confidence: Confidence | None = None


TwoWayMethod = Callable[[Image, Image], TwoWayFlow]
Metrics = dict[str, NDArray[np.float64]]
"""Values of each measure for one method, ``(pairs,)``; NaN where ground truth or confidence is missing."""

GroundTruth = Callable[[int], Flow | None]
"""Returns the true flow of a pair by its index, ``(H, W, 2)`` pixels, NaN where unknown; None if there is none."""


def two_way_model_method(model: Path, scale: float | None = None) -> TwoWayMethod:
    """Return a deployable model as a method; it runs in ONNX Runtime on the CPU.

    Args:
        model: the ONNX file.
        scale: size of the network's input relative to the images; None uses the size that the quality chooses.

    Raises:
        ModelError: the model is missing or damaged.
    """

    @cache
    def estimator_at(inference_size: Size | None) -> FlowEstimator:
        options = BackendOptions(threads=torch.get_num_threads())
        return FlowEstimator(model, "onnxruntime", inference_size, options=options)

    if scale is None:
        estimator_at(None)  # fail now if the model cannot be read

    def estimate(first: Image, second: Image) -> TwoWayFlow:
        estimator = estimator_at(None if scale is None else scaled_size(size_of(first), scale))
        older, newer = estimator.encode(first), estimator.encode(second)
        forward = estimator.estimate(older, newer)
        backward = estimator.estimate(newer, older, with_confidence=False)
        return TwoWayFlow(forward.flow, backward.flow, forward.confidence)

    return estimate


def baseline_method(baseline: Baseline) -> TwoWayMethod:
    """Return a baseline as a method without confidence."""
    # Copies, because some baselines reuse their output array.
    return lambda first, second: TwoWayFlow(np.array(baseline(first, second)), np.array(baseline(second, first)))


def load_ground_truth(folder: Path, pairs: RecordedPairs) -> GroundTruth:
    """Return the ground truth of a folder: ``FIRST_SECOND.flo`` (or .png, .pfm), named by both frames' stamps in ns.

    All files are read once in advance, to find bad files before hours of training.

    Args:
        folder: folder of the files.
        pairs: pairs for which ground truth is looked up.

    Raises:
        ValueError: no pair has a file, or one is damaged, of another size than the frames, or contains no valid flow.
    """
    stamps = pairs.stamps

    def file_of(index: int) -> Path | None:
        first, second = stamps[index].tolist()
        files = (folder / f"{first}_{second}{suffix}" for suffix in (".flo", ".png", ".pfm"))
        return next((file for file in files if file.exists()), None)

    if not any(file_of(index) for index in range(len(stamps))):
        expected = "_".join(map(str, stamps[0].tolist())) if len(stamps) else "FIRST_SECOND"
        raise ValueError(f"{folder} has no ground truth of any held-out pair; files are named like {expected}.flo")

    def read(index: int) -> Flow | None:
        file = file_of(index)
        if file is None:
            return None
        flow = read_flow(file)
        (height, width), (true_height, true_width) = pairs[index][0].shape[:2], flow.shape[:2]
        if (true_height, true_width) != (height, width):
            raise ValueError(f"{file} is of {true_width}x{true_height} pixels, its frames are of {width}x{height}")
        if not known_pixels(flow).any():
            raise ValueError(f"{file} contains no valid flow; delete it")
        return flow

    for index in range(len(stamps)):
        read(index)
    return read


def measure_pair(
    first: Image,
    second: Image,
    flow: TwoWayFlow,
    method: TwoWayMethod,
    census: Census,
    ground_truth: Flow | None,
) -> dict[str, float]:
    """Return all measures of one method on one pair, by the names of `MEASURES`.

    Args:
        first: the older image, ``(H, W, 3)`` uint8 RGB.
        second: the newer image, same shape.
        flow: the method's result on this pair.
        method: the method, to run it on the center crop as well.
        census: how to compare images.
        ground_truth: ``(H, W, 2)`` pixels, NaN where unknown; None if there is none.
    """
    images = to_tensor(torch.from_numpy(np.stack((first, second))), torch.device("cpu"))
    flows = _stacked(flow)
    distance, disagreement, visible = (float(value) for value in match_measures(images, flows, census))
    extrapolation = math.nan  # stays NaN if the images are too small to crop
    if (part := center_crop(*first.shape[:2])) is not None:
        alone = method(*(np.ascontiguousarray(image[part]) for image in (first, second)))
        extrapolation = float(extrapolation_error(flows, _stacked(alone), part))
    metrics = dict.fromkeys(MEASURES, np.nan) | {
        MATCH_ERROR: match_error(distance, disagreement, 0.0 if math.isnan(extrapolation) else extrapolation),
        CENSUS: census_where_visible(images, flows, census),
        "disagreement": disagreement,
        EXTRAPOLATION: extrapolation,
        "consistency": visible,
    }
    if flow.confidence is not None:
        metrics["coverage"] = float((flow.confidence >= EQUAL_CONFIDENCE).mean())
    if ground_truth is not None:
        error = endpoint_error(flow.forward, ground_truth)
        known = np.isfinite(error)
        metrics["epe"] = float(error[known].mean(dtype=np.float64))
        if flow.confidence is not None:
            metrics["ause"] = sparsification_error(flow.confidence[known], error[known])
    return metrics


def known_motion_error(method: TwoWayMethod, moved: KnownMotion) -> float:
    """Return a method's endpoint error in pixels on a pair with known motion; NaN if no pixel's motion is known."""
    error = endpoint_error(method(moved.first, moved.second).forward, moved.flow)
    return float(np.nanmean(error)) if np.isfinite(error).any() else np.nan


def _stacked(flow: TwoWayFlow) -> Tensor:
    return torch.from_numpy(np.stack((flow.forward, flow.backward))).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def census_where_visible(images: Tensor, flows: Tensor, census: Census) -> float:
    """Return the mean census distance of the pixels that pass the forward-backward check; NaN if none passes.

    Args:
        images: RGB ``(2, 3, H, W)`` in [0, 1], both frames.
        flows: ``(2, 2, H, W)`` in pixels, forward and backward.
        census: how to compare images.
    """
    distance = census.distance_to_match(images, flows)
    visible = forward_backward_visibility(flows, swap_directions(flows)) * inside_window(images)
    return float(distance[visible.bool()].mean())


def measure_methods(
    methods: Mapping[str, TwoWayMethod],
    pairs: FramePairs,
    indices: Sequence[int],
    census: Census,
    ground_truth: GroundTruth | None = None,
    noise: float = 0.0,
    compared: Sequence[str] = (),
) -> dict[str, Metrics]:
    """Measure every method on the chosen pairs.

    Args:
        methods: the methods by name.
        pairs: the data.
        indices: indices of the chosen pairs.
        census: how to compare images.
        ground_truth: returns the ground truth of some of the pairs; None if there is none.
        noise: standard deviation of the camera's noise, in gray levels (0 to 255).
        compared: names of the methods whose mean flow becomes the known motion; if empty, the error under known motion
            is not measured.

    Raises:
        ValueError: the ground truth does not fit the images.
    """
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for index in tqdm(indices, desc="report", unit="pair", disable=None):
        first, second = pairs[index]
        true_flow = ground_truth(index) if ground_truth else None
        flows = {name: method(first, second) for name, method in methods.items()}
        for name, method in methods.items():
            rows[name].append(measure_pair(first, second, flows[name], method, census, true_flow))
        if compared:
            moved = known_motion(second, [flows[name].forward for name in compared], noise, index)
            for name, method in methods.items():
                rows[name][-1][KNOWN_MOTION] = known_motion_error(method, moved)
    return {
        name: {measure: np.array([row[measure] for row in of_method]) for measure in MEASURES}
        for name, of_method in rows.items()
    }


def mean_metrics(metrics: Metrics) -> dict[str, float]:
    """Return the mean of each measure over the pairs with a value; measures without any value are left out."""
    return {name: float(np.nanmean(values)) for name, values in metrics.items() if np.isfinite(values).any()}
