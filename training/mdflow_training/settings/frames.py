# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""How a recording becomes pairs of frames: every setting with its type, range, default and meaning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mdflow_training.settings.base import Settings

FilterName = Literal["exposure", "duplicate", "static", "blurred"]
ALL_FILTERS: tuple[FilterName, ...] = ("exposure", "duplicate", "static", "blurred")


class FrameSettings(Settings):
    """How recordings become pairs of frames."""

    held_out_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the kept frames that is held out: the last ones of the recording, in one piece."""
    strides: Annotated[tuple[Annotated[int, Field(ge=1, le=3)], ...], Field(min_length=1)] = (1,)
    """Frame offsets within a pair. [1, 2, 3] adds training pairs with two and three times the motion.
    Held-out pairs are of the smallest."""
    longest_gap_seconds: Annotated[float, Field(gt=0)] | None = None
    """A longer step of time between frames ends a sequence; null: three times the camera's usual interval."""
    filters: tuple[FilterName, ...] = ALL_FILTERS
    """Which frames to drop: badly exposed, repeated, without motion, blurred."""
    longest_side: Annotated[int, Field(ge=64)] | None = None
    """Larger frames are scaled down to this many pixels before they are cached."""
    intensity_range: Literal["auto"] | tuple[float, float] = "auto"
    """Intensities of images of more than 8 bits that become black and white; auto finds a range that stays the same
    over the recording."""
    cache_gigabytes: Annotated[float, Field(gt=0)] = 10.0
    """Limit for the decoded frames on disk (a frame of 640x480 takes 0.9 MB). Longer recordings are thinned out
    evenly."""
