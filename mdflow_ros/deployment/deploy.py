# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Make a model current in the store and in the running node, or roll back to the previous one."""

from __future__ import annotations

from pathlib import Path

from mdflow_ros.core.folder_lock import folder_lock
from mdflow_ros.deployment.running_node import DEFAULT_NODE, connect
from mdflow_ros.deployment.store import ModelStore, Version
from mdflow_ros.model.card import ModelError
from mdflow_ros.model.confidence_calibration import confidence_calibration_of
from mdflow_ros.model.weights import load_weights
from mdflow_ros.quality import QUALITIES

OFFLINE = "no node was told; started later, it takes the model with -p model:={pointer}/teacher.onnx"


def deploy(model: Path, store: ModelStore, node: str | None = DEFAULT_NODE) -> str:
    """Make a model current in the store and in the node. After an error, both are unchanged.

    Args:
        model: the ONNX file, with its card beside it.
        store: receives a copy.
        node: full name of the running node; None to switch only the store.

    Returns:
        What happened, in a sentence.

    Raises:
        ModelError: the model is missing, damaged or not finite, or its card's confidence cannot be used.
        NodeError: the node does not answer or refuses the model.
        FolderInUse: another process is deploying to this store, or rolling it back.
        OSError: the store cannot be written to.
    """
    _check(model)
    with folder_lock(store.folder):
        before = store.current()
        version = store.add(model)
        try:
            answer = _switch(version, store, node)
        except BaseException:
            if version != before:
                store.remove(version)
            raise
    return f"{version.name} is the current model of {store.folder}: {answer}"


def _check(model: Path) -> None:
    """Refuse a model that a node could not load, because offline no node checks it."""
    _, card = load_weights(model)
    for quality in QUALITIES:
        confidence_calibration_of(card, quality)


def roll_back(store: ModelStore, node: str | None = DEFAULT_NODE) -> str:
    """Go back to the model that the current one replaced; see `deploy` for arguments and errors."""
    with folder_lock(store.folder):
        version = store.previous()
        if version is not None:
            version.card()
        answer = _switch(version, store, node)
    return f"rolled back to {'the bundled model' if version is None else version.name}: {answer}"


def _switch(version: Version | None, store: ModelStore, node: str | None) -> str:
    """Tell the node first, so that a model that it refuses does not become current."""
    if node is None:
        store.make_current(version)
        return OFFLINE.format(pointer=store.pointer)
    with connect(node) as running:
        before = running.model()
        answer = running.load("" if version is None else str(version.model.resolve()))
        try:
            store.make_current(version)
        except BaseException:  # the caller deletes the version that the node has just loaded
            running.load(before)
            raise
    return answer


def list_versions(store: ModelStore) -> str:
    """Return a line for each version, the current one marked."""
    current = store.current()
    lines = [f"{' ' if current else '*'} bundled model"]
    for name in store.names():
        mark = "*" if current is not None and name == current.name else " "
        lines.append(f"{mark} {name}  {_describe(store, name)}".rstrip())
    return "\n".join(lines)


def _describe(store: ModelStore, name: str) -> str:
    try:
        version = store.version(name)
        card = version.card()
    except ModelError as error:
        return f"damaged: {error}"
    return f"{version.deployed}  {card.name}  {card.metrics.get('verdict', '')}"
