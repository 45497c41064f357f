# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Load the weights of a deployable model to train it as the teacher."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mdflow_ros.model.card import ModelError, Preprocessing
from mdflow_ros.model.weights import load_weights


def load_teacher(model: Path) -> dict[str, Tensor]:
    """Return the weights of a deployable model, by official names.

    Raises:
        ModelError: the model cannot be read, or has a preprocessing or cost volume that cannot be trained here.
    """
    weights, card = load_weights(model)
    if not card.cost_volume_normalization or card.preprocessing is not Preprocessing.RGB_SCALAR_MEAN:
        raise ModelError(
            f"{model} was trained without cost-volume normalization or for other images; start from the bundled model, "
            "or from one that was adapted from it"
        )
    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
