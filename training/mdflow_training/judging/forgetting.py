# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Forgetting: the error of a model on a few generated pairs, the same for every run and never used in training.

It does not affect the verdict, because an adapted model only has to work in its robot's environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.estimator import FlowEstimator
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.flow_files import Flow, Image
from mdflow_training.synthetic.pairs import synthetic_pair
from mdflow_training.synthetic.textures import procedural_library

SEED, SIZE = 20_261_130, (256, 320)
"""Seed of the pairs, which nothing else uses, and their (height, width) in pixels."""

KINDS = 2 * ("flat", "space", "driving", "thin")
"""Scene class of each pair. Classes with a large error in every model would mask forgetting, so they are left out."""


@cache
def generated_pairs() -> list[tuple[Image, Image, Flow]]:
    """Return (older image, newer image, forward flow): ``(H, W, 3)`` uint8 RGB, and ``(H, W, 2)`` in pixels."""
    library = procedural_library(SEED)
    pairs = (synthetic_pair(library, SEED, number, SIZE, kind) for number, kind in enumerate(KINDS))
    return [
        (np.ascontiguousarray(pair.first[..., ::-1]), np.ascontiguousarray(pair.second[..., ::-1]), pair.forward)
        for pair in pairs
    ]


def error_on_generated_pairs(model: Path) -> float:
    """Return the mean endpoint error of a deployable model on the generated pairs, in pixels.

    Raises:
        ModelError: the model is missing or damaged.
    """
    estimator = FlowEstimator(model, "onnxruntime", options=BackendOptions(threads=torch.get_num_threads()))
    errors = [
        endpoint_error(estimator.estimate(first, second, with_confidence=False).flow, flow).mean()
        for first, second, flow in generated_pairs()
    ]
    estimator.close()
    return float(np.mean(errors))


def describe_forgetting(errors: Mapping[str, float], before: str, after: str) -> str:
    """Describe how the error changed from model ``before`` to ``after``; ``errors`` in pixels, by the models' names."""
    old, new = errors[before], errors[after]
    return f"; on generated pairs, which do not decide: {old:.2f} -> {new:.2f} px ({new / old - 1:+.0%})"
