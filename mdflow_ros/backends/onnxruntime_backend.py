# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Arrays, BackendError, BackendOptions, BackendUnavailable, Engine, NetworkBackend
from mdflow_ros.model.graphs import ModelGraphs, Part

PROVIDERS = {"onnxruntime": "CPUExecutionProvider", "onnxruntime-cuda": "CUDAExecutionProvider"}


def load_onnxruntime(name: str) -> ModuleType:
    """Return the ONNX Runtime module if it has the execution provider of the backend ``name``.

    Raises:
        BackendUnavailable: ONNX Runtime or the provider is not installed, or ONNX Runtime does not start.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # no telemetry
    try:
        import onnxruntime

        providers = onnxruntime.get_available_providers()
    except ModuleNotFoundError as error:
        raise BackendUnavailable(f"{error}; install it with `pip install onnxruntime`") from error
    except Exception as error:  # a broken installation can raise any exception
        remedy = "`pip install --upgrade --force-reinstall onnxruntime`"
        raise BackendUnavailable(f"ONNX Runtime does not start ({error}); reinstall it with {remedy}") from error
    provider = PROVIDERS[name]
    if provider not in providers:
        raise BackendUnavailable(
            f"this ONNX Runtime has no {provider}; replace onnxruntime by `pip install onnxruntime-gpu`"
        )
    onnxruntime.disable_telemetry_events()
    return onnxruntime


class OnnxRuntimeBackend(NetworkBackend):
    """A model in ONNX Runtime sessions.

    Args:
        model: the ONNX file.
        options: only ``threads`` and ``decoding`` are used; the size is free.
        name: a key of `PROVIDERS`.

    Raises:
        BackendUnavailable: ONNX Runtime, or its execution provider, is not installed or does not start.
        ModelError: the model cannot be read.
        BackendError: ONNX Runtime cannot load the model.
    """

    def __init__(self, model: Path, options: BackendOptions, name: str = "onnxruntime") -> None:
        onnxruntime = load_onnxruntime(name)
        graphs = ModelGraphs(model, options.decoding)

        def load(part: Part) -> _Session:
            graph = graphs.write(part).SerializeToString()
            return _Session(onnxruntime, graph, PROVIDERS[name], options.threads)

        decoders = {False: load("decoder"), True: load("decoder-both")}
        super().__init__(name, f"{name} {onnxruntime.__version__}", load("encoder"), decoders)


def load_session(graph: onnx.ModelProto, threads: int = 0) -> Engine:
    """Load a graph on the CPU, as a reference.

    Raises:
        BackendUnavailable: ONNX Runtime is not installed.
        BackendError: it cannot load the graph.
    """
    onnxruntime = load_onnxruntime("onnxruntime")
    return _Session(onnxruntime, graph.SerializeToString(), PROVIDERS["onnxruntime"], threads)


class _Session:
    """A graph in an ONNX Runtime session."""

    def __init__(self, onnxruntime: ModuleType, graph: bytes, provider: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Allocating one block for all tensors takes 127 MB more at 640x480 and is no faster.
        options.enable_mem_pattern = False
        # Between two frames, spinning threads would take CPU time from the executor.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if platform.machine() == "aarch64":
            # Uses bfloat16 for matrix products if the CPU supports it.
            options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "1")
        try:
            self._session: Any = onnxruntime.InferenceSession(graph, options, providers=[provider])
        except Exception as error:  # ONNX Runtime has no public base class for its exceptions
            raise BackendError(f"ONNX Runtime cannot load the model: {error}") from error
        if provider not in self._session.get_providers():
            raise BackendUnavailable(f"{provider} is installed but did not start; see ONNX Runtime's messages above")
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name; see `Engine.run`."""
        try:
            return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed: {error}") from error
