# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read the camera frames of a video file, with the file's timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.intensity import IntensityRange, IntensityStretch
from mdflow_ros.core.stamps import NANOSECONDS
from mdflow_ros.recordings.file_kinds import check_content
from mdflow_ros.recordings.frame import FrameSourceError, RecordedFrame
from mdflow_ros.recordings.image_stamps import ASSUMED_INTERVAL

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp"),
    *(".ogv", ".mjpeg", ".mjpg", ".h264", ".h265", ".hevc", ".gif"),
)


MAX_MISSING_SHARE, MAX_MISSING_SECONDS = 0.05, 1.0
"""The pictures may end this much before the duration of the file: its sound may be longer, or its times rounded."""

MAX_PREDICTED = 250
"""Number of frames that are refused after a damaged one if no key frame follows. Within this many frames, encoders send
a key frame or refresh the whole picture."""


class VideoFrames:
    """The frames of a video file, rotated upright and deinterlaced. The frame rate may vary.

    Args:
        path: of the file.
        warnings: receives a line if a part of the video is damaged or missing.
        intensity_range: for gray videos with more than 8 bits, see `IntensityStretch`.

    Raises:
        FrameSourceError: the file does not exist, is a Git LFS pointer, or holds no video that can be decoded; or PyAV
            is not installed.
    """

    def __init__(self, path: Path, warnings: list[str], intensity_range: IntensityRange = "auto") -> None:
        try:
            import av  # here, because bags and images do not need PyAV
            from av.stream import Disposition
        except ModuleNotFoundError as error:
            raise FrameSourceError(f"{path} is a video, which PyAV reads; run: pip install 'av>=15'") from error
        if not path.is_file():
            raise FrameSourceError(f"{path} does not exist")
        check_content(path)
        self._path, self._warnings, self._intensity_range = path, warnings, intensity_range
        try:
            with _opened(path) as container:
                next(container.decode(_track(container)))
                covers = [track.disposition & Disposition.attached_pic for track in container.streams.video]
        except (av.FFmpegError, IndexError, StopIteration) as error:
            reason = error.strerror if isinstance(error, av.FFmpegError) else "it holds no pictures"
            raise FrameSourceError(
                f"{path} holds no video that FFmpeg can decode: {reason}. Was the recording cut off, or the file not "
                "copied to its end? `ffprobe` says what it holds"
            ) from error
        if (tracks := sum(not cover for cover in covers)) > 1:
            warnings.append(
                f"{path} holds {tracks} tracks of video, of which one is read; for the others, make a file of each: "
                "`ffmpeg -i FILE -map 0:v:1 -c copy OTHER.mkv`"
            )

    def __iter__(self) -> Iterator[RecordedFrame]:
        stretch = IntensityStretch(self._intensity_range)
        stamp, following = -1, 0
        with _opened(self._path) as container:
            stream = _track(container)
            stream.thread_type = "AUTO"
            rate = stream.guessed_rate or stream.average_rate  # the average is only a default in streams without times
            if _holds_no_times(container):
                self._warnings.append(
                    f"{self._path} holds no times; its nominal rate is taken, {float(rate or 30):g} Hz"
                )
            interval = round(NANOSECONDS / rate) if rate and rate <= 1000 else ASSUMED_INTERVAL
            first: int | None = None
            refused = 0
            for frame, sound in judged_frames(_deinterlaced(self._decoded(container, stream), stream)):
                in_file = _time(frame, stream)
                # If the container has no times, the frame rate gives them.
                stamp = in_file if in_file is not None and in_file > stamp else following
                following = stamp + interval
                first = stamp if first is None else first
                refused += not sound
                yield RecordedFrame(stamp, "", partial(_to_rgb, frame, stretch, sound), stretch)

            if refused:
                self._warnings.append(
                    f"{self._path}: {refused} frames are damaged, or predicted from a damaged one; they are left out"
                )
            self._compare_with_duration(following - (first or 0), container, stream)

    def _compare_with_duration(self, read: int, container: InputContainer, stream: VideoStream) -> None:
        """Warn if the duration that was ``read``, in ns, is much shorter than the file's."""
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = ((container.duration or 0) - (container.start_time or 0)) / 1e6  # Matroska counts from 0
        missing = duration - read / NANOSECONDS
        if missing > max(MAX_MISSING_SHARE * duration, MAX_MISSING_SECONDS):
            self._warnings.append(
                f"{self._path} says that it holds {duration:.1f} s, but its pictures end after "
                f"{read / NANOSECONDS:.1f} s: it was cut off, or is damaged"
            )

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Yield the frames that can be decoded."""
        import av

        damaged = 0
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, IndexError, MemoryError):  # nothing more can be read
                damaged += 1
                break
            if packet is None:
                break
            try:
                yield from packet.decode()
            except (av.FFmpegError, MemoryError):
                damaged += 1
        if damaged:
            self._warnings.append(f"{self._path}: {damaged} pieces of the video are damaged; their frames are missing")


def _opened(path: Path) -> InputContainer:
    """Open a video; tags in an unknown encoding are no error."""
    import av

    # PyAV 19 always replaces undecodable characters and has no such argument.
    options: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    # An absolute path, because FFmpeg takes the part before a colon for a protocol.
    return av.open(str(path.absolute()), mode="r", **options)


def _holds_no_times(container: InputContainer) -> bool:
    """Return whether a file holds only encoded frames, as an encoder or a camera sends them."""
    no_timestamps = 0x80  # FFmpeg's AVFMT_NOTIMESTAMPS
    return bool(container.format.flags & no_timestamps) or container.format.name.endswith("_pipe")


def _track(container: InputContainer) -> VideoStream:
    """Return the track that FFmpeg would play, not a cover picture, which may come first."""
    track = container.streams.best("video")
    if track is None:
        raise IndexError("no track of video")
    return cast("VideoStream", track)


def judged_frames(frames: Iterator[VideoFrame]) -> Iterator[tuple[VideoFrame, bool]]:
    """Yield each frame and whether it is sound: neither damaged nor predicted from a damaged frame."""
    predicted = 0
    for frame in frames:
        predicted = MAX_PREDICTED + 1 if frame.is_corrupt else 0 if frame.key_frame else max(predicted - 1, 0)
        yield frame, not predicted


def _deinterlaced(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield deinterlaced frames; an interlaced frame has the time of its first field."""
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    for frame in frames:
        if graph is not None and shape != _shape(frame):  # a filter takes frames of one size
            yield from _last_filtered(graph)
            graph = None
        if graph is None and frame.interlaced_frame:
            graph, shape = _deinterlacer(frame, stream), _shape(frame)
        if graph is None:
            yield frame
        else:
            graph.push(frame)
            yield from _filtered(graph)
    if graph is not None:
        yield from _last_filtered(graph)


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _deinterlacer(frame: VideoFrame, stream: VideoStream) -> Graph:
    """Return a filter for frames such as this one."""
    from av.filter import Graph

    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=stream.time_base),
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _last_filtered(graph: Graph) -> Iterator[VideoFrame]:
    """Yield the frames that a filter has, which gets no more."""
    graph.push(None)
    yield from _filtered(graph)


def _filtered(graph: Graph) -> Iterator[VideoFrame]:
    """Yield the frames that a filter has ready."""
    import av

    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return


def _time(frame: VideoFrame, stream: VideoStream) -> int | None:
    """Return the time of a frame since the video began, in ns."""
    if frame.pts is None or frame.time_base is None:
        return None
    start = (stream.start_time or 0) * stream.time_base if stream.time_base else 0
    return round((frame.pts * frame.time_base - start) * NANOSECONDS)


def _to_rgb(frame: VideoFrame, stretch: IntensityStretch, sound: bool) -> NDArray[np.uint8]:
    if not sound:
        raise ValueError("corrupt video frame, or one predicted from such a frame")
    components = frame.format.components
    if len(components) == 1 and components[0].bits > 8:
        samples = np.asarray(frame.to_ndarray(format="gray16le"), np.uint16) >> (16 - components[0].bits)
        image = np.repeat(stretch.convert(samples)[..., None], 3, axis=2)
    else:
        image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    image = np.flipud(image) if _is_mirrored(frame) else image
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))


def _is_mirrored(frame: VideoFrame) -> bool:
    """Return whether the display matrix mirrors the picture, top to bottom, before it rotates it."""
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data  # PyAV's type hints know no keys
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return False
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32).tolist()
    return a * d < b * c
