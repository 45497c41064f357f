# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Read and write optical flow and images: Middlebury ``.flo``, KITTI 16-bit PNG, PFM.

In memory a flow is ``(H, W, 2)`` float32 in pixels, u right and v down, and NaN where it is unknown.
A missing file raises `FileNotFoundError`; one that is not what its name says raises `BadFile`, which names it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import replace_file
from mdflow_ros.core.image_decoding import decode_compressed_image
from mdflow_ros.core.intensity import IntensityStretch
from mdflow_ros.recordings.file_kinds import content_kind

Flow = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Function = TypeVar("Function")

FLO_MAGIC = b"PIEH"
FLO_HEADER = struct.Struct("<4sii")
FLO_UNKNOWN = 1e10
UNKNOWN_FROM = 1e6
"""Flow components of at least this many pixels mean unknown (Baker et al., IJCV 2011); so do NaN and infinity."""

KITTI_STEPS_PER_PIXEL = 64
KITTI_OFFSET = 2**15
KITTI_MAX_KNOWN = 255
"""The blue channel of a KITTI flow, which says where the flow is known, has no larger values."""

PNG_BIT_DEPTH_AND_COLOR = slice(24, 26)
"""Where a PNG's header has them; 16 bit RGB, the format of KITTI's flow, is ``(16, 2)``."""


class BadFile(ValueError):
    """The content of a file does not match its format."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


def known_pixels(flow: Flow) -> Mask:
    """Return ``(H, W)``, true where the flow is known."""
    return np.asarray(np.isfinite(flow).all(axis=2))


def read_image(path: Path, stretch: IntensityStretch | None = None) -> Image:
    """Return the image as ``(H, W, 3)`` uint8 RGB, upright, from any number of channels.

    Args:
        path: of the file.
        stretch: converts samples of more than 8 bits; ``None`` takes the whole range of unsigned 16 bits, and
            stretches others by their own.

    Raises:
        OSError: the file cannot be read.
        BadFile: the file is not an image.
    """
    try:
        return decode_compressed_image(path.read_bytes(), stretch=stretch, upright=True)
    except ValueError as error:
        raise BadFile(path, str(error)) from error


def write_image(path: Path, image: Image) -> None:
    """Write an ``(H, W, 3)`` RGB or ``(H, W)`` gray uint8 image in the format given by the file's suffix."""
    _encode(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image)


def read_mask(path: Path) -> Mask:
    """Return ``(H, W)`` bool, true where the image is not black."""
    pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    return np.asarray(pixels.reshape(*pixels.shape[:2], -1)[..., :3].any(axis=2))


def read_flow(path: Path) -> Flow:
    """Read a flow in the format that its name tells: ``.flo``, ``.pfm``, or ``.png`` as KITTI has it.

    In all of them, a component that is not finite or at least 1e6 px is unknown.
    """
    if content_kind(path) == "lfs":
        raise BadFile(path, "a Git LFS pointer: run `git lfs pull` in its repository")
    flow = _format_of(path, READERS)(path)
    return _forget(flow, np.asarray(~(np.abs(flow) < UNKNOWN_FROM).all(axis=2)))


def write_flow(path: Path, flow: Flow) -> None:
    """Write a flow in the format given by the file's suffix: ``.flo``, ``.pfm``, or ``.png`` (KITTI)."""
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"{path}: a flow has shape (H, W, 2), not {flow.shape}")
    _format_of(path, WRITERS)(path, flow)


def read_flo(path: Path) -> Flow:
    """Read a Middlebury flow; unknown components keep their stored values."""
    content = path.read_bytes()
    if content[:4] != FLO_MAGIC or len(content) < FLO_HEADER.size:
        raise BadFile(path, "not a .flo file: it does not start with 'PIEH' and its size")
    _, width, height = FLO_HEADER.unpack_from(content)
    expected = FLO_HEADER.size + 8 * width * height
    if width < 1 or height < 1 or len(content) < expected:
        raise BadFile(
            path, f"{width}x{height} flow needs {expected} bytes, the file has {len(content)}: is it cut off?"
        )
    return np.frombuffer(content, "<f4", 2 * width * height, FLO_HEADER.size).reshape(height, width, 2)


def write_flo(path: Path, flow: Flow) -> None:
    """Write a Middlebury flow."""
    height, width = flow.shape[:2]
    known = np.where(known_pixels(flow)[..., None], flow, FLO_UNKNOWN)
    _write(path, FLO_HEADER.pack(FLO_MAGIC, width, height) + known.astype("<f4").tobytes())


def holds_kitti_flow(path: Path) -> bool:
    """Tell a KITTI flow from an image of 16 bit RGB: its blue channel says of each pixel 0 or 1."""
    return bool(_decode(path, cv2.IMREAD_UNCHANGED)[..., 0].max() <= 1)


def is_kitti_flow(path: Path) -> bool:
    """Tell a PNG of 16 bit RGB, which KITTI's flow is, from other images and masks by its header alone.

    Raises:
        BadFile: it is not a PNG file.
    """
    with path.open("rb") as file:
        header = file.read(26)
    if len(header) < 26 or not header.startswith(b"\x89PNG"):
        raise BadFile(path, "not a PNG")
    return tuple(header[PNG_BIT_DEPTH_AND_COLOR]) == (16, 2)


def read_kitti_flow(path: Path) -> Flow:
    """Read a KITTI flow: red and green are ``64 u + 2^15`` and ``64 v + 2^15``; blue is 0 where the flow is unknown.

    Elsewhere blue is 1, or in HD1K another small number. Virtual KITTI has 65535 there, and codes flow in another way.
    """
    blue_green_red = _decode(path, cv2.IMREAD_UNCHANGED)
    if blue_green_red.dtype != np.uint16 or blue_green_red.shape[2:] != (3,):
        raise BadFile(path, "not a KITTI flow: that is a PNG of 3 channels with 16 bit")
    if blue_green_red[..., 0].max() > KITTI_MAX_KNOWN:
        raise BadFile(
            path,
            "not a KITTI flow: its blue channel is not 0 or a small number; convert flow that is coded in another way, "
            "such as Virtual KITTI's, to .flo",
        )
    steps = blue_green_red[..., :0:-1].astype(np.float32)
    return _forget((steps - KITTI_OFFSET) / KITTI_STEPS_PER_PIXEL, blue_green_red[..., 0] == 0)


def write_kitti_flow(path: Path, flow: Flow) -> None:
    """Write a KITTI flow, rounded to 1/64 px.

    Raises:
        ValueError: a vector is beyond the format's range of [-512, 512) px.
    """
    known = known_pixels(flow)
    steps = np.rint(np.where(known[..., None], flow, 0) * KITTI_STEPS_PER_PIXEL) + KITTI_OFFSET
    if steps.min(initial=0) < 0 or steps.max(initial=0) >= 2**16:
        longest = float(np.abs(flow[known]).max())
        raise ValueError(f"{path}: a KITTI flow ends at 512 px, this one has {longest:.1f} px; write a .flo instead")
    _encode(path, np.dstack((known, steps[..., 1], steps[..., 0])).astype(np.uint16))


def read_pfm(path: Path) -> Flow:
    """Read a flow from the first two channels of a color PFM; its rows are stored from bottom to top."""
    header, _, content = path.read_bytes().partition(b"\n")
    size, _, content = content.partition(b"\n")
    scale, _, content = content.partition(b"\n")
    try:
        width, height = (int(side) for side in size.split())
        byte_order = "<" if float(scale) < 0 else ">"
    except ValueError:
        width = height = 0
        byte_order = "<"
    if header.strip() != b"PF" or width < 1 or height < 1:
        raise BadFile(path, "not a flow in PFM: that starts with 'PF', width and height, and the scale")
    expected = 12 * width * height
    if len(content) < expected:
        raise BadFile(path, f"{width}x{height} pixels need {expected} bytes, there are {len(content)}: is it cut off?")
    channels = np.frombuffer(content, byte_order + "f4", 3 * width * height).reshape(height, width, 3)
    return channels[::-1, :, :2]


def write_pfm(path: Path, flow: Flow) -> None:
    """Write a flow as the first two channels of a color PFM; the third is zero."""
    height, width = flow.shape[:2]
    channels = np.dstack((flow, np.zeros((height, width), np.float32)))[::-1]
    _write(path, f"PF\n{width} {height}\n-1.0\n".encode() + channels.astype("<f4").tobytes())


READERS: dict[str, Callable[[Path], Flow]] = {".flo": read_flo, ".png": read_kitti_flow, ".pfm": read_pfm}
WRITERS: dict[str, Callable[[Path, Flow], None]] = {
    ".flo": write_flo,
    ".png": write_kitti_flow,
    ".pfm": write_pfm,
}


def _format_of(path: Path, formats: dict[str, Function]) -> Function:
    try:
        return formats[path.suffix.lower()]
    except KeyError:
        raise BadFile(path, f"a flow file ends in {', '.join(formats)}") from None


def _forget(flow: NDArray, unknown: Mask) -> Flow:
    flow = flow.astype(np.float32)
    flow[unknown] = np.nan
    return flow


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


def _decode(path: Path, flags: int) -> NDArray:
    content = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(content, flags) if content.size else None
    if pixels is None:
        raise BadFile(path, "not an image that OpenCV reads: is it cut off?")
    return pixels


def _encode(path: Path, pixels: NDArray) -> None:
    _, content = cv2.imencode(path.suffix, pixels)
    _write(path, content.tobytes())
