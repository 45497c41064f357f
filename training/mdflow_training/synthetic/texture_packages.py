# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures under open licenses, taken from Debian packages: the textures of generated pairs."""

from __future__ import annotations

import logging
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mdflow_ros.core.cache_folder import cache_folder
from mdflow_ros.core.picture_files import opencv_path, write_picture
from mdflow_ros.core.resizing import shrink
from mdflow_training.flow_files import Image

LOGGER = logging.getLogger(__name__)

MAX_PHOTOGRAPH_SIDE = 1280
MAX_CUTOUT_SIDE = 320
MIN_PHOTOGRAPH_SIDE = 480
MIN_CUTOUT_SIDE = 64
NO_PICTURE = re.compile("normal|_nm?$|gloss|mask|blend")
"""Names of files that hold surface normals and other numbers instead of colors."""

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def default_textures() -> Path:
    """Return the folder that fetch_textures.py fills by default."""
    return cache_folder("textures")


@dataclass(frozen=True)
class Package:
    """A Debian package of pictures.

    Attributes:
        name: of the Debian package.
        licenses: every one that a picture of it has, as the package's copyright file names them.
        folder: its pictures, below ``/usr/share``.
        files: which files there are pictures of the world, and not normal maps, icons and the like (a glob).
        cutouts: whether the pictures are objects on a transparent ground, not photographs.
    """

    name: str
    licenses: tuple[str, ...]
    folder: str
    files: str = "**/*"
    cutouts: bool = False


SUPERTUXKART_LICENSES = (
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC0",
    "public-domain",
    "GPL-3+",
    "GPL",
    "MIT",
)
"""Half of its pictures have no entry in the copyright file; the package's GPL-3+ holds for them."""

PACKAGES = (
    Package("lomiri-wallpapers-16.04", ("CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0"), "backgrounds"),
    Package("lomiri-wallpapers-20.04", ("CC-BY-SA-3.0",), "backgrounds"),
    Package("mate-backgrounds", ("GPL-2+", "CC-BY-SA-4.0"), "backgrounds"),
    Package("plasma-workspace-wallpapers", ("GPL-2+",), "wallpapers"),
    Package("gnome-backgrounds", ("Creative Commons Attribution-ShareAlike 3.0",), "backgrounds"),
    Package("ukui-wallpapers", ("CC-BY-SA-3.0",), "backgrounds"),
    Package("supertuxkart-data", SUPERTUXKART_LICENSES, "games/supertuxkart/data", "t[er]*/**/*.jpg"),
    Package("tuxpaint-stamps-default", ("GPL-2",), "tuxpaint/stamps", cutouts=True),
)
"""opencv-doc is left out on purpose: it carries RubberWhale, an evaluation pair, and pictures of unclear origin.

The licenses are those of Debian's copyright files. The authors name others for some pictures: each wallpaper of Plasma
its own in a ``metadata.json``, LGPL-3 or CC-BY-SA-4.0; the source of Tux Paint's stamps, in ``docs/CONTRIBUTORS.txt``,
GFDL, CC-BY, CC-BY-SA and public domain, and none for grapes, sliced orange and sliced lime, which come from sxc.hu.
"""


def unpack(package: Package, folder: Path) -> Path:
    """Download ``package`` and unpack it into ``folder``; return the folder of its pictures.

    Raises:
        RuntimeError: apt or dpkg failed, or the copyright file does not name the expected licenses.
    """
    with tempfile.TemporaryDirectory(prefix="textures") as download:
        for command in (["apt-get", "download", package.name], ["dpkg", "-x", "PACKAGE", str(folder)]):
            found = sorted(Path(download).glob("*.deb"))
            command = [str(found[0]) if word == "PACKAGE" else word for word in command]
            result = subprocess.run(command, cwd=download, capture_output=True, text=True, check=False)
            if result.returncode:
                raise RuntimeError(
                    f"{' '.join(command)} failed: {result.stderr.strip()}; run `apt-get update` on Debian or Ubuntu"
                )
    copyright_text = (folder / "usr/share/doc" / package.name / "copyright").read_text(errors="replace")
    missing = [license for license in package.licenses if license not in copyright_text]
    if missing:
        raise RuntimeError(f"{package.name} no longer names {', '.join(missing)}; read its copyright file first")
    return folder / "usr/share" / package.folder


def thumbnail(image: NDArray[Any]) -> Image:
    """Return a 16x16 gray copy, to recognize the same picture at another size."""
    gray = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(gray, (16, 16), interpolation=cv2.INTER_AREA), np.uint8)


def usable(image: NDArray[Any] | None, cutout: bool) -> bool:
    """Whether ``image`` is large enough and, for a cut-out, has a transparent ground."""
    if image is None or image.ndim != 3 or image.dtype != np.uint8:
        return False
    if not cutout:
        return min(image.shape[:2]) >= MIN_PHOTOGRAPH_SIDE
    return image.shape[2] == 4 and min(image.shape[:2]) >= MIN_CUTOUT_SIDE and 0.1 < (image[..., 3] > 127).mean() < 0.98


def collect(package: Package, pictures: Path, out: Path, seen: list[NDArray[np.int16]]) -> int:
    """Write the usable pictures below ``pictures`` into ``out``, shrunk, each once; return how many."""
    kind = out / ("cutouts" if package.cutouts else "photographs")
    kind.mkdir(parents=True, exist_ok=True)
    files = [
        file
        for file in pictures.glob(package.files)
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.is_symlink() and not NO_PICTURE.search(file.stem.lower())
    ]
    count = 0
    for file in tqdm(sorted(files, key=lambda file: (-file.stat().st_size, file)), desc=package.name, unit="file"):
        image = cv2.imread(opencv_path(file), cv2.IMREAD_UNCHANGED if package.cutouts else cv2.IMREAD_COLOR)
        if image is None or not usable(image, package.cutouts):
            continue
        small = thumbnail(image).astype(np.int16)
        if any(np.abs(small - other).mean() < 3 for other in seen):
            continue
        seen.append(small)
        longest = MAX_CUTOUT_SIDE if package.cutouts else MAX_PHOTOGRAPH_SIDE
        suffix = "png" if package.cutouts else "jpg"
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if package.cutouts else cv2.COLOR_BGR2RGB), np.uint8)
        write_picture(kind / f"{package.name}-{count:04d}.{suffix}", shrink(rgb, longest, longest))
        count += 1
    return count


def table(counts: dict[str, int]) -> str:
    """Return the packages, their licenses and how many pictures each gave, as a Markdown table."""
    rows = ["| package | license of the pictures | pictures |", "|---|---|---|"]
    for package in PACKAGES:
        kind = "cut-outs" if package.cutouts else "photographs"
        rows.append(f"| {package.name} | {', '.join(package.licenses)} | {counts.get(package.name, 0)} {kind} |")
    return "\n".join(rows)
