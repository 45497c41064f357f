# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Draw image, flow and confidence side by side, for one moment or for several in a contact sheet.

All images are ``(H, W, 3)`` uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.flow_color import confidence_to_color, draw_wheel, flow_to_color
from mdflow_ros.core.picture_files import write_picture
from mdflow_ros.core.resizing import shrink

Picture = NDArray[np.uint8]

TILE_WIDTH = 400
GAP = 8
CAPTION_HEIGHT = 30
HEADER_HEIGHT = 112
LEGEND_SIDE = 80
BACKGROUND = (24, 26, 30)
FOREGROUND = (236, 236, 236)
MUTED = (160, 164, 170)
FONT = cv2.FONT_HERSHEY_DUPLEX
COLUMNS = ("image", "optical flow", "confidence")

FULL_COLOR_PERCENTILE = 99
"""This percentile of the lengths is drawn in full color, so that outliers do not make all other colors pale."""
MIN_FULL_COLOR = 3.0
"""Smallest length, in pixels, that is drawn in full color, so that noise stays pale."""


@dataclass(frozen=True)
class Moment:
    """A flow with its image and confidence, each at most `TILE_WIDTH` wide (see `shrink_to_tile`).

    Attributes:
        seconds: time since the first pair.
        image: ``(h, w, 3)`` uint8 RGB, the older image, at whose pixels the forward flow is defined.
        flow: ``(H, W, 2)`` float32, in pixels of the published size, not finite where unknown.
        confidence: ``(H, W)`` float32 in [0, 1].
    """

    seconds: float
    image: Picture
    flow: NDArray[np.float32]
    confidence: NDArray[np.float32]


def shrink_to_tile(array: NDArray[Any]) -> NDArray[Any]:
    """Scale an image, a flow or a confidence down to `TILE_WIDTH` if it is wider; values keep their unit."""
    # A mean would spread the NaN of a masked flow to its neighbors.
    interpolation = cv2.INTER_AREA if array.dtype == np.uint8 else cv2.INTER_NEAREST
    return shrink(array, TILE_WIDTH, interpolation=interpolation)


class EvenSample:
    """Keeps moments spread evenly over a run of unknown length, in bounded memory."""

    def __init__(self, capacity: int = 24) -> None:
        self._capacity = capacity
        self._stride = 1
        self._seen = 0
        self._kept: list[Moment] = []

    def add(self, moment: Moment) -> None:
        """Keep every n-th moment; when too many are kept, drop every second one and double n."""
        if self._seen % self._stride == 0:
            self._kept.append(moment)
        self._seen += 1
        if len(self._kept) == self._capacity:
            self._kept = self._kept[::2]
            self._stride *= 2

    def pick(self, count: int) -> list[Moment]:
        """Return up to ``count`` moments, in order, from the whole run."""
        count = min(count, len(self._kept))
        # The middles of equal parts. This avoids the first pair, when the camera may have just been switched on.
        return [self._kept[(2 * part + 1) * len(self._kept) // (2 * count)] for part in range(count)]


def write_contact_sheet(path: Path, moments: Sequence[Moment], title: str, lines: Sequence[str]) -> None:
    """Draw moments below each other, with two lines of text and a legend, and write them as PNG."""
    rows = [
        draw_moment(
            moment,
            full,
            f"{moment.seconds:.1f} s",
            f"median {_median_length(moment.flow):.1f} px   full color {full:.1f} px",
        )
        for moment, full in ((moment, full_color(moment)) for moment in moments)
    ]
    width = max(row.shape[1] for row in rows)
    sheet = _canvas(HEADER_HEIGHT + sum(row.shape[0] for row in rows), width)
    _text(sheet, title, (GAP, 30), 0.7)
    for number, line in enumerate(lines):
        _text(sheet, line, (GAP, 54 + 20 * number), 0.45, MUTED)
    for column, name in enumerate(COLUMNS):
        _text(sheet, name, (GAP + column * (TILE_WIDTH + GAP), HEADER_HEIGHT - 8), 0.5)
    _draw_legend(sheet)
    top = HEADER_HEIGHT
    for row in rows:
        sheet[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0]
    write_picture(path, sheet)


def draw_moment(moment: Moment, full_color: float, image_caption: str, flow_caption: str) -> Picture:
    """Return the three tiles with captions below; both sides are even, as video encoders require."""
    height, width = moment.flow.shape[:2]
    tile_height = max(1, round(height * TILE_WIDTH / width))
    row = _canvas(tile_height + CAPTION_HEIGHT + tile_height % 2, 3 * TILE_WIDTH + 4 * GAP)
    tiles = (moment.image, flow_to_color(moment.flow, full_color), confidence_to_color(moment.confidence))
    captions = (image_caption, flow_caption, f"mean {np.nanmean(moment.confidence):.2f}")
    for column, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left = GAP + column * (TILE_WIDTH + GAP)
        interpolation = cv2.INTER_AREA if tile.shape[1] > TILE_WIDTH else cv2.INTER_LINEAR
        size = (TILE_WIDTH, tile_height)
        row[:tile_height, left : left + TILE_WIDTH] = cv2.resize(tile, size, interpolation=interpolation)
        _text(row, caption, (left, tile_height + 20), 0.45, MUTED)
    return row


def _draw_legend(sheet: Picture) -> None:
    """Draw the color wheel and the confidence bar into the sheet's upper right corner."""
    left = GAP + 2 * (TILE_WIDTH + GAP) - LEGEND_SIDE - GAP
    draw_wheel(sheet, left, GAP, LEGEND_SIDE)
    _text(sheet, "direction", (left - 96, 44), 0.45, MUTED)
    _text(sheet, "of motion", (left - 96, 62), 0.45, MUTED)
    bar_left = GAP + 2 * (TILE_WIDTH + GAP) + 60
    bar = np.tile(np.linspace(0, 1, TILE_WIDTH - 120, dtype=np.float32), (14, 1))
    sheet[50:64, bar_left : bar_left + bar.shape[1]] = confidence_to_color(bar)
    _text(sheet, "0", (bar_left - 18, 62), 0.45, MUTED)
    _text(sheet, "1 = sure", (bar_left + bar.shape[1] - 62, 42), 0.45, MUTED)


def _lengths(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the lengths of the known vectors, in pixels, flat."""
    lengths = np.hypot(flow[..., 0], flow[..., 1])
    return np.asarray(lengths[np.isfinite(lengths)], np.float32)


def _median_length(flow: NDArray[np.float32]) -> float:
    lengths = _lengths(flow)
    return float(np.median(lengths)) if lengths.size else float("nan")


def full_color(moment: Moment) -> float:
    """Return the length in pixels to draw in full color."""
    lengths = _lengths(moment.flow)
    return max(MIN_FULL_COLOR, float(np.percentile(lengths, FULL_COLOR_PERCENTILE)) if lengths.size else 0.0)


def _canvas(height: int, width: int) -> Picture:
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def _text(
    canvas: Picture, text: str, origin: tuple[int, int], scale: float, color: tuple[int, int, int] = FOREGROUND
) -> None:
    cv2.putText(canvas, text, origin, FONT, scale, color, 1, cv2.LINE_AA)
