# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import logging
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mdflow_ros.backends import onnxruntime_backend, selection
from mdflow_ros.backends.backend import BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.backends.selection import create_backend, working_backends
from mdflow_ros.backends.tensorrt import cuda_driver
from mdflow_ros.model.card import BUNDLED_MODEL

OPTIONS = BackendOptions(inference_size=(64, 64), threads=1)


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", "libno-such-driver.so.1")


def test_tensorrt_without_a_driver_says_what_is_missing_and_what_works(no_driver):
    with pytest.raises(BackendUnavailable) as caught:
        create_backend("tensorrt", BUNDLED_MODEL, OPTIONS)
    message = str(caught.value)
    assert message.startswith("backend 'tensorrt' cannot run here: there is no NVIDIA driver here (libno-such-driver")
    others = message.rpartition("Those that can: ")[2].split(", ")
    assert "onnxruntime" in others
    assert "tensorrt" not in others
    assert others == working_backends()


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    from mdflow_ros.backends.tensorrt import library as tensorrt_library

    monkeypatch.setattr(tensorrt_library, "find_gpu", lambda: cuda_driver.Gpu("Orin", "8.7"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendUnavailable, match=r"cannot import tensorrt .*`pip install tensorrt`.*JetPack"):
        create_backend("tensorrt", BUNDLED_MODEL, OPTIONS)


def test_cuda_bindings_newer_than_the_driver_are_explained(monkeypatch):
    pytest.importorskip("cuda.bindings.runtime")
    from mdflow_ros.backends.tensorrt import cuda_memory
    from mdflow_ros.backends.tensorrt import library as tensorrt_library

    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    too_old = runtime.cudaError_t.cudaErrorInsufficientDriver
    stand_in = SimpleNamespace(cudaError_t=runtime.cudaError_t, cudaGetDeviceCount=lambda: (too_old, 0))
    monkeypatch.setattr(tensorrt_library, "find_gpu", lambda: cuda_driver.Gpu("Orin", "8.7"))
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0"))
    monkeypatch.setattr(cuda_memory, "runtime", stand_in)
    with pytest.raises(
        BackendUnavailable, match=r"cudaErrorInsufficientDriver \(35\); .*`pip install 'cuda-bindings<13'`"
    ):
        create_backend("tensorrt", BUNDLED_MODEL, OPTIONS)


def test_auto_goes_on_with_onnx_runtime_and_says_so_once(no_driver, caplog):
    caplog.set_level(logging.INFO)
    backend = create_backend("auto", BUNDLED_MODEL, OPTIONS)
    assert backend.name == "onnxruntime"
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == ["backend auto chose onnxruntime"]
    assert "tensorrt: there is no NVIDIA driver here" in caplog.text


def test_auto_takes_tensorrt_where_it_works(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    tensorrt = object()
    monkeypatch.setitem(selection.BACKENDS, "tensorrt", lambda model, options: tensorrt)
    assert create_backend("auto", BUNDLED_MODEL, OPTIONS) is tensorrt
    assert caplog.messages == ["backend auto chose tensorrt"]


def test_a_backend_that_does_not_exist_is_refused_with_a_list():
    with pytest.raises(ValueError, match="there is no backend 'tensorflow'; there are auto, tensorrt, onnxruntime"):
        create_backend("tensorflow", BUNDLED_MODEL, OPTIONS)


def test_choosing_a_backend_imports_neither_torch_nor_tensorrt_nor_onnx(tmp_path):
    program = """
import sys
from mdflow_ros.backends.tensorrt import cuda_driver
from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.selection import create_backend
from mdflow_ros.model.card import BUNDLED_MODEL
cuda_driver.DRIVER_LIBRARY = "libno-such-driver.so.1"
create_backend("auto", BUNDLED_MODEL, BackendOptions(threads=1))
print({"torch", "tensorrt", "onnx", "cuda"} & set(sys.modules))
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert output.stdout == "set()\n"


def test_onnx_runtimes_tensorrt_gets_graphs_of_one_size(monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    """Run by the CPU's provider, which takes the same graphs and ignores the other one's options."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(onnxruntime_backend.PROVIDERS, "onnxruntime-tensorrt", "CPUExecutionProvider")
    with pytest.raises(BackendUnavailable, match="set the parameter inference_size"):
        create_backend("onnxruntime-tensorrt", BUNDLED_MODEL, BackendOptions())
    fixed = create_backend("onnxruntime-tensorrt", BUNDLED_MODEL, OPTIONS)
    free = create_backend("onnxruntime", BUNDLED_MODEL, OPTIONS)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for with_confidence in (False, True):
        for result, wanted in zip(fixed.run(images, with_confidence), free.run(images, with_confidence), strict=True):
            assert (result is None) is (wanted is None)
            if wanted is not None:
                np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-4)
    with pytest.raises(BackendError, match="ONNX Runtime failed"):
        fixed.run(np.zeros((2, 128, 64, 3), np.uint8), False)
