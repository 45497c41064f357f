# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Make what a stage needs besides its pairs: networks, labels, the census for the camera's noise, supervised terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mdflow_ros.core.resizing import size_of
from mdflow_training.adaptation.label_cache import LabelCache
from mdflow_training.adaptation.replay import Replay, replay_scenes, sample_frames
from mdflow_training.adaptation.supervised_terms import SupervisedTerms
from mdflow_training.adaptation.teacher_to_student import matches_labeler
from mdflow_training.adaptation.warped_pairs import WarpedPairs
from mdflow_training.augmentation.warped_pair import CameraNoise
from mdflow_training.engine.loop import Run, State
from mdflow_training.engine.seeds import derive_seed
from mdflow_training.judging.camera_noise import measure_noise
from mdflow_training.losses.census import Census
from mdflow_training.networks.flow_network import FastFlowNetwork, FlowNetwork, freeze, initialize_for_scratch
from mdflow_training.networks.students import build_student, load_core
from mdflow_training.settings.adaptation import WarpedPairsSettings


class StageInputs:
    """Makes the inputs of the stages of a run.

    Args:
        run: settings and data that the stages share.

    Attributes:
        noise: standard deviation of the camera's noise at the training size, in intensity levels (0 to 255).
        census: how to compare images with this noise.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._config = run, run.config
        measured = run.config.census_noise == "auto"
        self.noise = measure_noise(run.pairs, run.size) if measured else float(run.config.census_noise)
        self.census = Census.for_noise(self.noise)
        frame_size = size_of(run.pairs[0][0])
        frame_noise = measure_noise(run.pairs, frame_size) if measured else self.noise
        self._frame_noise = CameraNoise(frame_noise / 255, run.size.width / frame_size.width)
        self._scenes = None
        if (replay := run.config.replay).weight > 0:
            self._scenes = replay_scenes(replay, run.config.seed, sample_frames(run.pairs, replay.frames))

    def labels(self, name: str, network: FlowNetwork) -> LabelCache:
        """Freeze a network and return its labels for the stage ``name``."""
        settings, budget = self._config.stage2, self._config.execution.label_cache_gigabytes * 1e9
        freeze(network)
        labeler = matches_labeler(network, settings.selection, settings.occlusion, self.census, self._config.labels)
        return LabelCache(
            labeler, self._run.folder / name / "labels", budget, self._run.size.width * self._run.size.height
        )

    def supervised_terms(
        self, settings: WarpedPairsSettings | None, labels: LabelCache | None, seed: int
    ) -> SupervisedTerms:
        """Return the terms of a stage on pairs with exact flow; without labels, only the replay."""
        warped_pairs = None
        if settings is not None and labels is not None and settings.weight > 0:
            warped_pairs = WarpedPairs(settings, labels, self._frame_noise, seed)
        replay = None
        if self._scenes is not None:
            replay = Replay(self._config.replay, self._scenes, seed, self._run.context.world_size)
        return SupervisedTerms(warped_pairs, replay)

    def discard(self, labels: LabelCache) -> None:
        """Delete labels that no stage needs anymore."""
        if self._run.context.is_main:
            labels.clear()

    def initial_teacher(self, state: Mapping[str, Tensor]) -> State:
        """Return the weights of the first teacher: ``state``, or random weights if the settings say so."""
        if self._config.initial_teacher == "given":
            return {name: value.detach().cpu().clone() for name, value in state.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self._config.seed, "teacher"))
            network = FastFlowNetwork()
            initialize_for_scratch(network)
        return dict(network.core.state_dict())

    def teacher(self, state: Mapping[str, Tensor]) -> FastFlowNetwork:
        """Return a teacher with these weights."""
        level, trained = self._run.quality.decoding.level, self._config.trained_weights
        network = FastFlowNetwork(self._run.autocast, level, trained)
        load_core(network.core, state, "of the teacher")
        return network.to(self._run.context.device)

    def student(self, teacher_state: State) -> FlowNetwork:
        """Return the student with its initial weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self._config.seed, "student"))
            level, trained = self._run.quality.decoding.level, self._config.trained_weights
            student = build_student(self._config.student, teacher_state, self._run.autocast, level, trained)
        return student.to(self._run.context.device)
