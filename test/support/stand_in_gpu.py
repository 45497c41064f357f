# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A CUDA runtime and a TensorRT that need no GPU: memory of the host, and ONNX graphs as engines.

Work is queued and done only when somebody waits for it, so that code which forgets to wait reads old results.
"""

from __future__ import annotations

import ctypes
from enum import Enum
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
from cuda.bindings import runtime

from mdflow_ros.backends.tensorrt.cuda_driver import Gpu

SUCCESS = runtime.cudaError_t.cudaSuccess
GPU = Gpu("Stand-in", "8.7")


class StandInCuda:
    """The functions of ``cuda.bindings.runtime`` that this package calls; all others are the real module's.

    Attributes:
        failures: error codes, by the name of the call that shall fail.
        calls: names of the calls so far.
        live: objects that were created and not freed, by address or handle.
    """

    def __init__(self):
        self.failures = {}
        self.calls = []
        self.live = {}
        self._queues = {}
        self._recording = None

    def __getattr__(self, name):
        real = getattr(runtime, name)
        if not callable(real) or isinstance(real, type):
            return real
        function = getattr(type(self), f"_{name}")

        def call(*arguments):
            self.calls.append(name)
            if name in self.failures:
                self._recording = None
                return self.failures[name], None
            result = function(self, *arguments)
            return (SUCCESS, *result) if isinstance(result, tuple) else (SUCCESS, result)

        return call

    def enqueue(self, stream, work):
        (self._queues[stream] if self._recording is None else self._recording).append(work)

    def _allocate(self, size):
        memory = ctypes.create_string_buffer(size)
        self.live[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def _free(self, address):
        del self.live[address]

    def _make(self, content):
        handle = 1 + len(self.calls)
        self.live[handle] = content
        return handle

    _cudaMalloc = _cudaMallocHost = _allocate
    _cudaFree = _cudaFreeHost = _cudaStreamDestroy = _cudaGraphDestroy = _cudaGraphExecDestroy = _free

    def _cudaStreamCreateWithFlags(self, flags):
        assert flags == runtime.cudaStreamNonBlocking
        handle = self._make("stream")
        self._queues[handle] = []
        return handle

    def _cudaMemcpyAsync(self, target, source, size, kind, stream):
        assert isinstance(kind, runtime.cudaMemcpyKind)
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size))

    def _cudaStreamSynchronize(self, stream):
        queue, self._queues[stream] = self._queues[stream], []
        for work in queue:
            work()

    def _cudaStreamBeginCapture(self, stream, mode):
        assert not self._queues[stream]
        self._recording = []

    def _cudaStreamEndCapture(self, stream):
        recording, self._recording = self._recording, None
        return self._make(recording)

    def _cudaGraphInstantiate(self, graph, flags):
        return self._make(self.live[graph])

    def _cudaGraphLaunch(self, graph, stream):
        for work in self.live[graph]:
            self.enqueue(stream, work)

    def _cudaMemGetInfo(self):
        used = sum(len(memory) for memory in self.live.values() if isinstance(memory, ctypes.Array))
        return 2**30 - used, 2**30


class DataType(Enum):
    UINT8 = np.uint8
    FLOAT = np.float32


class TensorIOMode(Enum):
    INPUT = 1
    OUTPUT = 2


class _Logger:
    Severity = Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")


def stand_in_tensorrt(cuda, refuse=()):
    """Return a module like ``tensorrt`` that runs ONNX graphs; the functions named in ``refuse`` return ``None``."""

    class Runtime:
        def __init__(self, logger):
            self.logger = logger

        def deserialize_cuda_engine(self, serialized):
            if "deserialize_cuda_engine" in refuse:
                self.logger.log(_Logger.Severity.ERROR, "Error Code 6: the engine is not for this GPU")
                return None
            return Engine(serialized)

    class Engine:
        def __init__(self, serialized):
            graph = onnx.load_from_string(serialized).graph
            self.tensors = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
            self.inputs = {value.name for value in graph.input}
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])

        @property
        def num_io_tensors(self):
            return len(self.tensors)

        def get_tensor_name(self, index):
            return list(self.tensors)[index]

        def get_tensor_shape(self, name):
            return [length.dim_value for length in self.tensors[name].shape.dim]

        def get_tensor_mode(self, name):
            return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name):
            return DataType(onnx.helper.tensor_dtype_to_np_dtype(self.tensors[name].elem_type).type)

        def create_execution_context(self):
            return None if "create_execution_context" in refuse else Context(self)

    class Context:
        def __init__(self, engine):
            self.engine = engine
            self.addresses = {}

        def set_tensor_address(self, name, address):
            self.addresses[name] = address
            return True

        def execute_async_v3(self, stream):
            if "execute_async_v3" in refuse:
                return False
            cuda.enqueue(stream, self._execute)
            return True

        def _array(self, name):
            shape, dtype = self.engine.get_tensor_shape(name), self.engine.get_tensor_dtype(name).value
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            memory = (ctypes.c_uint8 * size).from_address(self.addresses[name])
            return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

        def _execute(self):
            outputs = [value.name for value in self.engine.session.get_outputs()]
            inputs = {value.name: self._array(value.name) for value in self.engine.session.get_inputs()}
            results = self.engine.session.run(outputs, inputs)
            for name, result in zip(outputs, results, strict=True):
                self._array(name)[:] = result

    return SimpleNamespace(
        __version__="10.3.0", ILogger=_Logger, DataType=DataType, TensorIOMode=TensorIOMode, Runtime=Runtime
    )


def count_builds(monkeypatch, fail=None, change=lambda model: None):
    """Let ONNX graphs be engines, and return the list to which every build adds what TensorRT would have got.

    ``fail`` is an exception that every build raises, ``change`` does to the graph what a faulty TensorRT does.
    """
    from mdflow_ros.backends.tensorrt import engine as tensorrt_engine

    builds = []

    def build(trt, model, timing_cache):
        builds.append((model, timing_cache))
        if fail:
            raise fail
        change(model)
        return model.SerializeToString(), b"timings of build %d" % len(builds)

    monkeypatch.setattr(tensorrt_engine, "build_serialized_engine", build)
    return builds
