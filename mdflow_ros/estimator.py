# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Two images in, optical flow and its confidence out. Needs neither ROS nor torch."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Backend, BackendOptions
from mdflow_ros.backends.selection import AUTO, create_backend
from mdflow_ros.core.refinement import ROUNDS, refine_flow
from mdflow_ros.core.resizing import Size, network_size, resize_field, resize_flow, resize_image, scaled_size
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, load_card


@dataclass(frozen=True)
class FlowEstimate:
    """The motion between two images.

    Attributes:
        flow: float32 ``(H, W, 2)``: where each pixel of the first image went in the second, u right and v down, in
            pixels of this size.
        confidence: float32 ``(H, W)`` in [0, 1], 1 = trust, see
            `mdflow_ros.model.onnx_writer.confidence_graph`; ``None`` if it was not asked for.
        inference_seconds: time that the estimate took, resizing included.
    """

    flow: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    inference_seconds: float


class FlowEstimator:
    """Estimates dense optical flow with a deployable model.

    Args:
        model: the ONNX file, with its card beside it.
        backend: a name of `mdflow_ros.backends.selection.BACKENDS`, or ``auto`` for the best that works here.
        inference_size: ``(width, height)`` at which the network runs, rounded up to multiples of 64; ``None`` takes the
            images' own. Smaller is faster and reaches farther, larger sees finer detail.
        output_scale: published size over image size, in (0, 1].
        options: what the backend may need to know; its inference size is filled in here.
        refinement_rounds: see `mdflow_ros.core.refinement.refine_flow`; 0 publishes the network's flow as it is.

    Raises:
        ModelError: the model is missing, damaged, or does not match its card.
        BackendUnavailable: the backend cannot run here.
        BackendError: the backend cannot load the model.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        model: Path = BUNDLED_MODEL,
        backend: str = AUTO,
        inference_size: Size | None = None,
        output_scale: float = 1.0,
        options: BackendOptions | None = None,
        refinement_rounds: int = ROUNDS,
    ) -> None:
        if not 0 < output_scale <= 1:
            raise ValueError(f"output_scale must be in (0, 1], not {output_scale}")
        if inference_size is not None and min(inference_size) <= 0:
            raise ValueError(f"inference_size must be positive, not {inference_size}")
        self.model = Path(model)
        self.card: ModelCard = load_card(self.model)
        self.output_scale = output_scale
        self.refinement_rounds = refinement_rounds
        self._inference_size = inference_size and network_size(inference_size, SIZE_MULTIPLE)
        options = replace(options or BackendOptions(), inference_size=self._inference_size)
        self._backend: Backend = create_backend(backend, self.model, options)

    @property
    def backend(self) -> str:
        """Name of the backend that runs."""
        return self._backend.name

    def inference_size(self, size: Size) -> Size:
        """Return the size at which the network runs on images of ``size``."""
        return self._inference_size or network_size(size, SIZE_MULTIPLE)

    def output_size(self, size: Size) -> Size:
        """Return the size of the flow of images of ``size``."""
        return scaled_size(size, self.output_scale)

    def estimate(
        self, first: NDArray[np.uint8], second: NDArray[np.uint8], with_confidence: bool = True
    ) -> FlowEstimate:
        """Estimate the flow from ``first`` to ``second``.

        Args:
            first: ``(H, W, 3)`` uint8 RGB, 64x64 at least.
            second: likewise, of the same size.
            with_confidence: without it the estimate takes about 40 % of the time.

        Raises:
            ValueError: an image is not as described.
            BackendError: the backend failed.
        """
        _check_pair(first, second)
        start = time.perf_counter()
        size = (first.shape[1], first.shape[0])
        inference_size = self.inference_size(size)
        images = np.stack([resize_image(image, inference_size) for image in (first, second)])
        flow, confidence = self._backend.run(images, with_confidence)
        output_size = self.output_size(size)
        flow = refine_flow(first, second, resize_flow(flow, output_size), self.refinement_rounds)
        if confidence is not None:
            confidence = resize_field(confidence, output_size)
        return FlowEstimate(flow, confidence, time.perf_counter() - start)

    def warm_up(self, size: Size) -> None:
        """Run once on black images, so that the first real pair does not pay for allocations."""
        black = np.zeros((size[1], size[0], 3), np.uint8)
        self.estimate(black, black)

    def close(self) -> None:
        """Give back what the backend holds."""
        self._backend.close()


def _check_pair(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
    for image in (first, second):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        if min(image.shape[:2]) < SIZE_MULTIPLE:
            raise ValueError(f"an image must have 64x64 pixels at least, not {image.shape[1]}x{image.shape[0]}")
    if first.shape != second.shape:
        raise ValueError(f"the images differ in size: {first.shape[:2]} and {second.shape[:2]}")
