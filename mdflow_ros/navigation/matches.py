# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Turn flow into matches: pairs of rays in both images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.confidence import RIGHT_PIXELS, RIGHT_SHARE
from mdflow_ros.navigation.camera import Camera

CORE_SPREAD = 0.56
"""Standard deviation of the central errors, divided by that of a Gaussian with the same tails. Measured on rendered
halls (`benchmarks/navigation.py`)."""

CORRELATION = 8.0
"""Matches that are this far apart, in pixels, count as independent. On rendered approaches, 63 % of the growth rates of
`time_to_contact` are within one standard deviation (Gaussian: 68 %); with 16 pixels, 86 %. `epipolar.refine` is equally
accurate with both."""

MAX_MATCHES = 1500
"""Maximum number of matches from which a motion is estimated. At 320x256 they are 8 pixels apart, so that a finer grid
would add few independent ones (`CORRELATION`)."""

SHARED_SHARE = 0.05
"""Error that neighbors in a network's flow share, as a share of the flow's length. Measured on rendered halls where
only the camera turns (`benchmarks/navigation.py`), with the weights of 574,900 samples: of 80 views, 59 have a false
object with 0, 8 with 0.04, 3 with 0.05. With 0.06, a camera that also translates is sometimes taken for one that only
turns."""

MIN_AHEAD = 0.2
"""After a change of axes, a ray's point with at least this z counts as in front of the camera."""


@dataclass(frozen=True, eq=False)
class Matches:
    """A grid of pixels with their rays in both images.

    Attributes:
        older: ``(H, W, 2)`` float32, points on the plane z = 1 of the older camera; NaN where unknown.
        newer: ``(H, W, 2)`` float32, the same of the newer camera.
        pixels: ``(H, W, 2)`` float32, positions in the newer image, pixels.
        confidence: ``(H, W)`` float32, probability that the match is right; 0 where a ray is unknown.
        sigma: ``(H, W)`` float32, standard deviation of ``newer - older`` on each axis, on the plane z = 1.
        stride: distance between neighbors of the grid, pixels.
    """

    older: NDArray[np.float32]
    newer: NDArray[np.float32]
    pixels: NDArray[np.float32]
    confidence: NDArray[np.float32]
    sigma: NDArray[np.float32]
    stride: int

    def usable(self, min_confidence: float) -> NDArray[np.bool_]:
        """Return where both rays are known and the match is right with at least this probability, ``(H, W)``."""
        return finite(self.older) & finite(self.newer) & (self.confidence >= min_confidence)

    def every(self, step: int) -> Matches:
        """Return every ``step``-th match on both axes."""
        return replace(self.selected((slice(None, None, step), slice(None, None, step))), stride=self.stride * step)

    def selected(self, index: NDArray[np.bool_] | tuple[slice, slice]) -> Matches:
        """Return the matches at ``index`` of the grid; a mask ``(H, W)`` gives ``N`` matches in arrays ``(N, ...)``."""
        fields = ("older", "newer", "pixels", "confidence", "sigma")
        return replace(self, **{name: getattr(self, name)[index] for name in fields})

    def confident(self, min_confidence: float, count: int = MAX_MATCHES) -> Matches:
        """Return ``N`` usable matches to estimate a motion from, of a grid of about ``count``."""
        coarse = self.every(max(1, math.ceil(math.sqrt(self.confidence.size / count))))
        return coarse.selected(coarse.usable(min_confidence))


def finite(points: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return where both coordinates of points ``(..., 2)`` are finite."""
    return np.asarray(np.isfinite(points[..., 0]) & np.isfinite(points[..., 1]))  # faster than all(axis=-1)


def lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lengths of vectors ``(..., 2)``."""
    x, y = vectors[..., 0], vectors[..., 1]
    return np.sqrt(x * x + y * y)  # several times faster than hypot


def transformed(points: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Map points ``(..., 2)`` of the plane z = 1 by a rotation or homography ``(3, 3)``."""
    return np.stack(mapped(points, matrix), axis=-1)


def mapped(points: NDArray[np.float32], matrix: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return x and y ``(...)`` of points `transformed` by a matrix."""
    x, y = points[..., 0], points[..., 1]
    right, down, ahead = (row[0] * x + row[1] * y + row[2] for row in matrix.astype(points.dtype))
    return right / ahead, down / ahead  # several times faster than a matrix product


def derotated(matches: Matches, rotation: NDArray[np.float64]) -> Matches:
    """Return the matches as if the older camera had the orientation of the newer one.

    Args:
        matches: of the flow.
        rotation: ``(3, 3)``, axes of the older camera to those of the newer one.
    """
    return replace(matches, older=transformed(matches.older, rotation))


def reoriented(matches: Matches, rotation: NDArray[np.float64]) -> Matches:
    """Return the matches as seen by a camera at the same place with other axes.

    Args:
        matches: of the flow.
        rotation: ``(3, 3)``, axes of the camera to the other axes. Matches that are not in front get confidence 0.
    """

    def ahead(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(points @ rotation[2, :2].astype(points.dtype) + rotation[2, 2])

    depth = ahead(matches.newer)
    known = (ahead(matches.older) > MIN_AHEAD) & (depth > MIN_AHEAD)
    older, newer = (
        np.where(known[..., None], transformed(points, rotation), np.float32(np.nan))
        for points in (matches.older, matches.newer)
    )
    confidence = np.where(known, matches.confidence, np.float32(0))
    # The area around a point of the plane z = 1 is scaled by 1 / depth**3, and so lengths by 1 / depth**1.5.
    sigma = matches.sigma * np.where(known, depth, np.float32(1)) ** np.float32(-1.5)
    return replace(matches, older=older, newer=newer, confidence=confidence, sigma=sigma)


def flow_sigma(confidence: NDArray[np.float32], length: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the standard deviation of flow on each axis, in pixels.

    A Gaussian error with ``sigma`` on both axes is within a radius ``r`` with probability
    ``1 - exp(-r**2 / (2 sigma**2))`` (Rayleigh distribution), which is the confidence. Flow errors have longer tails
    than a Gaussian, so most of them are smaller: `CORE_SPREAD`.

    Args:
        confidence: ``(H, W)`` in [0, 1].
        length: ``(H, W)`` of the flow, pixels.
    """
    radius = np.maximum(np.float32(RIGHT_PIXELS), np.float32(RIGHT_SHARE) * length)
    # The bounds limit the accuracy to a seventh of a pixel and keep the logarithm finite.
    bounded = np.clip(confidence, np.float32(0.01), np.float32(0.9995))
    return np.asarray(CORE_SPREAD * radius / np.sqrt(-2 * np.log1p(-bounded)), np.float32)


def correlation_factor(stride: int) -> float:
    """Return the factor by which the correlation of neighbors, ``stride`` pixels apart, enlarges a fit's covariance."""
    return max(1.0, (CORRELATION / stride) ** 2)


def with_shared_errors(matches: Matches) -> Matches:
    """Return the matches with `SHARED_SHARE` added to their standard deviations, for decisions about regions.

    `flow_sigma` is right for single matches: two thirds of the depths of `depth_from_motion` are within one standard
    deviation. But if neighbors share an error, many exceed it together, and a vote among them does not remove that.
    """
    shared = np.float32(SHARED_SHARE) * lengths(matches.newer - matches.older)
    return replace(matches, sigma=np.sqrt(matches.sigma**2 + shared**2))


def match(
    flow: NDArray[np.float32],
    confidence: NDArray[np.float32],
    camera: Camera,
    stride: int,
    backward: bool = False,
) -> Matches:
    """Return the matches of a flow field on a coarser grid.

    Args:
        flow: ``(H, W, 2)`` in pixels; NaN where masked.
        confidence: ``(H, W)`` in [0, 1].
        camera: of images of the flow's size.
        stride: of the grid, pixels.
        backward: whether the flow leads from the newer to the older image.

    Raises:
        ValueError: the sizes differ.
    """
    if flow.shape[:2] != confidence.shape or camera.size != (flow.shape[1], flow.shape[0]):
        raise ValueError(
            f"flow is {flow.shape[1]}x{flow.shape[0]}, confidence {confidence.shape[1]}x{confidence.shape[0]} and "
            f"camera_info {camera.size[0]}x{camera.size[1]}: take all three from one flow node"
        )
    coarse = np.ascontiguousarray(flow[::stride, ::stride])
    sure = np.ascontiguousarray(confidence[::stride, ::stride])
    start = np.stack(
        np.meshgrid(
            np.arange(0, flow.shape[1], stride, dtype=np.float32), np.arange(0, flow.shape[0], stride, dtype=np.float32)
        ),
        axis=-1,
    )
    end = start + coarse
    older, newer = (end, start) if backward else (start, end)
    rays, spans = (camera.rays(older), camera.rays(newer)), camera.pixel_spans(end)
    known = finite(rays[0]) & finite(rays[1]) & np.isfinite(spans)
    sigma = flow_sigma(sure, lengths(coarse)) * np.where(known, spans, np.float32(1))
    return Matches(*rays, newer, np.where(known, sure, np.float32(0)), sigma, stride)
