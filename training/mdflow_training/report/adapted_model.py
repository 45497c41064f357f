# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write an adapted teacher as a deployable model; its card states its origin."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.printable import printable
from mdflow_ros.model.card import ModelCard, card_path, load_card, save_model
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_ros.recordings.image_frames import IMAGE_SUFFIXES
from mdflow_ros.recordings.source import parse_source

CHUNK_BYTES = 1 << 22
MAX_PATH_LENGTH = 4096
MAX_LISTED_RECORDINGS = 5
"""Number of recordings listed in the field ``training_data`` of a card; the field ``training`` lists all of them."""


def hash_recordings(sources: Sequence[str]) -> list[dict[str, Any]]:
    """Return path, number of files, size in bytes and SHA-256 of every bag and video, and of each folder of images.

    Dangling links are skipped. The SHA-256 of a folder is computed over the concatenated images.

    Raises:
        OSError: a file cannot be read.
        FrameSourceError: a source does not exist.
    """
    files = [file for source in sources for file in parse_source(source).files() if file.exists()]
    total = sum(file.stat().st_size for file in files)
    parts: dict[Path, list[Path]] = {}
    for file in files:
        parts.setdefault(file.parent if file.suffix.lower() in IMAGE_SUFFIXES else file, []).append(file)
    hashes = []
    with tqdm(total=total, desc="hashing recordings", unit="B", unit_scale=True, disable=None, leave=False) as progress:
        for path, members in parts.items():
            digest, size = hashlib.sha256(), 0
            for file in members:
                with file.open("rb") as content:
                    while chunk := content.read(CHUNK_BYTES):
                        digest.update(chunk)
                        size += len(chunk)
                        progress.update(len(chunk))
            name = printable(str(path), MAX_PATH_LENGTH)
            hashes.append({"path": name, "files": len(members), "bytes": size, "sha256": digest.hexdigest()})
    return hashes


def export_adapted(
    state: Mapping[str, Tensor], parent: ModelCard, out: Path, *, name: str, training: dict[str, Any]
) -> ModelCard:
    """Write a teacher that was adapted from another one, with its card.

    Args:
        state: the weights, by official names.
        parent: card of the model that the adaptation started from; preprocessing and license are inherited.
        out: the ONNX file to write.
        name: name of the new model.
        training: recordings, settings and history, for the card.

    Raises:
        OSError: the model cannot be written.
    """
    weights = {key: value.detach().cpu().float().numpy() for key, value in state.items()}
    graph = build_graph(weights, parent.preprocessing, cost_volume_normalization=True)
    paths = [recording["path"] for recording in training.get("recordings", [])]
    more = [f"{len(paths) - MAX_LISTED_RECORDINGS} more"] if len(paths) > MAX_LISTED_RECORDINGS else []
    recordings = ", ".join(paths[:MAX_LISTED_RECORDINGS] + more)
    card = dataclasses.replace(
        parent,
        name=name,
        parent=f"sha256:{parent.sha256}",
        training_data=f"adapted from {parent.name} without labels, to {recordings or 'recordings'}",
        cost_volume_normalization=True,
        metrics={},
        training=training,
    )
    return save_model(graph.SerializeToString(deterministic=True), card, out)


def add_metrics(model: Path, metrics: dict[str, Any]) -> None:
    """Write metrics into the card of an existing model; the model file does not change."""
    card = dataclasses.replace(load_card(model), metrics=metrics)
    replace_file(card_path(model), card.to_json().encode())
