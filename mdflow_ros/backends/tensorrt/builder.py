# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Build a TensorRT engine from an ONNX graph of fixed size."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mdflow_ros.backends.backend import BackendError
from mdflow_ros.backends.tensorrt.library import checked, make_logger

if TYPE_CHECKING:
    import onnx

WORKSPACE_BYTES = 1 << 30
"""Memory that a kernel may use for intermediate results. TensorRT's default is all of the GPU's memory, which a Jetson
shares with the system."""

REPORT_SECONDS = 15.0

logger = logging.getLogger(__name__)


def build_serialized_engine(trt: ModuleType, model: onnx.ModelProto, timing_cache: bytes) -> tuple[bytes, bytes]:
    """Build an engine that computes in the types of the graph.

    Args:
        trt: the TensorRT module.
        model: a graph of fixed size, see `mdflow_ros.model.graphs.ModelGraphs.write`.
        timing_cache: kernel timings of an earlier build; if they are empty or another GPU's, the build is slower.

    Returns:
        The serialized engine, and the timings for the next build.

    Raises:
        BackendError: TensorRT cannot parse or build the graph, or does not follow the ONNX specification.
    """
    trt_logger = make_logger(trt)
    builder = checked(trt_logger, trt.Builder, trt_logger)
    strongly_typed = hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    network = checked(trt_logger, builder.create_network, _network_flags(trt, strongly_typed))
    parser = checked(trt_logger, trt.OnnxParser, network, trt_logger)
    if not parser.parse(model.SerializeToString()):
        errors = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise BackendError(f"TensorRT {trt.__version__} cannot parse the model: {errors}")
    check_grid_samples(trt, network, sum(node.op_type == "GridSample" for node in model.graph.node))

    config = checked(trt_logger, builder.create_builder_config)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    # TensorFloat-32 has only fp16's mantissa, but fp32 was requested.
    config.clear_flag(trt.BuilderFlag.TF32)
    if not strongly_typed:
        _keep_types(trt, network, config)
    _load_timings(config, timing_cache)
    with _progress():
        engine = checked(trt_logger, builder.build_serialized_network, network, config)
    return bytes(engine), bytes(config.get_timing_cache().serialize())


def check_grid_samples(trt: ModuleType, network: Any, expected: int) -> None:
    """Raise BackendError unless every GridSample is bilinear, zero-padded and corner-aligned, as in our graph.

    Some parsers silently read ONNX's ``linear`` of opset 20 as nearest neighbor (NVIDIA/TensorRT issue 4646).

    Args:
        trt: the TensorRT module.
        network: the parsed network.
        expected: how many GridSample layers there must be.
    """
    found = 0
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type != trt.LayerType.GRID_SAMPLE:
            continue
        found += 1
        layer.__class__ = trt.IGridSampleLayer  # get_layer returns the base class
        if layer.interpolation_mode != trt.InterpolationMode.LINEAR:
            raise BackendError(f"TensorRT's parser made {layer.name} {layer.interpolation_mode.name}, not LINEAR")
        if layer.sample_mode != trt.SampleMode.FILL:
            raise BackendError(f"TensorRT's parser made {layer.name} pad by {layer.sample_mode.name}, not FILL")
        if not layer.align_corners:
            raise BackendError(f"TensorRT's parser dropped align_corners of {layer.name}")
    if found != expected:
        raise BackendError(f"TensorRT's parser made {found} GridSample layers of {expected}")


def _network_flags(trt: ModuleType, strongly_typed: bool) -> int:
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED if strongly_typed else flags.EXPLICIT_BATCH)


def _keep_types(trt: ModuleType, network: Any, config: Any) -> None:
    """Allow fp16, but keep the graph's fp32 layers in fp32, for TensorRT 8.6, which has no strongly typed networks.

    Sampling coordinates and statistics must stay in fp32. TensorRT may still run fp16 layers in fp32.
    """
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type in (trt.LayerType.CONSTANT, trt.LayerType.CAST, trt.LayerType.SHAPE):
            continue
        tensor = layer.get_output(0)
        if tensor.dtype == trt.DataType.FLOAT and not tensor.is_shape_tensor:
            layer.precision = trt.DataType.FLOAT
            layer.set_output_type(0, trt.DataType.FLOAT)


def _load_timings(config: Any, timing_cache: bytes) -> None:
    """Use an earlier build's timings, or none if they come from another version or GPU."""
    for content in (timing_cache, b""):
        timings = config.create_timing_cache(content)
        if timings is not None and config.set_timing_cache(timings, False):
            return


@contextmanager
def _progress() -> Iterator[None]:
    """Log at intervals that the build is running, because it may take minutes and TensorRT prints nothing."""
    begin = time.monotonic()
    done = threading.Event()

    def report() -> None:
        while not done.wait(REPORT_SECONDS):
            logger.info("still building the engine after %.0f s", time.monotonic() - begin)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
