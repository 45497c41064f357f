# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure methods on data sets, pair by pair: accuracy, quality of the confidence, and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mdflow_ros.backends.backend import BackendError
from mdflow_training.evaluation.confidence_metrics import ConfidenceMetrics
from mdflow_training.evaluation.flow_metrics import FlowMetrics, OcclusionScore, endpoint_error, is_right
from mdflow_training.evaluation.flow_pairs import LoadedPair, TruePair
from mdflow_training.flow_files import Flow, Image

Confidence = NDArray[np.float32]
Method = Callable[[Image, Image], tuple[Flow, Confidence | None]]
"""Estimates flow ``(H, W, 2)`` in pixels, and confidence ``(H, W)`` in [0, 1] if it has one, of two RGB images."""

HIDDEN_BELOW = 0.1
"""Pixels with a lower confidence count as hidden; the node's `mask_invalid` removes these by default."""

LATENCY_PERCENTILES = (50, 95)


def without_confidence(estimate: Callable[[Image, Image], Flow]) -> Method:
    """Return a flow function as a method without confidence."""
    return lambda first, second: (estimate(first, second), None)


@dataclass(frozen=True)
class Estimate:
    """The result of a method on a pair.

    Attributes:
        flow: ``(H, W, 2)`` in pixels.
        confidence: ``(H, W)`` in [0, 1]; None if the method has none.
        error: endpoint error ``(H, W)`` in pixels, NaN where the ground truth is unknown.
        seconds: computation time.
    """

    flow: Flow
    confidence: Confidence | None
    error: NDArray[np.float32]
    seconds: float


class SetScore:
    """Everything measured of one method on one data set."""

    def __init__(self) -> None:
        self.flow = FlowMetrics()
        self.confidence = ConfidenceMetrics()
        self.occlusion = OcclusionScore()
        self.epe_of_pairs: dict[str, float] = {}
        self.seconds: list[float] = []

    def add(self, name: str, pair: LoadedPair, estimate: Estimate) -> None:
        """Score a pair.

        Raises:
            ValueError: a confidence is outside [0, 1]; nothing is added then.
        """
        known = np.isfinite(estimate.error)
        if estimate.confidence is not None:
            right = is_right(estimate.error, pair.ground_truth)
            self.confidence.add(estimate.confidence[known], estimate.error[known], right[known])
            if pair.visible is not None:
                self.occlusion.add(estimate.confidence < HIDDEN_BELOW, ~pair.visible, known)
        self.epe_of_pairs[name] = self.flow.add(estimate.error, pair.ground_truth, pair.visible)
        self.seconds.append(estimate.seconds)

    def summary(self) -> dict[str, Any]:
        """Return every metric by name; see `FlowMetrics.summary` and `ConfidenceMetrics.summary` for the units."""
        milliseconds = 1000 * np.array(self.seconds)
        metrics: dict[str, Any] = self.flow.summary()
        if self.confidence.of_images:
            metrics |= self.confidence.summary()
        if self.occlusion.marked:
            metrics["occlusion_f1"] = self.occlusion.f1
        metrics["latency_ms"] = {
            f"p{percent}": float(np.percentile(milliseconds, percent)) for percent in LATENCY_PERCENTILES
        }
        metrics["pairs"] = self.epe_of_pairs
        return metrics


@dataclass
class Evaluation:
    """Scores by set and method, and the pairs that could not be measured."""

    scores: dict[str, dict[str, SetScore]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


PairListener = Callable[[str, str, str, LoadedPair, Estimate], None]
"""Called with the names of set, method and pair, with the pair and its estimate."""


def evaluate_methods(
    methods: Mapping[str, Method],
    sets: Mapping[str, Sequence[TruePair]],
    on_pair: PairListener | None = None,
) -> Evaluation:
    """Run every method on every pair of every set.

    A pair that cannot be read, or on which a method fails, counts for no method; it is named in the problems.
    Each method runs once untimed on the first images of each size, so that no pair pays for allocations.
    """
    evaluation = Evaluation()
    warmed_up: set[tuple[int, ...]] = set()
    with tqdm(total=sum(map(len, sets.values())), unit="pair", smoothing=0) as progress:
        for set_name, pairs in sets.items():
            progress.set_description(set_name)
            scores = {name: SetScore() for name in methods}
            for pair in pairs:
                try:
                    loaded = pair.load()
                    if loaded.first.shape not in warmed_up:
                        for method in methods.values():
                            method(loaded.first, loaded.second)
                        warmed_up.add(loaded.first.shape)
                    estimates = {name: _estimate(method, loaded) for name, method in methods.items()}
                    for name, estimate in estimates.items():
                        scores[name].add(pair.name, loaded, estimate)
                    if on_pair:
                        for name, estimate in estimates.items():
                            on_pair(set_name, name, pair.name, loaded, estimate)
                except (OSError, ValueError, BackendError, cv2.error) as problem:
                    evaluation.problems.append(f"{set_name}/{pair.name}: {problem}")
                progress.update()
            if any(score.seconds for score in scores.values()):
                evaluation.scores[set_name] = scores
    return evaluation


def _estimate(method: Method, pair: LoadedPair) -> Estimate:
    start = time.perf_counter()
    flow, confidence = method(pair.first, pair.second)
    seconds = time.perf_counter() - start
    return Estimate(flow, confidence, endpoint_error(flow, pair.ground_truth), seconds)
