# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Ask the NVIDIA driver for a GPU before importing a library that requires one.

Without a driver, some TensorRT versions crash with a segmentation fault instead of raising an error.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from mdflow_ros.backends.backend import BackendUnavailable

DRIVER_LIBRARY = "libcuda.so.1"

# CUdevice_attribute of cuda.h
COMPUTE_CAPABILITY_MAJOR = 75
COMPUTE_CAPABILITY_MINOR = 76


@dataclass(frozen=True)
class Gpu:
    """The GPU that CUDA uses: the first one that ``CUDA_VISIBLE_DEVICES`` allows.

    Attributes:
        name: as the driver gives it, for example ``Orin``.
        compute_capability: for example ``8.7``.
    """

    name: str
    compute_capability: str


def find_gpu() -> Gpu:
    """Initialize the driver and return the GPU.

    Raises:
        BackendUnavailable: there is no driver, it does not start, or it has no GPU.
    """
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError as error:
        raise BackendUnavailable(
            f"there is no NVIDIA driver here ({error}); a container needs to be started with `--gpus all`, "
            "on a Jetson with `--runtime nvidia`"
        ) from error
    _call(driver, "cuInit", 0)
    device = ctypes.c_int()
    _call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    _call(driver, "cuDeviceGetName", name, len(name), device)
    capability = []
    for attribute in (COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int()
        _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        capability.append(str(value.value))
    return Gpu(name.value.decode(errors="replace"), ".".join(capability))


def _call(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(driver, function)(*arguments)
    if code:
        name = ctypes.c_char_p()
        driver.cuGetErrorName(code, ctypes.byref(name))
        raise BackendUnavailable(
            f"the NVIDIA driver is installed but gives no GPU: {function} returned "
            f"{(name.value or b'an unknown error').decode()} ({code})"
        )
