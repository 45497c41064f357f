# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of a continual adaptation: recordings, runs, deployed models, and history."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mdflow_ros.core.atomic_files import write_json
from mdflow_ros.deployment.store import ModelStore
from mdflow_ros.recordings.bag_parts import bag_files

NEEDED_TO_RESUME = ("frames", "stage*", "round*", "control", "tensorboard")
"""Folders of a run that are deleted when it is complete."""


@dataclass
class CurrentRun:
    """An unfinished adaptation.

    Attributes:
        name: name of its folder.
        bags: names of the recordings that it learns from.
        seconds: time that it has run, over all resumed parts.
        deployed_before: the deployed version that it started from; None for the bundled model.
    """

    name: str
    bags: list[str]
    seconds: float = 0.0
    deployed_before: str | None = None


@dataclass
class History:
    """The state of a continual adaptation.

    Attributes:
        runs: number of adaptations started.
        used: recordings that an adaptation has learned from or was given up on.
        current: the adaptation in progress.
        on_trial: the deployed version that is still to be compared with its predecessor on a new recording.
        to_deploy: the adaptation with an improved model that could not be deployed yet.
        failures: failed attempts in a row at the current adaptation or comparison.
    """

    runs: int = 0
    used: list[str] = field(default_factory=list)
    current: CurrentRun | None = None
    on_trial: str | None = None
    to_deploy: str | None = None
    failures: int = 0


class Workspace:
    """The folder; its content stays valid if the process is killed at any time.

    Args:
        folder: the folder; created if it does not exist.

    Raises:
        ValueError: the history in it is damaged.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bags, self.runs = folder / "bags", folder / "runs"
        for path in (self.bags, self.runs):
            path.mkdir(parents=True, exist_ok=True)
        self.store = ModelStore(folder / "models")
        self._path = folder / "history.json"
        self.history = self._load()

    def save(self) -> None:
        """Write the history."""
        write_json(self._path, dataclasses.asdict(self.history))

    def recordings(self) -> list[str]:
        """Return the names of all recordings that contain a bag, oldest first."""
        return sorted(path.name for path in self.bags.iterdir() if path.is_dir() and bag_files(path))

    def unused(self) -> list[str]:
        """Return the names of the recordings that no adaptation has used, oldest first."""
        return [name for name in self.recordings() if name not in self.history.used]

    def make_room(self, limit: int, reserve: int) -> bool:
        """Delete the oldest used recordings until there is room for another one; return whether there is.

        Args:
            limit: maximum size of recordings and runs, in bytes.
            reserve: bytes to leave free on the disk.
        """
        return self._delete_used_until(
            lambda: _size(self.bags) + _size(self.runs) < limit and self._free_bytes() >= reserve
        )

    def free_disk(self, reserve: int) -> bool:
        """Delete the oldest used recordings until ``reserve`` bytes of the disk are free; return whether they are."""
        return self._delete_used_until(lambda: self._free_bytes() >= reserve)

    def _delete_used_until(self, enough: Callable[[], bool]) -> bool:
        used = [name for name in self.recordings() if name in self.history.used]
        while not (done := enough()) and used:
            shutil.rmtree(self.bags / used.pop(0))
        return done

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def tidy(self, run: str) -> None:
        """Delete the files that only a resumed run needs; models, cards and report stay."""
        for path in (path for pattern in NEEDED_TO_RESUME for path in (self.runs / run).glob(pattern)):
            shutil.rmtree(path)

    def _load(self) -> History:
        try:
            return TypeAdapter(History).validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return History()
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise ValueError(
                f"{self._path} is damaged ({reason}): delete it to start again; recordings are kept"
            ) from error


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
