# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine of a model for this GPU: from the cache if one fits, else built."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx

from mdflow_ros.backends.backend import BackendError
from mdflow_ros.backends.cuda_driver import Gpu
from mdflow_ros.backends.engine_cache import EngineCache, EngineKey, EngineMissing
from mdflow_ros.backends.engine_check import check_engine
from mdflow_ros.backends.tensorrt_builder import build_serialized_engine
from mdflow_ros.core.flow_resizing import Size
from mdflow_ros.model.card import ModelError, sha256_of
from mdflow_ros.model.fastflownet_graph import build_graph
from mdflow_ros.model.weights import load_weights

PRECISIONS: dict[str, type[np.floating]] = {"fp16": np.float16, "fp32": np.float32}

logger = logging.getLogger(__name__)


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


def find_or_build_engine(
    trt: ModuleType,
    gpu: Gpu,
    cache: EngineCache,
    specification: EngineSpecification,
    *,
    force: bool = False,
    may_build: bool = True,
) -> tuple[bytes, Path | None]:
    """Return a serialised engine, from the cache if one fits, and where it lies, ``None`` if it cannot be kept.

    A new engine is compared with ONNX Runtime before it is kept.

    Args:
        trt: the TensorRT module.
        gpu: what the engine is for.
        cache: where engines are kept.
        specification: what the engine shall compute.
        force: build even if one fits.
        may_build: whether there is time to build.

    Raises:
        ModelError: see `EngineSpecification.graph`.
        BackendError: the engine cannot be built or does not compute what it should, or none fits and there is no time.
    """
    graph = specification.graph()
    key = EngineKey(
        model_sha256=sha256_of(specification.model),
        graph_sha256=hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest(),
        size=f"{specification.size[0]}x{specification.size[1]}",
        precision=specification.precision,
        outputs=specification.outputs,
        tensorrt=trt.__version__,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
    )
    if not may_build:
        try:
            return cache.load(key), cache.path(key)
        except EngineMissing as reason:
            raise BackendError(
                f"no cached engine fits, and building one takes minutes: {reason}. Build it first: "
                f"`mdflow-build-engine --model {specification.model} --size {key.size} --precision {key.precision}`"
            ) from reason

    def build() -> tuple[bytes, float]:
        logger.info(
            "building the %s engine for %s in %s with TensorRT %s on %s; this can take minutes, on a Jetson many",
            key.outputs,
            key.size,
            key.precision,
            key.tensorrt,
            key.gpu,
        )
        begin = time.monotonic()
        engine, timings = build_serialized_engine(trt, graph, cache.load_timings(key.tensorrt, key.gpu))
        seconds = time.monotonic() - begin
        logger.info("built the engine in %.0f s (%.1f MB)", seconds, len(engine) / 1e6)
        cache.store_timings(key.tensorrt, key.gpu, timings)
        check_engine(trt, engine, specification.model, specification.size, specification.with_confidence)
        return engine, seconds

    return cache.load_or_build(key, build, force)
