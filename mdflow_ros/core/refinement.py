# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Refine a flow on the images themselves: sharper motion boundaries and subpixel accuracy at little cost.

Source: OpenCV's `VariationalRefinement` (Brox et al., ECCV 2004), as in its DIS flow. It linearizes the images once, so
a few short rounds reach farther than one long one. At half of the image's size it is four times cheaper and, as noise
averages out, no less accurate.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import resize_field, resize_flow, scaled_size

ROUNDS = 2
ITERATIONS = 3
ALPHA, DELTA, GAMMA = 20.0, 5.0, 20.0
"""Weights of smoothness, brightness constancy and gradient constancy."""

MAX_CHANGE = 4.0
"""Largest change of a component, in pixels of the flow's size; the network's flow is trusted beyond."""


def refine_flow(
    first: NDArray[np.uint8], second: NDArray[np.uint8], flow: NDArray[np.float32], rounds: int = ROUNDS
) -> NDArray[np.float32]:
    """Return ``flow`` moved towards where the images agree.

    Args:
        first: ``(H, W, 3)`` uint8 RGB.
        second: the same, of the same size.
        flow: ``(h, w, 2)`` in pixels of its size, which may differ from the images'.
        rounds: how often the images are linearized anew; 0 returns ``flow`` itself.

    Returns:
        ``(h, w, 2)``, finite where ``flow`` is, each component changed by `MAX_CHANGE` at most.
    """
    if rounds == 0:
        return flow
    size = scaled_size((first.shape[1], first.shape[0]), 0.5)
    gray = [
        cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        for image in (first, second)
    ]
    coarse = resize_flow(flow, size)
    u, v = (np.ascontiguousarray(coarse[..., axis]) for axis in (0, 1))
    solver = cv2.VariationalRefinement.create()
    solver.setFixedPointIterations(ITERATIONS)
    solver.setAlpha(ALPHA)
    solver.setDelta(DELTA)
    solver.setGamma(GAMMA)
    for _ in range(rounds):
        u, v = (np.asarray(part, np.float32) for part in solver.calcUV(gray[0], gray[1], u, v))
    height, width = flow.shape[:2]
    change = resize_field(np.stack((u, v), axis=-1) - coarse, (width, height))
    change = change * np.array([width / size[0], height / size[1]], np.float32)
    return flow + np.clip(np.nan_to_num(change), -MAX_CHANGE, MAX_CHANGE)
