# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure methods on recorded pairs: without labels, and against ground truth if there is any."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from mdflow_training.engine.batches import FramePairs, to_tensor
from mdflow_training.evaluation.confidence_metrics import sparsification_error
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.flow_files import Flow, Image
from mdflow_training.judging.extrapolation import center_crop, extrapolation_error
from mdflow_training.judging.ground_truth import GroundTruth
from mdflow_training.judging.known_motion import KnownMotion, known_motion
from mdflow_training.judging.label_free_score import match_error, match_measures
from mdflow_training.judging.measures import (
    CENSUS,
    EQUAL_CONFIDENCE,
    EXTRAPOLATION,
    KNOWN_MOTION,
    MATCH_ERROR,
    MEASURES,
)
from mdflow_training.judging.two_way_flow import TwoWayFlow, TwoWayMethod
from mdflow_training.losses.census import Census, inside_window
from mdflow_training.losses.occlusion import forward_backward_visibility
from mdflow_training.networks.directions import swap_directions

Metrics = dict[str, NDArray[np.float64]]
"""Values of each measure for one method, ``(pairs,)``; NaN where ground truth or confidence is missing."""


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
    if (crop := center_crop(*first.shape[:2])) is not None:
        cropped = method(*(np.ascontiguousarray(image[crop]) for image in (first, second)))
        extrapolation = float(extrapolation_error(flows, _stacked(cropped), crop))
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
        noise: standard deviation of the camera's noise, in intensity levels (0 to 255).
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
