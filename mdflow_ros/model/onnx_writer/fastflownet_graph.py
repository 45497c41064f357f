# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""FastFlowNet and MDFlow's confidence as one ONNX graph, written from a dictionary of weights.

Writing the graph instead of tracing torch keeps it the same whatever torch version is installed, free of baked-in sizes
and of plugins, and it can be made where torch is not. Every initializer that is a parameter has its official name, so
the file is also the checkpoint.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mdflow_ros.model.architecture import (
    COARSEST_LEVEL,
    DECODER_CHANNELS,
    FINEST_LEVEL,
    FLOW_SCALE,
    GROUPED,
    GROUPS,
    LEAKY_SLOPE,
    PYRAMID_CHANNELS,
    SEARCH_RADIUS,
    kept_displacements,
    parameter_shapes,
    warp_scale,
)
from mdflow_ros.model.card import Preprocessing
from mdflow_ros.model.onnx_writer.confidence_graph import confidence
from mdflow_ros.model.onnx_writer.constant_folding import fold_constants
from mdflow_ros.model.onnx_writer.graph_builder import FLOAT, INT64, LAST, UINT8, GraphBuilder
from mdflow_ros.model.onnx_writer.warp_graph import warp

TILE = 2 * SEARCH_RADIUS
"""Side of a tile of query pixels; its search window is four such tiles."""


def build_graph(
    weights: dict[str, NDArray[np.floating]],
    preprocessing: Preprocessing,
    cost_volume_normalization: bool,
    *,
    directions: int | None = None,
    size: tuple[int, int] | None = None,
    precision: type[np.floating] = np.float32,
) -> onnx.ModelProto:
    """Write the deployable graph.

    Inputs: ``images``, uint8 ``(2, H, W, 3)``, RGB, sides multiples of 64; and ``directions``, int64 ``(1,)``, unless
    it is fixed here. With 2 directions the flow back from image 1 to image 0 is computed in the same batch, which the
    confidence needs; with 1 there is no confidence, at about 40 % of the cost.

    Outputs: ``flow``, float32 ``(H, W, 2)``: where each pixel of image 0 went in image 1, in pixels, u right and v
    down; and ``confidence``, float32 ``(directions - 1, H, W)`` in [0, 1].

    Args:
        weights: the 104 official parameters, any floating type. Half precision is stored as such.
        preprocessing: what the network expects of its input.
        cost_volume_normalization: see `mdflow_training.networks.fastflownet.FastFlowNet`.
        directions: 1 or 2, fixed; ``None`` makes it an input.
        size: fixed ``(width, height)``; ``None`` leaves both free.
        precision: type of the network's arithmetic. Statistics, sampling coordinates and confidence stay in float32.

    Raises:
        ValueError: parameters are missing, superfluous or of another shape; the text names them.
    """
    check_weights(weights)
    graph = GraphBuilder(precision)
    network = _Network(graph, weights, cost_volume_normalization)
    width, height = size or ("width", "height")
    inputs = [helper.make_tensor_value_info("images", UINT8, (2, height, width, 3))]
    if directions is None:
        inputs.append(helper.make_tensor_value_info("directions", INT64, (1,)))
    chosen = "directions" if directions is None else graph.integers(directions)

    flow = network.flow(_preprocess(graph, preprocessing), chosen)
    forward = graph.slice(flow, [0], [0], [1])
    graph.node("Squeeze", graph.transpose(forward, 0, 2, 3, 1), graph.integers(0), name="flow")
    outputs = [helper.make_tensor_value_info("flow", FLOAT, (height, width, 2))]
    if directions != 1:
        graph.node("Squeeze", confidence(graph, "images", flow, chosen), graph.integers(1), name="confidence")
        pairs = "pairs" if directions is None else 1
        outputs.append(helper.make_tensor_value_info("confidence", FLOAT, (pairs, height, width)))
    metadata = {
        "preprocessing": preprocessing.value,
        "cost_volume_normalization": str(cost_volume_normalization).lower(),
    }
    model = graph.model("fastflownet", inputs, outputs, metadata)
    return model if size is None or directions is None else fold_constants(model, keep=weights)


def check_weights(weights: dict[str, NDArray[np.floating]]) -> None:
    """Raise ValueError unless these are exactly FastFlowNet's parameters."""
    expected = parameter_shapes()
    missing = sorted(expected.keys() - weights.keys())
    superfluous = sorted(weights.keys() - expected.keys())
    misshapen = sorted(k for k in expected.keys() & weights.keys() if weights[k].shape != expected[k])
    for problem, names in (("missing", missing), ("superfluous", superfluous), ("of another shape", misshapen)):
        if names:
            raise ValueError(f"not FastFlowNet's parameters: {len(names)} {problem}, for example {names[0]}")


def _preprocess(graph: GraphBuilder, preprocessing: Preprocessing) -> str:
    """Turn ``images`` into ``(2, 3, H, W)`` around zero."""
    images = graph.transpose(graph.cast("images", np.float32), 0, 3, 1, 2)
    images = graph.node("Mul", images, graph.constant(np.array(1 / 255, np.float32)))
    if preprocessing is Preprocessing.BGR_CHANNEL_MEAN:
        images = graph.node("Gather", images, graph.integers(2, 1, 0), axis=1)
    # Row by row first: summing all pixels at once in float32 is off by 2e-6, which moves the flow by up to 1e-4 px.
    axes = [0, 1, 2] if preprocessing is Preprocessing.RGB_SCALAR_MEAN else [0, 2]
    mean = graph.node("ReduceMean", graph.node("ReduceMean", images, axes=[3], keepdims=1), axes=axes, keepdims=1)
    return graph.compute(graph.node("Sub", images, mean))


class _Network:
    """FastFlowNet's layers, appended to a graph."""

    def __init__(
        self, graph: GraphBuilder, weights: dict[str, NDArray[np.floating]], cost_volume_normalization: bool
    ) -> None:
        self.graph = graph
        self.weights = weights
        self.cost_volume_normalization = cost_volume_normalization

    def flow(self, images: str, directions: str) -> str:
        """Return the flow of ``images`` (2, 3, H, W) as (directions, 2, H, W), forward first, in pixels."""
        graph = self.graph
        flow: str | None = None
        levels = self.pyramid(images)
        for level in range(COARSEST_LEVEL, FINEST_LEVEL - 1, -1):
            swapped = graph.node("Gather", levels[level], graph.integers(1, 0), axis=0)
            first, second = (graph.head(features, directions) for features in (levels[level], swapped))
            flow = self.decode(level, first, second, flow)
        assert flow is not None
        flow = graph.node("Mul", graph.single(flow), graph.constant(np.array(FLOW_SCALE, np.float32)))
        scales = graph.constant(np.array([1, 1, 4, 4], np.float32))
        return graph.node("Resize", flow, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")

    def pyramid(self, images: str) -> dict[int, str]:
        """Return the features of both images by level."""
        levels: dict[int, str] = {}
        features = images
        for name in PYRAMID_CHANNELS:
            features = self.convolution(f"{name}.0", features, stride=2 if name.endswith("_1") else 1)
            levels[int(name[5])] = features
        for level in range(4, COARSEST_LEVEL + 1):
            levels[level] = self.graph.node("AveragePool", levels[level - 1], kernel_shape=[2, 2], strides=[2, 2])
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
            displacement = graph.node("Mul", graph.single(upsampled), scale)
            second = graph.compute(warp(graph, graph.single(second), displacement))
        pair = self.normalize(first, second) if self.cost_volume_normalization else (first, second)
        cost_volume = self.cost_volume(*pair, channels=self.weights[f"rconv{level}.0.weight"].shape[1])
        rectified = self.convolution(f"rconv{level}.0", first)
        if coarser is None:
            # There is no coarser flow: two channels of zeros, as large as the others.
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
        """Remove the common mean and unbiased deviation of each sample's two feature maps, in float32."""
        graph = self.graph

        def average(tensors: list[str]) -> str:
            means = [graph.node("ReduceMean", tensor, axes=[1, 2, 3], keepdims=1) for tensor in tensors]
            return graph.node("Mul", graph.node("Add", *means), graph.constant(np.array(0.5, np.float32)))

        maps = [graph.single(first), graph.single(second)]
        mean = average(maps)
        centred = [graph.node("Sub", tensor, mean) for tensor in maps]
        variance = average([graph.node("Mul", tensor, tensor) for tensor in centred])
        samples = graph.dimension(first, 0)
        count = graph.node("Div", graph.node("Size", first), samples)
        count = graph.cast(graph.node("Mul", count, graph.integers(2)), np.float32)
        one = graph.constant(np.array([1], np.float32))
        unbiased = graph.node("Mul", variance, graph.node("Div", count, graph.node("Sub", count, one)))
        deviation = graph.node("Add", graph.node("Sqrt", unbiased), graph.constant(np.array(1e-6, np.float32)))
        normalized = [graph.compute(graph.node("Div", tensor, deviation)) for tensor in centred]
        return normalized[0], normalized[1]

    def cost_volume(self, first: str, second: str, channels: int) -> str:
        """Correlate over the 53 kept displacements without a plugin.

        Tiles of 8x8 query pixels meet their 16x16 search window in one batched matrix product; a constant gather then
        keeps the displacements. Dividing by the channels first cannot overflow half precision.
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
        """Interleave the channels of the groups."""
        order = np.arange(channels).reshape(GROUPS, -1).T.ravel()
        return self.graph.node("Gather", features, self.graph.constant(order), axis=1)

    def convolution(self, name: str, features: str, stride: int = 1, groups: int = 1, activation: bool = True) -> str:
        """Apply a 3x3 convolution, with LeakyReLU unless told otherwise."""
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
        """Add the weight and bias of a layer, stored in the type they come in."""
        names = []
        for parameter in (f"{name}.weight", f"{name}.bias"):
            value = self.weights[parameter]
            stored = self.graph.constant(value, parameter)
            names.append(
                stored if value.dtype == self.graph.precision else self.graph.cast(stored, self.graph.precision)
            )
        return names


def _kept_products() -> NDArray[np.int64]:
    """Return which of a tile's 64 x 256 products are kept, in order of displacement, query row, query column."""
    rows, columns = np.mgrid[:TILE, :TILE]
    indices = [
        (rows * TILE + columns) * 4 * TILE * TILE
        + (rows + SEARCH_RADIUS + dy) * 2 * TILE
        + (columns + SEARCH_RADIUS + dx)
        for dx, dy in kept_displacements()
    ]
    return np.stack(indices).ravel()
