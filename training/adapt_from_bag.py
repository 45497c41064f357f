# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Adapt the teacher to a robot's world from its own recordings, without labels.

    python training/adapt_from_bag.py robot.mcap
    python training/adapt_from_bag.py 'bag:drive_*/#/camera/image_raw' video:walk.mp4 --out adaptations/garage \
        --config my.yaml --set stage1.optimization.steps=1000 --set student.name=raft_large
    torchrun --nproc-per-node 4 training/adapt_from_bag.py robot.mcap

Run the same command again to go on after an interruption. The folder gets the adapted ``teacher.onnx`` with its card,
what was decided and why (``adaptation.json``), loss curves (``tensorboard --logdir``) and a contact sheet of frames.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from mdflow_ros.model.card import BUNDLED_MODEL, ModelError, Preprocessing
from mdflow_ros.model.weights import load_weights
from mdflow_training.adaptation_config import AdaptationConfig, load_config
from mdflow_training.distributed import Context, reduce_mean, setup, teardown
from mdflow_training.frame_source import PreparedPairs, prepare_pairs
from mdflow_training.import_checkpoint import import_checkpoint
from mdflow_training.mutual_distillation import AdaptationResult, adapt
from mdflow_training.stage_loop import State

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def load_teacher(model: Path) -> State:
    """Return the weights of a deployable model.

    Raises:
        ModelError: it cannot be read, or is of a kind that cannot be adapted.
    """
    weights, card = load_weights(model)
    if not card.cost_volume_normalization or card.preprocessing is not Preprocessing.RGB_SCALAR_MEAN:
        raise ModelError(
            f"{model} was trained without cost-volume normalisation or for other images; adapt the bundled model, or "
            "one that was adapted from it"
        )
    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}


def prepare_together(sources: list[str], folder: Path, config: AdaptationConfig, context: Context) -> PreparedPairs:
    """Decode recordings in the main process, then let the others read what it left."""
    if context.is_main:
        prepared = prepare_pairs(sources, folder, config.frames)
    reduce_mean(torch.zeros(1, device=context.device))
    if not context.is_main:
        prepared = prepare_pairs(sources, folder, config.frames, progress=False)
    return prepared


def adapt_from_recordings(
    sources: list[str], out: Path, config: AdaptationConfig, model: Path, context: Context
) -> AdaptationResult:
    """Go from recordings to an adapted teacher in ``out``, and export it if it is another one.

    Raises:
        ValueError: recordings, settings or model cannot be used; the text names the fix.
        OSError: a file cannot be read or written.
    """
    teacher = load_teacher(model)
    prepared = prepare_together(sources, out / "frames", config, context)
    if context.is_main:
        print(prepared.summary)
        print(f"  see {prepared.contact_sheet}", flush=True)
    result = adapt(teacher, prepared.training, prepared.held_out, config, out, context)
    if context.is_main and result.chosen != "initial":
        import_checkpoint(
            out / "teacher.pt",
            out / "teacher.onnx",
            name=out.name,
            licence="unknown",
            training_data=f"adapted from {model.name} to {', '.join(sources)}",
        )
    return result


def print_result(result: AdaptationResult, out: Path) -> None:
    """Say what was decided."""
    for note in result.notes:
        print(note)
    if result.stopped is not None:
        print(f"stopped early: {result.stopped}")
    if result.chosen == "initial":
        print("no teacher was better than the one it began with on the held-out frames: keep that one")
    else:
        print(f"the adapted teacher ({result.chosen}) is {out / 'teacher.onnx'}")


def main(arguments: list[str] | None = None) -> int:
    """Adapt from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="bag:PATH#/topic, video:PATH, images:FOLDER, or a path; globs too")
    parser.add_argument("--out", type=Path, help="folder of the run (default: adaptations/NAME OF THE FIRST SOURCE)")
    parser.add_argument("--config", type=Path, help="YAML with the settings to change; training/configs has them all")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change one setting")
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="teacher to begin with (default: bundled)")
    options = parser.parse_args(arguments)
    out = options.out or Path("adaptations") / default_name(options.sources[0])
    try:
        config = load_config(options.config, options.set)
        context = setup()
        try:
            result = adapt_from_recordings(options.sources, out, config, options.model, context)
        finally:
            teardown()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command goes on from where {out} is", file=sys.stderr)
        return INTERRUPTED
    if context.is_main:
        print_result(result, out)
    return 0


def default_name(source: str) -> str:
    """Name a run by its recording: ``bag:/data/robot.mcap#/camera`` becomes ``robot``."""
    path = source.split("#")[0]
    kind, colon, rest = path.partition(":")
    path = rest if colon and kind in ("bag", "video", "images") else path
    stem = Path(path.rstrip("/")).name.split(".")[0]
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in stem) or "run"


if __name__ == "__main__":
    sys.exit(main())
