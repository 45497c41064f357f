# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compare an engine with ONNX Runtime on the CPU before it is used.

Engines known to give wrong results without an error: several versions of TensorRT for GridSample (NVIDIA/TensorRT issue
4646, pytorch/TensorRT issue 4074), OpenVINO 2026.4 for a gather of channels.
"""

from __future__ import annotations

import logging

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Arrays, Backend, BackendError, decoder_inputs
from mdflow_ros.backends.onnxruntime_backend import load_session
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.graphs import ModelGraphs, Part, subtracted_mean

TOLERANCE = 0.05
"""Largest mean absolute difference of the flow, in pixels. float16 causes up to 0.003 and bfloat16 up to 0.03; wrong
interpolation, padding or alignment cause at least 0.1 (bundled model, emulated on the CPU)."""

FEATURE_TOLERANCE = 0.02
"""The same for features, as a share of their mean absolute value; float16 causes up to 0.002."""

MOTION_ANGLE = 2.0
MOTION_SCALE = 1.03
MOTION_PIXELS = (6.5, -4.3)
"""Motion of the test pair: rotation in degrees, scale, and shift in pixels."""

MARGIN = 32
"""Pixels that are cut off on each side, where the moved image is undefined."""

logger = logging.getLogger(__name__)


def check_backend(backend: Backend, graphs: ModelGraphs, size: Size, threads: int = 0) -> None:
    """Run a backend on a textured pair with known motion, with and without backward flow.

    Args:
        backend: to check.
        graphs: of its model, of free size, in fp32.
        size: of the pair, multiples of 64.
        threads: CPU threads of the reference; 0 for all cores.

    Raises:
        BackendError: its flow differs from ONNX Runtime's.
    """
    _, expected = reference_run(graphs, "decoder-both", size, threads)
    pair = textured_pair(size)
    mean = subtracted_mean(graphs.card, list(pair))
    first, second = (backend.encode(image, mean) for image in pair)
    for with_backward in (True, False):
        decoded = backend.decode(first, second, with_backward)
        flows = {name: flow for name, flow in decoded._asdict().items() if flow is not None}
        compare_outputs(backend.name, flows, {name: expected[name] for name in flows})


def reference_run(
    graphs: ModelGraphs, part: Part, size: Size, threads: int = 0
) -> tuple[Arrays, dict[str, NDArray[np.float32]]]:
    """Return inputs for one graph from a textured pair, and ONNX Runtime's outputs for them in float32.

    Args:
        graphs: of the model, of free size, in fp32.
        part: which graph.
        size: of the pair, multiples of 64.
        threads: CPU threads; 0 for all cores.
    """
    first, second = textured_pair(size)
    mean = subtracted_mean(graphs.card, [first, second])
    inputs: list[Arrays] = [{"image": image[None], "mean": mean} for image in (first, second)]
    encoder = load_session(graphs.write("encoder"), threads)
    features = [encoder.run(arrays) for arrays in inputs]
    if part == "encoder":
        return inputs[0], features[0]
    joined = decoder_inputs(features[0], features[1])
    return joined, load_session(graphs.write(part), threads).run(joined)


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
        unit = " px" if is_flow else ""
        tolerance = TOLERANCE if is_flow else FEATURE_TOLERANCE * float(np.abs(wanted).mean())
        if not difference <= tolerance:
            raise BackendError(
                f"{name} rejected: on the test pair its {output} differs from ONNX Runtime by {difference:.3f}{unit} "
                f"on average (tolerance {tolerance:.2g}{unit}). Try another version, precision fp32, or another backend"
            )
        logger.info("%s: %s differs from ONNX Runtime by %.5f on average on the test pair", name, output, difference)


def textured_pair(size: Size) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return two images ``(H, W, 3)`` uint8: smooth noise, and the same slightly rotated, enlarged and shifted."""
    width, height = size.width + 2 * MARGIN, size.height + 2 * MARGIN
    noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    first = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    motion = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), MOTION_ANGLE, MOTION_SCALE), np.float64)
    motion[:, 2] += MOTION_PIXELS
    second = cv2.warpAffine(first, motion, (width, height))
    inside = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return np.asarray(first[inside], np.uint8), np.asarray(second[inside], np.uint8)
