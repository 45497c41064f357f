# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare a new engine with ONNX Runtime on the processor, before anybody trusts it.

TensorRT builds an engine without a complaint also where it has a fault, and several versions had one that concerns
GridSample (NVIDIA/TensorRT issue 4646, pytorch/TensorRT issue 4074).
"""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import BackendError, BackendOptions
from mdflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from mdflow_ros.backends.tensorrt.library import make_logger
from mdflow_ros.backends.tensorrt.runner import TensorRtRunner
from mdflow_ros.core.resizing import Size

TOLERANCES = {"flow": 0.05, "confidence": 0.01}
"""Largest mean absolute difference, of flow in pixels. Half precision alone makes up to 0.003 and 0.0014; wrong
interpolation, padding or alignment make 0.1 and 0.02 at least (bundled model, 64x64 to 1280x704, all emulated on the
processor)."""

MOTION_ANGLE = 2.0
MOTION_SCALE = 1.03
MOTION_PIXELS = (6.5, -4.3)
MARGIN = 32

logger = logging.getLogger(__name__)


def check_engine(trt: ModuleType, serialized: bytes, model: Path, size: Size, with_confidence: bool) -> None:
    """Run an engine on a textured pair with known motion.

    Raises:
        BackendError: it does not run, or does not give what ONNX Runtime gives.
    """
    images = textured_pair(size)
    runner = TensorRtRunner(trt, make_logger(trt), serialized)
    try:
        outputs = runner.run(images)
    finally:
        runner.close()
    expected = OnnxRuntimeBackend(model, BackendOptions()).run(images, with_confidence)
    for name, wanted in zip(TOLERANCES, expected, strict=True):
        if wanted is None:
            continue
        difference = float(np.abs(outputs[name].reshape(wanted.shape) - wanted).mean())
        if not difference <= TOLERANCES[name]:
            raise BackendError(
                f"TensorRT {trt.__version__} built an engine that computes something else: on a test pair its {name} "
                f"differs from ONNX Runtime's by {difference:.3f} in the mean, {TOLERANCES[name]} is tolerated. The "
                "engine is thrown away. Try precision fp32, another TensorRT version, or backend onnxruntime-cuda"
            )
        logger.info("the engine's %s differs from ONNX Runtime's by %.5f in the mean on a test pair", name, difference)


def textured_pair(size: Size) -> NDArray[np.uint8]:
    """Return ``(2, H, W, 3)`` images: smooth noise, and the same turned, enlarged and moved a little."""
    width, height = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    first = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    motion = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), MOTION_ANGLE, MOTION_SCALE), np.float64)
    motion[:, 2] += MOTION_PIXELS
    second = cv2.warpAffine(first, motion, (width, height))
    return np.stack([first, second])[:, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.uint8)
