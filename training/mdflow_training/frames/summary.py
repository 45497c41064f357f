# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How many frames of a recording were kept, and why the others were not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MAX_CAMERAS = 10
"""Cameras that are printed; some drivers give each image another frame_id."""


@dataclass(frozen=True)
class FrameSummary:
    """Statistics of a recording after it was cut into pairs.

    Attributes:
        sources: as the user gave them.
        cameras: ``topic frame_id WxH`` of each camera found.
        verdicts: number of frames by what became of them; they add up to all frames of the sources.
        duration_seconds: recorded time, gaps and jumps left out.
        rate_hz: the camera's usual frame rate, 0 if unknown.
        sequences: number of unbroken runs of usable frames.
        cuts: number of places where a sequence ended, by reason.
        training_pairs, held_out_pairs: what there is to train and to test on.
        warnings: a line for everything that was missing, damaged, or odd.
    """

    sources: list[str]
    cameras: list[str]
    verdicts: dict[str, int]
    duration_seconds: float
    rate_hz: float
    sequences: int
    cuts: dict[str, int]
    training_pairs: int
    held_out_pairs: int
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for ``summary.json``, whose key for the warnings is ``losses``: its readers rely on it."""
        content = asdict(self)
        content["losses"] = content.pop("warnings")
        return content

    def __str__(self) -> str:
        total = sum(self.verdicts.values())
        cuts = "".join(f"; {count} x {name}" for name, count in self.cuts.items())
        lines = [
            f"{', '.join(self.sources)}: {total} frames, {self.duration_seconds:.1f} s at {self.rate_hz:.1f} Hz",
            *(f"  camera {camera}" for camera in self.cameras[:MAX_CAMERAS]),
            *([f"  and {len(self.cameras) - MAX_CAMERAS} more"] if len(self.cameras) > MAX_CAMERAS else []),
            *(
                f"  {name:<26}{count:>8}  {100 * count / total:5.1f} %"
                for name, count in sorted(self.verdicts.items(), key=lambda item: -item[1])
            ),
            f"  {self.sequences} {'sequence' if self.sequences == 1 else 'sequences'}{cuts}",
            f"  {self.training_pairs} pairs to train on, {self.held_out_pairs} held out",
            *(f"  note: {warning}" for warning in self.warnings),
        ]
        return "\n".join(lines)
