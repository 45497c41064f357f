# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate the time to contact of each sector of the view from its growth in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.navigation.affine_fit import SHARED_ERROR, fit_affine
from mdflow_ros.navigation.matches import Matches, correlation_factor, mapped

MIN_MATCHES = 20
"""A sector with fewer confident matches is unknown."""


@dataclass(frozen=True)
class Sectors:
    """The division of the view into sectors.

    Attributes:
        columns: number of sectors side by side.
        rows: number of sectors one above the other.
        top: upper edge of the first row, as a share of the image's height.
        bottom: lower edge of the last row, as a share of the image's height.
        min_confidence: minimum probability that the flow is right.

    Raises:
        ValueError: ``top`` is not above ``bottom``.
    """

    columns: int = 15
    rows: int = 1
    top: float = 0.2
    bottom: float = 0.65
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        if not self.top < self.bottom:
            raise ValueError(f"top, {self.top:g}, must be less than bottom, {self.bottom:g}: no sector is in between")


@dataclass(frozen=True, eq=False)
class TimeToContact:
    """The growth of each sector, and the time to contact; all arrays are ``(rows, columns)`` float64.

    Attributes:
        growth: of the sector between the images, as a fraction of its size; NaN where it is unknown.
        sigma: standard deviation of the growth; NaN where it is unknown.
        interval: between the images, seconds.
    """

    growth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    interval: float

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether enough of the sector's flow is confident."""
        return np.isfinite(self.growth)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Time to contact from the newer image, seconds; infinite where nothing approaches, NaN where it is unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            seconds = np.where(self.growth > 0, self.interval / self.growth, np.inf)
        return np.where(self.known, seconds, np.nan)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability that the sector grows at all, 0 where it is unknown."""
        return self._probability(self.growth)

    def later_than(self, seconds: float) -> NDArray[np.float64]:
        """Return the probability that the contact is later than ``seconds``; 0 where it is unknown."""
        limit = self.interval / seconds if seconds > 0 else math.inf
        return self._probability(limit - self.growth)

    def middle(self, share: float) -> TimeToContact:
        """Return the columns in the middle that span ``share`` of the view's width, at least one."""
        columns = self.growth.shape[1]
        side = min(round((1 - share) / 2 * columns), (columns - 1) // 2)
        kept = slice(side, columns - side)
        return TimeToContact(self.growth[:, kept], self.sigma[:, kept], self.interval)

    def _probability(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability that ``difference``, which has the errors of the growth, is above 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.known, _normal_cdf(difference / self.sigma), 0.0)


def time_to_contact(
    matches: Matches, rotation: NDArray[np.float64], interval: float, sectors: Sectors, backward: bool = False
) -> TimeToContact:
    """Measure the time to contact.

    An approaching object that grows by the factor ``1 + a`` between the images reaches the camera ``interval / a``
    after the newer image (Lee 1976). ``a`` is half the divergence of the flow, from an affine fit to each sector.

    Args:
        matches: of the flow.
        rotation: ``(3, 3)`` of the camera, older to newer image; it is removed, as it looks like growth off center.
        interval: between the images, seconds.
        sectors: division of the view.
        backward: whether the flow leads from the newer to the older image.
    """
    growth, sigma = _growth(matches, rotation, sectors, backward)
    if backward:
        sigma = sigma / (1 + growth) ** 2
        growth = -growth / (1 + growth)
    return TimeToContact(growth, sigma, interval)


def nearest_contact(contact: TimeToContact, min_certainty: float) -> float:
    """Return the shortest time to contact, seconds, of the sectors that approach with at least this probability.

    It is infinite if no known sector approaches, and NaN if no sector is known.
    """
    if not contact.known.any():
        return math.nan
    return float(np.min(contact.seconds, where=contact.confidence >= min_certainty, initial=math.inf))


def _growth(
    matches: Matches, rotation: NDArray[np.float64], sectors: Sectors, backward: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the growth of each sector along the flow, and its standard deviation, ``(rows, columns)`` each."""
    start, end = (matches.newer, matches.older) if backward else (matches.older, matches.newer)
    # Rotate the end points, not the start points, so that the latter stay on a regular grid.
    end_x, end_y = mapped(end, rotation if backward else rotation.T)
    x, y = start[..., 0], start[..., 1]
    sigma = np.where(matches.confidence >= sectors.min_confidence, matches.sigma, np.float32(np.nan))
    fields = np.stack((x, y, end_x - x, end_y - y, sigma))
    height = start.shape[0]
    parts = _split(fields[:, round(sectors.top * height) : round(sectors.bottom * height)], sectors).astype(float)
    return _growth_of(parts[:2], parts[2:4], parts[4], np.isfinite(parts).all(axis=0), matches.stride)


def _split(fields: NDArray[Any], sectors: Sectors) -> NDArray[Any]:
    """Split fields ``(..., H, W)`` into equal sectors ``(..., rows, columns, matches)``, which cover all of them.

    If a side of the fields is not a multiple of the number of sectors along it, neighboring sectors overlap.
    """
    rows, columns = _spread(fields.shape[-2], sectors.rows), _spread(fields.shape[-1], sectors.columns)
    cut = fields.take(rows.ravel(), axis=-2).take(columns.ravel(), axis=-1)
    cut = cut.reshape(*fields.shape[:-2], *rows.shape, *columns.shape).swapaxes(-3, -2)
    return cut.reshape(*cut.shape[:-2], -1)


def _spread(length: int, count: int) -> NDArray[np.int64]:
    """Return the indices ``(count, side)`` of equal parts of ``length`` that are evenly spread over it."""
    side = -(-length // count)
    starts = np.rint(np.linspace(0, length - side, count)).astype(np.int64)
    return np.asarray(starts[:, None] + np.arange(side))


def _growth_of(
    start: NDArray[np.float64],
    moved: NDArray[np.float64],
    sigma: NDArray[np.float64],
    usable: NDArray[np.bool_],
    stride: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return half the divergence of an affine fit to each sector, and its standard deviation ``(rows, columns)``.

    Args:
        start: ``(2, rows, columns, matches)``, x and y.
        moved: ``(2, rows, columns, matches)``, their displacements.
        sigma: ``(rows, columns, matches)`` of the displacements on each axis.
        usable: ``(rows, columns, matches)``, the matches to use.
        stride: distance between neighboring matches, pixels.
    """
    count = usable.sum(axis=-1)
    some = np.maximum(count, 1)
    noise = np.where(usable, sigma, 1) ** 2
    center = np.where(usable, start, 0).sum(axis=-1) / some
    centered = np.where(usable, start - center[..., None], 0)
    fit = fit_affine(np.moveaxis(centered, 0, -2), np.moveaxis(np.where(usable, moved, 0), 0, -2), noise, usable)
    growth = (fit.solution[..., 1, 0] + fit.solution[..., 2, 1]) / 2
    known = count >= MIN_MATCHES
    spread = np.maximum(1, (fit.chi_squared * usable).sum(axis=-1) / (2 * some))
    ordered = np.sort(np.where(usable, noise, np.inf))
    typical = np.take_along_axis(ordered, count[..., None] // 2, axis=-1)[..., 0]  # the median of the usable ones
    extent = (centered**2).sum(axis=(0, -1)) / (2 * some)
    common = SHARED_ERROR**2 * typical / np.maximum(extent, 1e-12) / 2
    of_slopes = (fit.covariance[..., 1, 1] + fit.covariance[..., 2, 2]) / 4
    variance = of_slopes * correlation_factor(stride) * spread + common
    return np.where(known, growth, np.nan), np.where(known, np.sqrt(variance), np.nan)


def _normal_cdf(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vectorize(lambda value: (1 + math.erf(value / 2**0.5)) / 2, otypes=[float])(z)
