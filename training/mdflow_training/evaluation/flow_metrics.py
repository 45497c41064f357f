# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How far a flow is from the ground truth: the metrics of Middlebury, MPI Sintel and KITTI.

A *region* is a part of the pixels: all that have ground truth, those that stay visible in the second image (``noc``),
those that do not (``occ``), or those of one speed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.confidence import RIGHT_PIXELS, RIGHT_SHARE
from mdflow_training.flow_files import Flow, Mask

ACCURACY_PIXELS = (1, 3, 5)
OUTLIER_PIXELS = 3.0
OUTLIER_SHARE = 0.05
SPEEDS = {"speed_0_10": (0, 10), "speed_10_40": (10, 40), "speed_40_plus": (40, np.inf)}
"""Regions by the length of the ground-truth flow in pixels, from and below, as MPI Sintel splits them."""


def endpoint_error(flow: Flow, ground_truth: Flow) -> NDArray[np.float32]:
    """Return the endpoint error: the distance of each flow vector from the true one.

    Args:
        flow: ``(H, W, 2)`` in pixels.
        ground_truth: same shape, NaN where it is unknown.

    Returns:
        ``(H, W)`` in pixels, NaN where the ground truth is unknown.

    Raises:
        ValueError: the shapes differ, or the flow is not finite everywhere.
    """
    if flow.shape != ground_truth.shape:
        raise ValueError(f"the flow has shape {flow.shape}, the ground truth {ground_truth.shape}")
    broken = np.count_nonzero(~np.isfinite(flow).all(axis=2))
    if broken:
        raise ValueError(f"the estimated flow is not finite at {broken} pixels")
    difference = flow - ground_truth
    return np.hypot(difference[..., 0], difference[..., 1])


def is_right(error: NDArray[np.float32], ground_truth: Flow) -> NDArray[np.bool_]:
    """Return where a flow is right, as predicted by the confidence; False where the ground truth is unknown.

    Args:
        error: as `endpoint_error` returns it, ``(H, W)`` in pixels.
        ground_truth: ``(H, W, 2)`` in pixels.
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(
            error <= np.maximum(RIGHT_PIXELS, RIGHT_SHARE * np.hypot(ground_truth[..., 0], ground_truth[..., 1]))
        )


@dataclass
class ErrorSums:
    """Sums over the pixels of one region, to average over any number of images."""

    pixels: int = 0
    error: float = 0.0
    outliers: int = 0
    accurate: dict[int, int] = field(default_factory=lambda: dict.fromkeys(ACCURACY_PIXELS, 0))

    def add(self, error: NDArray[np.float32], length: NDArray[np.float32]) -> None:
        """Add pixels by their errors and the lengths of their true vectors, both ``(N,)`` in pixels."""
        self.pixels += error.size
        self.error += float(error.sum(dtype=np.float64))
        self.outliers += np.count_nonzero((error > OUTLIER_PIXELS) & (error > OUTLIER_SHARE * length))
        for limit in ACCURACY_PIXELS:
            self.accurate[limit] += np.count_nonzero(error <= limit)

    @property
    def epe(self) -> float:
        """Mean endpoint error of the pixels; NaN where there is none."""
        return self.error / self.pixels if self.pixels else np.nan

    @property
    def fl(self) -> float:
        """Percentage of outliers: more than 3 px *and* more than 5 % of the true length off (KITTI 2015)."""
        return 100 * self.outliers / self.pixels if self.pixels else np.nan

    def accuracy(self, limit: int) -> float:
        """Percentage of pixels that are at most ``limit`` pixels off."""
        return 100 * self.accurate[limit] / self.pixels if self.pixels else np.nan


class FlowMetrics:
    """Flow metrics of a data set, gathered pair by pair."""

    def __init__(self) -> None:
        self.epe_of_images: list[float] = []
        self.regions = {name: ErrorSums() for name in ("all", "noc", "occ", *SPEEDS)}

    def add(self, error: NDArray[np.float32], ground_truth: Flow, visible: Mask | None = None) -> float:
        """Add a pair.

        Args:
            error: ``(H, W)``, from `endpoint_error`.
            ground_truth: ``(H, W, 2)`` in pixels, NaN where it is unknown.
            visible: ``(H, W)``, the pixels that the second image shows too; ``None`` if that is unknown.

        Returns:
            The pair's mean endpoint error.

        Raises:
            ValueError: no pixel has ground truth.
        """
        known = np.isfinite(error)
        if not known.any():
            raise ValueError("the ground truth is unknown at every pixel")
        length = np.hypot(ground_truth[..., 0], ground_truth[..., 1])
        regions = {name: known & (lower <= length) & (length < upper) for name, (lower, upper) in SPEEDS.items()}
        regions["all"] = known
        if visible is not None:
            regions["noc"] = known & visible
            regions["occ"] = known & ~visible
        for name, region in regions.items():
            self.regions[name].add(error[region], length[region])
        self.epe_of_images.append(float(error[known].mean(dtype=np.float64)))
        return self.epe_of_images[-1]

    def summary(self) -> dict[str, float | int]:
        """Return the metrics: ``epe`` is the mean of images, everything else is pooled over the set's pixels.

        Endpoint errors in pixels, ``accuracy_*`` and ``fl_*`` in percent; regions without pixels are left out.
        """
        whole = self.regions["all"]
        metrics: dict[str, float | int] = {
            "images": len(self.epe_of_images),
            "pixels": whole.pixels,
            "epe": float(np.mean(self.epe_of_images)),
            "epe_pixels": whole.epe,
            **{f"accuracy_{limit}px": whole.accuracy(limit) for limit in ACCURACY_PIXELS},
            "fl_all": whole.fl,
        }
        for name, region in self.regions.items():
            if name != "all" and region.pixels:
                metrics[f"epe_{name}"] = region.epe
                if name in ("noc", "occ"):
                    metrics[f"fl_{name}"] = region.fl
        return metrics


@dataclass
class OcclusionScore:
    """Agreement of estimated with true occlusion, gathered pair by pair."""

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0

    def add(self, occluded: Mask, ground_truth: Mask, known: Mask) -> None:
        """Add a pair's masks, each ``(H, W)``; only pixels that are ``known`` count."""
        self.hits += np.count_nonzero(occluded & ground_truth & known)
        self.false_alarms += np.count_nonzero(occluded & ~ground_truth & known)
        self.misses += np.count_nonzero(~occluded & ground_truth & known)

    @property
    def marked(self) -> int:
        """Number of pixels that are occluded in the ground truth, or in the estimate."""
        return self.hits + self.false_alarms + self.misses

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]; NaN where nothing is marked."""
        return 2 * self.hits / (self.hits + self.marked) if self.marked else np.nan
