# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Images whose flow is known: smooth random texture, moved by whole pixels."""

from __future__ import annotations

import cv2
import numpy as np


def textured_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return smooth random texture, RGB."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def shifted_pair(height: int, width: int, right: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two images of which the second shows the first's content moved by ``(right, down)`` pixels."""
    margin = 32
    scene = textured_image(height + 2 * margin, width + 2 * margin)

    def cut(x: int, y: int) -> np.ndarray:
        return np.ascontiguousarray(scene[margin + y : margin + y + height, margin + x : margin + x + width])

    return cut(0, 0), cut(-right, -down)
