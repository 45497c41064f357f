# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The graphs of fixed size and of half precision that TensorRT gets."""

import numpy as np
import onnx
import onnxruntime
import pytest
from half_precision import emulate_half_precision
from onnx import TensorProto, helper, numpy_helper
from places import SHARED

from mdflow_ros.core.resizing import network_size, resize_flow, resize_image
from mdflow_ros.model.architecture import parameter_shapes
from mdflow_ros.model.card import BUNDLED_MODEL, Preprocessing
from mdflow_ros.model.fixed_graph import EngineSpecification
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.flow_files import read_flow, read_image

EVAL = SHARED / "eval"


def static_graph(size, precision, with_confidence):
    return EngineSpecification(BUNDLED_MODEL, size, precision, with_confidence).graph()


def run(model, images, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images, **inputs})


def types_of(model):
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}


@pytest.mark.parametrize("size", [(64, 64), (320, 256)])
@pytest.mark.parametrize("with_confidence", [False, True])
def test_a_graph_of_fixed_size_gives_what_the_free_one_gives(size, with_confidence):
    images = np.random.default_rng(0).integers(0, 256, (2, size[1], size[0], 3), np.uint8)
    free = onnx.load(BUNDLED_MODEL)
    expected = run(free, images, directions=np.array([1 + with_confidence]))
    static = static_graph(size, "fp32", with_confidence)
    outputs = run(static, images)
    assert len(outputs) == 1 + with_confidence
    for output, wanted in zip(outputs, expected, strict=False):
        np.testing.assert_allclose(output, wanted, rtol=0, atol=1e-4)


def test_a_graph_of_fixed_size_computes_no_shapes_and_keeps_the_parameters():
    static = static_graph((128, 64), "fp32", True)
    assert not {"Shape", "Size", "Range", "Max"} & {node.op_type for node in static.graph.node}
    assert len(static.graph.node) < 0.7 * len(onnx.load(BUNDLED_MODEL).graph.node)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in static.graph.initializer}
    assert parameter_shapes().items() <= shapes.items()


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("preprocessing", Preprocessing)
def test_half_precision_is_for_convolutions_not_for_coordinates_and_statistics(preprocessing, normalized):
    weights = {name: np.zeros(shape, np.float16) for name, shape in parameter_shapes().items()}
    graph = build_graph(weights, preprocessing, normalized, directions=2, size=(64, 64), precision=np.float16)
    types = types_of(graph)
    by_operator = {}
    for node in graph.graph.node:
        by_operator.setdefault(node.op_type, set()).add(types[node.output[0]])
    for operator in ("Conv", "ConvTranspose"):
        assert by_operator[operator] == {TensorProto.FLOAT16}
    for operator in ("GridSample", "ReduceMean", "Resize", "Sqrt", "Exp"):
        assert by_operator[operator] == {TensorProto.FLOAT}
    assert {types[output.name] for output in graph.graph.output} == {TensorProto.FLOAT}


def test_the_emulation_rounds_between_nodes():
    big = numpy_helper.from_array(np.array(2048, np.float16), "big")
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("Add", ["a", "big"], ["b"]),
        helper.make_node("Sub", ["b", "big"], ["c"]),
        helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    graph = helper.make_graph(nodes, "rounding", ends[:1], ends[1:], [big])
    model = emulate_half_precision(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    # Half precision has steps of 2 above 2048.
    assert session.run(None, {"x": np.array([0.3, 1.4, 2.7], np.float32)})[0].tolist() == [0, 2, 2]


def evaluation_pairs():
    for folder in sorted((EVAL / "middlebury").iterdir()):
        yield folder / "frame10.png", folder / "frame11.png", folder / "flow10.flo"
    for folder in sorted((EVAL / "kitti2015").iterdir()):
        yield *sorted(folder.glob(f"{folder.name}_1?.png")), folder / f"occ_{folder.name}_10.png"
    for truth in sorted((EVAL / "chairs").glob("*_flow.flo")):
        name = truth.name.removesuffix("_flow.flo")
        yield *(truth.with_name(f"{name}_img{i}.ppm") for i in (1, 2)), truth


@pytest.mark.skipif(not EVAL.is_dir(), reason=f"there are no pairs with true flow at {EVAL}")
def test_half_precision_costs_less_than_a_fiftieth_of_a_pixel():
    pairs = list(evaluation_pairs())
    assert len(pairs) == 8
    for first, second, truth_path in pairs:
        images, truth = [read_image(path) for path in (first, second)], read_flow(truth_path)
        size = (truth.shape[1], truth.shape[0])
        inference_size = network_size(size, 64)
        stack = np.stack([resize_image(image, inference_size) for image in images])
        single = static_graph(inference_size, "fp32", False)
        half = emulate_half_precision(static_graph(inference_size, "fp16", False))
        errors = [
            np.nanmean(endpoint_error(resize_flow(run(graph, stack)[0], size), truth)) for graph in (single, half)
        ]
        print(f"{truth_path.name:24} EPE fp32 {errors[0]:.4f} fp16 {errors[1] - errors[0]:+.5f} px")
        assert abs(errors[1] - errors[0]) < 0.02
