# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert recordings (bags, videos, folders of images) to pairs of frames for training and held-out pairs.

    python training/frame_source.py robot.mcap --out frames
    python training/frame_source.py 'bag:drive_*/#/camera/image_raw' video:walk.mp4 images:stills --out frames

Reads ROS 1 and ROS 2 bags (MCAP and SQLite; also compressed, split or damaged ones) without ROS. Writes the decoded
frames and ``contact_sheet.png`` to the folder, and prints how many frames were kept and why the others were dropped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mdflow_training.frames.preparation import prepare_pairs
from mdflow_training.settings.frames import FrameSettings
from mdflow_training.settings.reading import checked


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    defaults = FrameSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="bag:PATH#/topic, video:PATH, images:FOLDER, or a path; globs too")
    parser.add_argument("--out", type=Path, required=True, help="folder for the decoded frames")
    parser.add_argument("--held-out-share", type=float, default=defaults.held_out_share, help="default: %(default)s")
    parser.add_argument("--longest-side", type=int, help="scale larger frames down to this many pixels")
    parser.add_argument(
        "--cache-gigabytes",
        type=float,
        default=defaults.cache_gigabytes,
        help="disk space for the frames; default: %(default)s",
    )
    parser.add_argument(
        "--intensity-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="intensities to map to black and white, for more than 8 bits (default: determined from the images)",
    )
    options = parser.parse_args(arguments)
    try:
        names = ("held_out_share", "longest_side", "cache_gigabytes")
        values = {name: getattr(options, name) for name in names}
        settings = checked(FrameSettings, {**values, "intensity_range": options.intensity_range or "auto"})
        prepared = prepare_pairs(options.sources, options.out, settings)
    except (ValueError, OSError) as error:  # a FrameSourceError, a setting out of range, a full disk
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(prepared.summary)
    print(f"  see {prepared.contact_sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
