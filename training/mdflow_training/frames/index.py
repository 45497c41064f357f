# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A log of every frame of a recording, kept or dropped: 17 bytes per frame in memory, one line per frame on disk."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import replace_file
from mdflow_training.frames.filters import FrameVerdict

_VERDICTS = {verdict.label: verdict for verdict in FrameVerdict}


class CameraIdentity(NamedTuple):
    """Properties that the two frames of a pair must share.

    ``stream`` is the topic, or the path of a video or folder; ``frame_id`` is the coordinate frame; sizes are in
    pixels; ``shot`` counts abrupt changes of the view, as between the shots of an edited video.
    """

    stream: str
    frame_id: str
    height: int
    width: int
    shot: int = 0

    def __str__(self) -> str:
        return f"{self.stream} {self.frame_id or '(no frame_id)'} {self.width}x{self.height}"


NO_CAMERA = -1


class FrameIndex:
    """Columns over all frames in the order of the recording, also written to a file of JSON lines.

    A line is ``[stamp, verdict, camera, sharpness]`` for a frame, or ``{"camera": [...]}`` before a camera's first
    frame.

    Args:
        path: the log; read if it exists.
        resume: open the log for writing. Lines after the last kept frame are deleted; these frames are classified
            again.
    """

    def __init__(self, path: Path, resume: bool = False) -> None:
        self.cameras: list[CameraIdentity] = []
        self._columns = (array("q"), array("b"), array("i"), array("f"))
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        if resume:
            lines = _until_last_kept(lines)
            replace_file(path, "".join(lines).encode())
        for line in lines:
            self._remember(json.loads(line))
        self._file = path.open("a", encoding="utf-8") if resume else None

    def __len__(self) -> int:
        return len(self._columns[0])

    def append(
        self, stamp: int, verdict: FrameVerdict, camera: CameraIdentity | None = None, sharpness: float = 0.0
    ) -> None:
        """Add a frame: stamp in ns, verdict, camera (if it could be decoded) and sharpness (if kept)."""
        if camera is not None and camera not in self.cameras:
            self._write({"camera": list(camera)})
        number = NO_CAMERA if camera is None else self.cameras.index(camera)
        self._write([stamp, verdict.label, number, float(f"{sharpness:.4g}")])

    @property
    def verdicts(self) -> NDArray[np.int8]:
        """The verdict on each frame: values of `FrameVerdict`."""
        return np.array(self._columns[1], np.int8)

    @property
    def stamps(self) -> NDArray[np.int64]:
        """Stamps in ns."""
        return np.array(self._columns[0], np.int64)

    @property
    def camera_numbers(self) -> NDArray[np.int32]:
        """Indices into `cameras`, or NO_CAMERA."""
        return np.array(self._columns[2], np.int32)

    @property
    def sharpness(self) -> NDArray[np.float32]:
        """Sharpness of kept frames, 0 for others."""
        return np.array(self._columns[3], np.float32)

    def _write(self, entry: list[object] | dict[str, object]) -> None:
        assert self._file is not None, "opened for reading"
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        self._remember(entry)

    def _remember(self, entry: Any) -> None:
        if isinstance(entry, dict):
            self.cameras.append(CameraIdentity(*entry["camera"]))
            return
        stamp, verdict, camera, sharpness = entry
        values = (stamp, _VERDICTS[verdict], camera, sharpness)
        columns: tuple[array[Any], ...] = self._columns
        for column, value in zip(columns, values, strict=True):
            column.append(value)


def _until_last_kept(lines: list[str]) -> list[str]:
    """Return the lines up to the last kept frame; this also removes an incomplete last line."""
    marker = f'"{FrameVerdict.KEPT.label}"'
    kept = [number for number, line in enumerate(lines) if marker in line and line.endswith("\n")]
    return lines[: kept[-1] + 1] if kept else []
