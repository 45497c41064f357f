# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read and write deployable models: an ONNX file, with a JSON card beside it that describes it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import unicodedata
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from mdflow_ros.core.atomic_files import written_aside

BUNDLED_MODEL = Path(__file__).with_name("teacher.onnx")

MODEL_SUFFIX, CARD_SUFFIX = ".onnx", ".json"
MAX_CARD_LENGTH = 1_000_000
MAX_NAME_LENGTH = 200
MAX_SHOWN = 80
"""Characters of an invalid value that an error shows."""

_MAKE_ONE = "make one with `python training/import_checkpoint.py CHECKPOINT.pth --out MODEL.onnx`"


class ModelError(ValueError):
    """A model is missing, damaged, or does not match its card."""


class Preprocessing(Enum):
    """The preprocessing that a network expects; see also `mdflow_ros.model.graphs.subtracted_mean`."""

    RGB_SCALAR_MEAN = "rgb_scalar_mean"
    """RGB / 255 minus one mean over all channels: MDFlow's checkpoints and this package's."""

    BGR_CHANNEL_MEAN = "bgr_channel_mean"
    """BGR / 255 minus one mean per channel: the supervised FastFlowNet release."""


@dataclass(frozen=True)
class ModelCard:
    """The description and the origin of a deployable model.

    Attributes:
        name: a short name for people.
        sha256: of the ONNX file.
        preprocessing: that the network expects; it is part of the graph.
        cost_volume_normalization: whether features are normalized before each correlation.
        license: of the weights, an SPDX name or a sentence.
        parent: sha256 or name of the checkpoint that it was made from.
        training_data: description of the training data.
        metrics: measured values, by data set.
        training: settings and history of its training, in any form.
        confidence: the constants of each quality level, see `mdflow_ros.core.confidence.ConfidenceCalibration`; empty
            to use those of the bundled model.
    """

    name: str
    sha256: str
    preprocessing: Preprocessing
    cost_volume_normalization: bool
    license: str
    parent: str | None = None
    training_data: str = "unknown"
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    confidence: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as indented JSON."""
        return json.dumps({**dataclasses.asdict(self), "preprocessing": self.preprocessing.value}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read a card. ``licence``, the spelling in older cards, is read as ``license``.

        Raises:
            ModelError: it is not JSON, it is too long or nested too deeply, or a field is missing, unknown or has the
                wrong type. The text names the field and its value.
        """
        if len(text) > MAX_CARD_LENGTH:
            raise ModelError(f"not a model card: {len(text)} characters, at most {MAX_CARD_LENGTH} are read")
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ModelError("not a model card: it is nested too deeply") from error
        except ValueError as error:
            raise ModelError(f"not a model card: {error}") from error
        if not isinstance(values, dict):
            raise ModelError(f"not a model card: a {type(values).__name__} instead of an object")
        if "licence" in values:
            values.setdefault("license", values.pop("licence"))
        names = {field.name: field for field in dataclasses.fields(cls)}
        unknown = [str(name)[:MAX_SHOWN] for name in values if name not in names]
        missing = [
            name
            for name, declared in names.items()
            if name not in values
            and declared.default is dataclasses.MISSING
            and declared.default_factory is dataclasses.MISSING
        ]
        if unknown or missing:
            raise ModelError(f"not a model card: unknown fields {unknown[:5]}, missing fields {missing}")
        for name, value in values.items():
            _check_field(name, value)
        try:
            preprocessing = Preprocessing(values["preprocessing"])
        except ValueError as error:
            choices = ", ".join(choice.value for choice in Preprocessing)
            raise ModelError(
                f"not a model card: preprocessing {_shown(values['preprocessing'])} is none of {choices}"
            ) from error
        return cls(**{**values, "preprocessing": preprocessing})


def _check_field(name: str, value: object) -> None:
    """Raise ModelError unless ``value`` has the type of the card's field ``name``."""
    kind = {"cost_volume_normalization": bool, "metrics": dict, "training": dict, "confidence": dict}.get(name, str)
    if value is None and name == "parent":
        return
    if type(value) is not kind:
        raise ModelError(f"not a model card: {name} must be of type {kind.__name__}, not {_shown(value)}")
    if not isinstance(value, str):
        return
    if name == "name" and not 0 < len(value) <= MAX_NAME_LENGTH:
        raise ModelError(f"not a model card: name must have 1 to {MAX_NAME_LENGTH} characters, not {len(value)}")
    # Paths may contain any space, such as macOS's U+202F and the Japanese U+3000, which Python calls unprintable.
    if not all(c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs" for c in value):
        raise ModelError(f"not a model card: {name} holds unprintable characters: {_shown(value)}")


def _shown(value: object) -> str:
    """Return ``value`` for an error message: escaped and short."""
    return ascii(value)[:MAX_SHOWN]


def card_path(model: Path) -> Path:
    """Return the path of the card of ``model``."""
    return model.with_suffix(CARD_SUFFIX)


def real_model(model: Path) -> Path:
    """Return the path of ``model`` with links in its folder resolved, because a store may switch its link at any time.

    A link to the file itself is kept: its target may have another name, as in a cache, and no card beside it.
    """
    return Path(os.path.realpath(model.parent)) / model.name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_card(model: Path) -> ModelCard:
    """Read the card of ``model`` and check its SHA-256 against the file.

    Raises:
        ModelError: the model or its card is missing or unreadable, or they do not belong together. The text names the
            file and the command that makes a model.
    """
    model = real_model(model)
    if model.is_dir() or model.suffix == CARD_SUFFIX:
        raise ModelError(f"{model} is not a model; give the path of its ONNX file, MODEL{MODEL_SUFFIX}")
    for path in (model, card_path(model)):
        if not path.is_file():
            raise ModelError(f"there is no file {path}; {_MAKE_ONE}")
    try:
        card = ModelCard.from_json(card_path(model).read_text(encoding="utf-8"))
        digest = sha256_of(model)
    except (ModelError, OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read {card_path(model)}: {error}; {_MAKE_ONE}") from error
    if digest != card.sha256:
        raise ModelError(
            f"{model} is not the file that {card_path(model).name} describes: its SHA-256 is {digest}, "
            f"the card says {card.sha256}. It is damaged or was replaced; {_MAKE_ONE}"
        )
    return card


def save_model(graph: bytes, card: ModelCard, path: Path) -> ModelCard:
    """Write a serialized ONNX graph and its card atomically, so that a full disk does not damage an existing model.

    Args:
        graph: the serialized model.
        card: its card; the ``sha256`` is filled in here.
        path: the ONNX file.

    Returns:
        The card as written.

    Raises:
        ModelError: the file has another suffix, the card is invalid, or its path holds a file that is not a card;
            nothing is written.
        OSError: the folder cannot be written to, or the disk is full.
    """
    if path.suffix != MODEL_SUFFIX:
        raise ModelError(f"a model's file must end in {MODEL_SUFFIX}, and its card in {CARD_SUFFIX}, not {path.name}")
    card = dataclasses.replace(card, sha256=hashlib.sha256(graph).hexdigest())
    ModelCard.from_json(card.to_json())
    if card_path(path).exists() and not path.exists():
        _check_is_card(card_path(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as model_aside, written_aside(card_path(path)) as card_aside:
        model_aside.write_bytes(graph)
        card_aside.write_bytes(card.to_json().encode())
    return card


def _check_is_card(path: Path) -> None:
    """Raise ModelError unless the file is a model card."""
    try:
        ModelCard.from_json(path.read_text(encoding="utf-8"))
    except (ModelError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a model card and was not overwritten; choose another name") from error
