# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrate the confidence of a model on generated pairs, and write the constants into its card.

    python training/calibrate_confidence.py MODEL.onnx

Models without their own constants use those of the bundled model, which fit the models adapted from it well.
``evaluate.py`` reports the calibration error (ECE).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.core.argument_types import at_least
from mdflow_ros.core.atomic_files import check_writable, replace_file
from mdflow_ros.core.confidence import UNCALIBRATED
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import card_path, load_card
from mdflow_ros.model.confidence_calibration import as_card_entry
from mdflow_ros.quality import QUALITIES
from mdflow_training.evaluation.calibration import BLANK_EVERY, calibration_pairs, fit_calibration
from mdflow_training.synthetic.texture_packages import default_textures
from mdflow_training.synthetic.textures import load_library, procedural_library


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns 0, or 1 with the reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="deployable model; its card is updated")
    parser.add_argument(
        "--pairs",
        type=at_least(BLANK_EVERY),
        default=480,
        help=f"number of pairs, at least {BLANK_EVERY}; default: %(default)s",
    )
    parser.add_argument("--seed", type=at_least(0), default=777, help="seed of the pairs; default: %(default)s")
    parser.add_argument(
        "--textures", type=Path, default=default_textures(), help="folder that fetch_textures.py filled"
    )
    parser.add_argument("--procedural", action="store_true", help="use procedural textures, which need no download")
    options = parser.parse_args(arguments)
    try:
        # Textures held out by pretraining: on its training textures, the model would look better than it is.
        library = procedural_library(options.seed) if options.procedural else load_library(options.textures).split()[1]
        card = load_card(options.model)
        check_writable(options.model.parent)
        confidence = {}
        for quality in QUALITIES:
            estimator = FlowEstimator(options.model, "onnxruntime", quality=quality, calibration=UNCALIBRATED)
            pairs = calibration_pairs(library, options.seed, options.pairs)
            confidence[quality] = as_card_entry(fit_calibration(estimator, pairs, options.seed))
            estimator.close()
        replace_file(card_path(options.model), dataclasses.replace(card, confidence=confidence).to_json().encode())
    except (OSError, ValueError, BackendError, BackendUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote the confidence of {', '.join(QUALITIES)} into {card_path(options.model)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
