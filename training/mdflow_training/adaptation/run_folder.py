# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The identity of a run (settings, weights and data), stored in its folder: only the same run may resume there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from typing_extensions import TypedDict

from mdflow_ros.core.atomic_files import write_json
from mdflow_training.engine.batches import FramePairs
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.loop import Run
from mdflow_training.settings.adaptation import AdaptationConfig
from mdflow_training.settings.reading import ConfigError, merge

Content = TypeVar("Content")

RUN_NAME = "run.json"
"""File with the identity of the run."""


class StoredIdentity(TypedDict, total=False):
    """The parts of an identity in the file of a run; earlier versions lack some."""

    config: dict[str, Any]
    network: dict[str, Any]
    teacher: str
    training_pairs: dict[str, Any]
    validation_pairs: dict[str, Any]


def identity_of(teacher_state: Mapping[str, Tensor], validation: FramePairs, run: Run) -> dict[str, Any]:
    """Return everything that decides the result of a run, with ``auto`` replaced by its value on this machine.

    The pairs are identified by their number and a hash of the first, the middle and the last one.
    """
    digest = hashlib.sha256()
    for name, value in sorted(teacher_state.items()):
        digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return {
        "config": run.config.result_relevant_settings(),
        "network": {
            "size": [run.size.height, run.size.width],
            "decodes_to_level": run.quality.decoding.level,
            "precision": str(run.autocast or "float32").removeprefix("torch."),
        },
        "teacher": digest.hexdigest(),
        "training_pairs": _describe(run.pairs),
        "validation_pairs": _describe(validation),
    }


def _describe(pairs: FramePairs) -> dict[str, Any]:
    digest = hashlib.sha256()
    for index in (0, len(pairs) // 2, len(pairs) - 1):
        for image in pairs[index]:
            digest.update(np.ascontiguousarray(image).tobytes())
    return {"count": len(pairs), "samples_sha256": digest.hexdigest()}


def claim_folder(folder: Path, identity: dict[str, Any], context: ProcessContext) -> None:
    """Write the identity of the run into a new folder, or compare it with the identity in an existing one.

    Raises:
        ConfigError: they differ (the message names each difference), or the stored one is damaged.
    """
    path = folder / RUN_NAME
    identity = json.loads(json.dumps(identity))
    if path.exists():
        stored: dict[str, Any] = {**read_json(path, StoredIdentity)}
        # Earlier versions lack the settings added since; they behaved like the defaults of these settings.
        stored["config"] = merge(AdaptationConfig().result_relevant_settings(), stored.get("config", {}))
        stored["config"].pop("control", None)  # earlier versions treated it as relevant to the result
        stored.setdefault("network", identity["network"])  # earlier versions did not store it
        differences = _differences(stored, identity)
        if differences:
            raise ConfigError(
                f"{folder} holds a run that was started differently: {'; '.join(differences)}. "
                "Use the original settings and data, or another folder"
            )
    elif context.is_main:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, identity)


def read_json(path: Path, kind: type[Content]) -> Content:
    """Read a file of a run folder.

    Args:
        path: the file.
        kind: the type of its content.

    Raises:
        ConfigError: the file is damaged.
        OSError: the file cannot be read.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"{path} is damaged ({reason}): delete its folder, or choose another one") from error


def _differences(stored: Any, given: Any, name: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(given, dict):
        names = sorted(stored.keys() | given.keys())
        return [
            difference
            for key in names
            for difference in _differences(stored.get(key), given.get(key), f"{name}.{key}".strip("."))
        ]
    return [] if stored == given else [f"{name.removeprefix('config.')} was {stored}, now {given}"]
