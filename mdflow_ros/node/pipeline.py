# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Turn image messages into flow: decode, pair, estimate and mask. Uses messages, but no topics or services."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.core.frame_pairing import CameraFrame, FramePairer, ResetReason
from mdflow_ros.core.image_decoding import UnsupportedEncoding
from mdflow_ros.core.intensity import has_contrast
from mdflow_ros.core.printable import printable
from mdflow_ros.core.rectification import BadCalibration
from mdflow_ros.estimator import EncodedFrame, FlowEstimate, FlowEstimator
from mdflow_ros.model.card import ModelError
from mdflow_ros.node.diagnostics import FlowCounters
from mdflow_ros.node.image_preparation import ImagePreparation
from mdflow_ros.node.parameters import LiveSettings, NodeSettings

MAX_RETRY_SECONDS = 30.0
"""Longest wait after a failed inference. The first wait is 1 s, and each is twice as long as the one before."""

FAILURES_BEFORE_RELOAD = 2
"""After this many failures in a row the model is reloaded, which recovers from a lost device."""

EXPECTED_ERRORS = (ModelError, BackendUnavailable, BackendError, ValueError, OSError)
"""Errors whose text explains them; for any other error its type is shown, too."""


OUT_OF_MEMORY = re.compile(
    r"(out of|insufficient|allocate) memory|MemoryAllocation|bad_alloc|memory .*could not be allocated", re.IGNORECASE
)
"""What ONNX Runtime, OpenCV, TensorRT and CUDA say where Python would raise `MemoryError`."""


def describe(error: BaseException) -> str:
    """Return the text of an error, with its type if it is unexpected, and a remedy if memory ran out."""
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
        detail = str(error) or type(error).__name__
        text = f"out of memory; close other programs, or lower inference_size or region ({detail})"
    elif isinstance(error, EXPECTED_ERRORS):
        text = str(error)
    else:
        text = f"unexpected {type(error).__name__}: {error}"
    return printable(text, 1000)


@dataclass(frozen=True)
class FlowResult:
    """The flow of a pair.

    Attributes:
        header: header of the newer image.
        previous_stamp: stamp of the older image, in nanoseconds.
        camera_info: calibration of the image that the flow was estimated on; ``None`` if it is unknown.
        flow: ``(H, W, 2)`` in pixels, NaN where it is masked.
        confidence: ``(H, W)`` in [0, 1]; ``None`` if it was not computed.
        inference_seconds: time of the estimate, including the encoding of frames, in seconds.
        backward: whether the flow leads from the newer to the older image.
    """

    header: Header
    previous_stamp: int
    camera_info: CameraInfo | None
    flow: NDArray[np.float32]
    confidence: NDArray[np.float32] | None
    inference_seconds: float
    backward: bool


class FlowPipeline:
    """Turns image messages into flow. An image that cannot be used is counted and reported, and nothing else changes.

    A model is swapped or released between two images: `configure`, `swap_model` and `release` wait for the image that
    another thread is processing. `reset` does not wait.

    Args:
        counters: of images and pairs.
        report: called with a line about each image that cannot be used or whose inference failed.
        load: loads the model that the settings name.

    Attributes:
        restarts: how often `reset` was called. Flow of images from before the last call is outdated.
    """

    def __init__(
        self, counters: FlowCounters, report: Callable[[str], None], load: Callable[[NodeSettings], FlowEstimator]
    ) -> None:
        self.pairer = FramePairer(max_frame_gap=0.5)
        self.settings: NodeSettings | None = None
        self.estimator: FlowEstimator | None = None
        self.failure: str | None = None
        """Why the last inference failed, until one succeeds."""
        self._counters, self._report, self._load = counters, report, load
        self._between_images = threading.Lock()
        self._preparation = ImagePreparation()
        self._encoded: list[EncodedFrame] = []
        self._encoded_by: FlowEstimator | None = None
        self._failures_in_a_row = 0
        self._retry_time = 0.0
        self.restarts = self._last_restart = 0

    @property
    def calibration_error(self) -> str:
        """Why the calibration of the last image was ignored; empty if it was not."""
        return self._preparation.calibration_error

    def configure(self, settings: NodeSettings, estimator: FlowEstimator) -> None:
        """Use ``settings`` and their model from the next image on."""
        with self._between_images:
            self._preparation = ImagePreparation(settings.intensity_range, settings.rectify, settings.region)
            self._use(settings, estimator)

    def swap_model(self, old: NodeSettings, settings: NodeSettings, estimator: FlowEstimator) -> bool:
        """Use another model from the next image on. Image preparation is unchanged, so no pair is lost.

        Returns:
            False, without any change, if the current settings are no longer ``old``.
        """
        with self._between_images:
            if self.settings is not old:
                return False
            self._use(settings, estimator)
            return True

    def _use(self, settings: NodeSettings, estimator: FlowEstimator) -> None:
        self.settings, self.estimator = settings, estimator
        self._forget_encoded()
        self._recovered()

    def reset(self) -> None:
        """Forget the last image and the one being processed, so that the next one starts a new pair."""
        self.restarts += 1

    def release(self) -> None:
        """Release the model."""
        with self._between_images:
            self.settings = self.estimator = None
            self._forget_encoded()
            self._recovered()

    def process(
        self,
        message: Image | CompressedImage,
        live: LiveSettings,
        with_confidence: bool,
        camera_info: CameraInfo | None = None,
    ) -> FlowResult | None:
        """Return the flow between the last image and this one, or ``None`` if there is none.

        Args:
            message: the image.
            live: the parameters as they are now.
            with_confidence: whether the confidence is needed for more than masking.
            camera_info: the camera's last calibration; ``None`` if none was received.
        """
        with self._between_images:
            if self.settings is None:
                return None
            if (restarts := self.restarts) != self._last_restart:
                self._last_restart = restarts
                self.pairer.reset()
            return self._process(self.settings, message, live, with_confidence, camera_info)

    def _process(
        self,
        settings: NodeSettings,
        message: Image | CompressedImage,
        live: LiveSettings,
        with_confidence: bool,
        camera_info: CameraInfo | None,
    ) -> FlowResult | None:
        prepared = self._prepare(message, live, camera_info)
        if prepared is None:
            return None
        frame, info = prepared
        self._counters.last_refusal = None
        self.pairer.max_frame_gap = live.max_frame_gap
        previous = self.pairer.push(frame)
        if previous is None:
            if self.pairer.last_reason == ResetReason.ZERO_STAMP:
                self._refuse(f"cannot pair an image: {ResetReason.ZERO_STAMP.advice}")
            return None
        first, second = (frame, previous) if settings.backward else (previous, frame)
        estimate = self._estimate(settings, first, second, with_confidence or live.mask_invalid)
        if estimate is None:
            return None
        contrast = has_contrast(first.image) and has_contrast(second.image)
        self._counters.note_contrast(contrast)
        if not contrast:
            estimate = _without_confidence(estimate)
        elif first.valid_mask is not None:
            estimate = _without_confidence(estimate, first.valid_mask)
        flow = _masked(estimate, live.confidence_threshold) if live.mask_invalid else estimate.flow
        return FlowResult(
            message.header,
            previous.stamp,
            info,
            flow,
            estimate.confidence,
            estimate.inference_seconds,
            settings.backward,
        )

    def _prepare(
        self, message: Image | CompressedImage, live: LiveSettings, camera_info: CameraInfo | None
    ) -> tuple[CameraFrame, CameraInfo | None] | None:
        try:
            return self._preparation.prepare(message, live.max_pixels, camera_info)
        except (UnsupportedEncoding, BadCalibration) as error:
            self._counters.frames_unsupported += 1
            self._refuse(describe(error))
        except Exception as error:  # a decoder may raise anything if the message is bad
            self._counters.frames_corrupt += 1
            self._refuse(f"dropped an image: {describe(error)}")
        return None

    def _estimate(
        self, settings: NodeSettings, first: CameraFrame, second: CameraFrame, with_confidence: bool
    ) -> FlowEstimate | None:
        """Return the estimate, or ``None`` if it failed or if it is too early to try again after a failure."""
        if self.failure is not None and time.monotonic() < self._retry_time:
            return None
        try:
            # Keep no local reference to the old model: it must be freed before the new one is loaded.
            if self.estimator is None or self._failures_in_a_row >= FAILURES_BEFORE_RELOAD:
                self._reload(settings)
            estimator = self.estimator
            assert estimator is not None
            start = time.perf_counter()
            encoded = self._encode(estimator, (first, second))
            estimate = estimator.estimate(encoded[0], encoded[1], with_confidence)
            estimate = replace(estimate, inference_seconds=time.perf_counter() - start)
        except ValueError as error:  # images that the network cannot take
            self._counters.frames_corrupt += 1
            self._refuse(f"dropped an image: {describe(error)}")
            return None
        except Exception as error:
            self._failed(error)
            return None
        self._recovered()
        self._counters.pairs_computed += 1
        return estimate

    def _encode(self, estimator: FlowEstimator, pair: tuple[CameraFrame, CameraFrame]) -> list[EncodedFrame]:
        """Encode the frames of a pair; the one that was already in the previous pair is reused."""
        known = self._encoded if self._encoded_by is estimator else []
        encoded = [
            next((old for old in known if old.image is frame.image), None) or estimator.encode(frame.image)
            for frame in pair
        ]
        self._encoded, self._encoded_by = encoded, estimator
        return encoded

    def _forget_encoded(self) -> None:
        self._encoded, self._encoded_by = [], None

    def _reload(self, settings: NodeSettings) -> None:
        self.estimator = None  # its memory may be what the new one needs
        self._forget_encoded()
        options = replace(settings.options, may_build_engine=False)  # building one takes minutes
        try:
            self.estimator = self._load(replace(settings, options=options))
        except ValueError as error:
            raise BackendError(str(error)) from error

    def _failed(self, error: Exception) -> None:
        self._failures_in_a_row += 1
        self._counters.inference_failures += 1
        wait = min(2.0 ** min(self._failures_in_a_row - 1, 10), MAX_RETRY_SECONDS)
        self._retry_time = time.monotonic() + wait
        times = "once" if self._failures_in_a_row == 1 else f"{self._failures_in_a_row} times in a row"
        self.failure = f"inference failed {times}: {describe(error)}"
        self._report(f"{self.failure}; trying again in {wait:.0f} s")

    def _recovered(self) -> None:
        self.failure, self._failures_in_a_row = None, 0

    def _refuse(self, reason: str) -> None:
        self._counters.last_refusal = reason
        self._report(reason)


def _without_confidence(estimate: FlowEstimate, valid_mask: NDArray[np.bool_] | None = None) -> FlowEstimate:
    """Return an estimate with confidence 0 everywhere, or, if given, only outside ``valid_mask`` ``(H, W)``."""
    if estimate.confidence is None:
        return estimate
    if valid_mask is None:
        return replace(estimate, confidence=np.zeros_like(estimate.confidence))
    height, width = estimate.confidence.shape
    kept = cv2.resize(valid_mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return replace(estimate, confidence=estimate.confidence * kept)


def _masked(estimate: FlowEstimate, threshold: float) -> NDArray[np.float32]:
    assert estimate.confidence is not None
    return np.where((estimate.confidence < threshold)[..., None], np.float32(np.nan), estimate.flow)
