# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Every symbol of TensorRT and CUDA that the code names exists in the versions that it is for.

``data/tensorrt_symbols.json`` lists what the bindings offer; ``scripts/list_tensorrt_symbols.py`` writes it.
"""

import ast
import json
from pathlib import Path

import pytest

BACKENDS = Path(__file__).resolve().parents[1] / "mdflow_ros" / "backends"
SYMBOLS = json.loads(Path(__file__).with_name("data").joinpath("tensorrt_symbols.json").read_text())
VERSIONS = {
    version: {name: set(members.split()) for name, members in classes.items()} for version, classes in SYMBOLS.items()
}

CLASS_OF = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "config.get_timing_cache()": "ITimingCache",
    "flags": "NetworkDefinitionCreationFlag",
    "layer": "IGridSampleLayer",
    "layer.get_output(0)": "ITensor",
    "layer.interpolation_mode": "InterpolationMode",
    "layer.sample_mode": "SampleMode",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "self._context": "IExecutionContext",
    "self._engine": "ICudaEngine",
    "self._runtime": "Runtime",
    "severity": "ILogger",
    "tensor": "ITensor",
    "timings": "ITimingCache",
}
"""What the expressions in the code are, by their text."""

MODULES = ("tensorrt_builder", "tensorrt_engine", "tensorrt_library", "tensorrt_runner")
PYTHON = {"__class__", "__init__", "__version__"}

# Only where there is no STRONGLY_TYPED.
OF_8_ONLY = {
    "BuilderFlag.FP16",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
    "IGridSampleLayer.precision",
    "IGridSampleLayer.set_output_type",
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
}
SINCE_10 = {"NetworkDefinitionCreationFlag.STRONGLY_TYPED"}


def used_symbols():
    used = set()
    for module in MODULES:
        for node in ast.walk(ast.parse((BACKENDS / f"{module}.py").read_text())):
            if not isinstance(node, ast.Attribute) or node.attr in PYTHON:
                continue
            owner = ast.unparse(node.value)
            if owner in CLASS_OF:
                used.add(f"{CLASS_OF[owner]}.{node.attr}")
            elif owner.startswith("trt."):
                used.add(f"{owner.removeprefix('trt.')}.{node.attr}")
            elif owner == "trt":
                used.add(node.attr)
    return used


def has(version, symbol):
    name, _, member = symbol.partition(".")
    classes = VERSIONS[version]
    return name in classes and (not member or member.split(".")[0] in classes[name])


def test_the_code_was_read():
    """A renamed variable would hide what it is asked for."""
    assert {
        "Builder.build_serialized_network",
        "IBuilderConfig.set_timing_cache",
        "ICudaEngine.num_io_tensors",
        "IExecutionContext.execute_async_v3",
        "IGridSampleLayer.align_corners",
        "INetworkDefinition.get_layer",
        "ITensor.is_shape_tensor",
        "ITimingCache.serialize",
        "OnnxParser.get_error",
        "Runtime.deserialize_cuda_engine",
        *OF_8_ONLY,
    } <= used_symbols()


@pytest.mark.parametrize("version", VERSIONS)
def test_every_symbol_exists(version):
    only = SINCE_10 if version.startswith("8.") else OF_8_ONLY
    assert not [symbol for symbol in sorted(used_symbols() - only) if not has(version, symbol)]


def test_what_tells_the_versions_apart_does():
    assert not has("8.6.1", "NetworkDefinitionCreationFlag.STRONGLY_TYPED")
    assert all(
        has(version, "NetworkDefinitionCreationFlag.STRONGLY_TYPED") for version in VERSIONS if version[0] != "8"
    )
    assert not has("11.4.0.106", "BuilderFlag.FP16")


def test_every_cuda_symbol_exists():
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    tree = ast.parse((BACKENDS / "cuda_memory.py").read_text())
    calls = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cuda", "_release", "cuda_memory.cuda")
        if isinstance(node.args[0], ast.Constant)
    }
    assert {"cudaMalloc", "cudaFreeHost", "cudaGraphLaunch"} <= calls
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith("runtime"):
            calls.add(ast.unparse(node).removeprefix("runtime."))
    for call in calls:
        target = runtime
        for name in call.split("."):
            target = getattr(target, name)
