# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the picture of the README: an image, its flow and the confidence of the flow.

    python benchmarks/example_picture.py --out docs/example.jpg

The image is rendered, so no license restricts it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from mdflow_ros.core.flow_color import confidence_to_color, flow_to_color
from mdflow_ros.estimator import FlowEstimator
from mdflow_training.evaluation.pictures import with_caption
from mdflow_training.flow_files import write_image
from mdflow_training.synthetic.plane_renderer import render_image
from mdflow_training.synthetic.warehouse import Warehouse, drive

SIZE = (288, 384)
FRAME = 30
WORLD = 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    options = parser.parse_args(arguments)
    warehouse, views = Warehouse(WORLD), drive(FRAME + 2, SIZE, WORLD)
    first, second = (render_image(warehouse.rectangles(frame), views[frame], SIZE) for frame in (FRAME, FRAME + 1))
    estimate = FlowEstimator(backend="onnxruntime", quality="best").estimate(first, second)
    assert estimate.confidence is not None
    tiles = {
        "image": first,
        "flow": flow_to_color(estimate.flow),
        "confidence, yellow is 1": confidence_to_color(estimate.confidence),
    }
    write_image(options.out, np.hstack([with_caption(*tile) for tile in tiles.items()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
