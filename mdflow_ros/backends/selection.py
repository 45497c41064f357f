# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the backend: the requested one, or with ``auto`` the best one that works on this computer."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mdflow_ros.backends.backend import (
    FIXED_SIZE,
    Backend,
    BackendError,
    BackendFactory,
    BackendOptions,
    BackendUnavailable,
)
from mdflow_ros.backends.onnxruntime_backend import PROVIDERS, OnnxRuntimeBackend, load_onnxruntime
from mdflow_ros.backends.tensorrt.library import load_tensorrt

AUTO = "auto"

logger = logging.getLogger(__name__)


def _tensorrt(model: Path, options: BackendOptions) -> Backend:
    from mdflow_ros.backends.tensorrt.backend import TensorRtBackend

    return TensorRtBackend(model, options)


def _openvino(model: Path, options: BackendOptions) -> Backend:
    from mdflow_ros.backends.openvino_backend import OpenVinoBackend

    return OpenVinoBackend(model, options)


def _find_openvino() -> None:
    # Importing it takes half a second.
    if sys.modules.get("openvino", "unknown") is None or importlib.util.find_spec("openvino") is None:
        raise BackendUnavailable("No module named 'openvino'; install it with `pip install openvino`")


BACKENDS: dict[str, BackendFactory] = {
    "tensorrt": _tensorrt,
    **{name: partial(OnnxRuntimeBackend, name=name) for name in PROVIDERS},
    "openvino": _openvino,
}
"""Every backend by name. tensorrt and openvino may not be installed, so their modules are imported on first use."""

CHECKS: dict[str, Callable[[], object]] = {
    "tensorrt": load_tensorrt,
    **{name: partial(load_onnxruntime, name) for name in PROVIDERS},
    "openvino": _find_openvino,
}
"""For each backend, a function that raises BackendUnavailable if it cannot run here; it does not load a model."""

ON_GPU = ("tensorrt", "onnxruntime-cuda")

PREFERENCE = ("tensorrt", "openvino", "onnxruntime")
"""Backends that ``auto`` tries, best first."""

REPLACEABLE = ("openvino",)
"""Backends that ``auto`` skips with a warning if their check fails, because ONNX Runtime is almost as fast. A failing
GPU backend is an error."""


def runs_on_gpu(name: str, has_fixed_size: bool) -> bool:
    """Return whether a backend, or the one that ``auto`` will choose, runs on an NVIDIA GPU.

    Args:
        name: of the backend, or ``auto``.
        has_fixed_size: whether the network's size is given; without it, ``auto`` does not choose TensorRT.
    """
    return has_fixed_size and _can_run("tensorrt") if name == AUTO else name in ON_GPU


def working_backends() -> list[str]:
    """Return the names of the backends that can run here."""
    return [name for name in CHECKS if _can_run(name)]


def _can_run(name: str) -> bool:
    try:
        CHECKS[name]()
    except BackendUnavailable:
        return False
    return True


def create_backend(name: str, model: Path, options: BackendOptions) -> Backend:
    """Load ``model`` into the backend ``name``.

    With ``auto``, backends that cannot run here are skipped and the log says why.

    Raises:
        ValueError: there is no such backend.
        BackendUnavailable: it cannot run here, or, with ``auto``, none can.
        BackendError: the model cannot be loaded.
    """
    if name != AUTO:
        if name not in BACKENDS:
            raise ValueError(f"unknown backend '{name}'; choose one of {', '.join((AUTO, *BACKENDS))}")
        try:
            return BACKENDS[name](model, options)
        except BackendUnavailable as error:
            others = ", ".join(other for other in working_backends() if other != name)
            raise BackendUnavailable(
                f"backend '{name}' cannot run here: {error}. Working backends: {others or 'none'}"
            ) from error
    reasons = []
    for candidate in PREFERENCE:
        try:
            backend = BACKENDS[candidate](model, options)
        except BackendUnavailable as error:
            reasons.append(f"{candidate}: {error}")
            if str(error) == FIXED_SIZE:
                logger.warning("the GPU is not used: %s", error)
            elif candidate == "openvino" and options.device != BackendOptions.device:
                logger.warning("the device %s is not used: %s", options.device, error)
            continue
        except BackendError as error:
            if candidate not in REPLACEABLE:
                raise
            logger.warning("backend auto skips %s: %s", candidate, error)
            continue
        logger.info("backend auto chose %s%s", candidate, f" ({'; '.join(reasons)})" if reasons else "")
        return backend
    raise BackendUnavailable(f"no backend can run here: {'; '.join(reasons)}")
