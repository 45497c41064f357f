# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare an engine with ONNX Runtime on the CPU before anybody trusts it.

Engines have computed something else without an error: several versions of TensorRT at GridSample (NVIDIA/TensorRT issue
4646, pytorch/TensorRT issue 4074), OpenVINO 2026.4 at a gather of channels.
"""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Arrays, Backend, BackendError, BackendOptions
from mdflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend, load_session
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import load_card
from mdflow_ros.model.graphs import ModelGraphs, Part, subtracted_mean

TOLERANCE = 0.05
"""Largest mean absolute difference of the flow, in pixels. float16 makes up to 0.003 and bfloat16 up to 0.03; wrong
interpolation, padding or alignment make 0.1 at least (bundled model, emulated on the CPU)."""

FEATURE_TOLERANCE = 0.02
"""The same of features, as a share of their mean absolute value; float16 makes up to 0.002."""

MOTION_ANGLE = 2.0
MOTION_SCALE = 1.03
MOTION_PIXELS = (6.5, -4.3)
MARGIN = 32

logger = logging.getLogger(__name__)


def check_backend(backend: Backend, model: Path, options: BackendOptions, size: Size) -> None:
    """Run a backend on a textured pair with known motion.

    Args:
        backend: the one that is checked.
        model: its model.
        options: its options.
        size: of the pair, multiples of 64.

    Raises:
        BackendError: its flow differs from that of ONNX Runtime.
    """
    reference = OnnxRuntimeBackend(model, BackendOptions(decoding=options.decoding, threads=options.threads))
    first, second = textured_pair(size)
    mean = subtracted_mean(load_card(model), [first, second])
    flows: list[list[NDArray[np.float32]]] = []
    for candidate in (backend, reference):
        features = [candidate.encode(image, mean) for image in (first, second)]
        decoded = candidate.decode(features[0], features[1], True)
        flows.append([flow for flow in decoded if flow is not None])
    difference = max(float(np.abs(ours - theirs).mean()) for ours, theirs in zip(flows[0], flows[1], strict=True))
    if not difference <= TOLERANCE:
        raise BackendError(
            f"{backend.name} rejected: on the test pair its flow differs from ONNX Runtime by {difference:.3f} px on "
            f"average (tolerance {TOLERANCE} px). Try another version of it, precision fp32, or backend onnxruntime"
        )
    logger.info("%s differs from ONNX Runtime by %.4f px on average on the test pair", backend.name, difference)


def reference_run(graphs: ModelGraphs, part: Part, size: Size) -> tuple[Arrays, dict[str, NDArray[np.float32]]]:
    """Return inputs for one graph from a textured pair, and what ONNX Runtime makes of them in float32.

    Args:
        graphs: of the model, of free size, in fp32.
        part: which graph.
        size: of the pair, multiples of 64.
    """
    first, second = textured_pair(size)
    mean = subtracted_mean(graphs.card, [first, second])
    inputs: list[Arrays] = [{"image": image[None], "mean": mean} for image in (first, second)]
    encoder = load_session(graphs.write("encoder"))
    features = [encoder.run(arrays) for arrays in inputs]
    if part == "encoder":
        return inputs[0], features[0]
    joined: Arrays = {f"first_{name}": value for name, value in features[0].items()}
    joined |= {f"second_{name}": value for name, value in features[1].items()}
    return joined, load_session(graphs.write(part)).run(joined)


def compare_outputs(
    name: str, outputs: dict[str, NDArray[np.float32]], expected: dict[str, NDArray[np.float32]]
) -> None:
    """Refuse an engine whose outputs differ: flows by more than `TOLERANCE`, features by more than 2 % of their size.

    Raises:
        BackendError: they do.
    """
    for output, wanted in expected.items():
        difference = float(np.abs(outputs[output].reshape(wanted.shape) - wanted).mean())
        is_flow = not output.startswith("features")
        tolerance = TOLERANCE if is_flow else FEATURE_TOLERANCE * float(np.abs(wanted).mean())
        if not difference <= tolerance:
            raise BackendError(
                f"{name} rejected: on the test pair its {output} differs from ONNX Runtime by {difference:.3f} on "
                f"average (tolerance {tolerance:.3f}). Try another version, precision fp32, or another backend"
            )
        logger.info("%s: %s differs from ONNX Runtime by %.5f on average on the test pair", name, output, difference)


def textured_pair(size: Size) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images ``(H, W, 3)``: smooth noise, and the same turned, enlarged and moved a little."""
    width, height = size.width + 2 * MARGIN, size.height + 2 * MARGIN
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    first = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    motion = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), MOTION_ANGLE, MOTION_SCALE), np.float64)
    motion[:, 2] += MOTION_PIXELS
    second = cv2.warpAffine(first, motion, (width, height))
    inside = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return np.asarray(first[inside], np.uint8), np.asarray(second[inside], np.uint8)
