# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of the frames of a recording that were kept and dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import replace_file

CELL_WIDTH, CELL_HEIGHT, TITLE_HEIGHT, MARGIN = 160, 120, 26, 4
COLUMNS = 8


def draw_contact_sheet(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], path: Path) -> None:
    """Write a PNG with a title and up to 8 images, ``(H, W, 3)`` RGB of any size, for each row."""
    width = COLUMNS * (CELL_WIDTH + MARGIN) + MARGIN
    strips = []
    for title, images in rows:
        strip = np.full((TITLE_HEIGHT + CELL_HEIGHT + MARGIN, width, 3), 255, np.uint8)
        place = (MARGIN, TITLE_HEIGHT - 8)
        cv2.putText(strip, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        for column, image in enumerate(images[:COLUMNS]):
            cell = shrink(image, CELL_WIDTH, CELL_HEIGHT)
            left = MARGIN + column * (CELL_WIDTH + MARGIN)
            strip[TITLE_HEIGHT : TITLE_HEIGHT + cell.shape[0], left : left + cell.shape[1]] = cell
        strips.append(strip)
    encoded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(strips), cv2.COLOR_RGB2BGR))[1]
    replace_file(path, encoded.tobytes())  # each process of a shared training draws it


def shrink(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale an image down to fit a box, keeping its aspect ratio; smaller images stay as they are."""
    scale = min(1.0, width / image.shape[1], height / image.shape[0])
    if scale == 1.0:
        return image
    size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
