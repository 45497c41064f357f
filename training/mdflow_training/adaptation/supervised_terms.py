# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The loss terms of a stage on pairs with exactly known flow: warped pairs and replay."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mdflow_training.adaptation.replay import Replay
from mdflow_training.adaptation.warped_pairs import WarpedPairs
from mdflow_training.engine.batches import Batch


@dataclass(frozen=True)
class SupervisedTerms:
    """Optional loss terms on pairs with exactly known flow.

    Attributes:
        warped_pairs: the term on frames of the recording warped by labels, or None.
        replay: the term on generated pairs, or None.
    """

    warped_pairs: WarpedPairs | None = None
    replay: Replay | None = None

    def __call__(self, network: nn.Module, batch: Batch, loss: Tensor, metrics: dict[str, Tensor]) -> Tensor:
        """Return ``loss`` plus the weighted terms, and add the terms to ``metrics``."""
        for name, term in (("warped_pairs", self.warped_pairs), ("replay", self.replay)):
            if term is not None:
                metrics[name] = term.loss(network, batch)
                loss = loss + term.settings.weight * metrics[name]
        return loss


NO_SUPERVISED_TERMS = SupervisedTerms()
