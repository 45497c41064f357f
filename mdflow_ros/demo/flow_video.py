# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the demo's pictures as a video that browsers can play (H.264), at the speed of the run."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from mdflow_ros.core.atomic_files import written_aside
from mdflow_ros.core.flow_color import ColorScale
from mdflow_ros.demo.flow_pictures import Moment, draw_moment

TIME_BASE = Fraction(1, 1000)


class FlowVideo:
    """An ``.mp4`` file to which moments are appended, for use in a ``with`` statement.

    The file appears at the end of the statement if a moment was added and no error was raised.

    Args:
        path: of the file.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = ExitStack()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._scale = ColorScale()
        self._last = -1

    def __enter__(self) -> FlowVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def add(self, moment: Moment) -> None:
        """Append a moment."""
        full_color = self._scale.follow(moment.flow)
        row = draw_moment(moment, full_color, f"{moment.seconds:.1f} s", f"full color {full_color:.1f} px")
        if self._container is None:
            part = self._opened.enter_context(written_aside(self._path))
            self._container = self._opened.enter_context(av.open(str(part), "w"))
            self._opened.push(self._flush)
            self._stream = self._container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
            self._stream.height, self._stream.width = row.shape[:2]
            self._stream.pix_fmt, self._stream.time_base = "yuv420p", TIME_BASE
            self._stream.codec_context.time_base = TIME_BASE
        assert self._stream is not None
        size = (self._stream.width, self._stream.height)
        if row.shape[1::-1] != size:  # the camera changed its resolution
            row = np.asarray(cv2.resize(row, size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = av.VideoFrame.from_ndarray(row, format="rgb24")
        self._last = max(self._last + 1, round(moment.seconds / TIME_BASE))
        frame.pts, frame.time_base = self._last, TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def _flush(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write the frames that the encoder still holds."""
        if kind is None and self._container is not None and self._stream is not None:
            self._container.mux(self._stream.encode())
