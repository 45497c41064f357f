# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Refine a flow on the images themselves: sharper motion boundaries and subpixel accuracy at little cost.

Source: OpenCV's `VariationalRefinement` (Brox et al., ECCV 2004), as in its DIS flow. A call linearizes the images
once, so several short rounds correct larger errors than one long round. At half the image's size it is four times
cheaper and no less accurate, because noise averages out.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size, resize_flow, scaled_size, size_of

ITERATIONS, SOLVER_ITERATIONS, RELAXATION = 2, 10, 1.9
"""Fixed-point iterations per round, sweeps of successive over-relaxation per iteration, and the relaxation factor. With
OpenCV's defaults, 5 sweeps and a factor of 1.6, the flow does not converge: docs/model_card.md."""

ALPHA, DELTA, GAMMA = 28.0, 0.0, 20.0
"""Weights of smoothness, brightness constancy and gradient constancy. Brightness is not used: with OpenCV's weight of 5
the refined flow follows the camera's noise and changes of exposure."""

MAX_CHANGE = 4.0
"""Changes of a component are clipped to this, in pixels of the flow's size."""

MAX_SIZES = 4
"""Number of image sizes for which a solver is kept."""

Gray = NDArray[np.uint8]
Flow = NDArray[np.float32]

Refinement = tuple[tuple[float, int], ...]
"""Steps, each with the scale of the images at which it works, and its number of rounds."""


class FlowRefiner:
    """Refines flows, on as many threads as OpenCV may use (`cv2.setNumThreads`). It is not thread-safe.

    It keeps a solver for each size, because allocating a solver's memory takes as long as solving.
    """

    def __init__(self) -> None:
        self._solvers: dict[Size, cv2.VariationalRefinement] = {}

    def refine(self, first: Gray, second: Gray, flow: Flow, steps: Refinement) -> Flow:
        """Return ``flow`` corrected so that the images agree better.

        Args:
            first: gray image ``(H, W)`` uint8.
            second: the other one, of the same size.
            flow: ``(h, w, 2)`` in pixels of its size, which may differ from the images'.
            steps: run one after the other; without any, ``flow`` itself is returned.

        Returns:
            ``(h, w, 2)``, finite where ``flow`` is; each step changes a component by at most `MAX_CHANGE`.
        """
        for scale, rounds in steps:
            flow = self._refine(first, second, flow, scale, rounds)
        return flow

    def _refine(self, first: Gray, second: Gray, flow: Flow, scale: float, rounds: int) -> Flow:
        size, output_size = scaled_size(size_of(first), scale), size_of(flow)
        gray = [
            np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) for image in (first, second)
        ]
        start = resize_flow(flow, size)
        u, v = (np.ascontiguousarray(start[..., axis]) for axis in (0, 1))
        solver = self._solver(size)
        for _ in range(rounds):
            u, v = (np.asarray(part, np.float32) for part in solver.calcUV(gray[0], gray[1], u, v))
        change = resize_flow(np.stack((u, v), axis=-1) - start, output_size)
        cv2.patchNaNs(change, 0)
        return flow + np.clip(change, -MAX_CHANGE, MAX_CHANGE)

    def _solver(self, size: Size) -> cv2.VariationalRefinement:
        if size not in self._solvers:
            if len(self._solvers) >= MAX_SIZES:
                self._solvers.pop(next(iter(self._solvers)))
            solver = cv2.VariationalRefinement.create()
            solver.setFixedPointIterations(ITERATIONS)
            solver.setSorIterations(SOLVER_ITERATIONS)
            solver.setOmega(RELAXATION)
            solver.setAlpha(ALPHA)
            solver.setDelta(DELTA)
            solver.setGamma(GAMMA)
            self._solvers[size] = solver
        return self._solvers[size]
