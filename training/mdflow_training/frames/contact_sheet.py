# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A contact sheet of the frames of a recording that were kept and dropped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.picture_files import write_picture
from mdflow_ros.core.resizing import shrink

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
    write_picture(path, np.concatenate(strips))  # each process of a shared training draws it
