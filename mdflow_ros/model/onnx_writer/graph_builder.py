# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write an ONNX graph like numpy code: every method appends a node and returns the name of its output."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
"""GridSample exists from opset 16 on. From 20 on, some TensorRT parsers silently turn it into nearest neighbor."""

FLOAT = TensorProto.FLOAT
INT64 = TensorProto.INT64
UINT8 = TensorProto.UINT8

LAST = 2**63 - 1
"""The end of an axis, for `GraphBuilder.slice`."""

Array = NDArray[np.generic]


class GraphBuilder:
    """Collects nodes and initializers, then makes a checked model of them.

    Args:
        precision: numpy type of the graph's arithmetic: of `number` and `to_precision`.
    """

    def __init__(self, precision: type[np.floating] = np.float32) -> None:
        self.precision = np.dtype(precision)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}

    def node(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Append a node and return its output's name; ``name`` names that output."""
        output = name or f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, value: Array, name: str | None = None) -> str:
        """Add an initializer; equal unnamed values share one."""
        value = np.asarray(value)
        if name is None:
            digest = hashlib.sha256(value.tobytes()).hexdigest()[:12]
            name = f"constant_{value.dtype}_{'x'.join(map(str, value.shape))}_{digest}"
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def number(self, value: float) -> str:
        """Add a scalar of the graph's precision."""
        return self.constant(np.array(value, self.precision))

    def integers(self, *values: int) -> str:
        """Add a vector of int64."""
        return self.constant(np.array(values, np.int64))

    def cast(self, tensor: str, dtype: type[np.generic] | np.dtype[np.generic]) -> str:
        """Convert to a numpy type."""
        return self.node("Cast", tensor, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def to_precision(self, tensor: str) -> str:
        """Convert to the graph's precision."""
        return tensor if self.precision == np.float32 else self.cast(tensor, self.precision)

    def to_float32(self, tensor: str) -> str:
        """Convert from the graph's precision to float32."""
        return tensor if self.precision == np.float32 else self.cast(tensor, np.float32)

    def slice(self, tensor: str, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> str:
        """Slice along ``axes``."""
        return self.node("Slice", tensor, self.integers(*starts), self.integers(*ends), self.integers(*axes))

    def head(self, tensor: str, count: str, start: int = 0) -> str:
        """Slice the first axis from ``start`` to ``count``, an int64 tensor of shape (1,)."""
        return self.node("Slice", tensor, self.integers(start), count, self.integers(0))

    def transpose(self, tensor: str, *order: int) -> str:
        """Permute the axes."""
        return self.node("Transpose", tensor, perm=order)

    def concatenate(self, tensors: Sequence[str], axis: int) -> str:
        """Join along ``axis``."""
        return self.node("Concat", *tensors, axis=axis)

    def dimension(self, tensor: str, axis: int) -> str:
        """Return the length of an axis, int64 of shape (1,)."""
        return self.node("Gather", self.node("Shape", tensor), self.integers(axis), axis=0)

    def reshape(self, tensor: str, *shape: int | str) -> str:
        """Reshape; entries are integers or names of int64 tensors of shape (1,)."""
        if all(isinstance(entry, int) for entry in shape):
            return self.node("Reshape", tensor, self.integers(*(entry for entry in shape if isinstance(entry, int))))
        return self.node("Reshape", tensor, self.vector(*shape))

    def vector(self, *entries: int | str) -> str:
        """Join integers and int64 tensors of shape (1,) into one vector."""
        return self.concatenate([self.integers(e) if isinstance(e, int) else e for e in entries], axis=0)

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """Make the model and check it.

        Raises:
            onnx.checker.ValidationError: the graph is not valid.
        """
        graph = helper.make_graph(self._nodes, name, inputs, outputs, list(self._initializers.values()))
        # IR version 8 is what TensorRT 8.6 and ONNX Runtime 1.16 read.
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        model.producer_name = "mdflow_ros"
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model
