# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""MDFlow's confidence of a flow, as ONNX nodes.

``confidence = visibility * exp(-d / TAU)``: a match is trusted where flow forward and backward agree and where the two
neighborhoods look alike. MDFlow (Kong and Yang, TCSVT 2022) selects its reliable matches by the same two tests, but
yes or no; here both are graded, as pixels that all get the same confidence cannot be ranked. 1 means trust, 0 that the
point is hidden or has left the image.

- ``visibility = t / (t + |f + b'|^2)`` with ``t = 0.01 (|f|^2 + |b'|^2) + 0.5`` and ``b'`` the backward flow at the
  matched point: 1/2 exactly where UnFlow (Meister et al., AAAI 2018) and MDFlow's repository draw the line,
  ``|f + b'|^2 = t``.
- ``d``: soft Hamming distance in [0, 0.98] of the 7x7 census transforms of the image and of the other one warped to it,
  mean of 49 taps, luma in [0, 255] (UnFlow; constants as in DDFlow and UFlow).
"""

from __future__ import annotations

import numpy as np

from mdflow_ros.model.onnx_writer.graph_builder import LAST, GraphBuilder
from mdflow_ros.model.onnx_writer.warp_graph import warp

TAU = 0.30
"""Census distance at which reliability has fallen to 1/e: between that of exact matches in noisy images and that of
random ones. MDFlow's own tau is not published."""

RELATIVE_TOLERANCE = 0.01
ABSOLUTE_TOLERANCE = 0.5
CENSUS_RADIUS = 3
CENSUS_SOFTNESS = 0.81
HAMMING_SOFTNESS = 0.1
LUMA = (0.2989, 0.5870, 0.1140)


def confidence(graph: GraphBuilder, images: str, flow: str, directions: str) -> str:
    """Return the confidence of the forward flow, (directions - 1, 1, H, W).

    With one direction there is nothing to compare with: everything here then has zero samples and costs nothing.

    Args:
        graph: where the nodes go; all of them are float32.
        images: uint8 (2, H, W, 3), RGB.
        flow: float32 (directions, 2, H, W) in pixels: of image 0 to image 1, then of image 1 to image 0.
        directions: int64 (1,), 1 or 2.
    """
    pairs = graph.node("Sub", directions, graph.integers(1))
    forward, backward = graph.head(flow, pairs), graph.head(flow, directions, start=1)
    weights = graph.constant(np.array(LUMA, np.float32)[:, None])
    luma = graph.transpose(graph.node("MatMul", graph.cast(images, np.float32), weights), 0, 3, 1, 2)
    first, second = graph.head(luma, pairs), graph.head(luma, directions, start=1)
    warped = warp(graph, graph.concatenate([second, backward], axis=1), forward)
    visibility = _visibility(graph, forward, graph.slice(warped, [1], [1], [LAST]))
    distance = _census_distance(graph, first, graph.slice(warped, [1], [0], [1]))
    reliability = graph.node("Exp", graph.node("Mul", distance, _float(graph, -1 / TAU)))
    return graph.node("Mul", visibility, reliability)


def _float(graph: GraphBuilder, value: float) -> str:
    return graph.constant(np.array(value, np.float32))


def _visibility(graph: GraphBuilder, forward: str, warped_backward: str) -> str:
    def squared_norm(flow: str) -> str:
        return graph.node("ReduceSum", graph.node("Mul", flow, flow), graph.integers(1), keepdims=1)

    norms = graph.node("Add", squared_norm(forward), squared_norm(warped_backward))
    tolerance = graph.node(
        "Add", graph.node("Mul", norms, _float(graph, RELATIVE_TOLERANCE)), _float(graph, ABSOLUTE_TOLERANCE)
    )
    mismatch = squared_norm(graph.node("Add", forward, warped_backward))
    return graph.node("Div", tolerance, graph.node("Add", tolerance, mismatch))


def _census_distance(graph: GraphBuilder, first: str, second: str) -> str:
    """Return the mean soft Hamming distance (N, 1, H, W) of two luma images; the center tap counts as zero."""
    side = 2 * CENSUS_RADIUS + 1
    images = [(image, _neighbors_in_row(graph, image)) for image in (first, second)]
    total: str | None = None
    # One row of taps at a time bounds the memory to 7 images instead of 49.
    for dy in range(side):
        difference = graph.node("Sub", *(_census_row(graph, *image, dy) for image in images))
        squared = graph.node("Mul", difference, difference)
        hamming = graph.node("Div", squared, graph.node("Add", squared, _float(graph, HAMMING_SOFTNESS)))
        row_total = graph.node("ReduceSum", hamming, graph.integers(1), keepdims=1)
        total = row_total if total is None else graph.node("Add", total, row_total)
    assert total is not None
    return graph.node("Mul", total, _float(graph, 1 / side**2))


def _neighbors_in_row(graph: GraphBuilder, image: str) -> str:
    """Return the 7 horizontal neighbors of every pixel, (N, 7, H + 6, W), edges repeated."""
    pads = graph.integers(0, 0, CENSUS_RADIUS, CENSUS_RADIUS, 0, 0, CENSUS_RADIUS, CENSUS_RADIUS)
    padded = graph.node("Pad", image, pads, mode="edge")
    width = graph.dimension(image, 3)
    return graph.concatenate([_shift(graph, padded, 3, dx, width) for dx in range(2 * CENSUS_RADIUS + 1)], axis=1)


def _census_row(graph: GraphBuilder, image: str, neighbors: str, dy: int) -> str:
    """Return one row of the soft ternary census transform, (N, 7, H, W)."""
    row = graph.node("Sub", _shift(graph, neighbors, 2, dy, graph.dimension(image, 2)), image)
    norm = graph.node("Sqrt", graph.node("Add", graph.node("Mul", row, row), _float(graph, CENSUS_SOFTNESS)))
    return graph.node("Div", row, norm)


def _shift(graph: GraphBuilder, padded: str, axis: int, offset: int, length: str) -> str:
    """Cut ``length`` pixels of a padded image along ``axis``, from ``offset`` on."""
    end = graph.node("Add", length, graph.integers(offset))
    return graph.node("Slice", padded, graph.integers(offset), end, graph.integers(axis))
