# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read the parameters of a deployable model: the ONNX file is also a checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from mdflow_ros.model.architecture import parameter_shapes
from mdflow_ros.model.card import ModelCard, ModelError, load_card, real_model
from mdflow_ros.model.onnx_writer.fastflownet_graph import check_weights


def load_weights(model: Path) -> tuple[dict[str, NDArray[np.float32]], ModelCard]:
    """Return the 104 official parameters of a deployable model, as float32, and its card.

    Raises:
        ModelError: the file is missing, damaged, not a FastFlowNet that this package wrote, or not finite.
    """
    model = real_model(model)
    card = load_card(model)
    try:
        # The card's checksum covers only this file, so external data would be unchecked.
        graph = onnx.load(model, load_external_data=False).graph
        initializers = {tensor.name: tensor for tensor in graph.initializer}
        weights = {name: numpy_helper.to_array(initializers[name]).astype(np.float32) for name in parameter_shapes()}
        check_weights(weights)
    except Exception as error:  # onnx raises protobuf's errors, whose type is not public
        raise ModelError(f"{model} holds no FastFlowNet parameters: {error!r}") from error
    for name, value in weights.items():
        if not np.isfinite(value).all():
            raise ModelError(f"{model}: {name} is not finite; the model is broken, use another one")
    return weights, card
