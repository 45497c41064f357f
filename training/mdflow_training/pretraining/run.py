# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A pretraining run: its textures, settings, folder and training loop."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import yaml

from mdflow_ros.core.atomic_files import replace_file
from mdflow_training.engine.checkpoint import load_state, save_state
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.pretraining.log import PretrainingLog
from mdflow_training.pretraining.schedule import schedule
from mdflow_training.pretraining.training import Training
from mdflow_training.settings.pretraining import PretrainConfig, load_pretrain_config
from mdflow_training.synthetic.batches import BatchRequests, SyntheticPairs, load_batches
from mdflow_training.synthetic.solid_renderer import require_embree
from mdflow_training.synthetic.texture_packages import default_textures
from mdflow_training.synthetic.textures import TextureLibrary, load_library, procedural_library

LOGGER = logging.getLogger(__name__)

VALIDATION_SEED = 0x5EED


def open_library(config: PretrainConfig) -> TextureLibrary:
    """Read the textures that ``config`` specifies."""
    if config.textures == Path("procedural"):
        return procedural_library(config.seed, 20, 256)
    return load_library(config.textures or default_textures())


def keep_config(config: PretrainConfig, folder: Path, changed: bool) -> None:
    """Write ``config`` into the run folder; unless ``changed``, an existing one must be equal.

    Raises:
        ValueError: the existing configuration differs, and ``changed`` is false.
    """
    path = folder / "config.yaml"
    if path.exists() and load_pretrain_config(path) != config and not changed:
        raise ValueError(
            f"{path} differs from --config: use another --out, or add --changed-config to continue with other settings"
        )
    replace_file(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def train(config: PretrainConfig, folder: Path, context: ProcessContext, changed: bool = False) -> None:
    """Train until all phases are complete; resume from ``folder/last.pt`` if it exists.

    Args:
        config: the settings.
        folder: the run folder.
        context: this process.
        changed: whether settings or textures changed since the last part. Earlier validations are then not comparable,
            and the search for the best weights starts again.

    Raises:
        ModuleNotFoundError: embreex is not installed.
    """
    require_embree()
    train_textures, held_out = open_library(config).split()
    training = Training(config, context)
    if (folder / "last.pt").exists():
        training.restore(load_state(folder / "last.pt"))
        if changed:
            training.best = math.inf
        LOGGER.info("resumed at step %d, %d samples", training.steps, training.samples)
    steps = schedule(config, context.world_size)[training.steps :]
    requests = BatchRequests([step.plan for step in steps], context.rank)
    pairs = SyntheticPairs(train_textures, config.seed, config.mixture, config.uses, config.pool)
    batches = load_batches(pairs, requests, config.workers)
    report = PretrainingLog(folder, training, len(steps)) if context.is_main else None
    validation_pairs = SyntheticPairs(held_out, VALIDATION_SEED)
    for step, batch in zip(steps, batches, strict=True):
        loss, error = training.step(step, batch)
        if report:
            report.step(step, loss, error)
            if training.steps % config.validation_every == 0 or step.ends_phase:
                report.validation(training.validate(validation_pairs), step.ends_phase)
            if training.steps % config.save_every == 0 or step.ends_phase:
                save_state(folder / "last.pt", training.state())
    if report:
        report.close()
