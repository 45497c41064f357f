# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Fold the constants of a graph of fixed size: shapes, and everything that depends only on them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Constants = dict[str, NDArray[np.generic]]


def fold_constants(model: onnx.ModelProto, keep: Collection[str]) -> onnx.ModelProto:
    """Return ``model`` with each node that has only known inputs replaced by its result.

    A TensorRT parser then sees neither shape arithmetic nor its 64-bit integers, which TensorRT versions handle
    differently.

    Args:
        model: a graph with inputs of fixed shapes.
        keep: initializers to keep, with the nodes that read them.
    """
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    constants = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in folded.graph.initializer if tensor.name not in keep
    }
    while _fold_known(folded.graph, constants, _known_shapes(folded, constants)):
        pass
    used = {name for node in folded.graph.node for name in node.input}
    parameters = [tensor for tensor in folded.graph.initializer if tensor.name in keep]
    del folded.graph.initializer[:]
    folded.graph.initializer.extend(parameters)
    folded.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items() if name in used
    )
    onnx.checker.check_model(folded, full_check=True)
    return folded


def _known_shapes(model: onnx.ModelProto, constants: Constants) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor for which shape inference finds all dimensions."""
    described = onnx.ModelProto()
    described.CopyFrom(model)
    described.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph = onnx.shape_inference.infer_shapes(described, data_prop=True).graph
    shapes = {}
    for value in (*graph.input, *graph.value_info):
        lengths = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(length.HasField("dim_value") for length in lengths):
            shapes[value.name] = tuple(length.dim_value for length in lengths)
    return shapes


def _fold_known(graph: onnx.GraphProto, constants: Constants, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Move the nodes whose result is known to ``constants``; return whether there were any."""
    # Imported here, because graphs of free size, which a node on a CPU uses, need no folding.
    from onnx.reference import ReferenceEvaluator

    remaining = []
    for node in graph.node:
        if node.op_type in ("Shape", "Size") and node.input[0] in shapes:
            shape = np.array(shapes[node.input[0]], np.int64)
            constants[node.output[0]] = shape if node.op_type == "Shape" else shape.prod()
        elif all(name in constants for name in node.input if name):
            inputs = {name: constants[name] for name in node.input if name}
            (result,) = ReferenceEvaluator(node).run(None, inputs)
            constants[node.output[0]] = np.asarray(result)
        else:
            remaining.append(node)
    folded = len(remaining) < len(graph.node)
    del graph.node[:]
    graph.node.extend(remaining)
    return folded
