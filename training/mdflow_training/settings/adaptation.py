# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of an adaptation: its type, range, default and meaning.

`load_adaptation_config` reads them from YAML and from the command line.
``adapt_from_bag.py --print-config`` prints them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_training.settings.base import Count, OptimizerName, Settings, Weight
from mdflow_training.settings.frames import FrameSettings
from mdflow_training.settings.reading import checked, merge, parse_override, read_yaml

MIN_SIDE = 128
"""RAFT's correlation pyramid needs images of at least this many pixels a side (torchvision)."""

PTLFLOW_PREFIX = "ptlflow:"
"""Begins the names of students from the package ptlflow."""

Share = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Magnification = Annotated[float, Field(gt=0)]
LabelScale = Annotated[float, Field(gt=0, le=4)]
Blur = Annotated[float, Field(ge=0, le=10)]
VisibilityMethod = Literal["forward_backward", "none"]
TrainedWeights = Literal["all", "fine_decoders"]
LabelError = Literal["l1", "endpoint"]


def _is_a_student(name: str) -> str:
    if name not in ("raft_small", "raft_large", "fastflownet") and not name.startswith(PTLFLOW_PREFIX):
        raise ValueError(f"unknown student {name}: choose raft_small, raft_large, fastflownet or {PTLFLOW_PREFIX}NAME")
    return name


def _fits_the_networks(side: int) -> int:
    if side % SIZE_MULTIPLE or side < MIN_SIDE:
        raise ValueError(f"must be a multiple of {SIZE_MULTIPLE}, and at least {MIN_SIDE}")
    return side


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("a range must begin with its lower end")
    return limits


MagnificationRange = Annotated[tuple[Magnification, Magnification], AfterValidator(_ascending)]
NetworkSide = Annotated[int, AfterValidator(_fits_the_networks)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_ascending)]


class OcclusionSettings(Settings):
    """How a stage decides which pixels are visible in the other frame."""

    method: VisibilityMethod = "forward_backward"
    """forward_backward: UnFlow's consistency check; none: every pixel counts as visible."""
    start: Share = 0.0
    """Share of the stage before which the mask stays off; 0 is on at once, 0.33 suits training from scratch."""
    minimum_visible: Share = 0.5
    """After `start`, enable the mask once at least this share of the pixels passes the check."""


class UnsupervisedSettings(Settings):
    """The terms that need no label, computed on the recorded pair without augmentation."""

    weight: Weight = 1.0
    """Weight of the photometric and smoothness terms together; 0 uses only the labels (ablation)."""
    level_weights: tuple[Weight, ...] = (1.0,)
    """Photometric weight of each output, finest first; use [1.0, 0.5, 0.25, 0.12] to train from scratch."""
    smoothness: Weight = 0.5
    """lambda_sm, relative to the photometric term. Computed at the finest decoded level, in pixels of that level:
    stride 8 for the qualities fast and balanced, stride 4 (as in UFlow) for best."""
    smoothness_order: Literal[1, 2] = 1
    """1 favors constant flow; 2 favors flow that changes linearly (driving)."""
    edge_sensitivity: Weight = 10.0
    """alpha in exp(-alpha |dI|), images in [0, 1]: how much an image edge reduces the penalty."""


class DistillationSettings(Settings):
    """The term that compares the prediction on the augmented pair with the augmented label."""

    weight: Weight = 0.3
    """Weight of the term in the loss; 0 disables it."""
    start: Share = 0.0
    """The term is off until this share of the stage is done."""
    ramp: Share = 0.0
    """Share of the stage over which the weight then rises to its full value."""
    sequence_decay: Share = 0.0
    """Weight ratio between successive outputs (RAFT's gamma); 0 uses only the finest."""
    error: LabelError = "l1"
    """Error of a pixel: l1 is |du| + |dv|; endpoint is the length of (du, dv)."""


class SelectionSettings(Settings):
    """Which flow vectors of one network are used as labels for the other."""

    rule: Literal["threshold", "quantile", "census", "visible", "all"] = "threshold"
    """MDFlow uses `threshold`: visible, and a census distance of at most tau. The others are for comparison."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """tau, a limit on the mean soft Hamming distance of 7x7 windows."""
    quantile: Annotated[float, Field(gt=0, le=1)] = 0.75
    """For the rule `quantile`: share of each image's visible pixels to keep."""


class SpatialSettings(Settings):
    """An affine map of both frames, followed by a small one of the second frame only."""

    zoom: MagnificationRange = (1.0, 1.5)
    """Range of the factor by which both frames are enlarged."""
    squeeze: MagnificationRange = (0.86, 1.16)
    """Range of the factor by which one axis is enlarged more than the other."""
    rotation: Weight = 0.2
    """Largest angle in radians."""
    translation: Weight = 0.2
    """Width of the range of shifts, as a share of each side (ARFlow counts in half sides, from -1 to 1)."""
    relative_zoom: MagnificationRange = (0.985, 1.015)
    """Like `zoom`, for the second frame only; so are the next two settings."""
    relative_rotation: Weight = 0.015
    relative_translation: Weight = 0.015
    horizontal_flip: Probability = 0.5
    """How often both frames are mirrored left to right."""
    vertical_flip: Probability = 0.5
    """How often both frames are mirrored top to bottom."""
    crop: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest share of each side to cut away; the rest is enlarged to the full frame. Trains motion out of view."""


class AppearanceSettings(Settings):
    """Changes of color, sharpness and noise."""

    brightness: Share = 0.5
    """The images are multiplied by a random factor between 1 minus and 1 plus this."""
    contrast: Share = 0.5
    """The same for the difference from the image's mean."""
    saturation: Share = 0.5
    """The same for the difference from gray."""
    gamma: MagnificationRange = (0.7, 1.5)
    """Range of the exponent applied to the images in [0, 1]."""
    blur: Blur = 1.5
    """Largest standard deviation of the Gaussian blur, in pixels."""
    blur_probability: Probability = 0.5
    """How often a pair is blurred."""
    noise: Share = 0.04
    """Largest standard deviation of the added noise, for images in [0, 1]."""
    asymmetric: Probability = 0.0
    """How often the two frames of a pair get different changes."""


class EraserSettings(Settings):
    """Boxes painted over one frame."""

    probability: Probability = 0.5
    """How often boxes are painted."""
    boxes: Count = 2
    """Largest number of boxes in a pair."""
    side: ShareRange = (0.13, 0.27)
    """Range of the boxes' sides, as a share of the image height."""


class AugmentationSettings(Settings):
    """The augmentations; null disables one."""

    spatial: SpatialSettings | None = SpatialSettings()
    appearance: AppearanceSettings | None = AppearanceSettings()
    eraser: EraserSettings | None = None


class LabelSettings(Settings):
    """How a network makes its labels: the mean of its flows on the pair, scaled and mirrored (data distillation)."""

    scales: Annotated[tuple[LabelScale, ...], Field(min_length=1)] = (1.0,)
    """Sizes at which the network runs, as multiples of the training size; 1.5 resolves finer motion."""
    mirrored: bool = False
    """Also run on the mirrored pair."""
    refine: bool = False
    """Refine each label on its images, as the node refines its flow."""


class WarpedPairsSettings(Settings):
    """Pairs with exact flow: a frame of the recording, and the same frame warped by a label."""

    weight: Weight = 0.0
    """Weight of their endpoint error in the loss; 0 disables them."""
    scale: MagnificationRange = (0.7, 1.4)
    """Range of the factor by which the label is multiplied."""
    blur: Blur = 0.5
    """Standard deviation, in pixels, of a blur of both frames. Warping smooths noise; the blur hides the difference."""
    crop: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Share of each side to cut away, to get pairs with known motion out of view."""
    sequence_decay: Share = 0.3
    """Weight ratio between successive outputs (RAFT's gamma)."""


class ReplaySettings(Settings):
    """Generated pairs with ground truth, used in every stage to prevent forgetting."""

    weight: Weight = 0.0
    """Weight of their endpoint error in the loss; 0 disables them."""
    every: Count = 1
    """Generated pairs are used once in this many steps, and their weight is multiplied by this number."""
    scenes: Count = 256
    """Number of scenes to render; each use adds a different camera model and noise."""
    frames: Annotated[int, Field(ge=0)] = 0
    """Number of frames of the recording to add to the procedural textures of the scenes."""
    image_size: tuple[NetworkSide, NetworkSide] = (192, 256)
    """Height and width of the pairs. If they are small, the network forgets large motion."""
    sequence_decay: Share = 0.3
    """Weight ratio between successive outputs (RAFT's gamma)."""


class OptimizationSettings(Settings):
    """The optimizer and its schedule: linear warm-up, then linear decay."""

    steps: Annotated[int, Field(ge=0)] = 400
    """Number of weight updates."""
    batch_size: Count = 4
    """Pairs per step, summed over all processes."""
    optimizer: OptimizerName = "adamw"
    """``muon`` orthogonalizes the updates of convolution kernels and uses AdamW for all other weights."""
    learning_rate: Annotated[float, Field(gt=0)] = 4e-4
    """Highest learning rate."""
    warm_up: Share = 0.05
    """Share of the steps over which the learning rate rises linearly from near 0."""
    final_learning_rate: Share = 0.1
    """The learning rate decays to this share of the highest; it would be reached one step after the last."""
    weight_decay: Weight = 1e-6
    """Decoupled weight decay: multiplied by the learning rate."""
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""


FULL_AUGMENTATION = AugmentationSettings(spatial=SpatialSettings(crop=0.2), eraser=EraserSettings())


class TeacherStageSettings(Settings):
    """Settings that all stages of the teacher share."""

    optimization: OptimizationSettings = OptimizationSettings()
    occlusion: OcclusionSettings = OcclusionSettings()
    unsupervised: UnsupervisedSettings = UnsupervisedSettings()
    distillation: DistillationSettings = DistillationSettings()
    warped_pairs: WarpedPairsSettings = WarpedPairsSettings()
    augmentation: AugmentationSettings | None = FULL_AUGMENTATION

    @model_validator(mode="after")
    def _something_teaches_from_the_first_step(self) -> TeacherStageSettings:
        later = self.distillation.start > 0 or self.distillation.ramp > 0 or self.distillation.weight == 0
        if self.unsupervised.weight == 0 and self.warped_pairs.weight == 0 and later:
            raise ValueError(
                "without the unsupervised term and warped pairs, nothing teaches before distillation.start: set "
                "distillation.start and distillation.ramp to 0, and its weight above 0"
            )
        return self


class Stage1Settings(TeacherStageSettings):
    """Unsupervised initialization of the teacher."""

    distillation: DistillationSettings = DistillationSettings(weight=0.1, start=0.5, ramp=0.1)
    augmentation: AugmentationSettings | None = AugmentationSettings()


class Stage2Settings(Settings):
    """Teacher to student: the student learns from pseudo-labels only."""

    optimization: OptimizationSettings = OptimizationSettings(steps=600, weight_decay=1e-4)
    selection: SelectionSettings = SelectionSettings()
    occlusion: VisibilityMethod = "forward_backward"
    sequence_decay: Share = 0.8
    """Weight ratio between successive outputs of the student (RAFT's gamma)."""
    error: LabelError = "l1"
    """Error of a pixel: l1 is |du| + |dv|; endpoint is the length of (du, dv)."""
    warped_pairs: WarpedPairsSettings = WarpedPairsSettings()
    augmentation: AugmentationSettings | None = FULL_AUGMENTATION


class Stage3Settings(TeacherStageSettings):
    """Student to teacher: the teacher learns from the student's labels and the unsupervised terms."""

    label_mask: Literal["teacher_visible", "student_reliable", "all"] = "teacher_visible"
    """MDFlow masks the student's labels with the teacher's current occlusion mask; the others are for comparison."""
    start_from: Literal["teacher", "student"] = "teacher"
    """Initial weights of the stage-3 teacher. `student` requires student.name=fastflownet."""


class StudentSettings(Settings):
    """The network that learns from the teacher and then teaches it."""

    name: Annotated[str, AfterValidator(_is_a_student)] = "raft_small"
    """raft_small, raft_large, fastflownet, or ptlflow:NAME (needs ptlflow)."""
    weights: str | None = None
    """Initial weights: a file (for RAFT in the format of torchvision, MDFlow or princeton), `torchvision:NAME`
    (downloads), `teacher` (fastflownet only), or null to train from scratch."""
    normalization: Literal["pair_mean", "symmetric"] | None = None
    """Normalization of the images that the weights expect; null: this student's default (set pair_mean for MDFlow's
    RAFT weights)."""
    updates: Count = 6
    """Number of RAFT's iterative updates; the paper uses 12."""


class ValidationSettings(Settings):
    """The label-free check on held-out pairs."""

    maximum_pairs: Count = 48
    """Largest number of held-out pairs to use, spread evenly. With fewer than 8 the verdict is always `no change`."""
    minimum_gain: Weight = 0.0
    """A teacher counts as better if its error is at least this share below the first teacher's."""
    student_tolerance: Weight = 0.1
    """A student may teach if its error is at most this share above its teacher's. The error does not measure motion out
    of view, where the student may be better."""
    teacher_tolerance: Weight = 0.05
    """A teacher that learned from a student is kept if its error is at most this share above that of the first teacher
    and of the best one so far: the score measures the network without refinement and favors purely photometric
    training. The report decides whether the last teacher is better than the first."""
    gate: bool = True
    """Let only good students teach, and keep only good teachers; false runs all stages and keeps every teacher whose
    stage was not stopped by a guard."""


class GuardSettings(Settings):
    """When a stage stops and returns to its last good state; it saves one every 50 steps."""

    minimum_visible: Share = 0.3
    """Stop if the running mean of the share of visible pixels is below this: the flow has collapsed."""
    explosion: Annotated[float, Field(gt=1)] = 5.0
    """Stop if the running mean of the loss is more than this many times its lowest value."""
    window: Count = 20
    """Number of steps in the running means."""


class ExecutionSettings(Settings):
    """How a run is executed. These settings do not change the result, so a resumed run may change them."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Number of processes that load images in advance."""
    checkpoint_every: Count = 50
    """Steps between checkpoints: a killed run loses at most this many."""
    log_every: Count = 10
    """Steps between lines of `metrics.jsonl` and of TensorBoard."""
    panel_every: Count = 100
    """Steps between pictures of the training."""
    label_cache_gigabytes: Weight = 20.0
    """Disk space for labels; labels that do not fit are computed again each time."""


class AdaptationConfig(Settings):
    """All settings of an adaptation."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of all random numbers."""
    image_size: tuple[NetworkSide, NetworkSide] | None = None
    """Height and width of training; null: the size at which the node runs the network, up to `maximum_pixels`."""
    maximum_pixels: Count = 256 * 384
    """Larger sizes are reduced to about this many pixels; the sides are rounded to multiples of 64."""
    quality: Literal["auto", "fast", "balanced", "best"] = "auto"
    """The node's `quality` to train for: it decides the finest decoded level and how much small frames are enlarged.
    auto chooses as the node does: best on a GPU, else balanced."""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Mixed precision; auto is float16 on CUDA, bfloat16 on CPUs with AMX or AVX512_BF16, else float32."""
    census_noise: Literal["auto"] | Weight = "auto"
    """Standard deviation of the camera noise, on a scale of 0 to 255; the census adapts to it. auto measures it, 0 uses
    the census of the papers."""
    initial_teacher: Literal["given", "scratch"] = "given"
    """Start stage 1 from the given weights or from random ones."""
    trained_weights: TrainedWeights = "all"
    """Weights to train in the teacher, and in a student that starts from it. fine_decoders: only the decoders at 1/16
    of the size and finer; the features and the coarse search stay fixed, which reduces forgetting."""
    rounds: Annotated[int, Field(ge=0)] = 2
    """Maximum number of stage-2/stage-3 rounds; stops early when the label-free score stops improving."""
    control: bool = True
    """Also train a control, to show what the student contributed: the teacher of stage 1, trained for as many
    updates as in the rounds, with the settings of stage 3, but without a student and warped pairs. A run may be resumed
    with or without it."""
    student: StudentSettings = StudentSettings()
    labels: LabelSettings = LabelSettings()
    replay: ReplaySettings = ReplaySettings()
    stage1: Stage1Settings = Stage1Settings()
    stage2: Stage2Settings = Stage2Settings()
    stage3: Stage3Settings = Stage3Settings()
    validation: ValidationSettings = ValidationSettings()
    guards: GuardSettings = GuardSettings()
    frames: FrameSettings = FrameSettings()
    execution: ExecutionSettings = ExecutionSettings()

    @model_validator(mode="after")
    def _only_a_student_of_its_kind_gives_the_teacher_weights(self) -> AdaptationConfig:
        if self.stage3.start_from == "student" and self.student.name != "fastflownet":
            raise ValueError(
                "stage3.start_from=student needs student.name=fastflownet, whose weights fit the teacher, not "
                f"{self.student.name}; set stage3.start_from=teacher"
            )
        return self

    @model_validator(mode="after")
    def _batch_normalization_has_statistics(self) -> AdaptationConfig:
        if self.student.name == "raft_large" and self.student.weights is None:
            raise ValueError(
                "student.name=raft_large needs student.weights, such as torchvision:C_T_V2: batches are too small to "
                "learn the statistics of its batch normalization; raft_small has none and learns from scratch"
            )
        return self

    @model_validator(mode="after")
    def _frames_are_held_out(self) -> AdaptationConfig:
        if self.frames.held_out_share == 0:
            raise ValueError(
                "frames.held_out_share=0 leaves no frames to choose the teacher by and to report on; set it to 0.2"
            )
        return self

    @model_validator(mode="after")
    def _random_weights_all_learn(self) -> AdaptationConfig:
        if self.initial_teacher == "scratch" and self.trained_weights != "all":
            raise ValueError("initial_teacher=scratch: random weights must all learn; set trained_weights=all")
        return self

    @property
    def teacher_updates(self) -> int:
        """Number of steps in a round that update the teacher's weights."""
        through_student = self.stage2.optimization.steps if self.stage3.start_from == "student" else 0
        return through_student + self.stage3.optimization.steps

    def result_relevant_settings(self) -> dict[str, Any]:
        """Return the settings on which the adapted teacher depends, given the pairs, as plain values."""
        return self.model_dump(mode="json", exclude={"execution", "frames", "control"})


def load_adaptation_config(path: Path | None = None, overrides: Iterable[str] = ()) -> AdaptationConfig:
    """Read a configuration.

    Args:
        path: a YAML file; settings that it omits have their defaults. None: all defaults.
        overrides: ``section.name=value`` with a YAML value, each taking precedence over the file.

    Raises:
        ConfigError: the file is not a YAML mapping, or a setting is unknown or has a wrong value.
    """
    values = AdaptationConfig().model_dump(mode="json")
    if path is not None:
        values = merge(values, read_yaml(path))
    for override in overrides:
        values = merge(values, parse_override(override))
    return checked(AdaptationConfig, values)
