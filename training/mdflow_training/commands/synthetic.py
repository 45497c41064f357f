# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Generate image pairs with exact flow and occlusion; the seed and a pair's number determine the pair."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mdflow_ros.core.atomic_files import check_writable
from mdflow_ros.core.flow_color import flow_to_color
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_training.flow_files import Image, write_flow, write_image
from mdflow_training.synthetic.layers import FlowPair
from mdflow_training.synthetic.pairs import EMBREE_CLASSES, SCENE_CLASSES, synthetic_pair
from mdflow_training.synthetic.solid_renderer import require_embree
from mdflow_training.synthetic.texture_packages import default_textures
from mdflow_training.synthetic.textures import TextureLibrary, load_library, procedural_library

SHEET_ROWS = 2 * len(SCENE_CLASSES)


def write_pair(folder: Path, pair: FlowPair) -> None:
    """Write ``pair`` as ``frame10.png``, ``frame11.png``, ``flow10.flo`` and its occlusion, white where occluded."""
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "frame10.png", np.ascontiguousarray(pair.first[..., ::-1]))
    write_image(folder / "frame11.png", np.ascontiguousarray(pair.second[..., ::-1]))
    write_flow(folder / "flow10.flo", pair.forward)
    write_image(folder / "occlusion10.png", _occlusion(pair))


def _occlusion(pair: FlowPair) -> Image:
    """Draw the forward occlusion, white where occluded, ``(H, W, 3)``."""
    return np.repeat(pair.occluded_forward[..., None], 3, axis=2).astype(np.uint8) * 255


def contact_sheet(pairs: list[FlowPair]) -> Image:
    """Draw one row for each pair: both images, both flows and the forward occlusion; uint8 RGB."""
    rows = []
    for pair in pairs:
        images = (pair.first[..., ::-1], pair.second[..., ::-1])
        rows.append(np.hstack((*images, flow_to_color(pair.forward), flow_to_color(pair.backward), _occlusion(pair))))
    return np.vstack(rows)


def main(arguments: list[str] | None = None) -> int:
    """Write pairs and a contact sheet.

    Returns:
        0, or 2 if textures or a needed package are missing, or the folder cannot be written.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="output folder: one subfolder per pair, and sheet.png")
    parser.add_argument("--count", type=int, default=SHEET_ROWS, help="number of pairs; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="seed of the pairs; default: %(default)s")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 512), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--classes", nargs="+", choices=SCENE_CLASSES, default=list(SCENE_CLASSES), help="default: all, in turn"
    )
    parser.add_argument("--no-effects", action="store_true", help="disable camera effects such as blur and noise")
    parser.add_argument(
        "--textures", type=Path, default=default_textures(), help="folder that fetch_textures.py filled"
    )
    parser.add_argument("--procedural", action="store_true", help="use procedural textures, which need no download")
    options = parser.parse_args(arguments)
    if options.count < 1 or options.seed < 0 or min(options.size) < SIZE_MULTIPLE:
        parser.error(f"--count must be 1 or more, --seed 0 or more, and --size {SIZE_MULTIPLE} {SIZE_MULTIPLE} or more")
    try:
        if EMBREE_CLASSES.intersection(options.classes):
            require_embree()
        library = procedural_library(options.seed) if options.procedural else load_library(options.textures)
        _write_pairs(library, options)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _write_pairs(library: TextureLibrary, options: argparse.Namespace) -> None:
    check_writable(options.out)
    shown = []
    for number in tqdm(range(options.count), unit="pair"):
        size = (options.size[0], options.size[1])
        scene_class = options.classes[number % len(options.classes)]
        pair = synthetic_pair(library, options.seed, number, size, scene_class, not options.no_effects)
        write_pair(options.out / f"{number:06d}", pair)
        if number < SHEET_ROWS:
            shown.append(pair)
    write_image(options.out / "sheet.png", contact_sheet(shown))


if __name__ == "__main__":
    sys.exit(main())
