# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The TensorRT backend around the GPU: memory, streams, the captured graph, and what happens when something fails."""

import gc
import logging
import re

import numpy as np
import pytest
from onnx import helper

pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")

from half_precision import emulate_half_precision
from stand_in_gpu import GPU, StandInCuda, count_builds, runtime, stand_in_tensorrt

from mdflow_ros.backends.backend import BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.backends.check import TOLERANCE
from mdflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from mdflow_ros.backends.selection import create_backend
from mdflow_ros.backends.tensorrt import backend as tensorrt_backend
from mdflow_ros.backends.tensorrt import cuda_memory
from mdflow_ros.backends.tensorrt.backend import TensorRtBackend
from mdflow_ros.backends.tensorrt.cuda_memory import CudaError
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.model.graphs import Decoding

SIZE = Size(128, 64)
OPTIONS = BackendOptions(SIZE, Decoding(3, 4), threads=1, precision="fp32")


@pytest.fixture
def cuda(monkeypatch, tmp_path):
    cuda = StandInCuda()
    monkeypatch.setattr(cuda_memory, "runtime", cuda)
    monkeypatch.setattr(tensorrt_backend, "load_tensorrt", lambda: (stand_in_tensorrt(cuda), GPU))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cuda


@pytest.fixture
def builds(monkeypatch):
    return count_builds(monkeypatch)


def refuse(monkeypatch, cuda, *functions):
    monkeypatch.setattr(tensorrt_backend, "load_tensorrt", lambda: (stand_in_tensorrt(cuda, functions), GPU))


def pair(seed):
    return np.random.default_rng(seed).integers(0, 256, (2, 64, 128, 3), np.uint8)


def run(backend, images, with_backward):
    mean = np.full((1, 3), 0.5, np.float32)
    first, second = (backend.encode(image, mean) for image in images)
    return backend.decode(first, second, with_backward)


def assert_same(result, expected):
    for array, wanted in zip(result, expected, strict=True):
        if wanted is None:
            assert array is None
        else:
            np.testing.assert_allclose(array, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("capture_fails", [False, True])
def test_it_gives_what_onnx_runtime_gives(cuda, builds, caplog, capture_fails):
    caplog.set_level(logging.INFO)
    if capture_fails:
        cuda.failures["cudaStreamEndCapture"] = runtime.cudaError_t.cudaErrorStreamCaptureUnsupported
    backend = TensorRtBackend(BUNDLED_MODEL, OPTIONS)
    reference = OnnxRuntimeBackend(BUNDLED_MODEL, OPTIONS)
    results = [run(backend, pair(seed), seed % 2 == 1) for seed in range(4)]
    for seed, result in enumerate(results):  # later runs must not have touched earlier results
        assert_same(result, run(reference, pair(seed), seed % 2 == 1))
    assert ("cudaGraphLaunch" in cuda.calls) is not capture_fails
    assert ("without a CUDA graph: cudaStreamEndCapture failed" in caplog.text) is capture_fails


def test_engines_are_built_once_and_kept(cuda, builds):
    TensorRtBackend(BUNDLED_MODEL, OPTIONS).close()
    assert len(builds) == 3
    TensorRtBackend(BUNDLED_MODEL, OPTIONS).close()
    assert len(builds) == 3
    TensorRtBackend(BUNDLED_MODEL, BackendOptions(**{**vars(OPTIONS), "force_engine_update": True})).close()
    assert len(builds) == 6
    # Each build starts from the timings of the one before.
    assert [timings for _, timings in builds] == [b"", *(b"timings of build %d" % number for number in range(1, 6))]


@pytest.mark.parametrize(
    ("attribute", "value"), [("mode", b"nearest"), ("padding_mode", b"border"), ("align_corners", 0)]
)
def test_an_engine_that_computes_something_else_is_thrown_away(cuda, monkeypatch, tmp_path, attribute, value):
    def change(model):
        for node in model.graph.node:
            for item in node.attribute:
                if item.name == attribute:
                    item.CopyFrom(helper.make_attribute(attribute, value))

    count_builds(monkeypatch, change=change)
    with pytest.raises(
        BackendError, match=r"decoder engine of TensorRT .* rejected: on the test pair its (flow|coarser) differs"
    ):
        TensorRtBackend(BUNDLED_MODEL, OPTIONS)
    assert len(list(tmp_path.rglob("*.engine"))) == 1  # the encoder, which samples nothing
    assert not cuda.live


def test_half_precision_is_within_what_is_tolerated(cuda, monkeypatch, caplog):
    def change(model):
        model.CopyFrom(emulate_half_precision(model))

    caplog.set_level(logging.INFO)
    count_builds(monkeypatch, change=change)
    TensorRtBackend(BUNDLED_MODEL, BackendOptions(SIZE, Decoding(3, 4), precision="fp16", threads=1)).close()
    differences = re.findall(r"(\w+) differs from ONNX Runtime by (\S+)", caplog.text)
    assert [name for name, _ in differences] == ["features3", "flow", "coarser", "flow", "coarser", "backward"]
    assert all(0 < float(difference) < TOLERANCE / 5 for name, difference in differences)


def test_nothing_is_built_where_there_is_no_time(cuda, builds):
    options = BackendOptions(**{**vars(OPTIONS), "may_build_engine": False})
    with pytest.raises(BackendError, match=r"Build it first: `ros2 run mdflow_ros build_engine .* --quality"):
        TensorRtBackend(BUNDLED_MODEL, options)
    assert not builds
    TensorRtBackend(BUNDLED_MODEL, OPTIONS).close()
    TensorRtBackend(BUNDLED_MODEL, options).close()
    assert len(builds) == 3


def test_a_size_is_required(cuda):
    with pytest.raises(BackendUnavailable, match="set the parameter inference_size"):
        TensorRtBackend(BUNDLED_MODEL, BackendOptions())


def test_images_of_another_size_are_refused(cuda, builds):
    backend = TensorRtBackend(BUNDLED_MODEL, OPTIONS)
    with pytest.raises(BackendError, match=r"takes image of shape \(1, 64, 128, 3\), not \(1, 64, 64, 3\)"):
        run(backend, np.zeros((2, 64, 64, 3), np.uint8), False)


@pytest.mark.parametrize("give_back", [lambda backends: backends[0].close(), lambda backends: backends.clear()])
def test_memory_is_given_back_by_close_and_by_the_last_reference(cuda, builds, give_back):
    backends = [TensorRtBackend(BUNDLED_MODEL, OPTIONS)]
    assert cuda.live
    give_back(backends)
    gc.collect()
    assert not cuda.live


@pytest.mark.parametrize("call", ["cudaStreamCreateWithFlags", "cudaMalloc", "cudaMallocHost", "cudaStreamSynchronize"])
def test_a_failure_while_loading_names_call_and_code_and_leaves_nothing(cuda, builds, call):
    cuda.failures[call] = runtime.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(CudaError, match=rf"{call} failed with cudaErrorMemoryAllocation \(2\)"):
        TensorRtBackend(BUNDLED_MODEL, OPTIONS)
    assert not cuda.live


def test_a_device_that_dies_gives_an_error_and_can_be_closed(cuda, builds, caplog):
    backend = TensorRtBackend(BUNDLED_MODEL, OPTIONS)
    dead = runtime.cudaError_t.cudaErrorLaunchFailure
    cuda.failures.update(
        dict.fromkeys(("cudaStreamSynchronize", "cudaFree", "cudaFreeHost", "cudaStreamDestroy"), dead)
    )
    with pytest.raises(CudaError, match=r"cudaStreamSynchronize failed with cudaErrorLaunchFailure \(719\)") as caught:
        run(backend, pair(0), True)
    assert caught.value.call == "cudaStreamSynchronize"
    assert caught.value.code == 719
    backend.close()
    assert "cudaFree failed" in caplog.text


@pytest.mark.parametrize("function", ["deserialize_cuda_engine", "create_execution_context", "execute_async_v3"])
def test_what_tensorrt_refuses_is_named(cuda, builds, monkeypatch, function):
    refuse(monkeypatch, cuda, function)
    with pytest.raises(BackendError, match=f"TensorRT's {function} failed") as caught:
        TensorRtBackend(BUNDLED_MODEL, OPTIONS)
    assert ("Error Code 6" in str(caught.value)) is (function == "deserialize_cuda_engine")
    assert not cuda.live


def test_auto_does_not_hide_an_engine_that_cannot_be_built(cuda, monkeypatch):
    count_builds(monkeypatch, fail=BackendError("TensorRT's build_serialized_network failed"))
    with pytest.raises(BackendError, match="build_serialized_network"):
        create_backend("auto", BUNDLED_MODEL, OPTIONS)


def test_every_cuda_call_has_the_arguments_that_the_real_runtime_takes():
    """Without a driver, the real functions check their arguments before they return an error."""
    error, _ = runtime.cudaGetDeviceCount()
    if error == runtime.cudaError_t.cudaSuccess:
        pytest.skip("there is a GPU: calls with made-up handles could do harm")
    stream, graph = cuda_memory.Stream.__new__(cuda_memory.Stream), runtime.cudaGraph_t(0)
    stream.handle = runtime.cudaStream_t(0)
    array = cuda_memory.DeviceArray.__new__(cuda_memory.DeviceArray)
    array.address = array._host_address = array._bytes = 0
    captured = cuda_memory.CapturedGraph.__new__(cuda_memory.CapturedGraph)
    captured._handle = runtime.cudaGraphExec_t(0)
    for call in (
        lambda: cuda_memory.DeviceArray((2, 3), np.float32),
        cuda_memory.Stream,
        stream.synchronize,
        lambda: array.upload(stream),
        lambda: array.download(stream),
        lambda: cuda_memory.CapturedGraph(stream, lambda: None),
        lambda: cuda_memory.cuda("cudaStreamEndCapture", stream.handle),
        lambda: cuda_memory.cuda("cudaGraphInstantiate", graph, 0),
        lambda: cuda_memory.cuda("cudaMallocHost", 8),
        lambda: captured.launch(stream),
    ):
        with pytest.raises(CudaError):
            call()
    for release in (array.close, stream.close, captured.close):
        release()
