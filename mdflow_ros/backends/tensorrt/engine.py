# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Get the TensorRT engine of a model for this GPU: from the cache, or built."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import onnx

from mdflow_ros.backends.backend import BackendError
from mdflow_ros.backends.check import compare_outputs, reference_run
from mdflow_ros.backends.tensorrt.builder import build_serialized_engine
from mdflow_ros.backends.tensorrt.cache import EngineCache, EngineKey, EngineMissing
from mdflow_ros.backends.tensorrt.cuda_driver import Gpu
from mdflow_ros.backends.tensorrt.library import make_logger
from mdflow_ros.backends.tensorrt.runner import TensorRtRunner
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import sha256_of
from mdflow_ros.model.graphs import Decoding, ModelGraphs, Part
from mdflow_ros.quality import QUALITIES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineSpecification:
    """What an engine computes.

    Attributes:
        model: a deployable model.
        size: of the images, multiples of 64.
        precision: a key of `mdflow_ros.model.graphs.PRECISIONS`.
        decoding: how far to decode.
        part: which graph of the model.
    """

    model: Path
    size: Size
    precision: str
    decoding: Decoding
    part: Part

    def graph(self) -> onnx.ModelProto:
        """Write the graph; see `ModelGraphs` for the errors."""
        return ModelGraphs(self.model, self.decoding, self.size, self.precision).write(self.part)


def check_engine(trt: ModuleType, serialized: bytes, specification: EngineSpecification) -> None:
    """Run an engine on a textured pair with known motion.

    Raises:
        BackendError: it does not run, or its outputs differ from ONNX Runtime's.
    """
    graphs = ModelGraphs(specification.model, specification.decoding)
    inputs, expected = reference_run(graphs, specification.part, specification.size)
    runner = TensorRtRunner(trt, make_logger(trt), serialized)
    try:
        outputs = runner.run(inputs)
    finally:
        runner.close()
    compare_outputs(f"the {specification.part} engine of TensorRT {trt.__version__}", outputs, expected)


def find_or_build_engine(
    trt: ModuleType,
    gpu: Gpu,
    cache: EngineCache,
    specification: EngineSpecification,
    *,
    force: bool = False,
    may_build: bool = True,
) -> tuple[bytes, Path | None]:
    """Return a serialized engine, cached or new, and its path, or ``None`` if it could not be stored.

    A new engine is compared with ONNX Runtime before it is stored.

    Args:
        trt: the TensorRT module.
        gpu: that the engine is for.
        cache: of engines.
        specification: of the engine.
        force: build even if a matching engine is cached.
        may_build: whether to build a missing engine, which takes minutes.

    Raises:
        ModelError: see `ModelGraphs`.
        BackendError: the engine cannot be built or fails its check, or it is not cached and may not be built.
    """
    graph = specification.graph()
    key = _key(trt, gpu, specification, graph)
    if not may_build:
        try:
            return cache.load(key), cache.path(key)
        except EngineMissing as reason:
            raise BackendError(
                f"no cached engine fits ({reason}), and building one takes minutes. Build it first: "
                f"`ros2 run mdflow_ros build_engine --model {specification.model} --size {key.size} "
                f"--precision {key.precision} --quality {_quality_of(specification.decoding)}`"
            ) from reason

    return cache.load_or_build(key, lambda: _build(trt, graph, key, cache, specification), force)


def _quality_of(decoding: Decoding) -> str:
    """Return the name of a quality level with this decoding."""
    return next((name for name, quality in QUALITIES.items() if quality.decoding == decoding), "best")


def outputs_of(part: Part, decoding: Decoding) -> str:
    """Return the name of a graph in an engine's key: its part and its last forward and backward levels."""
    return f"{part}-{decoding.level}-{decoding.backward_level}"


def _key(trt: ModuleType, gpu: Gpu, specification: EngineSpecification, graph: onnx.ModelProto) -> EngineKey:
    return EngineKey(
        model_sha256=sha256_of(specification.model),
        graph_sha256=hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest(),
        size=f"{specification.size.width}x{specification.size.height}",
        precision=specification.precision,
        outputs=outputs_of(specification.part, specification.decoding),
        tensorrt=trt.__version__,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
    )


def _build(
    trt: ModuleType, graph: onnx.ModelProto, key: EngineKey, cache: EngineCache, specification: EngineSpecification
) -> tuple[bytes, float]:
    """Return a new engine that has passed its check, and the seconds that building it took."""
    logger.info(
        "building the %s engine for %s in %s with TensorRT %s on %s; this can take minutes, longer on a Jetson",
        *(key.outputs, key.size, key.precision, key.tensorrt, key.gpu),
    )
    begin = time.monotonic()
    engine, timings = build_serialized_engine(trt, graph, cache.load_timings(key.tensorrt, key.gpu))
    seconds = time.monotonic() - begin
    logger.info("built the engine in %.0f s (%.1f MB)", seconds, len(engine) / 1e6)
    cache.store_timings(key.tensorrt, key.gpu, timings)
    check_engine(trt, engine, specification)
    return engine, seconds
