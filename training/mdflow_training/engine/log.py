# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The log of a running stage: a progress bar, TensorBoard, and the same values as lines of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from mdflow_ros.core.atomic_files import replace_file
from mdflow_training.engine.distributed import ProcessContext


def progress_interval() -> float:
    """Return the seconds between updates of a progress bar: longer in a log file, where every update adds a line."""
    return 1.0 if sys.stderr.isatty() else 60.0


class StageLog:
    """The log of one stage; only the main process writes.

    Args:
        name: name of the stage, shown in the progress bar.
        folder: receives ``metrics.jsonl``: one object per line, with means over the steps since the previous line.
        events: folder of TensorBoard's events.
        context: this process.
        start: the step at which a resumed stage continues; later lines of an interrupted run are deleted.
        steps: number of steps of the stage.
        batch_size: samples per step.
    """

    def __init__(
        self, name: str, folder: Path, events: Path, context: ProcessContext, start: int, steps: int, batch_size: int
    ) -> None:
        self.values: dict[str, list[float]] = {}
        self.batch_size = batch_size
        self.path = folder / "metrics.jsonl"
        self.writer: SummaryWriter | None = None
        if context.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_from(self.path, start)
            self.writer = SummaryWriter(str(events), purge_step=start)
        self.bar = tqdm(
            total=steps * batch_size,
            initial=start * batch_size,
            desc=name,
            unit=" samples",
            disable=not context.is_main,
            mininterval=progress_interval(),
        )

    def step(self, values: Mapping[str, float]) -> None:
        """Record the values of a step."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)
        self.bar.update(self.batch_size)
        self.bar.set_postfix(loss=f"{values['loss']:.3f}", visible=f"{values['visible']:.0%}", refresh=False)

    def write(self, step: int) -> None:
        """Write the means since the last call; ``step`` steps are done."""
        means = {name: sum(values) / len(values) for name, values in self.values.items()}
        self.values = {}
        if self.writer is None:
            return
        for name, value in means.items():
            self.writer.add_scalar(name, value, step)
        with self.path.open("a") as stream:
            stream.write(json.dumps({"step": step, **means}) + "\n")

    def panel(self, picture: NDArray[np.uint8], step: int) -> None:
        """Log a panel, ``(H, W, 3)`` uint8 RGB, to TensorBoard."""
        if self.writer is not None:
            self.writer.add_image(
                "image | flow | student | visible | reliable | match reliability", picture, step, dataformats="HWC"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state for an exact resume."""
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.values = state["values"]

    def __enter__(self) -> StageLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.close()
        if self.writer is not None:
            self.writer.close()


def _drop_from(path: Path, start: int) -> None:
    """Delete lines of steps after ``start``, and a last line that is incomplete because the run was killed."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= start:
                kept.append(line + "\n")
        except (json.JSONDecodeError, KeyError):
            break
    replace_file(path, "".join(kept).encode())
