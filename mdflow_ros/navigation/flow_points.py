# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The most confident matches of a flow field, spread over the view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def flow_points(
    flow: NDArray[np.float32], confidence: NDArray[np.float32], count: int, cell: int, min_confidence: float = 0.0
) -> NDArray[np.float32]:
    """Return the most confident pixel of each cell, for at most ``count`` cells, most confident first.

    Args:
        flow: ``(H, W, 2)`` in pixels; pixels with NaN are left out.
        confidence: ``(H, W)`` in [0, 1].
        count: maximum number of pixels.
        cell: side of a cell, pixels; 1 selects the best pixels wherever they are.
        min_confidence: pixels below it are left out.

    Returns:
        ``(N, 5)`` float32: x and y of the pixel, u and v of its flow, confidence.
    """
    height, width = confidence.shape
    known = np.where(np.isfinite(flow[..., 0]) & np.isfinite(flow[..., 1]), confidence, np.float32(-1))
    down, across = -(-height // cell), -(-width // cell)
    padded = np.pad(known, ((0, down * cell - height), (0, across * cell - width)), constant_values=-1)
    cells = padded.reshape(down, cell, across, cell).swapaxes(1, 2).reshape(down * across, cell * cell)
    best = cells.argmax(axis=1)
    highest = cells[np.arange(len(cells)), best]
    order = np.argsort(-highest, kind="stable")[:count]
    order = order[highest[order] >= max(min_confidence, 0.0)]
    row = order // across * cell + best[order] // cell
    column = order % across * cell + best[order] % cell
    return np.column_stack((column, row, flow[row, column], highest[order])).astype(np.float32)
