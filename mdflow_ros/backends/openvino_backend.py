# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""OpenVINO, on Intel's processors, graphics and NPUs, and on other CPUs.

It uses the device's fast precision: bfloat16 on CPUs that have it, float16 on graphics. Graphs are compiled for
one size each, at the first pair of that size.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Arrays, BackendError, BackendOptions, BackendUnavailable, NetworkBackend
from mdflow_ros.backends.check import check_backend
from mdflow_ros.backends.passed_checks import check_once
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.graphs import PARTS, ModelGraphs

CHECK_SIZE = Size(128, 128)
"""Size of the test pair where the size is free."""

MAX_SIZES = 4
"""Sizes that stay compiled."""

logger = logging.getLogger(__name__)


def load_openvino(device: str = "CPU") -> ModuleType:
    """Return the OpenVINO module, if it has the device.

    Raises:
        BackendUnavailable: OpenVINO is not installed, or it does not find the device.
    """
    try:
        import openvino
    except ImportError as error:
        raise BackendUnavailable(f"{error}; install it with `pip install openvino`") from error
    devices = openvino.Core().available_devices
    if device not in {name.partition(".")[0] for name in devices}:
        raise BackendUnavailable(f"OpenVINO finds no device {device} here; it finds {', '.join(devices) or 'none'}")
    return openvino


class OpenVinoBackend(NetworkBackend):
    """A model in OpenVINO.

    Args:
        model: the ONNX file.
        options: threads, decoding and device count here; the size is free.

    Raises:
        BackendUnavailable: OpenVINO is not installed, or the device is missing.
        ModelError: the model cannot be read.
        BackendError: OpenVINO cannot load the model, or its flow differs from that of ONNX Runtime.
    """

    def __init__(self, model: Path, options: BackendOptions) -> None:
        openvino = load_openvino(options.device)
        core = openvino.Core()
        graphs = ModelGraphs(model, options.decoding)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if options.device == "CPU" and options.threads:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        if options.device == "CPU" and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            settings["INFERENCE_PRECISION_HINT"] = "bf16"

        written = {part: graphs.write(part).SerializeToString() for part in PARTS}
        loaded = {part: _Graph(core, graph, options.device, settings) for part, graph in written.items()}
        decoders = {False: loaded["decoder"], True: loaded["decoder-both"]}
        precision = settings.get("INFERENCE_PRECISION_HINT", "default precision")
        device = core.get_property(options.device, "FULL_DEVICE_NAME")
        super().__init__(
            "openvino", f"OpenVINO {openvino.__version__} {device} {precision}", loaded["encoder"], decoders
        )
        size = options.inference_size or CHECK_SIZE
        subject = {
            "check": "flow as ONNX Runtime's",
            "engine": self.engine,
            "graphs": hashlib.sha256(b"".join(written.values())).hexdigest(),
            "size": str(size),
        }
        check_once(subject, lambda: check_backend(self, graphs, size, options.threads))


class _Graph:
    """A graph, compiled for each size that it meets."""

    def __init__(self, core: Any, graph: bytes, device: str, settings: dict[str, Any]) -> None:
        self._core, self._device, self._settings = core, device, settings
        try:
            self._model = core.read_model(graph, b"")
        except Exception as error:  # OpenVINO raises RuntimeError and its own errors
            raise BackendError(f"OpenVINO cannot load the model: {error}") from error
        self._compiled: dict[tuple[tuple[int, ...], ...], Any] = {}

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name; see `Engine.run`."""
        try:
            request = self._request(inputs)
            request.infer(inputs, share_inputs=True)
            return {output.any_name: request.get_tensor(output).data.copy() for output in request.model_outputs}
        except Exception as error:
            raise BackendError(f"OpenVINO failed: {error}") from error

    def _request(self, inputs: Arrays) -> Any:
        shapes = tuple(value.shape for value in inputs.values())
        if shapes not in self._compiled:
            if len(self._compiled) >= MAX_SIZES:
                self._compiled.pop(next(iter(self._compiled)))
            model = self._model.clone()
            model.reshape({name: list(value.shape) for name, value in inputs.items()})
            compiled = self._core.compile_model(model, self._device, self._settings)
            self._compiled[shapes] = compiled.create_infer_request()
        return self._compiled[shapes]
