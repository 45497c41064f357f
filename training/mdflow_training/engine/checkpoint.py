# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Save and restore the state of a training run, so that a killed run resumes exactly."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
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
        raise OSError(f"cannot write {path}, perhaps as the disk is full: {error}") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a training state.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no training state at {path}; check the run folder")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} is not a readable training state ({error}); delete it or name another") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a training state; name another file")
    return state


def capture_random_state() -> dict[str, Any]:
    """Return the state of Python's, numpy's and torch's global random generators, CUDA's too."""
    version, numbers, gauss = random.getstate()
    legacy: dict[str, Any] = np.random.get_state(legacy=False)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": {
            "key": torch.from_numpy(legacy["state"]["key"].astype(np.int64)),
            "pos": int(legacy["state"]["pos"]),
            "has_gauss": int(legacy["has_gauss"]),
            "gauss": float(legacy["gauss"]),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what `capture_random_state` returned."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    saved = state["numpy"]
    key = saved["key"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, saved["pos"], saved["has_gauss"], saved["gauss"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
