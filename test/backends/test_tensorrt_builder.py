# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Engines built ahead of time by TensorRT-RTX, whose parser and builder need no GPU."""

import logging
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper

from mdflow_ros.backends.backend import BackendError
from mdflow_ros.backends.tensorrt import builder as tensorrt_builder
from mdflow_ros.backends.tensorrt.builder import build_serialized_engine, check_grid_samples
from mdflow_ros.backends.tensorrt.library import make_logger
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError, save_model
from mdflow_ros.model.graphs import PARTS, Decoding, ModelGraphs
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_ros.model.weights import load_weights

rtx = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, TensorRT's parser and builder for any machine")

# TensorRT-RTX keeps no timings and warns about it at every call.
pytestmark = pytest.mark.filterwarnings("ignore:Use .* instead:DeprecationWarning")


def for_target(target):
    """Return TensorRT-RTX as a module whose builder builds for a GPU that may be absent."""

    class Builder(rtx.Builder):
        def create_builder_config(self):
            config = super().create_builder_config()
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(rtx.ComputeCapability, target), 0)
            return config

    return SimpleNamespace(**{**vars(rtx), "Builder": Builder})


def parse(model):
    logger = make_logger(rtx)
    builder = rtx.Builder(logger)
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, logger)
    assert parser.parse(model.SerializeToString())
    # The network must not outlive what made it.
    return SimpleNamespace(network=network, parser=parser, builder=builder, logger=logger)


def graph(part="decoder", precision="fp16"):
    return ModelGraphs(BUNDLED_MODEL, Decoding(2, 3), Size(128, 64), precision).write(part)


def with_grid_sample(model, **attributes):
    """Return a copy of the graph whose first GridSample has other attributes."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    node = next(node for node in changed.graph.node if node.op_type == "GridSample")
    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(*item) for item in attributes.items())])
    return changed


@pytest.mark.parametrize("decoding", [Decoding(2, 3), Decoding(3, 4)], ids=["best", "balanced"])
@pytest.mark.parametrize("target", ["SM86", "SM89"])  # Ampere and Ada
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("size", [Size(320, 256), Size(640, 384)])
def test_engines_are_built(size, precision, target, decoding):
    graphs = ModelGraphs(BUNDLED_MODEL, decoding, size, precision)
    for part in PARTS:
        model = graphs.write(part)
        engine, _ = build_serialized_engine(for_target(target), model, b"")
        weights = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer)
        assert len(engine) > weights


@pytest.mark.parametrize("precision", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_tensorrt_takes_the_types_from_the_graph(precision):
    network = parse(graph("decoder-both", "fp32" if precision == TensorProto.FLOAT else "fp16")).network
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    types = {kind: set() for kind in (rtx.LayerType.CONVOLUTION, rtx.LayerType.GRID_SAMPLE, rtx.LayerType.REDUCE)}
    for layer in layers:
        types.get(layer.type, set()).add(layer.get_output(0).dtype)
    half_or_single = rtx.DataType.FLOAT if precision == TensorProto.FLOAT else rtx.DataType.HALF
    assert list(types.values()) == [{half_or_single}, {rtx.DataType.FLOAT}, {rtx.DataType.FLOAT}]
    ends = [network.get_input(0), *(network.get_output(index) for index in range(network.num_outputs))]
    assert [(end.name, end.dtype, tuple(end.shape)) for end in ends] == [
        ("first_features2", rtx.DataType.FLOAT, (1, 32, 16, 32)),
        ("flow", rtx.DataType.FLOAT, (16, 32, 2)),
        ("coarser", rtx.DataType.FLOAT, (8, 16, 2)),
        ("backward", rtx.DataType.FLOAT, (1, 8, 16, 2)),
    ]


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"mode": "nearest"}, "NEAREST, not LINEAR"),
        ({"padding_mode": "border"}, "pad by CLAMP, not FILL"),
        ({"align_corners": 0}, "dropped align_corners"),
    ],
)
def test_a_graph_that_samples_otherwise_is_refused(attributes, complaint):
    with pytest.raises(BackendError, match=complaint):
        build_serialized_engine(for_target("SM86"), with_grid_sample(graph(), **attributes), b"")


def test_a_graph_of_opset_20_is_never_sampled_by_nearest_neighbor():
    """TensorRT-RTX up to 1.5 parses ``linear`` of opset 20 as nearest; the check must refuse the engine."""
    parsed = parse(onnx.version_converter.convert_version(graph(), 20))
    layers = [parsed.network.get_layer(index) for index in range(parsed.network.num_layers)]
    samples = [layer for layer in layers if layer.type == rtx.LayerType.GRID_SAMPLE]
    for layer in samples:
        layer.__class__ = rtx.IGridSampleLayer
    if all(layer.interpolation_mode == rtx.InterpolationMode.LINEAR for layer in samples):
        check_grid_samples(rtx, parsed.network, 4)
        samples[2].interpolation_mode = rtx.InterpolationMode.NEAREST
    with pytest.raises(BackendError, match="NEAREST"):
        check_grid_samples(rtx, parsed.network, 4)


def test_a_grid_sample_that_got_lost_is_noticed():
    with pytest.raises(BackendError, match="4 GridSample layers of 5"):
        check_grid_samples(rtx, parse(graph()).network, 5)


def test_what_the_parser_refuses_is_told():
    model = graph()
    model.graph.node[-1].op_type = "NoSuchOperator"
    with pytest.raises(BackendError, match=r"cannot parse the model: .*NoSuchOperator"):
        build_serialized_engine(for_target("SM86"), model, b"")


def test_what_the_builder_refuses_is_told(monkeypatch):
    target = for_target("SM86")

    class Builder(target.Builder):
        def build_serialized_network(self, network, config):
            config.set_memory_pool_limit(rtx.MemoryPoolType.WORKSPACE, 0)
            network.remove_tensor(network.get_output(0))
            return super().build_serialized_network(network, config)

    target.Builder = Builder
    with pytest.raises(BackendError, match=r"TensorRT's build_serialized_network failed: .+"):
        build_serialized_engine(target, graph(), b"")


class StandInNetwork(list):
    """Layers like those of TensorRT 8.6: a type, a precision, and one output."""

    num_layers = property(len)
    get_layer = list.__getitem__


def test_tensorrt_8_which_chooses_types_itself_is_told_to_keep_single_precision():
    kinds = SimpleNamespace(CONSTANT=0, CAST=1, SHAPE=2, CONVOLUTION=3, REDUCE=4, GRID_SAMPLE=5)
    types = SimpleNamespace(FLOAT="float", HALF="half", INT32="int32")

    def layer(kind, dtype, is_shape_tensor=False):
        output = SimpleNamespace(dtype=dtype, is_shape_tensor=is_shape_tensor)
        stand_in = SimpleNamespace(type=kind, precision=None, output_type=None, get_output=lambda index: output)
        stand_in.set_output_type = lambda index, dtype: setattr(stand_in, "output_type", dtype)
        return stand_in

    network = StandInNetwork(
        [
            layer(kinds.CONVOLUTION, types.HALF),
            layer(kinds.REDUCE, types.FLOAT),
            layer(kinds.REDUCE, types.FLOAT, is_shape_tensor=True),
            layer(kinds.REDUCE, types.INT32),
            layer(kinds.CONSTANT, types.FLOAT),
        ]
    )
    created, flags = [], []

    class Builder:
        def __init__(self, logger):
            pass

        def create_network(self, flags):
            created.append(flags)
            return network

        def create_builder_config(self):
            timings = SimpleNamespace(serialize=lambda: b"timings")
            return SimpleNamespace(
                set_flag=flags.append,
                clear_flag=lambda flag: None,
                set_memory_pool_limit=lambda pool, size: None,
                create_timing_cache=lambda content: timings,
                set_timing_cache=lambda timings, ignore_mismatch: True,
                get_timing_cache=lambda: timings,
            )

        def build_serialized_network(self, network, config):
            return b"engine"

    trt8 = SimpleNamespace(
        __version__="8.6.1",
        ILogger=rtx.ILogger,
        Builder=Builder,
        OnnxParser=lambda network, logger: SimpleNamespace(parse=lambda content: True),
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0),
        LayerType=kinds,
        DataType=types,
        MemoryPoolType=SimpleNamespace(WORKSPACE=0),
        BuilderFlag=SimpleNamespace(TF32="tf32", FP16="fp16", OBEY_PRECISION_CONSTRAINTS="obey"),
    )
    nothing = helper.make_model(helper.make_graph([], "nothing", [], []))
    assert build_serialized_engine(trt8, nothing, b"") == (b"engine", b"timings")
    assert created == [1]
    assert flags == ["fp16", "obey"]
    assert [layer.precision for layer in network] == [None, "float", None, None, None]
    assert [layer.output_type for layer in network] == [None, "float", None, None, None]


def test_weights_beyond_half_precision_are_refused(tmp_path):
    weights, card = load_weights(BUNDLED_MODEL)
    weights["rconv3.0.bias"][5] = 1e5
    path = tmp_path / "large.onnx"
    save_model(build_graph(weights, card.preprocessing, True).SerializeToString(), card, path)
    with pytest.raises(ModelError, match=r"rconv3\.0\.bias does not fit fp16; set the precision to fp32"):
        ModelGraphs(path, Decoding(), Size(64, 64), "fp16")
    ModelGraphs(path, Decoding(), Size(64, 64), "fp32")
    with pytest.raises(ValueError, match="unknown precision 'int8'; choose one of fp16, fp32"):
        ModelGraphs(path, Decoding(), Size(64, 64), "int8")


def test_a_long_build_reports_that_it_goes_on(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(tensorrt_builder, "REPORT_SECONDS", 0.01)
    build_serialized_engine(for_target("SM86"), graph(), b"")
    assert "still building the engine after 0 s" in caplog.text
