# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Model files for the tests: the bundled teacher with other weights, and one that no node can run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, Preprocessing, save_model
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_ros.model.weights import load_weights

Weights = dict[str, np.ndarray]


def changed_teacher(path: Path, change: Callable[[Weights], None]) -> Path:
    """Save the bundled teacher after ``change`` has worked on its weights in place."""
    weights, card = load_weights(BUNDLED_MODEL)
    change(weights)
    graph = build_graph(weights, card.preprocessing, card.cost_volume_normalization)
    save_model(graph.SerializeToString(deterministic=True), card, path)
    return path


def disturbed_teacher(folder: Path, strength: float) -> Path:
    """The bundled teacher with so much noise on its finest levels that a few training steps make it better."""
    random = np.random.default_rng(0)

    def disturb(weights: Weights) -> None:
        for name, value in weights.items():
            if name.startswith(("decoder2", "decoder3")) and name.endswith("weight"):
                noise = random.standard_normal(value.shape).astype(np.float32)
                weights[name] = value + np.float32(strength) * value.std() * noise

    return changed_teacher(folder / f"disturbed_{strength}.onnx", disturb)


def broken_model(folder: Path) -> Path:
    """A file that matches its card but is not a network."""
    path = folder / "broken.onnx"
    save_model(b"no graph", ModelCard("broken", "", Preprocessing.RGB_SCALAR_MEAN, True, "unknown"), path)
    return path
