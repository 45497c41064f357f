# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of a deployable model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from mdflow_ros.model.architecture import parameter_shapes
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError, card_path, load_card, save_model, sha256_of
from mdflow_ros.model.weights import load_weights


def test_every_parameter_of_the_bundled_model_is_read() -> None:
    weights, _ = load_weights(BUNDLED_MODEL)
    assert {name: value.shape for name, value in weights.items()} == parameter_shapes()


def test_values_that_stand_in_another_file_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(BUNDLED_MODEL), path, save_as_external_data=True, location="values.bin", size_threshold=0)
    card = dataclasses.replace(load_card(BUNDLED_MODEL), sha256=sha256_of(path))
    card_path(path).write_text(card.to_json())
    with pytest.raises(ModelError, match="holds no FastFlowNet parameters"):
        load_weights(path)


def test_parameters_of_another_shape_are_refused(tmp_path: Path) -> None:
    graph = onnx.load(BUNDLED_MODEL)
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name == "decoder3.conv7.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.float32), bias.name))
    path = tmp_path / "model.onnx"
    save_model(graph.SerializeToString(), load_card(BUNDLED_MODEL), path)
    with pytest.raises(ModelError, match=r"1 of another shape, for example decoder3\.conv7\.bias"):
        load_weights(path)
