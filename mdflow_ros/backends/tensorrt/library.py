# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Import TensorRT and forward its messages to Python's log.

This package uses only functions that exist in TensorRT 8.6 to 11.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.backends.tensorrt.cuda_driver import Gpu, find_gpu

logger = logging.getLogger(__name__)

_REQUIRED = {
    "tensorrt": "`pip install tensorrt`; on a Jetson it is part of JetPack, which a virtual environment sees if it is "
    "made with --system-site-packages",
    "cuda.bindings.runtime": "`pip install cuda-bindings`, of the driver's major version",
}


def load_tensorrt() -> tuple[ModuleType, Gpu]:
    """Return the TensorRT module and the GPU.

    Raises:
        BackendUnavailable: the driver, the GPU or a Python package is missing; the text says which, and the remedy.
    """
    gpu = find_gpu()
    for name, remedy in _REQUIRED.items():
        try:
            importlib.import_module(name)
        except (ImportError, OSError) as error:
            raise BackendUnavailable(f"cannot import {name} ({error}); {remedy}") from error
    importlib.import_module("mdflow_ros.backends.tensorrt.cuda_memory").check_driver()
    return importlib.import_module("tensorrt"), gpu


def checked(trt_logger: Any, function: Callable[..., Any], *arguments: object) -> Any:
    """Call a TensorRT function and return its result.

    Raises:
        BackendError: it raised an exception, or returned ``None`` or ``False``, which means failure. The text has the
            function's name and TensorRT's message with the error code.
    """
    trt_logger.last_error = "TensorRT gave no reason"
    try:
        result = function(*arguments)
    except Exception as error:  # pybind11 raises TypeError or RuntimeError, depending on the function
        raise BackendError(f"TensorRT's {function.__name__} failed: {error}; {trt_logger.last_error}") from error
    if result is None or result is False:
        raise BackendError(f"TensorRT's {function.__name__} failed: {trt_logger.last_error}")
    return result


def make_logger(trt: ModuleType) -> Any:
    """Return a ``trt.ILogger`` that writes to Python's log and keeps the latest error as ``last_error``."""
    severity = trt.ILogger.Severity
    levels = {
        severity.INTERNAL_ERROR: logging.ERROR,
        severity.ERROR: logging.ERROR,
        severity.WARNING: logging.WARNING,
        severity.INFO: logging.DEBUG,
    }

    class Logger(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity)
            if level is None:
                return
            if level == logging.ERROR:
                self.last_error = message
            logger.log(level, "TensorRT: %s", message)

    return Logger()
