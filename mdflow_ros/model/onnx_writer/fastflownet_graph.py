# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write FastFlowNet as ONNX graphs from a dictionary of weights.

One file of weights gives every graph that a robot needs: an encoder and a decoder, so that a frame is encoded once and
decoded with both its neighbors; to any level; for one direction or both; for any size or a fixed one; in fp16 or fp32.
Writing them needs no torch and works for models that were exported by earlier versions. Parameters keep their official
names, so a deployable file is also a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.architecture import (
    COARSEST_LEVEL,
    DECODER_CHANNELS,
    FINEST_LEVEL,
    FLOW_SCALE,
    GROUPED,
    GROUPS,
    LEAKY_SLOPE,
    LEVEL_CHANNELS,
    PYRAMID_CHANNELS,
    SEARCH_RADIUS,
    kept_displacements,
    parameter_shapes,
    warp_scale,
)
from mdflow_ros.model.card import Preprocessing
from mdflow_ros.model.onnx_writer.constant_folding import fold_constants
from mdflow_ros.model.onnx_writer.graph_builder import FLOAT, LAST, UINT8, GraphBuilder
from mdflow_ros.model.onnx_writer.warp_graph import warp

Weights = dict[str, NDArray[np.floating]]

TILE = 2 * SEARCH_RADIUS
"""Side of a tile of query pixels; its search window is four such tiles."""

POOLED_FROM = 3
"""Coarsest level that is computed by convolutions; coarser ones are averages of it."""


@dataclass(frozen=True)
class GraphOptions:
    """What a graph computes, and for which shapes.

    Attributes:
        level: last level of the forward flow, which has 1 / 2**level of the images' size.
        backward_level: last level of the backward flow; not finer than ``level``.
        directions: 1 for the forward flow alone, 2 for both.
        size: fixed size of the images, sides multiples of 64; ``None`` leaves it free.
        precision: type of the network's arithmetic. Statistics and sampling coordinates stay in float32.
    """

    level: int = FINEST_LEVEL
    backward_level: int = FINEST_LEVEL
    directions: int = 1
    size: Size | None = None
    precision: type[np.floating] = np.float32


def build_encoder(
    weights: Weights, preprocessing: Preprocessing, options: GraphOptions = GraphOptions()
) -> onnx.ModelProto:
    """Write the graph that turns one image into features.

    Inputs: ``image``, uint8 ``(1, H, W, 3)``, RGB; ``mean``, float32 ``(1, 3)``, the RGB / 255 that is subtracted.
    Outputs: ``features2`` (if decoding continues to level 2) and ``features3``, float32 ``(1, C, H / 2**l, W / 2**l)``.

    Raises:
        ValueError: parameters are missing, superfluous or of another shape; the text names them.
    """
    check_weights(weights)
    graph = GraphBuilder(options.precision)
    network = _Network(graph, weights, False)
    width, height = options.size or ("width", "height")
    inputs = [
        helper.make_tensor_value_info("image", UINT8, (1, height, width, 3)),
        helper.make_tensor_value_info("mean", FLOAT, (1, 3)),
    ]
    mean = graph.reshape("mean", 1, 3, 1, 1)
    levels = network.convolutions(_preprocess(graph, "image", mean, preprocessing))
    outputs = []
    for level in encoded_levels(options.level):
        name = feature_name(level)
        graph.node("Identity", graph.to_float32(levels[level]), name=name)
        outputs.append(helper.make_tensor_value_info(name, FLOAT, _feature_shape(level, options.size)))
    return _finished(graph, "fastflownet_encoder", inputs, outputs, weights, options.size is not None)


def build_decoder(
    weights: Weights, cost_volume_normalization: bool, options: GraphOptions = GraphOptions()
) -> onnx.ModelProto:
    """Write the graph that turns the features of two images into flow.

    Inputs: ``first_features2``, ``second_features2`` and so on, see `build_encoder`.

    Outputs, float32, in pixels of the images, u right and v down: ``flow`` ``(h, w, 2)``, where each pixel of the first
    image went in the second, at ``level``; ``coarser`` ``(h / 2, w / 2, 2)``, the same one level before; and, of two
    directions, ``backward`` ``(1, h', w', 2)``, from the second image to the first, at ``backward_level``.

    Args:
        weights: the 104 official parameters, any floating type. Half precision is stored as such.
        cost_volume_normalization: see `mdflow_training.networks.fastflownet.FastFlowNet`.
        options: what is computed.

    Raises:
        ValueError: parameters are missing, superfluous or of another shape; the text names them.
    """
    check_weights(weights)
    graph = GraphBuilder(options.precision)
    network = _Network(graph, weights, cost_volume_normalization)
    inputs: list[onnx.ValueInfoProto] = []
    first: dict[int, str] = {}
    second: dict[int, str] = {}
    for level in encoded_levels(options.level):
        shape = _feature_shape(level, options.size)
        for image, features in (("first", first), ("second", second)):
            name = f"{image}_{feature_name(level)}"
            inputs.append(helper.make_tensor_value_info(name, FLOAT, shape))
            features[level] = graph.to_precision(name)
    flows = network.flows(first, second, graph.integers(options.directions), options)
    names = {options.level: "flow", options.level + 1: "coarser"}
    outputs = []
    for level, name in names.items():
        shape = _flow_shape(level, options.size)
        graph.node("Squeeze", network.in_pixels(graph.slice(flows[level], [0], [0], [1])), graph.integers(0), name=name)
        outputs.append(helper.make_tensor_value_info(name, FLOAT, shape))
    if options.directions == 2:
        backward = graph.slice(flows[options.backward_level], [0], [1], [LAST])
        graph.node("Identity", network.in_pixels(backward), name="backward")
        shape = _flow_shape(options.backward_level, options.size)
        outputs.append(helper.make_tensor_value_info("backward", FLOAT, (1, *shape)))
    return _finished(graph, "fastflownet_decoder", inputs, outputs, weights, options.size is not None)


def build_graph(weights: Weights, preprocessing: Preprocessing, cost_volume_normalization: bool) -> onnx.ModelProto:
    """Write the whole network as one graph: the form in which models are stored.

    Inputs: ``images``, uint8 ``(2, H, W, 3)``, RGB, sides multiples of 64. Outputs: ``flow``, float32 ``(H, W, 2)``:
    where each pixel of image 0 went in image 1, in pixels, u right and v down.

    Args:
        weights: the 104 official parameters, any floating type. Half precision is stored as such.
        preprocessing: what the network expects of its input.
        cost_volume_normalization: see `mdflow_training.networks.fastflownet.FastFlowNet`.

    Raises:
        ValueError: parameters are missing, superfluous or of another shape; the text names them.
    """
    check_weights(weights)
    graph = GraphBuilder(np.float32)
    network = _Network(graph, weights, cost_volume_normalization)
    inputs = [helper.make_tensor_value_info("images", UINT8, (2, "height", "width", 3))]
    levels = network.convolutions(_preprocess(graph, "images", None, preprocessing))
    first, second = (
        {level: graph.slice(levels[level], [0], [number], [number + 1]) for level in encoded_levels(FINEST_LEVEL)}
        for number in (0, 1)
    )
    flows = network.flows(first, second, graph.integers(1), GraphOptions())
    flow = graph.transpose(network.in_pixels(flows[FINEST_LEVEL]), 0, 3, 1, 2)
    scales = graph.constant(np.array([1, 1, 4, 4], np.float32))
    flow = graph.node("Resize", flow, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    graph.node("Squeeze", graph.transpose(flow, 0, 2, 3, 1), graph.integers(0), name="flow")
    outputs = [helper.make_tensor_value_info("flow", FLOAT, ("height", "width", 2))]
    metadata = {
        "preprocessing": preprocessing.value,
        "cost_volume_normalization": str(cost_volume_normalization).lower(),
    }
    return graph.model("fastflownet", inputs, outputs, metadata)


def encoded_levels(level: int) -> tuple[int, ...]:
    """Return the levels whose features the encoder outputs for decoding to ``level``; coarser ones are pooled."""
    return tuple(range(min(level, POOLED_FROM), POOLED_FROM + 1))


def feature_name(level: int) -> str:
    """Return the name of the features of a level."""
    return f"features{level}"


def _feature_shape(level: int, size: Size | None) -> tuple[int | str, ...]:
    channels = LEVEL_CHANNELS[level]
    if size is None:
        return (1, channels, f"height{level}", f"width{level}")
    return (1, channels, size.height >> level, size.width >> level)


def _flow_shape(level: int, size: Size | None) -> tuple[int | str, ...]:
    if size is None:
        return (f"flow_height{level}", f"flow_width{level}", 2)
    return (size.height >> level, size.width >> level, 2)


def _finished(
    graph: GraphBuilder,
    name: str,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: Weights,
    fixed: bool,
) -> onnx.ModelProto:
    model = graph.model(name, inputs, outputs, {})
    return fold_constants(model, keep=weights) if fixed else model


def check_weights(weights: Weights) -> None:
    """Raise ValueError unless these are exactly FastFlowNet's parameters."""
    expected = parameter_shapes()
    missing = sorted(expected.keys() - weights.keys())
    superfluous = sorted(weights.keys() - expected.keys())
    misshapen = sorted(k for k in expected.keys() & weights.keys() if weights[k].shape != expected[k])
    for problem, names in (("missing", missing), ("superfluous", superfluous), ("of another shape", misshapen)):
        if names:
            raise ValueError(f"not FastFlowNet's parameters: {len(names)} {problem}, for example {names[0]}")


def _preprocess(graph: GraphBuilder, images: str, mean: str | None, preprocessing: Preprocessing) -> str:
    """Turn uint8 images ``(N, H, W, 3)`` into ``(N, 3, H, W)`` around zero.

    Args:
        graph: gets the nodes.
        images: the input.
        mean: ``(1, 3, 1, 1)`` RGB, which is subtracted; ``None`` for the mean of the images.
        preprocessing: that the network expects.
    """
    planes = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
    planes = graph.node("Mul", planes, graph.constant(np.array(1 / 255, np.float32)))
    if mean is None:
        # Average rows first: one float32 sum over all pixels is off by 2e-6, which changes the flow by up to 1e-4 px.
        axes = [0, 2] if preprocessing is Preprocessing.BGR_CHANNEL_MEAN else [0, 1, 2]
        mean = graph.node("ReduceMean", graph.node("ReduceMean", planes, axes=[3], keepdims=1), axes=axes, keepdims=1)
    planes = graph.node("Sub", planes, mean)
    if preprocessing is Preprocessing.BGR_CHANNEL_MEAN:
        planes = graph.node("Gather", planes, graph.integers(2, 1, 0), axis=1)
    return graph.to_precision(planes)


class _Network:
    """Appends FastFlowNet's layers to a graph."""

    def __init__(self, graph: GraphBuilder, weights: Weights, cost_volume_normalization: bool) -> None:
        self.graph = graph
        self.weights = weights
        self.cost_volume_normalization = cost_volume_normalization

    def flows(
        self, first: dict[int, str], second: dict[int, str], directions: str, options: GraphOptions
    ) -> dict[int, str]:
        """Return the flow of every level down to ``options.level``, ``(directions, 2, h, w)``, forward first.

        Beyond ``options.backward_level`` only the forward flow is decoded. Units are those of the network.
        """
        graph = self.graph
        for features in (first, second):
            for level in range(POOLED_FROM + 1, COARSEST_LEVEL + 1):
                features[level] = graph.node("AveragePool", features[level - 1], kernel_shape=[2, 2], strides=[2, 2])
        flows: dict[int, str] = {}
        flow: str | None = None
        for level in range(COARSEST_LEVEL, options.level - 1, -1):
            pair = (first[level], second[level])
            count = directions if level >= options.backward_level else graph.integers(1)
            ahead, behind = (
                graph.head(graph.concatenate(order, axis=0), count) if level >= options.backward_level else order[0]
                for order in (pair, pair[::-1])
            )
            if level == options.backward_level - 1 and flow is not None:
                flow = graph.head(flow, graph.integers(1))
            flow = flows[level] = self.decode(level, ahead, behind, flow)
        return flows

    def in_pixels(self, flow: str) -> str:
        """Turn ``(N, 2, h, w)`` in the network's units into ``(N, h, w, 2)`` in pixels of the images, float32."""
        graph = self.graph
        scaled = graph.node("Mul", graph.to_float32(flow), graph.constant(np.array(FLOW_SCALE, np.float32)))
        return graph.transpose(scaled, 0, 2, 3, 1)

    def convolutions(self, images: str) -> dict[int, str]:
        """Return the features of the levels that convolutions compute, by level."""
        levels: dict[int, str] = {}
        features = images
        for name in PYRAMID_CHANNELS:
            features = self.convolution(f"{name}.0", features, stride=2 if name.endswith("_1") else 1)
            levels[int(name[5])] = features
        return levels

    def decode(self, level: int, first: str, second: str, coarser: str | None) -> str:
        """Return the flow of one level, from both images' features and the next coarser flow."""
        graph = self.graph
        if coarser is not None:
            name = f"up{level + 1}"
            upsampled = graph.node(
                "ConvTranspose",
                coarser,
                *self.parameters(name),
                kernel_shape=[4, 4],
                strides=[2, 2],
                pads=[1, 1, 1, 1],
            )
            scale = graph.constant(np.array(warp_scale(level), np.float32))
            displacement = graph.node("Mul", graph.to_float32(upsampled), scale)
            second = graph.to_precision(warp(graph, graph.to_float32(second), displacement))
        pair = self.normalize(first, second) if self.cost_volume_normalization else (first, second)
        cost_volume = self.cost_volume(*pair, channels=self.weights[f"rconv{level}.0.weight"].shape[1])
        rectified = self.convolution(f"rconv{level}.0", first)
        if coarser is None:
            # There is no coarser flow: use two channels of zeros of the same size.
            upsampled = graph.node("Mul", graph.slice(rectified, [1], [0], [2]), graph.number(0))
        features = graph.concatenate([cost_volume, rectified, upsampled], axis=1)
        for name in DECODER_CHANNELS:
            if name == "conv7":
                features = self.convolution(f"decoder{level}.{name}", features, activation=False)
                continue
            groups = GROUPS if name in GROUPED else 1
            features = self.convolution(f"decoder{level}.{name}.0", features, groups=groups)
            if name in GROUPED:
                features = self.shuffle_channels(features, DECODER_CHANNELS[name][1])
        return graph.node("Add", features, upsampled)

    def normalize(self, first: str, second: str) -> tuple[str, str]:
        """Normalize both feature maps of each sample by their common mean and unbiased deviation, in float32."""
        graph = self.graph

        def average(tensors: list[str]) -> str:
            means = [graph.node("ReduceMean", tensor, axes=[1, 2, 3], keepdims=1) for tensor in tensors]
            return graph.node("Mul", graph.node("Add", *means), graph.constant(np.array(0.5, np.float32)))

        maps = [graph.to_float32(first), graph.to_float32(second)]
        mean = average(maps)
        centered = [graph.node("Sub", tensor, mean) for tensor in maps]
        variance = average([graph.node("Mul", tensor, tensor) for tensor in centered])
        samples = graph.dimension(first, 0)
        count = graph.node("Div", graph.node("Size", first), samples)
        count = graph.cast(graph.node("Mul", count, graph.integers(2)), np.float32)
        one = graph.constant(np.array([1], np.float32))
        unbiased = graph.node("Mul", variance, graph.node("Div", count, graph.node("Sub", count, one)))
        deviation = graph.node("Add", graph.node("Sqrt", unbiased), graph.constant(np.array(1e-6, np.float32)))
        normalized = [graph.to_precision(graph.node("Div", tensor, deviation)) for tensor in centered]
        return normalized[0], normalized[1]

    def cost_volume(self, first: str, second: str, channels: int) -> str:
        """Return the correlation ``(N, 53, h, w)`` over the kept displacements, without a plugin.

        One batched matrix product multiplies tiles of 8x8 query pixels with their 16x16 search windows; a constant
        gather then keeps the displacements. Dividing by the number of channels first avoids overflow in fp16.
        """
        graph = self.graph
        first = graph.node("Mul", first, graph.number(1 / channels))
        height, width = graph.dimension(first, 2), graph.dimension(first, 3)
        tiles_down, extra_down = self._tiles(height)
        tiles_right, extra_right = self._tiles(width)
        queries = self._pad(first, 0, extra_down, extra_right)
        queries = graph.reshape(queries, 0, channels, tiles_down, TILE, tiles_right, TILE)
        queries = graph.reshape(
            graph.transpose(queries, 0, 2, 4, 3, 5, 1), 0, tiles_down, tiles_right, TILE * TILE, channels
        )
        windows = self._pad(second, SEARCH_RADIUS, extra_down, extra_right)
        one = graph.integers(1)
        windows = graph.reshape(
            windows,
            0,
            channels,
            graph.node("Add", tiles_down, one),
            TILE,
            graph.node("Add", tiles_right, one),
            TILE,
        )
        for axis in (2, 4):
            neighbors = [graph.slice(windows, [axis], [0], [-1]), graph.slice(windows, [axis], [1], [LAST])]
            windows = graph.concatenate(neighbors, axis=axis + 1)
        windows = graph.reshape(
            graph.transpose(windows, 0, 2, 4, 1, 3, 5), 0, tiles_down, tiles_right, channels, 4 * TILE * TILE
        )
        products = graph.node("MatMul", queries, windows)
        products = graph.reshape(products, 0, tiles_down, tiles_right, 4 * TILE**4)
        kept = graph.node("Gather", products, graph.constant(_kept_products()), axis=3)
        displacements = len(kept_displacements())
        kept = graph.reshape(kept, 0, tiles_down, tiles_right, displacements, TILE, TILE)
        kept = graph.transpose(kept, 0, 3, 1, 4, 2, 5)
        tile = graph.integers(TILE)
        kept = graph.reshape(
            kept, 0, displacements, graph.node("Mul", tiles_down, tile), graph.node("Mul", tiles_right, tile)
        )
        ends = graph.concatenate([height, width], axis=0)
        return graph.node("Slice", kept, graph.integers(0, 0), ends, graph.integers(2, 3))

    def _tiles(self, length: str) -> tuple[str, str]:
        """Return how many tiles cover ``length`` and by how much they exceed it."""
        graph = self.graph
        tile = graph.integers(TILE)
        tiles = graph.node("Div", graph.node("Add", length, graph.integers(TILE - 1)), tile)
        return tiles, graph.node("Sub", graph.node("Mul", tiles, tile), length)

    def _pad(self, tensor: str, margin: int, extra_down: str, extra_right: str) -> str:
        """Pad height and width with zeros: ``margin`` all around, and the extras at the end."""
        graph = self.graph
        margins = graph.integers(margin)
        down, right = graph.node("Add", extra_down, margins), graph.node("Add", extra_right, margins)
        return graph.node("Pad", tensor, graph.vector(0, 0, margin, margin, 0, 0, down, right), graph.number(0))

    def shuffle_channels(self, features: str, channels: int) -> str:
        """Interleave the channels of the groups.

        A transpose does it, because OpenVINO 2026.4 computes a constant gather between grouped convolutions wrongly.
        """
        graph = self.graph
        height, width = graph.dimension(features, 2), graph.dimension(features, 3)
        grouped = graph.reshape(features, 0, GROUPS, channels // GROUPS, -1)
        return graph.reshape(graph.transpose(grouped, 0, 2, 1, 3), 0, channels, height, width)

    def convolution(self, name: str, features: str, stride: int = 1, groups: int = 1, activation: bool = True) -> str:
        """Apply a 3x3 convolution and, if ``activation``, LeakyReLU."""
        graph = self.graph
        features = graph.node(
            "Conv",
            features,
            *self.parameters(name),
            kernel_shape=[3, 3],
            strides=[stride, stride],
            pads=[1, 1, 1, 1],
            group=groups,
        )
        return graph.node("LeakyRelu", features, alpha=LEAKY_SLOPE) if activation else features

    def parameters(self, name: str) -> list[str]:
        """Add the weight and the bias of a layer, stored in their own type and cast to the graph's precision."""
        names = []
        for parameter in (f"{name}.weight", f"{name}.bias"):
            value = self.weights[parameter]
            stored = self.graph.constant(value, parameter)
            names.append(
                stored if value.dtype == self.graph.precision else self.graph.cast(stored, self.graph.precision)
            )
        return names


def _kept_products() -> NDArray[np.int64]:
    """Return the indices of the products that are kept of a tile's 64 x 256, by displacement, query row and column."""
    rows, columns = np.mgrid[:TILE, :TILE]
    indices = [
        (rows * TILE + columns) * 4 * TILE * TILE
        + (rows + SEARCH_RADIUS + dy) * 2 * TILE
        + (columns + SEARCH_RADIUS + dx)
        for dx, dy in kept_displacements()
    ]
    return np.stack(indices).ravel()
