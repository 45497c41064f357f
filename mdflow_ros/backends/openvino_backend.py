# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO, on Intel's CPUs, GPUs and NPUs, and on other CPUs.

Unless the precision is fp32, it uses the device's fast type: bfloat16 on CPUs that support it, float16 on GPUs. A graph
is compiled for each size, at the first pair of that size.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Arrays, BackendError, BackendOptions, BackendUnavailable, NetworkBackend
from mdflow_ros.backends.check import check_backend
from mdflow_ros.backends.compiled_graphs import load_compiled, store_compiled
from mdflow_ros.backends.passed_checks import check_once
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.graphs import PARTS, ModelGraphs

CHECK_SIZE = Size(128, 128)
"""Size of the test pair if the size is free."""

MAX_SIZES = 4
"""Number of sizes for which compiled graphs stay in memory."""

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Names and shapes of a graph's inputs."""

logger = logging.getLogger(__name__)


def load_openvino(device: str = "CPU") -> ModuleType:
    """Return the OpenVINO module if it finds the device.

    Raises:
        BackendUnavailable: OpenVINO is not installed or does not start, or it does not find the device.
    """
    # No telemetry: without this module, OpenVINO uses its own stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino

        devices = openvino.Core().available_devices
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"{error}; install it with `pip install openvino`") from error
    except Exception as error:  # an old or broken installation can raise any exception
        remedy = "`pip install --upgrade --force-reinstall openvino`"
        raise BackendUnavailable(f"OpenVINO does not start ({error}); reinstall it with {remedy}") from error
    if device not in {name.partition(".")[0] for name in devices}:
        raise BackendUnavailable(f"OpenVINO finds no device {device} here; it finds {', '.join(devices) or 'none'}")
    return openvino


class OpenVinoBackend(NetworkBackend):
    """A model in OpenVINO.

    Args:
        model: the ONNX file.
        options: ``threads``, ``decoding``, ``device`` and ``precision`` are used; ``inference_size`` only sets the size
            of the check.

    Raises:
        BackendUnavailable: OpenVINO is not installed or does not start, or the device is missing or does not answer.
        ModelError: the model cannot be read.
        BackendError: OpenVINO cannot load the model, or its flow differs from that of ONNX Runtime.
    """

    def __init__(self, model: Path, options: BackendOptions) -> None:
        openvino = load_openvino(options.device)
        core = openvino.Core()
        graphs = ModelGraphs(model, options.decoding)
        try:
            settings = _settings(core, options)
            full_name = core.get_property(options.device, "FULL_DEVICE_NAME")
        except Exception as error:  # an incompatible driver raises RuntimeError
            raise BackendUnavailable(
                f"OpenVINO's device {options.device} does not answer ({error}); update OpenVINO and the device's driver"
            ) from error
        precision = settings.get("INFERENCE_PRECISION_HINT", "default precision")
        description = f"OpenVINO {openvino.__version__} {full_name} {precision}"

        device = _Device(core, options.device, settings, description)
        encoder, forward, both = (_Graph(device, partial(graphs.write, part)) for part in PARTS)
        super().__init__("openvino", description, encoder, {False: forward, True: both})
        size = options.inference_size or CHECK_SIZE
        subject = {
            "check": "flow as ONNX Runtime's, alone and in both directions",
            "engine": description,
            "graphs": hashlib.sha256(encoder.content + both.content).hexdigest(),
            "size": str(size),
        }
        check_once(subject, lambda: check_backend(self, graphs, size, options.threads))
        if options.inference_size is None:
            for graph in (encoder, forward, both):
                graph.release()  # images hardly ever have the size of the check


def _settings(core: Any, options: BackendOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if options.device == "CPU" and options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.precision == "fp32":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    elif options.device == "CPU" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        settings["INFERENCE_PRECISION_HINT"] = "bf16"
    return settings


class _Device(NamedTuple):
    """The device that graphs are compiled for.

    Attributes:
        core: OpenVINO's.
        name: OpenVINO's name of the device.
        settings: OpenVINO's.
        description: see `Backend`.
    """

    core: Any
    name: str
    settings: dict[str, Any]
    description: str


class _Graph:
    """A graph that is compiled, or loaded from the cache folder, at the first pair of each size.

    Args:
        device: to compile for.
        write: returns the graph in ONNX; called when it is first needed.
    """

    def __init__(self, device: _Device, write: Callable[[], onnx.ModelProto]) -> None:
        self._device, self._write = device, write
        self._requests: dict[Shapes, Any] = {}

    @cached_property
    def content(self) -> bytes:
        """The serialized ONNX graph."""
        return self._write().SerializeToString()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name; see `Engine.run`."""
        try:
            request = self._request(tuple((name, value.shape) for name, value in inputs.items()))
            request.infer(inputs, share_inputs=True)
            return {output.any_name: request.get_tensor(output).data.copy() for output in request.model_outputs}
        except Exception as error:  # OpenVINO raises RuntimeError and its own errors
            raise BackendError(f"OpenVINO failed: {error}") from error

    def release(self) -> None:
        """Free the compiled graphs; the next pair of each size loads them again."""
        self._requests.clear()

    def _request(self, shapes: Shapes) -> Any:
        if shapes not in self._requests:
            if len(self._requests) >= MAX_SIZES:
                self._requests.pop(next(iter(self._requests)))
            self._requests[shapes] = self._load(shapes).create_infer_request()
        return self._requests[shapes]

    def _load(self, shapes: Shapes) -> Any:
        core, name, settings, description = self._device
        graph = hashlib.sha256(self.content).hexdigest()
        subject = {"engine": description, "settings": settings, "graph": graph, "shapes": shapes}
        try:
            if (compiled := load_compiled(subject)) is not None:
                return core.import_model(compiled, name, settings)
        except RuntimeError as error:
            logger.info("OpenVINO cannot load the cached graph: %s", error)
        model = core.read_model(self.content, b"")
        model.reshape({name: list(shape) for name, shape in shapes})
        fresh = core.compile_model(model, name, settings)
        try:
            stream = fresh.export_model()
            exported = stream if isinstance(stream, bytes) else stream.getvalue()  # bytes until OpenVINO 2025.0
            # Run the imported graph, so that the check now covers exactly what later starts run.
            imported = core.import_model(exported, name, settings)
        except RuntimeError as error:  # not every device can export graphs
            logger.info("OpenVINO cannot export the compiled graph; the next start compiles it again: %s", error)
            return fresh
        store_compiled(subject, exported)
        return imported
