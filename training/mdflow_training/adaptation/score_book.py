# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The label-free scores of a run, each computed once and kept in its folder."""

from __future__ import annotations

from mdflow_ros.core.atomic_files import write_json
from mdflow_training.adaptation.run_folder import read_json
from mdflow_training.engine.batches import FramePairs
from mdflow_training.engine.loop import Run
from mdflow_training.judging.label_free_score import LabelFreeScore, validate
from mdflow_training.losses.census import Census
from mdflow_training.networks.flow_network import FlowNetwork

SCORES_NAME = "scores.json"


class ScoreBook:
    """Scores networks on held-out pairs.

    Args:
        run: settings and data that the stages share.
        pairs: held-out pairs, from which no stage learns.
        census: how to compare images.

    Attributes:
        scores: the scores so far, by the names passed to `score`.
    """

    def __init__(self, run: Run, pairs: FramePairs, census: Census) -> None:
        self._run, self._pairs, self._census = run, pairs, census
        self._file = run.folder / SCORES_NAME
        self._known = read_json(self._file, dict[str, LabelFreeScore]) if self._file.exists() else {}
        self.scores: dict[str, LabelFreeScore] = {}

    def score(self, name: str, network: FlowNetwork) -> LabelFreeScore:
        """Return the score of a network, from the file if an earlier part of the run computed it under this name."""
        if name not in self._known:
            run = self._run
            score = validate(network, self._pairs, run.size, run.config.validation, run.context, self._census)
            self._known[name] = score
            if run.context.is_main:
                write_json(self._file, {name: score._asdict() for name, score in self._known.items()})
        self.scores[name] = self._known[name]
        return self.scores[name]
