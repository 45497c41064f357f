# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The total time of a run, including the parts before interruptions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from mdflow_ros.core.atomic_files import write_json
from mdflow_training.adaptation.run_folder import read_json

RUN_TIME_NAME = "run_time.json"


class SavedTime(NamedTuple):
    """Content of `RUN_TIME_NAME`."""

    seconds: float


class RunTime:
    """A clock that continues from the time saved by the previous part of the run.

    Args:
        folder: the run folder.
        start: when this part started, by `time.monotonic`.

    Raises:
        ConfigError: the file with the saved time is damaged.
    """

    def __init__(self, folder: Path, start: float) -> None:
        self._path, self._start = folder / RUN_TIME_NAME, start
        self._before = read_json(self._path, SavedTime).seconds if self._path.exists() else 0.0

    @property
    def of_this_part(self) -> float:
        """Seconds since the start of this part."""
        return time.monotonic() - self._start

    @property
    def of_all_parts(self) -> float:
        """Seconds of this part and all previous ones."""
        return self._before + self.of_this_part

    def save(self) -> None:
        """Save the time of all parts for the next part."""
        write_json(self._path, {"seconds": self.of_all_parts})
