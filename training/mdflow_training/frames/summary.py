# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Summary of a recording: how many frames were kept, and why the others were dropped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

MAX_CAMERAS = 10
"""Cameras that are printed; some drivers give each image another frame_id."""


@dataclass(frozen=True)
class FrameSummary:
    """Statistics of the recordings after pairs were formed.

    Attributes:
        sources: the sources as given by the user.
        cameras: ``topic frame_id WxH`` of each camera found.
        verdicts: number of frames by verdict; the sum is the number of all frames.
        duration_seconds: recorded time, without gaps and jumps.
        rate_hz: the camera's usual frame rate, 0 if unknown.
        sequences: number of unbroken sequences of usable frames.
        cuts: number of breaks between sequences, by reason.
        training_pairs: number of pairs for training.
        held_out_pairs: number of held-out pairs.
        warnings: one line for everything in the sources that is missing, damaged or unusual.
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
        """Return the content of ``summary.json``; for its readers, the warnings keep their published key ``losses``."""
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
