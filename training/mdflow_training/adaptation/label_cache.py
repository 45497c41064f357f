# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels, computed once and kept on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdflow_ros.core.atomic_files import written_aside
from mdflow_training.engine.batches import Batch

MAX_COMPONENT = 1000.0
"""Flow components are clamped to this many pixels to fit float16; the losses ignore labels this long anyway."""


FILE_OVERHEAD = 1024
"""Bytes of a file besides its arrays, roughly."""


class Labels(NamedTuple):
    """Labels of N pairs, stacked directions."""

    flow: Tensor
    """``(2N, 2, H, W)`` pixels, rounded to float16 (steps of 1/64 px at 20 px)."""
    mask: Tensor
    """``(2N, 1, H, W)``, 1 where the flow may be learned, else 0."""
    visible: Tensor
    """``(N,)``: share of pixels that are visible in the other frame, in [0, 1]."""


Labeler = Callable[[Tensor, Tensor], Labels]
"""Computes the labels of one pair from its two frames, RGB ``(1, 3, H, W)`` in [0, 1]."""


class LabelCache:
    """A labeler that stores its labels on disk.

    Pairs are labeled one at a time, so a label does not depend on the batch in which it is first needed. Labels beyond
    the budget are computed (and rounded) again each time.

    Args:
        labeler: computes the labels of one pair.
        folder: folder of the files; it must not contain labels of another labeler.
        budget: bytes of disk space.
        pixels: height times width of a label, to estimate its size on disk.
    """

    def __init__(self, labeler: Labeler, folder: Path, budget: float, pixels: int) -> None:
        self.labeler, self.folder = labeler, folder
        # A pixel has two directions, each with two float16 components and one bit of the mask.
        self.capacity = int(budget / (pixels * (2 * 2 * 2 + 2 / 8) + FILE_OVERHEAD))
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, batch: Batch) -> Labels:
        """Return the labels of a batch, on the device of its images."""
        labels = [self._label(*sample) for sample in zip(batch.indices, batch.first, batch.second, strict=True)]
        flows = [torch.stack([label.flow[side] for label in labels]) for side in (0, 1)]
        masks = [torch.stack([label.mask[side] for label in labels]) for side in (0, 1)]
        return Labels(torch.cat(flows), torch.cat(masks), torch.cat([label.visible for label in labels]))

    def clear(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _label(self, index: int, first: Tensor, second: Tensor) -> Labels:
        path = self.folder / f"{index:08d}.npz"
        if path.exists() and (stored := _load(path, first.device)) is not None:
            return stored
        label = self.labeler(first[None], second[None])
        flow = label.flow.clamp(-MAX_COMPONENT, MAX_COMPONENT).half().float()
        label = label._replace(flow=flow, mask=label.mask.round())
        if index < self.capacity:
            _save(path, label)
        return label


def _save(path: Path, label: Labels) -> None:
    mask = np.packbits(label.mask.bool().cpu().numpy(), axis=-1)
    flow: NDArray[np.float16] = label.flow.half().cpu().numpy()
    with written_aside(path, durable=False) as aside:
        np.savez(aside, flow=flow, mask=mask, visible=label.visible.cpu().numpy())


def _load(path: Path, device: torch.device) -> Labels | None:
    """Read a label; None if the file is damaged. Labels are not synced to the disk, so a power failure can cut them."""
    try:
        with np.load(path) as stored:
            flow = torch.from_numpy(stored["flow"]).to(device).float()
            mask = torch.from_numpy(np.unpackbits(stored["mask"], axis=-1, count=flow.shape[-1])).to(device).float()
            return Labels(flow, mask, torch.from_numpy(stored["visible"]).to(device))
    except Exception:  # numpy and zipfile raise a different type for every kind of damage
        return None
