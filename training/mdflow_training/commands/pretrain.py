# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Train the teacher from scratch on synthetic pairs with known flow.

The run folder contains ``config.yaml``, ``last.pt`` (the state for a resume), ``best.pth`` and ``last.pth`` (averaged
weights, for import_checkpoint.py), ``phaseN.pth`` (averaged weights at the end of each phase), ``curve.csv`` and the
events of TensorBoard. Run the same command again to resume.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import nullcontext
from pathlib import Path

import cv2
import torch

from mdflow_ros.core.argument_types import path_in_utf8
from mdflow_ros.core.folder_lock import folder_lock
from mdflow_training.engine import distributed
from mdflow_training.pretraining.run import LOGGER, keep_config, train
from mdflow_training.settings.pretraining import PretrainConfig, load_pretrain_config
from mdflow_training.settings.reading import checked


def main(arguments: list[str] | None = None) -> int:
    """Train; return 0, or 1 if the settings or the run folder are wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_config = Path(__file__).parents[1] / "configs" / "pretrain.yaml"
    parser.add_argument("--config", type=Path, default=default_config, help="YAML file; default: pretrain.yaml")
    parser.add_argument(
        "--out", type=path_in_utf8, required=True, help="run folder; an unfinished run in it is resumed"
    )
    parser.add_argument("--seed", type=int, help="overrides the configured seed; use another for each cycle")
    parser.add_argument("--textures", type=Path, help="folder that fetch_textures.py filled")
    parser.add_argument(
        "--changed-config",
        action="store_true",
        help="resume with different settings or textures; the search for the best weights starts again",
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load_pretrain_config(options.config)
        if options.seed is not None:
            config = checked(PretrainConfig, {**config.model_dump(), "seed": options.seed})
        cv2.setNumThreads(1)
        torch.set_num_threads(config.threads)
        context = distributed.setup()
        try:
            with folder_lock(options.out) if context.is_main else nullcontext():
                if context.is_main:
                    keep_config(config, options.out, options.changed_config)
                if options.textures is not None:
                    config = config.model_copy(update={"textures": options.textures})
                train(config, options.out, context, options.changed_config)
        finally:
            distributed.teardown()
    except (OSError, ValueError, FloatingPointError, ModuleNotFoundError) as error:
        LOGGER.error("error: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
