# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Bilinear warping as ONNX nodes."""

from __future__ import annotations

import numpy as np

from mdflow_ros.model.onnx_writer.graph_builder import GraphBuilder


def warp(graph: GraphBuilder, image: str, flow: str) -> str:
    """Sample ``image`` (N, C, H, W) at ``p + flow(p)``, with zeros outside and aligned corners.

    Everything is float32 at any precision of the graph, because fp16 cannot represent pixel positions and GridSample
    needs image and coordinates of the same type. ``flow`` is (N, 2, H, W) in pixels.
    """
    axes = {3: graph.slice(flow, [1], [0], [1]), 2: graph.slice(flow, [1], [1], [2])}
    coordinates = [
        graph.node("Add", graph.node("Mul", displacement, step), positions)
        for displacement, (step, positions) in ((axes[axis], _positions(graph, flow, axis)) for axis in (3, 2))
    ]
    grid = graph.transpose(graph.concatenate(coordinates, axis=1), 0, 2, 3, 1)
    return graph.node("GridSample", image, grid, mode="bilinear", padding_mode="zeros", align_corners=1)


def _positions(graph: GraphBuilder, flow: str, axis: int) -> tuple[str, str]:
    """Return the size of a pixel in GridSample's coordinates, and each pixel's coordinate along ``axis``."""
    length = graph.dimension(flow, axis)
    intervals = graph.node("Max", graph.node("Sub", length, graph.integers(1)), graph.integers(1))
    step = graph.node("Div", graph.constant(np.array([2], np.float32)), graph.cast(intervals, np.float32))
    scalar = graph.node("Squeeze", length, graph.integers(0))
    start, delta = graph.constant(np.array(0, np.int64)), graph.constant(np.array(1, np.int64))
    indices = graph.cast(graph.node("Range", start, scalar, delta), np.float32)
    positions = graph.node("Sub", graph.node("Mul", indices, step), graph.constant(np.array(1, np.float32)))
    return step, graph.reshape(positions, *((1, 1, 1, -1) if axis == 3 else (1, 1, -1, 1)))
