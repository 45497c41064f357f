# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on the CPU or through NVIDIA's execution providers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import FIXED_SIZE, BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.backends.tensorrt.cache import default_folder

TENSORRT = "onnxruntime-tensorrt"

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    TENSORRT: "TensorrtExecutionProvider",
}


def load_onnxruntime(name: str) -> ModuleType:
    """Return the ONNX Runtime module, if it has the execution provider of the backend called ``name``.

    Raises:
        BackendUnavailable: ONNX Runtime or the provider is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(f"{error}; install it with `pip install onnxruntime`") from error
    provider = PROVIDERS[name]
    if provider not in onnxruntime.get_available_providers():
        raise BackendUnavailable(
            f"this ONNX Runtime has no {provider}; `pip install onnxruntime-gpu` in place of onnxruntime brings it"
        )
    onnxruntime.disable_telemetry_events()  # a robot tells nobody what it runs
    return onnxruntime


class OnnxRuntimeBackend:
    """A model in an ONNX Runtime session.

    On NVIDIA's TensorRT provider it is two sessions of one size, in single precision: that provider wants to know
    every shape, and then builds its engines here instead of at the first pair. It keeps them in a cache of its own.

    Args:
        model: the ONNX file.
        options: ``threads`` counts here; the size is free, but required on the TensorRT provider.
        name: a key of `PROVIDERS`.

    Raises:
        BackendUnavailable: ONNX Runtime, or its execution provider, is not installed or does not start.
        BackendError: the file is no model that ONNX Runtime can load.
    """

    def __init__(self, model: Path, options: BackendOptions, name: str = "onnxruntime") -> None:
        self.name = name
        self._onnxruntime = load_onnxruntime(name)
        self._model = model
        self._threads = options.threads
        if name == TENSORRT:
            self._fixed_sessions = {
                with_confidence: self._session(_fixed_graph(model, options, with_confidence), _engine_cache_options())
                for with_confidence in (False, True)
            }
        else:
            self._fixed_sessions = {}
            self._free_session = self._session(model.read_bytes(), {})

    def run(
        self, images: NDArray[np.uint8], with_confidence: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Estimate the flow of one pair; see `Backend.run`."""
        inputs: dict[str, NDArray[np.generic]] = {"images": images}
        session = self._fixed_sessions.get(with_confidence)
        if session is None:
            session = self._free_session
            inputs["directions"] = np.array([2 if with_confidence else 1], np.int64)
        try:
            flow, *rest = session.run(["flow", "confidence"] if with_confidence else ["flow"], inputs)
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed: {error}") from error
        return flow, rest[0][0] if with_confidence else None

    def close(self) -> None:
        """Nothing to give back by hand: the session goes with its last reference."""

    def _session(self, graph: bytes, provider_options: dict[str, str]) -> Any:
        provider = PROVIDERS[self.name]
        session_options = self._onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = self._threads
        # Planning one block for all tensors takes 127 MB more at 640x480, and is no faster.
        session_options.enable_mem_pattern = False
        # Spinning threads would take the cores from the executor between two frames.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = self._onnxruntime.InferenceSession(
                graph, session_options, providers=[(provider, provider_options)]
            )
        except Exception as error:  # ONNX Runtime has no public base class for its exceptions
            raise BackendError(f"ONNX Runtime cannot load {self._model}: {error}") from error
        if provider not in session.get_providers():
            raise BackendUnavailable(f"{provider} is installed but did not start; see ONNX Runtime's messages above")
        return session


def _fixed_graph(model: Path, options: BackendOptions, with_confidence: bool) -> bytes:
    if options.inference_size is None:
        raise BackendUnavailable(FIXED_SIZE)
    try:
        from mdflow_ros.model.fixed_graph import EngineSpecification
    except ImportError as error:
        raise BackendUnavailable(f"{error}; install it with `pip install onnx`") from error
    graph = EngineSpecification(model, options.inference_size, "fp32", with_confidence).graph()
    return bytes(graph.SerializeToString())


def _engine_cache_options() -> dict[str, str]:
    folder = default_folder().with_name("onnxruntime")
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
