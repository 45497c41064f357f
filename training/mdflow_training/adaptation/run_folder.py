# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The settings and data of a run folder, so that only the same run resumes in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from mdflow_ros.core.atomic_files import write_json
from mdflow_training.engine.batches import FramePairs
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.engine.loop import Run
from mdflow_training.settings.adaptation import AdaptationConfig
from mdflow_training.settings.reading import ConfigError, merge

Content = TypeVar("Content")

RUN_NAME = "run.json"
"""What a run was started with."""


def identity_of(teacher_state: Mapping[str, Tensor], validation: FramePairs, run: Run) -> dict[str, Any]:
    """Return everything that decides the result of a run, with the values that ``auto`` has on this machine.

    Of the pairs, it has their number and a hash of the first, the middle and the last one, not of all.
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
    """Write the identity of the run into a new folder; in an existing one, check that it is the same.

    Raises:
        ConfigError: it differs; the message names each difference.
    """
    path = folder / RUN_NAME
    identity = json.loads(json.dumps(identity))
    if path.exists():
        stored = read_json(path, dict[str, Any])
        # A folder of an earlier version lacks the settings that were added since; it ran as their defaults say.
        stored["config"] = merge(AdaptationConfig().result_relevant_settings(), stored.get("config", {}))
        stored["config"].pop("control", None)  # which earlier versions counted as relevant
        stored.setdefault("network", identity["network"])  # which earlier versions did not note
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
        path: of the file.
        kind: what it holds.

    Raises:
        ConfigError: it is damaged.
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
