# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Settings for converting recordings to pairs of frames, with type, range, default and meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mdflow_training.settings.base import Settings

FilterName = Literal["exposure", "duplicate", "static", "blurred"]
ALL_FILTERS: tuple[FilterName, ...] = ("exposure", "duplicate", "static", "blurred")


class FrameSettings(Settings):
    """How recordings become pairs of frames."""

    held_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of each recording's kept frames to hold out, taken from its end."""
    strides: Annotated[tuple[Annotated[int, Field(ge=1, le=3)], ...], Field(min_length=1)] = (1,)
    """Frame offsets within a pair. [1, 2, 3] adds training pairs with two and three times the motion.
    Held-out pairs use the smallest offset."""
    longest_gap_seconds: Annotated[float, Field(gt=0)] | None = None
    """A longer time between two frames ends a sequence; null: three times the camera's usual interval."""
    filters: tuple[FilterName, ...] = ALL_FILTERS
    """Which frames to drop: badly exposed, repeated, without motion, blurred."""
    longest_side: Annotated[int, Field(ge=64)] | None = None
    """Frames with a longer side are scaled down to this many pixels before they are cached."""
    intensity_range: Literal["auto"] | tuple[float, float] = "auto"
    """Intensities to map to black and white, for images with more than 8 bits; auto determines one range for the
    recording."""
    cache_gigabytes: Annotated[float, Field(gt=0)] = 10.0
    """Maximum size of the decoded frames on disk (a 640x480 frame takes 0.9 MB). Longer recordings are thinned out
    evenly."""
