# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How fast pairs are made and learned from, in samples per second of one core's work.

A sample is one flow field; a pair gives two. Processor time is counted, not time on the clock, so that other programs
disturb less.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch

from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.pretraining.schedule import schedule
from mdflow_training.pretraining.training import Training
from mdflow_training.settings.pretraining import Phase, PretrainConfig
from mdflow_training.synthetic.batches import Request, SyntheticPairs
from mdflow_training.synthetic.texture_packages import default_textures
from mdflow_training.synthetic.textures import load_library, procedural_library

WARM_UP = 2


def rate(work: Callable[[int], object], samples: int, seconds: float) -> float:
    """Return samples per second of processor time; ``work(n)`` does the ``n``-th piece, of ``samples`` samples."""
    for number in range(WARM_UP):
        work(number)
    started, number = time.process_time(), 0
    while time.process_time() - started < seconds:
        work(WARM_UP + number)
        number += 1
    return samples * number / (time.process_time() - started)


def learning(size: tuple[int, int], batch: int, seconds: float, **settings: object) -> float:
    """Return how many samples a second are learned, with ``settings`` of `PretrainConfig` and `Phase`."""
    finest = settings.pop("finest_level", 2)
    channels_last = settings.pop("channels_last", False)
    phase = Phase(samples=2 * batch, size=size, batch=batch, learning_rate=1e-4, finest_level=finest)  # type: ignore[arg-type]
    training = Training(PretrainConfig(phases=(phase,), **settings), ProcessContext(0, 1, torch.device("cpu")))  # type: ignore[arg-type]
    if channels_last:
        training.network.to(memory_format=torch.channels_last)
    images = [torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8) for _ in range(2)]
    flows = [torch.randn(batch, 2, *size) for _ in range(2)]
    step = schedule(training.config, 1)[0]
    return rate(lambda _: training.step(step, [*images, *flows]), 2 * batch, seconds)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=4, help="pairs a step")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument(
        "--textures", type=Path, default=default_textures(), help="folder that fetch_textures.py filled"
    )
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    size = (options.size[0], options.size[1])
    library = load_library(options.textures) if options.textures.is_dir() else procedural_library()
    print(f"{size[1]}x{size[0]}, {options.batch} pairs a step, one core")
    for uses in (1, 3):
        pairs = SyntheticPairs(library, 1, uses=uses, pool=32)
        made = rate(lambda n, pairs=pairs: pairs[Request(n, size)], 2, options.seconds)  # type: ignore[misc]
        print(f"making pairs, {uses} uses of each scene: {made:.1f} samples/s")
    for name, settings in (
        ("float32", {"precision": "float32"}),
        ("float32, channels last", {"precision": "float32", "channels_last": True}),
        ("bfloat16", {"precision": "bfloat16"}),
        ("bfloat16, channels last", {"precision": "bfloat16", "channels_last": True}),
        ("auto without the finest level", {"finest_level": 3}),
    ):
        print(f"learning, {name}: {learning(size, options.batch, options.seconds, **settings):.1f} samples/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
