# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mdflow_ros.backends import selection
from mdflow_ros.backends.backend import FIXED_SIZE, BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.backends.check import TOLERANCE, check_backend, textured_pair
from mdflow_ros.backends.selection import create_backend, working_backends
from mdflow_ros.backends.tensorrt import cuda_driver
from mdflow_ros.core.resizing import Size
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.model.graphs import Decoding, ModelGraphs

OPTIONS = BackendOptions(inference_size=Size(64, 64), threads=1)


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", "libno-such-driver.so.1")


def test_tensorrt_without_a_driver_says_what_is_missing_and_what_works(no_driver):
    with pytest.raises(BackendUnavailable) as caught:
        create_backend("tensorrt", BUNDLED_MODEL, OPTIONS)
    message = str(caught.value)
    assert message.startswith("backend 'tensorrt' cannot run here: there is no NVIDIA driver here (libno-such-driver")
    others = message.rpartition("Working backends: ")[2].split(", ")
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


def test_auto_goes_on_with_onnx_runtime_and_says_so_once(no_driver, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    caplog.set_level(logging.INFO)
    backend = create_backend("auto", BUNDLED_MODEL, OPTIONS)
    assert backend.name == "onnxruntime"
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == ["backend auto chose onnxruntime"]
    assert "tensorrt: there is no NVIDIA driver here" in caplog.text


@pytest.mark.parametrize("content", ["", "raise AttributeError('_ARRAY_API not found')", "import no_plugin.x"])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_broken_engine_is_unavailable_and_the_text_names_the_remedy(engine, content, monkeypatch, tmp_path):
    (tmp_path / engine).mkdir()
    (tmp_path / engine / "__init__.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == engine]:
        monkeypatch.delitem(sys.modules, name)
    try:
        with pytest.raises(BackendUnavailable, match=rf"`pip install .*{engine}`"):
            create_backend(engine, BUNDLED_MODEL, OPTIONS)
    finally:
        sys.modules.pop(engine, None)


@pytest.mark.parametrize("broken", ["Core", "get_property"])
def test_auto_goes_on_where_openvino_does_not_start(broken, monkeypatch, no_driver):
    openvino = pytest.importorskip("openvino")

    def fail(*arguments):
        raise RuntimeError("GLIBC_2.36 not found")

    monkeypatch.setattr(openvino if broken == "Core" else openvino.Core, broken, fail)
    assert create_backend("auto", BUNDLED_MODEL, OPTIONS).name == "onnxruntime"
    with pytest.raises(BackendUnavailable, match=r"GLIBC_2\.36 not found.*(install|update)"):
        create_backend("openvino", BUNDLED_MODEL, OPTIONS)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_no_engine_tells_anybody_what_the_robot_runs(engine, tmp_path):
    pytest.importorskip(engine)
    program = f"""
import logging, sys
sys.addaudithook(lambda event, _: event in ("socket.getaddrinfo", "urllib.Request") and print(event, flush=True))
from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.selection import create_backend
from mdflow_ros.model.card import BUNDLED_MODEL
create_backend("{engine}", BUNDLED_MODEL, BackendOptions(threads=1))
print(logging.getLogger().handlers)
"""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    kept = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()}
    assert kept <= {("cache", "mdflow_ros")}
    assert run.stdout == "[]\n"


def test_auto_takes_tensorrt_where_it_works(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    tensorrt = object()
    monkeypatch.setitem(selection.BACKENDS, "tensorrt", lambda model, options: tensorrt)
    assert create_backend("auto", BUNDLED_MODEL, OPTIONS) is tensorrt
    assert caplog.messages == ["backend auto chose tensorrt"]


def test_a_backend_that_does_not_exist_is_refused_with_a_list():
    with pytest.raises(ValueError, match="unknown backend 'tensorflow'; choose one of auto, tensorrt, onnxruntime"):
        create_backend("tensorflow", BUNDLED_MODEL, OPTIONS)


def test_choosing_a_backend_imports_neither_torch_nor_tensorrt(tmp_path):
    program = """
import sys
from mdflow_ros.backends.tensorrt import cuda_driver
from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.check import TOLERANCE, check_backend, textured_pair
from mdflow_ros.backends.selection import create_backend
from mdflow_ros.core.resizing import Size
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.model.graphs import Decoding
cuda_driver.DRIVER_LIBRARY = "libno-such-driver.so.1"
create_backend("onnxruntime", BUNDLED_MODEL, BackendOptions(threads=1))
print({"torch", "tensorrt", "openvino", "cuda"} & set(sys.modules))
"""
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert output.stdout == "set()\n"


@pytest.mark.parametrize("decoding", [Decoding(2, 3), Decoding(3, 4)])
def test_openvino_gives_what_onnx_runtime_gives(decoding):
    pytest.importorskip("openvino")
    options = BackendOptions(decoding=decoding, threads=1)
    backend, reference = (create_backend(name, BUNDLED_MODEL, options) for name in ("openvino", "onnxruntime"))
    for size in (Size(128, 64), Size(64, 128), Size(128, 64)):
        first, second = textured_pair(size)
        mean = np.full((1, 3), 0.5, np.float32)
        flows = [b.decode(b.encode(first, mean), b.encode(second, mean), True) for b in (backend, reference)]
        for ours, theirs in zip(*flows, strict=True):
            assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < TOLERANCE


def test_an_engine_that_computes_something_else_is_rejected_and_auto_goes_on(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # without the check that passed in another test
    openvino_backend = pytest.importorskip("mdflow_ros.backends.openvino_backend")
    pytest.importorskip("openvino")
    run = openvino_backend._Graph.run
    monkeypatch.setattr(
        openvino_backend._Graph, "run", lambda *arguments: {k: v + 0.2 for k, v in run(*arguments).items()}
    )
    with pytest.raises(BackendError, match=r"openvino rejected: on the test pair its flow differs.*tolerance 0\.05 px"):
        create_backend("openvino", BUNDLED_MODEL, BackendOptions(threads=1))
    assert create_backend("auto", BUNDLED_MODEL, BackendOptions(threads=1)).name == "onnxruntime"
    assert "skips openvino" in caplog.text


def test_the_flow_without_backward_flow_is_checked_too():
    def decode(first, second, with_backward):
        decoded = reference.decode(first, second, with_backward)
        return decoded if with_backward else decoded._replace(flow=decoded.flow + np.float32(0.2))

    options = BackendOptions(threads=1)
    reference = create_backend("onnxruntime", BUNDLED_MODEL, options)
    graphs = ModelGraphs(BUNDLED_MODEL, options.decoding)
    check_backend(reference, graphs, Size(128, 128), 1)
    faulty = SimpleNamespace(name="faulty", encode=reference.encode, decode=decode)
    with pytest.raises(BackendError, match="faulty rejected: on the test pair its flow differs"):
        check_backend(faulty, graphs, Size(128, 128), 1)


def test_what_the_check_compiled_is_freed_unless_images_have_its_size(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # without the check that passed in another test
    pytest.importorskip("openvino")
    for size, kept in ((None, 0), (Size(64, 64), 1)):
        backend = create_backend("openvino", BUNDLED_MODEL, BackendOptions(inference_size=size, threads=1))
        graphs = (backend._encoder, *backend._decoders.values())
        assert [len(graph._requests) for graph in graphs] == 3 * [kept]


def test_openvino_computes_in_float32_if_told_to():
    pytest.importorskip("openvino")
    options = BackendOptions(threads=1, precision="fp32")
    backend, reference = (create_backend(name, BUNDLED_MODEL, options) for name in ("openvino", "onnxruntime"))
    pair, mean = textured_pair(Size(128, 64)), np.full((1, 3), 0.5, np.float32)
    flows = [b.decode(*(b.encode(image, mean) for image in pair), False).flow for b in (backend, reference)]
    assert np.abs(flows[0] - flows[1]).max() < 0.001


def test_an_unknown_precision_is_refused_for_every_backend():
    with pytest.raises(ValueError, match="unknown precision 'int8'; choose one of fp16, fp32"):
        BackendOptions(precision="int8")


def test_a_device_that_is_missing_is_named():
    pytest.importorskip("openvino")
    with pytest.raises(BackendUnavailable, match="OpenVINO finds no device NPU here; it finds CPU"):
        create_backend("openvino", BUNDLED_MODEL, BackendOptions(device="NPU"))


def test_a_gpu_without_a_fixed_size_leaves_the_cpu_its_quality_and_warns(monkeypatch, caplog):
    def needs_a_size(model, options):
        raise BackendUnavailable(FIXED_SIZE)

    monkeypatch.setitem(selection.CHECKS, "tensorrt", lambda: None)
    monkeypatch.setitem(selection.BACKENDS, "tensorrt", needs_a_size)
    estimator = FlowEstimator(options=OPTIONS)
    assert estimator.quality == "balanced" and estimator.backend != "tensorrt"
    assert f"the GPU is not used: {FIXED_SIZE}" in [record.getMessage() for record in caplog.records]
    assert selection.runs_on_gpu("auto", has_fixed_size=True)
