# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Emulate half precision on hardware without it.

ONNX Runtime's CPU runs a half precision graph in single precision and drops the roundings between neighboring nodes,
so what it gives says little about a GPU. Here every result that is half in the graph is rounded to half, and stays so.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def emulate_half_precision(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a single-precision graph that rounds to half precision wherever ``model`` uses half precision."""
    values = onnx.shape_inference.infer_shapes(model).graph.value_info
    half = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes = []
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        nodes.append(node)
        output = node.output[0]
        if output not in half:
            continue
        if node.op_type == "Cast":
            node.attribute[0].i = TensorProto.FLOAT
        node.output[0] = f"{output}_exact"
        nodes.append(helper.make_node("Cast", [f"{output}_exact"], [f"{output}_half"], to=TensorProto.FLOAT16))
        nodes.append(helper.make_node("Cast", [f"{output}_half"], [output], to=TensorProto.FLOAT))
    initializers = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        if tensor.data_type == TensorProto.FLOAT16
        else tensor
        for tensor in model.graph.initializer
    ]
    graph = helper.make_graph(nodes, "emulated", model.graph.input, model.graph.output, initializers)
    emulated = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(emulated, full_check=True)
    return emulated
