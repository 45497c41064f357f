# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, on the CPU or through NVIDIA's execution providers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import BackendError, BackendOptions, BackendUnavailable

PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
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
    return onnxruntime


class OnnxRuntimeBackend:
    """A model in an ONNX Runtime session.

    Args:
        model: the ONNX file.
        options: ``threads`` counts here; the size is free.
        name: a key of `PROVIDERS`.

    Raises:
        BackendUnavailable: ONNX Runtime, or its execution provider, is not installed or does not start.
        BackendError: the file is no model that ONNX Runtime can load.
    """

    def __init__(self, model: Path, options: BackendOptions, name: str = "onnxruntime") -> None:
        onnxruntime = load_onnxruntime(name)
        provider = PROVIDERS[name]
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads
        # Spinning threads would take the cores from the executor between two frames.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(model), session_options, providers=[provider])
        except Exception as error:  # ONNX Runtime has no public base class for its exceptions
            raise BackendError(f"ONNX Runtime cannot load {model}: {error}") from error
        if provider not in self._session.get_providers():
            raise BackendUnavailable(f"{provider} is installed but did not start; see ONNX Runtime's messages above")
        self.name = name

    def run(
        self, images: NDArray[np.uint8], with_confidence: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Estimate the flow of one pair; see `Backend.run`."""
        directions = np.array([2 if with_confidence else 1], np.int64)
        try:
            flow, confidence = self._session.run(["flow", "confidence"], {"images": images, "directions": directions})
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed: {error}") from error
        return flow, confidence[0] if with_confidence else None

    def close(self) -> None:
        """Nothing to give back by hand: the session goes with its last reference."""
