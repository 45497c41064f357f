# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read FastFlowNet checkpoints (.pth) and write them as deployable models: an ONNX file and its card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mdflow_ros.core.printable import printable
from mdflow_ros.model.card import ModelCard, ModelError, Preprocessing, save_model
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph, check_weights
from mdflow_ros.recordings.file_kinds import check_content
from mdflow_ros.recordings.frame import FrameSourceError


@dataclass(frozen=True)
class Checkpoint:
    """The parameters and metadata of a checkpoint.

    Attributes:
        weights: the 104 official parameters, float32.
        cost_volume_normalization: as stored in the checkpoint; ``None`` if it is not stored (official checkpoints).
        training: notes on its training, as stored in the checkpoint.
    """

    weights: dict[str, NDArray[np.float32]]
    cost_volume_normalization: bool | None
    training: dict[str, Any]


STATE_KEYS = ("state_dict", "model_state_dict", "model")
"""Keys under which checkpoints store their parameters."""

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Prefixes that DataParallel, torch.compile and wrappers add to the names of parameters."""


def reason_of(error: Exception) -> str:
    """Return the first sentence of an error of `torch.load`; the rest advises to run code from the file."""
    return printable(str(error).partition("\n")[0].partition(". ")[0])


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.pth``: a plain state dict, as FastFlowNet and MDFlow publish, or one under a key of `STATE_KEYS`.

    Raises:
        ModelError: the file is missing or unreadable, its parameters are not exactly FastFlowNet's, or one of them is
            not finite.
    """
    try:
        if path.exists():
            check_content(path, expected=".zip")
    except FrameSourceError as error:
        raise ModelError(str(error)) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"there is no checkpoint {path}") from None
    except Exception as error:  # torch raises a different type for every kind of damage
        raise ModelError(f"{path} is not a checkpoint (.pth) that torch can read safely: {reason_of(error)}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds a {type(content).__name__}, not a state dict")
    state = next((content[key] for key in STATE_KEYS if isinstance(content.get(key), dict)), content)
    weights = {
        _without_prefixes(str(name)): value.detach().float().cpu().numpy()
        for name, value in state.items()
        if torch.is_tensor(value)
    }
    try:
        check_weights(weights)
    except ValueError as error:
        first = printable(", ".join(map(str, list(state)[:3])))
        raise ModelError(f"{path}: {error}. It holds {len(state)} entries: {first}, ...") from error
    broken = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if broken:
        raise ModelError(f"{path}: {broken[0]} is not finite; the checkpoint is broken, use an earlier one")
    return Checkpoint(weights, content.get("cost_volume_normalization"), _notes(content.get("training")))


def _without_prefixes(name: str) -> str:
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _notes(training: object) -> dict[str, Any]:
    """Return the notes of pretraining, or {} if another program stored something else under this key."""
    try:
        json.dumps(training)
    except (TypeError, ValueError):
        return {}
    return training if isinstance(training, dict) else {}


@dataclass(frozen=True)
class CardFields:
    """Fields of a model card that a checkpoint does not contain.

    Attributes:
        name: the model's name; None uses the checkpoint's file name without its suffix.
        license: license of the weights.
        training_data: data on which the weights were trained.
        metrics: measured values, by data set.
    """

    name: str | None = None
    license: str = "unknown"
    training_data: str = "unknown"
    metrics: dict[str, Any] = field(default_factory=dict)


def import_checkpoint(
    checkpoint: Path,
    out: Path,
    fields: CardFields | None = None,
    *,
    preprocessing: Preprocessing = Preprocessing.RGB_SCALAR_MEAN,
    cost_volume_normalization: bool | None = None,
    half: bool = False,
) -> ModelCard:
    """Write ``out`` and its card from ``checkpoint``.

    Args:
        checkpoint: see `load_checkpoint`.
        out: the ONNX file to write.
        fields: fields of the card; None uses the defaults.
        preprocessing: the preprocessing that the network was trained with.
        cost_volume_normalization: ``None`` uses the value stored in the checkpoint, or False if there is none.
        half: store the parameters as fp16; the arithmetic stays fp32.

    Raises:
        ModelError: see `load_checkpoint`; or a parameter is too large for fp16.
        OSError: the model cannot be written.
    """
    content, fields = load_checkpoint(checkpoint), fields or CardFields()
    if cost_volume_normalization is None:
        cost_volume_normalization = bool(content.cost_volume_normalization)
    weights = {name: _stored(name, value, half) for name, value in content.weights.items()}
    graph = build_graph(weights, preprocessing, cost_volume_normalization)
    card = ModelCard(
        name=fields.name or checkpoint.stem,
        sha256="",
        preprocessing=preprocessing,
        cost_volume_normalization=cost_volume_normalization,
        license=fields.license,
        parent=f"sha256:{hashlib.sha256(checkpoint.read_bytes()).hexdigest()}",
        training_data=fields.training_data,
        metrics=fields.metrics,
        training=content.training,
    )
    return save_model(graph.SerializeToString(deterministic=True), card, out)


def _stored(name: str, value: NDArray[np.float32], half: bool) -> NDArray[np.floating]:
    if not half:
        return value
    with np.errstate(over="ignore"):
        stored = value.astype(np.float16)
    if not np.isfinite(stored).all():
        raise ModelError(f"{name} has values up to {np.abs(value).max():.3g}, too large for fp16; leave --half out")
    return stored


METRICS = ("epe", "ause", "ece")
"""Metrics of each data set that a card keeps."""


def metrics_of(report: Path) -> dict[str, Any]:
    """Return the endpoint error in pixels, AUSE and ECE of a report of ``evaluate``, by data set.

    Raises:
        ModelError: the file is not such a report.
    """
    try:
        sets = json.loads(report.read_text(encoding="utf-8"))["sets"]
        return {name: {key: round(metrics[key], 3) for key in METRICS} for name, metrics in sets.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{report} is not a report of training/evaluate.py: {error!r}") from error
