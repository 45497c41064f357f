# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Convert a FastFlowNet checkpoint (.pth) to a deployable model: an ONNX file and its card."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mdflow_ros.model.card import ModelError, Preprocessing
from mdflow_training.networks.checkpoints import CardFields, import_checkpoint, metrics_of


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="official FastFlowNet or MDFlow .pth, or one of this package")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write; its card is written next to it")
    parser.add_argument(
        "--preprocessing",
        choices=[choice.value for choice in Preprocessing],
        default=Preprocessing.RGB_SCALAR_MEAN.value,
        help="rgb_scalar_mean: MDFlow's and this package's checkpoints; bgr_channel_mean: supervised FastFlowNet "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--cost-volume-normalization",
        action=argparse.BooleanOptionalAction,
        help="default: as stored in the checkpoint, or off; official checkpoints do not store it and need it off",
    )
    parser.add_argument("--half", action="store_true", help="store the parameters as fp16")
    parser.add_argument("--name", help="name of the model (default: the checkpoint's file name)")
    parser.add_argument("--license", "--licence", default="unknown", help="license of the weights (default: unknown)")
    parser.add_argument("--training-data", default="unknown", help="data of the training (default: unknown)")
    parser.add_argument("--metrics", type=Path, help="report of training/evaluate.py, for the card")
    options = parser.parse_args(arguments)
    try:
        metrics = metrics_of(options.metrics) if options.metrics else {}
        card = import_checkpoint(
            options.checkpoint,
            options.out,
            CardFields(options.name, options.license, options.training_data, metrics),
            preprocessing=Preprocessing(options.preprocessing),
            cost_volume_normalization=options.cost_volume_normalization,
            half=options.half,
        )
    except (ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.1f} MB), sha256 {card.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
