# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Save and restore the state of a training run, so that a killed run resumes exactly."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mdflow_ros.core.atomic_files import written_aside


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path``; a kill at any moment leaves the old file or the new one, never half of one.

    Raises:
        OSError: the disk is full or gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside, aside.open("wb") as stream:
        _serialize(state, stream, path)


def _serialize(state: dict[str, Any], stream: BinaryIO, path: Path) -> None:
    try:
        torch.save(state, stream)
    except RuntimeError as error:  # what torch raises when a write fails
        raise OSError(errno.ENOSPC, "cannot write; the disk may be full", str(path)) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read a state that `save_state` wrote; all tensors are on the CPU.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not a training state.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no training state at {path}; check the run folder")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not a readable training state ({error}); delete it, or choose another file"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a training state; choose another file")
    return state
