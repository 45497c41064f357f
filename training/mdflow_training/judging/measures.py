# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The measures of a report: their names, units and directions, and which of them decide the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mdflow_training.judging.label_free_score import DISAGREEMENT_WEIGHT, RANDOM_MATCH

EQUAL_CONFIDENCE = 0.5
"""The confidence at which the coverage of all models is compared."""


@dataclass(frozen=True)
class Measure:
    """Description of a measure.

    Attributes:
        label: its name in reports.
        unit: ``""``, ``px`` or ``%``; with ``%``, values are shares in [0, 1] and shown in percent.
        lower_is_better: whether lower values are better; otherwise higher ones are.
    """

    label: str
    unit: str
    lower_is_better: bool

    def show(self, value: float | None, sign: str = "") -> str:
        """Format a value; None and NaN give ``-``. With ``sign="+"``, positive values are shown with their sign."""
        if value is None or math.isnan(value):
            return "-"
        return f"{100 * value:{sign}.1f} %" if self.unit == "%" else f"{value:{sign}.4f} {self.unit}".rstrip()


MATCH_ERROR, EXTRAPOLATION, KNOWN_MOTION = "match_error", "extrapolation", "known_motion_error"
CENSUS = "census_visible"

MEASURES = {
    MATCH_ERROR: Measure(
        f"match error: census distance everywhere + {DISAGREEMENT_WEIGHT} disagreement + {RANDOM_MATCH} extrapolation",
        "",
        True,
    ),
    CENSUS: Measure("census distance on visible pixels", "", True),
    "disagreement": Measure("disagreement of forward and backward flow, relative to their length", "", True),
    EXTRAPOLATION: Measure("extrapolation: error of pixels that leave a crop of the image", "", True),
    KNOWN_MOTION: Measure("endpoint error on frames that were moved by a known motion", "px", True),
    "consistency": Measure("pixels that pass the forward-backward check", "%", False),
    "coverage": Measure(f"pixels with a confidence of {EQUAL_CONFIDENCE} or more", "%", False),
    "epe": Measure("endpoint error", "px", True),
    "ause": Measure("AUSE (area under the sparsification error curve)", "", True),
}
"""All measures by name. The match error also chooses the teacher in the training: see
`mdflow_training.judging.label_free_score.LabelFreeScore`."""

DECIDING_MEASURES = {
    MATCH_ERROR: "the match error",
    CENSUS: "the census distance of the visible pixels",
    KNOWN_MOTION: "the error under known motion",
    EXTRAPOLATION: "the extrapolation",
}
"""The measures that decide the verdict, and their names in sentences; for all of them, lower is better."""
