# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Methods that estimate the flow of a pair in both directions: deployable models and baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.core.resizing import Size, scaled_size, size_of
from mdflow_ros.estimator import FlowEstimator
from mdflow_training.evaluation.baselines import Baseline
from mdflow_training.evaluation.flow_evaluation import Confidence
from mdflow_training.flow_files import Flow, Image


@dataclass(frozen=True)
class TwoWayFlow:
    """A method's flows in both directions on one pair.

    Attributes:
        forward: ``(H, W, 2)`` in pixels, first image to second.
        backward: same shape, second to first.
        confidence: confidence of the forward flow, ``(H, W)`` in [0, 1]; None if the method has none.
    """

    forward: Flow
    backward: Flow
    confidence: Confidence | None = None


TwoWayMethod = Callable[[Image, Image], TwoWayFlow]


def two_way_model_method(model: Path, scale: float | None = None) -> TwoWayMethod:
    """Return a deployable model as a method; it runs in ONNX Runtime on the CPU.

    Args:
        model: the ONNX file.
        scale: size of the network's input relative to the images; None uses the size that the quality chooses.

    Raises:
        ModelError: the model is missing or damaged.
    """

    @cache
    def estimator_at(inference_size: Size | None) -> FlowEstimator:
        options = BackendOptions(threads=torch.get_num_threads())
        return FlowEstimator(model, "onnxruntime", inference_size, options=options)

    if scale is None:
        estimator_at(None)  # fail now if the model cannot be read

    def estimate(first: Image, second: Image) -> TwoWayFlow:
        estimator = estimator_at(None if scale is None else scaled_size(size_of(first), scale))
        older, newer = estimator.encode(first), estimator.encode(second)
        forward = estimator.estimate(older, newer)
        backward = estimator.estimate(newer, older, with_confidence=False)
        return TwoWayFlow(forward.flow, backward.flow, forward.confidence)

    return estimate


def baseline_method(baseline: Baseline) -> TwoWayMethod:
    """Return a baseline as a method without confidence."""
    # Copies, because some baselines reuse their output array.
    return lambda first, second: TwoWayFlow(np.array(baseline(first, second)), np.array(baseline(second, first)))
