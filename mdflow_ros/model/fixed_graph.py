# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The graph of a model for one size and precision, as engines need it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import ModelError
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_ros.model.weights import load_weights

PRECISIONS: dict[str, type[np.floating]] = {"fp16": np.float16, "fp32": np.float32}


@dataclass(frozen=True)
class EngineSpecification:
    """What an engine shall compute.

    Attributes:
        model: a deployable model.
        size: width and height in pixels, multiples of 64.
        precision: a key of `PRECISIONS`.
        with_confidence: whether the backward flow and the confidence are computed, too.

    Raises:
        ValueError: there is no such precision.
    """

    model: Path
    size: Size
    precision: str
    with_confidence: bool

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"there is no precision '{self.precision}'; there are {', '.join(PRECISIONS)}")

    @property
    def outputs(self) -> str:
        """What comes out, in a word."""
        return "flow+confidence" if self.with_confidence else "flow"

    def graph(self) -> onnx.ModelProto:
        """Write the model's graph anew, for this size and precision.

        Raises:
            ModelError: the model cannot be read, or its weights do not fit the precision.
        """
        weights, card = load_weights(self.model)
        dtype = PRECISIONS[self.precision]
        with np.errstate(over="ignore"):
            typed = {name: value.astype(dtype) for name, value in weights.items()}
        for name, value in typed.items():
            if not np.isfinite(value).all():
                raise ModelError(f"{self.model}: {name} does not fit {self.precision}; set the precision to fp32")
        return build_graph(
            typed,
            card.preprocessing,
            card.cost_volume_normalization,
            directions=2 if self.with_confidence else 1,
            size=self.size,
            precision=dtype,
        )
