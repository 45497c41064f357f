# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Watch a stage and decide when it must stop."""

from __future__ import annotations

import math
from typing import Any

from mdflow_training.settings.adaptation import GuardSettings

MAX_SKIPPED_STEPS = 20
"""Number of steps in a row that may be skipped for a gradient that is not finite; loss scaling settles in fewer."""


class Guards:
    """Running means of a stage, and their limits.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self.settings = settings
        self.visible_steps = 0
        self.visible = 0.0
        self.loss_steps = 0
        self.loss = 0.0
        self.lowest_loss = math.inf
        self.ramped_weight = 0.0
        self.skipped_steps = 0

    def check(self, loss: float, visible: float, ramped_weight: float = 0.0) -> str | None:
        """Check a step before its gradients are computed; return why the stage must stop, or None.

        This must come first: the backward pass of torch's ``grid_sample`` crashes the process where flow is NaN.

        Args:
            loss: loss of the step, averaged over all processes.
            visible: share of pixels that count as visible, in [0, 1].
            ramped_weight: current weight of the ramped loss term.
        """
        if not math.isfinite(loss):
            return f"the loss became {loss}"
        return self._check_visible(visible) or self._check_loss(loss, ramped_weight)

    def check_gradient(self, norm: float, float16: bool = False) -> str | None:
        """Return why the stage must stop before it takes this step, or None.

        Args:
            norm: norm of the gradient before clipping.
            float16: whether the loss is computed in float16; then some overflows are expected, and such steps are
                skipped while the loss scale falls.
        """
        if math.isfinite(norm):
            self.skipped_steps = 0
            return None
        self.skipped_steps += 1
        if float16 and self.skipped_steps <= MAX_SKIPPED_STEPS:
            return None
        return f"the gradient's norm became {norm}"

    def _check_visible(self, visible: float) -> str | None:
        self.visible_steps += 1
        self.visible += (visible - self.visible) / min(self.visible_steps, self.settings.window)
        if self.visible_steps < self.settings.window or self.visible >= self.settings.minimum_visible:
            return None
        return (
            f"only {self.visible:.0%} of the pixels pass as visible, less than {self.settings.minimum_visible:.0%}:"
            " forward and backward flow contradict each other"
        )

    def _check_loss(self, loss: float, ramped_weight: float) -> str | None:
        if ramped_weight != self.ramped_weight:
            # The growing weight of a term changes the scale of the loss, which is not an explosion.
            self.ramped_weight, self.loss_steps, self.lowest_loss = ramped_weight, 0, math.inf
        if loss == 0:  # all masks are empty: compared with this, any other loss would look like an explosion
            return None
        self.loss_steps += 1
        self.loss += (loss - self.loss) / min(self.loss_steps, self.settings.window)
        if self.loss_steps < self.settings.window:
            return None
        self.lowest_loss = min(self.lowest_loss, self.loss)
        if self.loss > self.settings.explosion * self.lowest_loss:
            return f"the loss rose from {self.lowest_loss:.4g} to {self.loss:.4g}"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the state for an exact resume."""
        return {name: value for name, value in vars(self).items() if name != "settings"}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        vars(self).update(state)
