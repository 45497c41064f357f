# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Memory, streams and captured graphs of the CUDA runtime, with every call checked.

Import it after `mdflow_ros.backends.tensorrt.cuda_driver.find_gpu` has found a GPU: it needs cuda-bindings.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from cuda.bindings import runtime
from numpy.typing import DTypeLike, NDArray

from mdflow_ros.backends.backend import BackendError, BackendUnavailable

logger = logging.getLogger(__name__)


class CudaError(BackendError):
    """A call of the CUDA runtime has failed.

    Attributes:
        call: name of the function.
        code: error code, see cudaError_t.
    """

    def __init__(self, call: str, code: int, name: str) -> None:
        super().__init__(f"{call} failed with {name} ({code})")
        self.call = call
        self.code = code


def cuda(call: str, *arguments: object) -> Any:
    """Call a function of the CUDA runtime and return its results, if any.

    Raises:
        CudaError: it did not return cudaSuccess.
    """
    error, *results = getattr(runtime, call)(*arguments)
    if error != runtime.cudaError_t.cudaSuccess:
        raise CudaError(call, int(error), error.name)
    return results[0] if len(results) == 1 else results


def check_driver() -> None:
    """Raise BackendUnavailable unless cuda-bindings and the driver are compatible."""
    try:
        cuda("cudaGetDeviceCount")
    except CudaError as error:
        raise BackendUnavailable(
            f"{error}; cuda-bindings must have the driver's major version: for a driver of CUDA 12, "
            "`pip install 'cuda-bindings<13'`"
        ) from error


def free_memory() -> int:
    """Return how many bytes of the GPU's memory are free."""
    free, _ = cuda("cudaMemGetInfo")
    return int(free)


def _release(call: str, handle: object) -> None:
    """Free a resource. A failure is only logged, so that it does not hide the device fault that caused it."""
    try:
        cuda(call, handle)
    except CudaError as error:
        logger.warning("%s", error)


class DeviceArray:
    """An array in GPU memory, and its copy in pinned host memory.

    Attributes:
        address: of the GPU memory.
        host: the copy in host memory, ``shape`` and ``dtype`` as given.

    Raises:
        CudaError: there is not enough memory.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.address: int = cuda("cudaMalloc", self._bytes)
        try:
            self._host_address: int = cuda("cudaMallocHost", self._bytes)
        except CudaError:
            _release("cudaFree", self.address)
            raise
        memory = (ctypes.c_uint8 * self._bytes).from_address(self._host_address)
        self.host: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def upload(self, stream: Stream) -> None:
        """Start copying from the host to the device."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        cuda("cudaMemcpyAsync", self.address, self._host_address, self._bytes, kind, stream.handle)

    def download(self, stream: Stream) -> None:
        """Start copying from the device to the host."""
        kind = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        cuda("cudaMemcpyAsync", self._host_address, self.address, self._bytes, kind, stream.handle)

    def close(self) -> None:
        """Free both buffers; do not use `host` afterwards."""
        _release("cudaFreeHost", self._host_address)
        _release("cudaFree", self.address)


class Stream:
    """A CUDA stream that does not synchronize with the default stream.

    Attributes:
        handle: for the CUDA runtime and TensorRT.
    """

    def __init__(self) -> None:
        self.handle = cuda("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)

    def synchronize(self) -> None:
        """Wait until all queued work is done.

        Raises:
            CudaError: some of the work has failed.
        """
        cuda("cudaStreamSynchronize", self.handle)

    def close(self) -> None:
        """Destroy the stream."""
        _release("cudaStreamDestroy", self.handle)


class CapturedGraph:
    """A captured CUDA graph, so that one call starts all of its work.

    Args:
        stream: that ``enqueue`` uses.
        enqueue: called once, while the stream captures the work instead of running it.

    Raises:
        CudaError: the work cannot be captured; the stream remains usable.
        BackendError: raised by ``enqueue``.
    """

    def __init__(self, stream: Stream, enqueue: Callable[[], None]) -> None:
        # Thread-local: CUDA calls of other threads are neither captured nor forbidden meanwhile.
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cuda("cudaStreamBeginCapture", stream.handle, mode)
        try:
            enqueue()
        except BackendError:
            runtime.cudaStreamEndCapture(stream.handle)
            raise
        graph = cuda("cudaStreamEndCapture", stream.handle)
        try:
            self._handle = cuda("cudaGraphInstantiate", graph, 0)
        finally:
            _release("cudaGraphDestroy", graph)

    def launch(self, stream: Stream) -> None:
        """Start the captured work."""
        cuda("cudaGraphLaunch", self._handle, stream.handle)

    def close(self) -> None:
        """Destroy the captured graph."""
        _release("cudaGraphExecDestroy", self._handle)
