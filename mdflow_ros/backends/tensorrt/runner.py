# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Run a TensorRT engine: copy the inputs to the device, run the network, copy the outputs back."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.backends.backend import Arrays, BackendError
from mdflow_ros.backends.tensorrt.cuda_memory import CapturedGraph, DeviceArray, Stream
from mdflow_ros.backends.tensorrt.library import checked

logger = logging.getLogger(__name__)


class TensorRtRunner:
    """An engine with its memory and its stream.

    If the engine allows it, copies and kernels are captured as one CUDA graph, so that one call starts all of them.

    Args:
        trt: the TensorRT module.
        trt_logger: see `mdflow_ros.backends.tensorrt.library.make_logger`.
        serialized: the engine.

    Raises:
        BackendError: the engine cannot be loaded, there is not enough memory, or the device fails.
    """

    def __init__(self, trt: ModuleType, trt_logger: Any, serialized: bytes) -> None:
        self._logger = trt_logger
        self._runtime = checked(trt_logger, trt.Runtime, trt_logger)
        self._engine = checked(trt_logger, self._runtime.deserialize_cuda_engine, serialized)
        self._context = checked(trt_logger, self._engine.create_execution_context)
        with ExitStack() as resources:
            self.stream = Stream()
            resources.callback(self.stream.close)
            self._inputs: dict[str, DeviceArray] = {}
            self._outputs: dict[str, DeviceArray] = {}
            for name, dtype in self._tensors(trt).items():
                array = DeviceArray(tuple(self._engine.get_tensor_shape(name)), dtype)
                resources.callback(array.close)
                is_input = self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
                (self._inputs if is_input else self._outputs)[name] = array
                checked(trt_logger, self._context.set_tensor_address, name, array.address)
            # Run once before the capture, because loading kernels lazily would break it.
            self.enqueue()
            self.stream.synchronize()
            self._graph = self._capture()
            if self._graph is not None:
                resources.callback(self._graph.close)
            self._resources = resources.pop_all()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return copies of the outputs by name.

        Args:
            inputs: by name, with the engine's shapes.

        Raises:
            BackendError: an input has another shape, or the device fails.
        """
        for name, array in self._inputs.items():
            if inputs[name].shape != array.host.shape:
                raise BackendError(f"the engine takes {name} of shape {array.host.shape}, not {inputs[name].shape}")
            np.copyto(array.host, inputs[name])
        if self._graph is None:
            self.enqueue()
        else:
            self._graph.launch(self.stream)
        self.stream.synchronize()
        return {name: array.host.copy() for name, array in self._outputs.items()}

    def enqueue(self) -> None:
        """Start the whole inference: copy the inputs, run the network, copy the outputs."""
        self.enqueue_upload()
        self.enqueue_network()
        self.enqueue_download()

    def enqueue_upload(self) -> None:
        """Start copying the inputs to the device."""
        for array in self._inputs.values():
            array.upload(self.stream)

    def enqueue_network(self) -> None:
        """Start the network on the inputs in device memory."""
        # TensorRT takes the handle as a number.
        checked(self._logger, self._context.execute_async_v3, int(self.stream.handle))

    def enqueue_download(self) -> None:
        """Start copying the outputs to the host."""
        for array in self._outputs.values():
            array.download(self.stream)

    def close(self) -> None:
        """Release everything. The runner cannot be used afterwards."""
        self._resources.close()
        # TensorRT requires this order: context, engine, runtime.
        self._context = self._engine = self._runtime = None

    def _tensors(self, trt: ModuleType) -> dict[str, type[np.generic]]:
        """Return the names and types of the inputs and outputs."""
        dtypes: dict[Any, type[np.generic]] = {trt.DataType.UINT8: np.uint8, trt.DataType.FLOAT: np.float32}
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        return {name: dtypes[self._engine.get_tensor_dtype(name)] for name in names}

    def _capture(self) -> CapturedGraph | None:
        try:
            return CapturedGraph(self.stream, self.enqueue)
        except BackendError as error:
            logger.info("the engine runs without a CUDA graph: %s", error)
            return None
