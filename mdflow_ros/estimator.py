# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Two images in, optical flow and its confidence out. Needs neither ROS nor torch."""

from __future__ import annotations

import hashlib
import operator
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Backend, BackendError, BackendOptions, DecodedFlow, Features
from mdflow_ros.backends.check import textured_pair
from mdflow_ros.backends.passed_checks import check_once
from mdflow_ros.backends.selection import AUTO, create_backend, runs_on_gpu
from mdflow_ros.core.confidence import ConfidenceCalibration, FlowEvidence, compute_cues
from mdflow_ros.core.refinement import FlowRefiner
from mdflow_ros.core.resizing import (
    Size,
    network_size,
    resize_field,
    resize_image,
    scale_between,
    scale_vectors,
    scaled_size,
    size_of,
)
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, load_card, real_model
from mdflow_ros.model.confidence_calibration import confidence_calibration_of
from mdflow_ros.model.graphs import encodes_frames_alone, subtracted_mean
from mdflow_ros.quality import AUTO as AUTO_QUALITY
from mdflow_ros.quality import QUALITIES, choose_quality

Image = NDArray[np.uint8]
Field = NDArray[np.float32]

MAX_PLAUSIBLE = 4.0
"""Flow longer than this many image diagonals comes from a broken model."""


@dataclass(frozen=True)
class FlowEstimate:
    """The motion between two images.

    Attributes:
        flow: float32 ``(H, W, 2)``: where each pixel of the first image went in the second, u right and v down, in
            pixels of this size.
        confidence: float32 ``(H, W)`` in [0, 1]: the probability that the flow is within 1 pixel or 5 % of the ground
            truth, see `mdflow_ros.core.confidence`; ``None`` if it was not requested.
        inference_seconds: time that the estimate took, in seconds, including resizing, refinement, confidence, and the
            encoding of frames that were given as images.
    """

    flow: Field
    confidence: Field | None
    inference_seconds: float


@dataclass(frozen=True)
class EncodedFrame:
    """A frame and its features, which are computed once for both pairs that contain it.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB. It must not be modified.
        gray: ``(H, W)`` uint8.
        features: the network's; ``None`` if they depend on the other frame of the pair, as in official checkpoints.
        encoder: identifies the estimator that made this frame; no other estimator can use it.
    """

    image: Image
    gray: Image
    features: Features | None
    encoder: object


class FlowEstimator:
    """Estimates dense optical flow with a deployable model.

    It is thread-safe and runs one call at a time. A ``with`` statement closes it.

    Args:
        model: the ONNX file, with its card beside it.
        backend: a name of `mdflow_ros.backends.selection.BACKENDS`, or ``auto`` for the best that works here.
        inference_size: ``(width, height)`` at which the network runs, rounded up to multiples of 64; ``None`` lets the
            quality choose. A smaller size is faster and follows larger motion; a larger size resolves finer detail.
        output_scale: size of the flow divided by the size of the images, in (0, 1].
        options: further options of the backend; the estimator sets the inference size and the decoding.
        quality: a name of `mdflow_ros.quality.QUALITIES`, or ``auto``.
        refine: whether to refine the network's flow on the images, as the quality specifies.
        calibration: of the confidence; ``None`` uses the one in the model's card.

    Raises:
        ModelError: the model is missing, damaged, or does not match its card.
        BackendUnavailable: the backend cannot run here.
        BackendError: the backend cannot load the model, or the model does not give flow.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        model: Path = BUNDLED_MODEL,
        backend: str = AUTO,
        inference_size: Size | tuple[int, int] | None = None,
        output_scale: float = 1.0,
        options: BackendOptions | None = None,
        quality: str = AUTO_QUALITY,
        refine: bool = True,
        calibration: ConfidenceCalibration | None = None,
    ) -> None:
        if not 0 < output_scale <= 1:
            raise ValueError(f"output_scale must be in (0, 1], not {output_scale}")
        self.model = real_model(Path(model))
        self.card: ModelCard = load_card(self.model)
        self.output_scale = output_scale
        self._inference_size = None if inference_size is None else _checked_size(inference_size)
        self.quality = choose_quality(quality, runs_on_gpu(backend, inference_size is not None))
        self._quality = QUALITIES[self.quality]
        self._refine = refine
        self._calibration = calibration or confidence_calibration_of(self.card, self.quality)
        options = options or BackendOptions()
        options = replace(options, inference_size=self._inference_size, decoding=self._quality.decoding)
        self._refiner = FlowRefiner()
        self._encoder = object()
        self._lock = threading.RLock()  # engines and the refiner reuse their buffers
        self._is_closed = False
        self._backend: Backend = create_backend(backend, self.model, options)
        subject = {
            "check": "plausible flow",
            "engine": self._backend.description,
            "card": hashlib.sha256(self.card.to_json().encode()).hexdigest(),
            "quality": self.quality,
            "size": str(self._inference_size),
        }
        check_once(subject, self._check)

    @property
    def backend(self) -> str:
        """Name of the backend that runs."""
        return self._backend.name

    def inference_size(self, size: Size) -> Size:
        """Return the size at which the network runs on images of ``size``."""
        return self._inference_size or self._quality.inference_size(size)

    def output_size(self, size: Size) -> Size:
        """Return the size of the flow of images of ``size``."""
        return scaled_size(size, self.output_scale)

    def encode(self, image: Image) -> EncodedFrame:
        """Compute the features of a frame, once for both pairs that contain it.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, at least 64x64. It must not be modified afterwards.

        Raises:
            ValueError: the image has another type or shape, or is too small.
            BackendError: the backend failed, or the estimator is closed.
        """
        _check_image(image)
        with self._one_at_a_time():
            features = self._features(image, [image]) if encodes_frames_alone(self.card) else None
            gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
            return EncodedFrame(image, gray, features, self._encoder)

    def estimate(
        self, first: Image | EncodedFrame, second: Image | EncodedFrame, with_confidence: bool = True
    ) -> FlowEstimate:
        """Estimate the flow from ``first`` to ``second``.

        Args:
            first: ``(H, W, 3)`` uint8 RGB, at least 64x64, or the result of `encode`.
            second: the same, of the same size.
            with_confidence: whether to compute the confidence, which needs the backward flow as well.

        Raises:
            ValueError: an image has another type or shape, is too small, or was encoded by another estimator, or the
                images differ in size.
            BackendError: the backend failed, or the estimator is closed.
        """
        with self._one_at_a_time():
            start = time.perf_counter()
            frames = self._encoded(first), self._encoded(second)
            shapes = [frame.image.shape[:2] for frame in frames]
            if shapes[0] != shapes[1]:
                raise ValueError(f"the images differ in size: {shapes[0]} and {shapes[1]}")
            decoded = self._decode(*frames, with_confidence)
            flow = self._published_flow(*frames, decoded)
            confidence = None
            if with_confidence:
                cues = self._cues(*frames, flow, decoded)
                confidence = resize_field(self._calibration.probability(cues), size_of(flow))
            return FlowEstimate(flow, confidence, time.perf_counter() - start)

    def cues(self, first: Image, second: Image) -> tuple[Field, list[Field]]:
        """Return the flow ``(H, W, 2)`` and the cues of its confidence, for the calibration; see `compute_cues`."""
        with self._one_at_a_time():
            frames = self.encode(first), self.encode(second)
            decoded = self._decode(*frames, True)
            flow = self._published_flow(*frames, decoded)
            return flow, self._cues(*frames, flow, decoded)

    def warm_up(self, size: Size) -> None:
        """Run once on black images of ``size``, so that memory is allocated before the first real pair."""
        black = np.zeros((size[1], size[0], 3), np.uint8)
        self.estimate(black, black)

    def close(self) -> None:
        """Release the backend's memory and devices. The estimator cannot be used afterwards."""
        with self._lock:
            self._is_closed = True
            self._backend.close()

    def __enter__(self) -> FlowEstimator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with self._lock:
            if self._is_closed:
                raise BackendError("the estimator is closed; create a new one")
            yield

    def _encoded(self, frame: Image | EncodedFrame) -> EncodedFrame:
        if not isinstance(frame, EncodedFrame):
            return self.encode(frame)
        if frame.encoder is not self._encoder:
            raise ValueError("a frame was encoded by another estimator; encode it with this one")
        return frame

    def _features(self, image: Image, averaged: list[Image]) -> Features:
        size = self.inference_size(size_of(image))
        return self._backend.encode(resize_image(image, size), subtracted_mean(self.card, averaged))

    def _decode(self, first: EncodedFrame, second: EncodedFrame, with_backward: bool) -> DecodedFlow:
        both = [first.image, second.image]
        features = [
            self._features(frame.image, both) if frame.features is None else frame.features for frame in (first, second)
        ]
        return self._backend.decode(features[0], features[1], with_backward)

    def _published_flow(self, first: EncodedFrame, second: EncodedFrame, decoded: DecodedFlow) -> Field:
        """Return the network's flow at the published size, refined."""
        size = size_of(first.image)
        output_size = self.output_size(size)
        flow = scale_vectors(decoded.flow, scale_between(self.inference_size(size), output_size))
        flow = resize_field(flow, output_size)
        if not self._refine:
            return flow
        return self._refiner.refine(first.gray, second.gray, flow, self._quality.refinement_of(size))

    def _cues(self, first: EncodedFrame, second: EncodedFrame, flow: Field, decoded: DecodedFlow) -> list[Field]:
        assert decoded.backward is not None
        network = self.inference_size(size_of(first.image))
        evidence = FlowEvidence(flow, decoded.flow, decoded.coarser, decoded.backward, network)
        return compute_cues(first.gray, second.gray, evidence)

    def _check(self) -> None:
        """Run once on a small textured pair, to refuse a broken model.

        Raises:
            BackendError: the flow is not finite, or is absurdly long.
        """
        size = self._inference_size or Size(128, 128)
        estimate = self.estimate(*textured_pair(size))
        flow, confidence = estimate.flow, estimate.confidence
        assert confidence is not None
        longest = MAX_PLAUSIBLE * float(np.hypot(*size))
        if not (np.isfinite(flow).all() and np.isfinite(confidence).all()):
            raise BackendError(f"{self.model} gives flow that is not finite on a test pair; use another model")
        if np.abs(flow).max() > longest:
            raise BackendError(
                f"{self.model} gives flow of {np.abs(flow).max():.3g} pixels on a test pair; use another model"
            )


def _checked_size(inference_size: Sequence[int]) -> Size:
    """Return the size at which the network runs; raises ValueError."""
    try:
        width, height = (operator.index(side) for side in inference_size)
    except (TypeError, ValueError):
        width = height = 0
    if min(width, height) <= 0:
        raise ValueError(f"inference_size must be (width, height), two positive whole numbers, not {inference_size!r}")
    return network_size(Size(width, height), SIZE_MULTIPLE)


def _check_image(image: Image) -> None:
    if not isinstance(image, np.ndarray):
        hint = "; cv2.imread returns None for a file that it cannot read" if image is None else ""
        raise ValueError(f"an image must be a numpy array, not {type(image).__name__}{hint}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be RGB in uint8 (H, W, 3), not {image.dtype} {image.shape}; convert it first")
    if min(image.shape[:2]) < SIZE_MULTIPLE:
        raise ValueError(f"an image must have at least 64x64 pixels, not {image.shape[1]}x{image.shape[0]}")
