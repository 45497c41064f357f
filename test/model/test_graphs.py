# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The graphs with fixed size and with half precision that TensorRT receives."""

import numpy as np
import onnx
import onnxruntime
import pytest
from half_precision import emulate_half_precision
from onnx import TensorProto, helper, numpy_helper
from places import SHARED
from shifted_images import shifted_pair

from mdflow_ros.core.resizing import Size, network_size, resize_field, resize_flow, resize_image, size_of
from mdflow_ros.model.architecture import parameter_shapes
from mdflow_ros.model.card import BUNDLED_MODEL, Preprocessing
from mdflow_ros.model.graphs import PARTS, Decoding, ModelGraphs, subtracted_mean
from mdflow_ros.model.onnx_writer.fastflownet_graph import GraphOptions, build_decoder, build_encoder, build_graph
from mdflow_ros.model.weights import load_weights
from mdflow_training.evaluation.flow_metrics import endpoint_error
from mdflow_training.flow_files import read_flow, read_image

EVAL = SHARED / "eval"


def run(model, inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip((output.name for output in session.get_outputs()), session.run(None, inputs), strict=True))


def decode(graphs, images, part="decoder"):
    """Encode two images, decode them, and return the outputs by name."""
    mean = subtracted_mean(graphs.card, list(images))
    encoder = graphs.write("encoder")
    features = [run(encoder, {"image": image[None], "mean": mean}) for image in images]
    inputs = {f"{frame}_{n}": v for frame, f in zip(("first", "second"), features, strict=True) for n, v in f.items()}
    return run(graphs.write(part), inputs)


def types_of(model):
    inferred = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}


@pytest.mark.parametrize("size", [Size(64, 64), Size(320, 256)])
@pytest.mark.parametrize("part", ["decoder", "decoder-both"])
@pytest.mark.parametrize("decoding", [Decoding(2, 2), Decoding(2, 3), Decoding(3, 4)])
def test_graphs_of_fixed_size_give_what_the_free_ones_give(size, part, decoding):
    images = np.random.default_rng(0).integers(0, 256, (2, size.height, size.width, 3), np.uint8)
    free, fixed = (decode(ModelGraphs(BUNDLED_MODEL, decoding, given), images, part) for given in (None, size))
    assert set(fixed) == {"flow", "coarser", "backward"} if part == "decoder-both" else {"flow", "coarser"}
    for name, wanted in free.items():
        np.testing.assert_allclose(fixed[name], wanted, rtol=0, atol=1e-4)


def test_the_two_graphs_give_what_the_stored_one_gives():
    images = np.stack(shifted_pair(128, 192, right=5, down=2))
    weights, card = load_weights(BUNDLED_MODEL)
    whole = run(build_graph(weights, card.preprocessing, card.cost_volume_normalization), {"images": images})["flow"]
    flow = decode(ModelGraphs(BUNDLED_MODEL, Decoding(2, 2)), images)["flow"]
    upsampled = resize_field(flow, Size(192, 128))
    np.testing.assert_allclose(upsampled, whole, atol=1e-3)


def test_both_directions_are_those_of_the_swapped_pair():
    first, second = shifted_pair(128, 192, right=5, down=2)
    graphs = ModelGraphs(BUNDLED_MODEL, Decoding(2, 3))
    both = decode(graphs, (first, second), "decoder-both")
    swapped = decode(ModelGraphs(BUNDLED_MODEL, Decoding(3, 3)), (second, first))
    np.testing.assert_allclose(both["backward"][0], swapped["flow"], atol=1e-3)


def test_graphs_of_fixed_size_compute_no_shapes_and_keep_the_parameters():
    graphs = ModelGraphs(BUNDLED_MODEL, Decoding(2, 3), Size(128, 64))
    parts = [graphs.write(part) for part in PARTS]
    for static in parts:
        assert not {"Shape", "Size", "Range", "Max"} & {node.op_type for node in static.graph.node}
    shapes = {tensor.name: tuple(tensor.dims) for part in parts for tensor in part.graph.initializer}
    assert parameter_shapes().items() <= shapes.items()


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("preprocessing", Preprocessing)
def test_half_precision_is_for_convolutions_not_for_coordinates_and_statistics(preprocessing, normalized):
    weights = {name: np.zeros(shape, np.float16) for name, shape in parameter_shapes().items()}
    options = GraphOptions(size=Size(64, 64), precision=np.float16)
    by_operator, outputs = {}, set()
    for graph in (build_encoder(weights, preprocessing, options), build_decoder(weights, normalized, options)):
        types = types_of(graph)
        outputs |= {types[output.name] for output in graph.graph.output}
        for node in graph.graph.node:
            by_operator.setdefault(node.op_type, set()).add(types[node.output[0]])
    for operator in ("Conv", "ConvTranspose"):
        assert by_operator[operator] == {TensorProto.FLOAT16}
    for operator in ("GridSample", *(["ReduceMean", "Sqrt"] if normalized else [])):
        assert by_operator[operator] == {TensorProto.FLOAT}
    assert outputs == {TensorProto.FLOAT}


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
    for ground_truth in sorted((EVAL / "chairs").glob("*_flow.flo")):
        name = ground_truth.name.removesuffix("_flow.flo")
        yield *(ground_truth.with_name(f"{name}_img{i}.ppm") for i in (1, 2)), ground_truth


@pytest.mark.skipif(not EVAL.is_dir(), reason=f"there are no pairs with true flow at {EVAL}")
def test_half_precision_costs_less_than_a_fiftieth_of_a_pixel():
    pairs = list(evaluation_pairs())
    assert len(pairs) == 8
    for first, second, ground_truth_path in pairs:
        images, ground_truth = [read_image(path) for path in (first, second)], read_flow(ground_truth_path)
        size = size_of(ground_truth)
        inference_size = network_size(size, 64)
        resized = [resize_image(image, inference_size) for image in images]
        errors = []
        for precision in ("fp32", "fp16"):
            graphs = ModelGraphs(BUNDLED_MODEL, Decoding(2, 3), inference_size, precision)
            if precision == "fp16":
                write = graphs.write
                graphs.write = lambda part, write=write: emulate_half_precision(write(part))
            flow = resize_flow(resize_field(decode(graphs, resized)["flow"], inference_size), size)
            errors.append(np.nanmean(endpoint_error(flow, ground_truth)))
        print(f"{ground_truth_path.name:24} EPE fp32 {errors[0]:.4f} fp16 {errors[1] - errors[0]:+.5f} px")
        assert abs(errors[1] - errors[0]) < 0.02
