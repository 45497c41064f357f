# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Watch a stage and say when, and why, it has to stop."""

from __future__ import annotations

import math
from typing import Any

from mdflow_training.adaptation_config import GuardSettings


class Guards:
    """Running means of a stage, and the limits that they must keep.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self.steps = 0
        self.loss = 0.0
        self.lowest_loss = math.inf
        self.visible = 0.0

    def check(self, loss: float, visible: float, gradient_norm: float) -> str | None:
        """Take note of a step before its update; return why the stage must stop, or None.

        Args:
            loss: of the step, over all processes.
            visible: share of pixels that count as visible, in [0, 1].
            gradient_norm: before clipping; 0 where mixed precision deals with overflows itself.
        """
        if not math.isfinite(loss):
            return f"the loss became {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient's norm became {gradient_norm}"
        self.steps += 1
        share = 1 / min(self.steps, self.settings.window)
        self.loss += share * (loss - self.loss)
        self.visible += share * (visible - self.visible)
        if self.steps < self.settings.window:
            return None
        self.lowest_loss = min(self.lowest_loss, self.loss)
        if self.visible < self.settings.minimum_visible:
            return (
                f"only {self.visible:.0%} of the pixels pass as visible, less than {self.settings.minimum_visible:.0%}:"
                " forward and backward flow contradict each other"
            )
        if self.loss > self.settings.explosion * self.lowest_loss:
            return f"the loss rose from {self.lowest_loss:.4g} to {self.loss:.4g}"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {name: value for name, value in vars(self).items() if name != "settings"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        vars(self).update(state)
