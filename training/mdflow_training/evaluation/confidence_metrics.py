# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How well the confidence predicts where the flow is right.

Everything here takes the valid pixels of one image, which have ground truth: ``confidence`` and ``error``, ``(N,)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

SPARSIFICATION_STEPS = 50
KEPT_PERCENT = (50, 70, 90)
RELIABILITY_BINS = 10
CALIBRATION_PIXELS = (1, 3)


def sparsification_curve(uncertainty: Pixels, error: Pixels) -> NDArray[np.float64]:
    """Return the mean error that remains after removing the 0, 2, ..., 98, 100 % most uncertain pixels, ``(51,)``.

    Pixels as uncertain as the percentile itself are kept; the error of no pixel at all is 0.
    """
    order = np.argsort(-uncertainty, kind="stable")
    certainty = -uncertainty[order]
    error_from = np.cumsum(error[order][::-1], dtype=np.float64)[::-1]
    percentiles = np.arange(SPARSIFICATION_STEPS) * (100 / SPARSIFICATION_STEPS)
    removed = np.searchsorted(certainty, np.percentile(certainty, percentiles), side="left")
    return np.append(error_from[removed] / (error.size - removed), 0.0)


def sparsification_error(confidence: Pixels, error: Pixels) -> float:
    """Return AUSE, the area between the confidence's and the best possible sparsification curve; 0 is perfect.

    Both curves are divided by the largest value of the best one, the abscissa is the share removed.
    Source: Ilg et al., ECCV 2018; percentiles and normalization as in the evaluation of U²Flow (CVPR 2026).
    """
    curve, best = sparsification_curve(-confidence, error), sparsification_curve(error, error)
    scale = (best.max() + 1e-6) * SPARSIFICATION_STEPS
    return abs(_trapezoids(curve) - _trapezoids(best)) / float(scale)


def _trapezoids(curve: NDArray[np.float64]) -> float:
    return float((curve[1:] + curve[:-1]).sum() / 2)


def rank_correlation(confidence: Pixels, error: Pixels) -> float:
    """Return Spearman's correlation of uncertainty and error, in [-1, 1]; NaN if either is constant."""
    ranks = [values - values.mean() for values in (_ranks(-confidence), _ranks(error))]
    spread = np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1])
    return float(ranks[0] @ ranks[1] / spread) if spread else np.nan


def _ranks(values: Pixels) -> NDArray[np.float64]:
    """Rank from 1; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[group]


def most_confident_epe(confidence: Pixels, error: Pixels) -> dict[int, float]:
    """Return the mean errors of the 50, 70 and 90 % most confident pixels, by percentage.

    Where the limit falls between equally confident pixels, it is the mean over all choices among them.
    """
    _, group = np.unique(-confidence, return_inverse=True)
    counts = np.append(0, np.cumsum(np.bincount(group)))
    errors = np.append(0, np.cumsum(np.bincount(group, weights=error)))
    kept = {percent: error.size * percent / 100 for percent in KEPT_PERCENT}
    return {percent: float(np.interp(count, counts, errors) / count) for percent, count in kept.items()}


class ConfidenceMetrics:
    """Confidence metrics of a data set, gathered pair by pair."""

    def __init__(self) -> None:
        self.of_images: dict[str, list[float]] = {}
        self.pixels = np.zeros(RELIABILITY_BINS, np.int64)
        self.confidence = np.zeros(RELIABILITY_BINS)
        self.error = np.zeros(RELIABILITY_BINS)
        self.right = np.zeros(RELIABILITY_BINS)
        self.accurate = {limit: np.zeros(RELIABILITY_BINS) for limit in CALIBRATION_PIXELS}

    def add(self, confidence: Pixels, error: Pixels, right: NDArray[np.bool_]) -> None:
        """Add the pixels of a pair: confidence in [0, 1], error in pixels, and whether the flow is right there.

        Raises:
            ValueError: a confidence is outside [0, 1].
        """
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise ValueError(f"the confidence must be in [0, 1], not [{confidence.min()}, {confidence.max()}]")
        scores = {
            "ause": sparsification_error(confidence, error),
            "spearman": rank_correlation(confidence, error),
            **{f"epe_top_{percent}": epe for percent, epe in most_confident_epe(confidence, error).items()},
        }
        for name, score in scores.items():
            self.of_images.setdefault(name, []).append(score)

        bins = np.minimum((confidence * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)

        def per_bin(weights: NDArray) -> NDArray[np.float64]:
            return np.bincount(bins, weights, RELIABILITY_BINS).astype(np.float64)

        self.pixels += np.bincount(bins, minlength=RELIABILITY_BINS)
        self.confidence += per_bin(confidence)
        self.error += per_bin(error)
        self.right += per_bin(right)
        for limit, accurate in self.accurate.items():
            accurate += per_bin(error <= limit)

    def summary(self) -> dict[str, float | list[dict[str, float]]]:
        """Return the means over images, and the calibration over all pixels of the set.

        The mean of Spearman's correlation is over the images that have one; NaN where none has.
        ``epe_top_70`` is the error in pixels of the 70 % most confident pixels. ``calibration`` is the reliability
        diagram, one entry for each tenth of the confidence that occurs: mean confidence, percentage of the pixels, EPE,
        and percentages of them that are right and within 1 and 3 px. ``ece`` is the expected calibration error, the
        mean difference of confidence and share of right pixels, weighted by pixels (Guo et al., ICML 2017).
        """
        metrics: dict[str, float | list[dict[str, float]]] = {
            name: _mean_of_known(scores) for name, scores in self.of_images.items()
        }
        metrics["ece"] = float(np.abs(self.confidence - self.right).sum() / self.pixels.sum())
        metrics["calibration"] = [
            {
                "confidence": self.confidence[index] / pixels,
                "pixels_percent": 100 * pixels / self.pixels.sum(),
                "epe": self.error[index] / pixels,
                "right_percent": 100 * self.right[index] / pixels,
                **{f"accuracy_{limit}px": 100 * sums[index] / pixels for limit, sums in self.accurate.items()},
            }
            for index, pixels in enumerate(self.pixels)
            if pixels
        ]
        return metrics


def _mean_of_known(scores: list[float]) -> float:
    known = [score for score in scores if not np.isnan(score)]
    return float(np.mean(known)) if known else np.nan
