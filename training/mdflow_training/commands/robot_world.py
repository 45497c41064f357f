# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Render a robot's camera images of a generated world, with ground truth, to test the adaptation.

    python training/robot_world.py --out world                   # world/frames/000000.png, world/truth/000000.flo, ...
    python training/robot_world.py --out world --match drive     # world/truth_of_recording/FIRST_SECOND.flo

Worlds: a dim warehouse with a repetitive floor and shelves, a corridor with walking people, a field of planted rows on
soil that shakes the camera, and the ground below a drone. All differ from the bundled model's training data.

Play the frames with `camera_player` and record them with `record_bag`. Then ``--match`` names the ground truth by the
stamps of the recording, as ``adapt_from_bag --ground-truth`` expects. Nothing can be learned from recordings of
``--drive parked`` and ``--drive covered``. The same arguments give the same files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mdflow_ros.recordings.frame import FrameSourceError
from mdflow_training.synthetic.render_drive import (
    DRIVES,
    FRAMES,
    GROUND_TRUTH,
    GROUND_TRUTH_OF_RECORDING,
    match_recording,
    render_world,
)
from mdflow_training.synthetic.worlds import WORLDS


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or print the reason and return 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the world")
    parser.add_argument(
        "--frames", type=int, default=600, help="number of frames, to be played at 10 a second; default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of scene, drive and noise; default %(default)s")
    parser.add_argument("--world", choices=tuple(WORLDS), default="warehouse", help="default %(default)s")
    parser.add_argument("--drive", choices=DRIVES, default=DRIVES[0], help="default %(default)s")
    parser.add_argument("--match", metavar="RECORDING", help="name the ground truth by the stamps of this recording")
    options = parser.parse_args(arguments)
    if options.frames < 2:
        parser.error("--frames must be at least 2")
    if options.seed < 0:
        parser.error("--seed must not be negative")
    try:
        if options.match is None:
            render_world(options.out, options.frames, options.seed, options.drive, options.world)
            print(f"{options.frames} frames in {options.out / FRAMES}, their flow in {options.out / GROUND_TRUTH}")
        else:
            warnings: list[str] = []
            count = match_recording(options.out, options.match, warnings)
            print(*(f"note: {warning}" for warning in warnings), sep="\n", end="\n" if warnings else "")
            print(f"{count} pairs with ground truth in {options.out / GROUND_TRUTH_OF_RECORDING}")
    except (OSError, ValueError, FrameSourceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
