# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Videos as cameras and phones really write them."""

from __future__ import annotations

import contextlib
import itertools
import struct
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs PyAV, the package av")

from bag_files import panning_images

from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_ros.recordings.source import parse_source
from mdflow_ros.recordings.video_frames import MAX_PREDICTED, judged_frames

IMAGES = panning_images(12)
HEIGHT, WIDTH = IMAGES[0].shape[:2]


def write(path: Path, codec: str, pixels: str, images: list[np.ndarray] = IMAGES, **options: str) -> Path:
    """Write images, (H, W, 3) uint8 or (H, W) uint16, as a video of 20 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20, options=options)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixels
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24" if image.ndim == 3 else "gray16le")
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read(path: Path, **settings: object) -> tuple[list[int], list[np.ndarray], list[str]]:
    warnings: list[str] = []
    frames = [(frame.stamp, frame.decode()) for _, frame in parse_source(str(path)).frames(warnings, **settings)]  # type: ignore[arg-type]
    return [stamp for stamp, _ in frames], [image for _, image in frames], warnings


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("lossless.mkv", "ffv1", "bgra", {}),
        ("ten_bit.mov", "prores_ks", "yuv422p10le", {}),
        ("progressive.mp4", "libx264", "yuv420p", {"crf": "8"}),
        ("interlaced.mp4", "libx264", "yuv420p", {"crf": "8", "flags": "+ildct+ilme"}),
        ("interlaced.mpg", "mpeg2video", "yuv420p", {"qscale": "2", "flags": "+ildct+ilme"}),
    ],
)
def test_frames_come_whole_in_order_and_at_their_times(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict[str, str]
) -> None:
    stamps, images, warnings = read(write(tmp_path / name, codec, pixels, **options))
    assert np.diff(stamps).tolist() == pytest.approx([50_000_000] * 11, abs=1_000_000) and stamps[0] == 0
    for image, expected in zip(images, IMAGES, strict=True):
        assert np.abs(image.astype(float) - expected).mean() < 10
    assert not warnings


def test_gray_videos_of_more_than_8_bits_are_stretched_as_images_are(tmp_path: Path) -> None:
    thermal = [(image[..., 1].astype(np.uint16) // 2 + 3000) << 2 for image in IMAGES]  # a small part of 14 bits
    path = write(tmp_path / "thermal.mkv", "ffv1", "gray16le", thermal)
    for image, expected in zip(read(path)[1], IMAGES, strict=True):
        assert np.corrcoef(image[..., 0].ravel(), expected[..., 1].ravel())[0, 1] > 0.99 and np.ptp(image) > 100
    fixed = read(path, intensity_range=[12000, 12510])[1]
    for image, expected in zip(fixed, IMAGES, strict=True):
        np.testing.assert_allclose(image[..., 0], expected[..., 1], atol=2)


def test_damage_costs_frames_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "walk.avi", "rawvideo", "bgr24")
    path.write_bytes(path.read_bytes()[: -HEIGHT * WIDTH * 3])
    stamps, _, warnings = read(path)
    assert len(stamps) == 11 and warnings == [f"{path}: 1 pieces of the video are damaged; their frames are missing"]


def test_frames_predicted_from_a_damaged_one_are_refused_up_to_the_next_key_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "walk.mp4", "libx264", "yuv420p", IMAGES * 3, crf="8", g="12", bf="0", sc_threshold="0")
    with av.open(str(path)) as container:
        damaged = list(container.demux(video=0))[16]
        start, size = damaged.pos, damaged.size
    content = bytearray(path.read_bytes())
    content[start + size // 2 : start + size] = bytes(size - size // 2)
    path.write_bytes(content)
    warnings: list[str] = []
    sound = []
    for number, (_, frame) in enumerate(parse_source(str(path)).frames(warnings)):
        with contextlib.suppress(ValueError):
            assert np.abs(frame.decode().astype(float) - IMAGES[number % 12]).mean() < 10
            sound.append(number)
    assert sound == [*range(16), *range(24, 36)]
    assert warnings == [f"{path}: 8 frames are damaged, or predicted from a damaged one; they are left out"]


def test_damage_in_a_video_without_further_key_frames_does_not_cost_all_of_it() -> None:
    frames = [SimpleNamespace(key_frame=n == 0, is_corrupt=n == 5) for n in range(600)]
    sound = [sound for _, sound in judged_frames(frames)]
    assert all(sound[:5]) and not any(sound[5 : 6 + MAX_PREDICTED]) and all(sound[6 + MAX_PREDICTED :])


def test_a_video_that_was_cut_off_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "walk.mkv", "ffv1", "bgra", IMAGES * 6)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    stamps, _, warnings = read(path)
    assert 10 < len(stamps) < 60 and "says that it holds 3.6 s, but its pictures end after" in warnings[-1]


@pytest.mark.parametrize("error", [av.error.MemoryError(12, "damaged"), IndexError("list index out of range")])
def test_damage_between_packets_ends_the_video_and_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = write(tmp_path / "walk.mkv", "ffv1", "bgra", IMAGES * 3)
    real_open = av.open

    class Damaged:
        def __init__(self, container: object) -> None:
            self._container = container

        def __getattr__(self, name: str) -> object:
            return getattr(self._container, name)

        def __enter__(self) -> Damaged:
            return self

        def __exit__(self, *_: object) -> None:
            self._container.close()

        def demux(self, stream: object) -> Iterator[object]:
            yield from itertools.islice(self._container.demux(stream), 8)
            raise error

    monkeypatch.setattr(av, "open", lambda *arguments, **named: Damaged(real_open(*arguments, **named)))
    stamps, _, warnings = read(path)
    assert 0 < len(stamps) <= 8 and "1 pieces of the video are damaged" in warnings[0]


def test_a_video_whose_times_begin_late_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgra"
        for number, image in enumerate(IMAGES):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="bgra")
            frame.pts, frame.time_base = 20_000 + number, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    stamps, _, warnings = read(path)
    assert np.diff(stamps).tolist() == [50_000_000] * 11 and not warnings


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), lambda image: np.swapaxes(image, 0, 1)),
        ((0, -1, -1, 0), lambda image: np.swapaxes(np.rot90(image, 2), 0, 1)),
    ],
    ids=["stored", "90", "180", "left-right", "top-bottom", "transposed", "other diagonal"],
)
def test_turned_and_mirrored_videos_are_shown_as_players_do(tmp_path: Path, matrix: tuple[int, ...], shown) -> None:
    path = write(tmp_path / "walk.mp4", "libx264", "yuv420p", crf="8")
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # of the matrix a, b, u, c, d, v, x, y, w of the track's header
    a, b, c, d = (65536 * entry for entry in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    for image, expected in zip(read(path)[1], IMAGES, strict=True):
        assert np.abs(image.astype(float) - shown(expected)).mean() < 10


def test_a_stream_without_times_has_its_nominal_rate_and_says_so(tmp_path: Path) -> None:
    stamps, _, warnings = read(write(tmp_path / "raw.h264", "libx264", "yuv420p"))
    assert stamps == [number * 50_000_000 for number in range(len(IMAGES))]
    assert "raw.h264 holds no times; its nominal rate is taken, 20 Hz" in warnings[0]


def test_interlaced_pictures_may_change_their_size(tmp_path: Path) -> None:
    """As on television: the deinterlacer scaled the smaller ones to the size of the first."""
    parts = [
        write(tmp_path / f"{side}.ts", "mpeg2video", "yuv420p", [image[:side, :side] for image in IMAGES],
              qscale="2", flags="+ildct+ilme")
        for side in (96, 64)
    ]  # fmt: skip
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    _, images, _ = read(tmp_path / "both.ts")
    assert {image.shape[:2] for image in images} == {(96, 96), (64, 64)}


def test_a_recording_without_its_end_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "walk.mp4", "libx264", "yuv420p")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(FrameSourceError, match="Was the recording cut off"):
        read(path)


def test_tags_in_another_encoding_do_not_matter(tmp_path: Path) -> None:
    """As dashcams and camcorders write them, in Latin-1 or GBK."""
    path = write(tmp_path / "walk.avi", "rawvideo", "bgr24")
    assert path.read_bytes().count(b"ISFT") == 1
    head, tag, rest = path.read_bytes().partition(b"ISFT")
    size = int.from_bytes(rest[:4], "little")
    path.write_bytes(head + tag + rest[:4] + b"Stra\xdfe".ljust(size, b"\0") + rest[4 + size :])
    assert len(read(path)[0]) == len(IMAGES)


def test_pyav_19_which_knows_no_metadata_errors_reads_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "walk.avi", "rawvideo", "bgr24")
    real_open = av.open

    def open_of_pyav_19(file: str, mode: str = "r") -> object:
        return real_open(file, mode)

    monkeypatch.setattr(av, "open", open_of_pyav_19)
    monkeypatch.setattr(av, "__version__", "19.0.2")
    assert len(read(path)[0]) == len(IMAGES)


def test_without_pyav_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "walk.avi", "rawvideo", "bgr24")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FrameSourceError, match="pip install 'av>=15'"):
        read(path)


def test_a_name_with_colons_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(read(write(Path("plain.mkv"), "ffv1", "bgra").rename("2024-01-31T12:30:05.mkv"))[1]) == 12


def test_the_film_is_read_and_not_its_cover_and_other_tracks_are_told(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        tracks = (("mjpeg", "yuvj420p", IMAGES[:1]), ("libx264", "yuv420p", IMAGES))
        streams = [container.add_stream(codec, rate=20) for codec, _, _ in tracks]
        for stream, (_, pixels, _) in zip(streams, tracks, strict=True):
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for stream, (_, pixels, images) in zip(streams, tracks, strict=True):
            for number, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixels)
                frame.pts, frame.time_base = number, Fraction(1, 20)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    _, images, warnings = read(path)
    assert len(images) == 12
    assert "holds 2 tracks of video, of which one is read" in warnings[0]
