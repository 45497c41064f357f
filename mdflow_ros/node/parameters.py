# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: defaults, descriptions, ranges and checks."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.selection import AUTO, BACKENDS
from mdflow_ros.core.intensity import IntensityRange, IntensityStretch
from mdflow_ros.core.region import Region
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_ros.model.card import BUNDLED_MODEL
from mdflow_ros.quality import AUTO as QUALITY_AUTO
from mdflow_ros.quality import QUALITIES


@dataclass(frozen=True)
class Declaration:
    """One parameter.

    Attributes:
        default: default value, which also gives the type.
        description: what the parameter does.
        minimum: smallest value, for numbers.
        maximum: largest value, for numbers.
        choices: the only values, for strings.
        read_only: can only be set at startup.
        live: takes effect immediately; the others take effect when the node is configured.
        dynamic: may have several types, which ``check`` validates.
        check: a further check, which returns the error or ``None``.
    """

    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    read_only: bool = False
    live: bool = False
    dynamic: bool = False
    check: Callable[[Any], str | None] | None = None

    @property
    def effect(self) -> str:
        """When a new value takes effect, as a sentence."""
        if self.read_only:
            return "Can only be set at startup."
        return "Takes effect immediately." if self.live else "Takes effect when the node is configured."

    @property
    def values(self) -> str:
        """The allowed values: names, or the smallest and the largest number; empty if any value is allowed."""
        if self.choices is not None:
            return ", ".join(self.choices)
        return "" if self.minimum is None else f"{self.minimum:g} to {self.maximum:g}"

    @property
    def _is_list_of_floats(self) -> bool:
        return isinstance(self.default, list) and bool(self.default) and isinstance(self.default[0], float)

    def descriptor(self) -> ParameterDescriptor:
        """Return the ROS descriptor."""
        descriptor = ParameterDescriptor(description=f"{self.description} {self.effect}", read_only=self.read_only)
        if self.choices is not None:
            descriptor.additional_constraints = f"one of: {self.values}"
        if isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.minimum, to_value=self.maximum)]
            # rclpy would refuse `max_frame_gap: 1` in a parameter file because 1 is an integer; `error` checks instead.
            descriptor.dynamic_typing = True
        elif self.dynamic or self._is_list_of_floats:
            descriptor.dynamic_typing = True
        elif isinstance(self.default, int) and not isinstance(self.default, bool):
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.minimum or 0), to_value=int(self.maximum or 0))
            ]
        return descriptor

    def error(self, name: str, value: Any) -> str | None:
        """Return why a new value is refused, or ``None``. rclpy checks types and ranges of integers itself."""
        if value is None:
            return f"{name} needs a value"
        if isinstance(self.default, float):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return f"{name} must be a number, not {value!r}"
            if not (self.minimum or 0.0) <= value <= (self.maximum or 0.0):
                return f"{name} must be between {self.minimum:g} and {self.maximum:g}, not {value}"
        if self._is_list_of_floats and not _is_list_of_numbers(value):
            return f"{name} must be a list of numbers, not {value!r}"
        if self.choices is not None and value not in self.choices:
            return f"{name} must be one of {self.values}, not '{value}'"
        return None if self.check is None else self.check(value)


def _is_list_of_numbers(value: Any) -> bool:
    return isinstance(value, (array, list, tuple)) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in value
    )


def _inference_size_error(size: Sequence[int]) -> str | None:
    if list(size) == [0, 0] or (len(size) == 2 and all(64 <= side <= 8192 for side in size)):
        return None
    return f"inference_size must be [width, height] of 64 to 8192 pixels each, or [0, 0], not {list(size)}"


def _region_error(region: Sequence[int]) -> str | None:
    fits = len(region) == 4 and min(region) >= 0 and min(region[2:]) >= SIZE_MULTIPLE
    if fits or list(region) == [0, 0, 0, 0]:
        return None
    return f"region must be [x, y, width, height] with at least 64x64 pixels, or [0, 0, 0, 0], not {list(region)}"


def _intensity_range_error(intensity_range: Any) -> str | None:
    try:
        IntensityStretch(intensity_range)
    except ValueError as error:
        return str(error)
    return None


DECLARATIONS = {
    "autostart": Declaration(True, "Configure and activate at startup.", read_only=True),
    "model": Declaration("", "ONNX file of the model, with its card beside it; empty for the bundled teacher."),
    "backend": Declaration(
        AUTO,
        "Engine that runs the model. auto uses the best one that works on this computer and logs its choice; an "
        "explicitly chosen backend that cannot run is an error.",
        choices=(AUTO, *BACKENDS),
    ),
    "quality": Declaration(
        QUALITY_AUTO,
        "fast: decodes to 1/8 of the size; balanced: refines longer and enlarges small images; best: decodes to 1/4 "
        "and takes twice as long; auto: best on an NVIDIA GPU (which backend auto uses only if inference_size is set), "
        "otherwise balanced.",
        choices=(QUALITY_AUTO, *QUALITIES),
    ),
    "device": Declaration("CPU", "Device on which OpenVINO runs.", choices=("CPU", "GPU", "NPU")),
    "inference_size": Declaration(
        [0, 0],
        "Width and height at which the network runs, rounded up to multiples of 64; [0, 0] lets the quality choose. "
        "A larger size resolves smaller motion, a smaller one is faster. Required by TensorRT.",
        check=_inference_size_error,
    ),
    "region": Declaration(
        [0, 0, 0, 0],
        "Part of the image to use, [x, y, width, height] in pixels, after rectification; [0, 0, 0, 0] for all of it. "
        "mdflow/camera_info describes the part.",
        check=_region_error,
    ),
    "rectify": Declaration(
        False,
        "Rectify the images first, using camera_info; mdflow/camera_info then has no distortion. Leave it false if the "
        "images are already rectified.",
    ),
    "output_scale": Declaration(
        1.0,
        "Size of the published flow divided by the size of the image; vectors are scaled too.",
        minimum=0.05,
        maximum=1.0,
    ),
    "direction": Declaration(
        "forward",
        "forward: from the older to the newer image, at the pixels of the older one; backward: from the newer to the "
        "older image, at the pixels of the newer one.",
        choices=("forward", "backward"),
    ),
    "image_transport": Declaration(
        "raw",
        "raw: subscribe to sensor_msgs/Image on `image`; compressed: to CompressedImage on `image/compressed`.",
        choices=("raw", "compressed"),
    ),
    "threads": Declaration(0, "CPU threads for inference; 0 for all cores.", minimum=0, maximum=256),
    "precision": Declaration(
        "fp16",
        "Arithmetic of TensorRT and OpenVINO: fp16 allows half precision (on a CPU bfloat16, if the CPU has it), fp32 "
        "does not. ONNX Runtime always computes in fp32.",
        choices=("fp16", "fp32"),
    ),
    "force_engine_update": Declaration(False, "Build a new TensorRT engine even if a matching one is cached."),
    "build_only": Declaration(
        False, "Build the TensorRT engine if needed, then exit without processing images.", read_only=True
    ),
    "max_frame_gap": Declaration(
        0.5,
        "Longest time between the two images of a pair, in seconds; after a longer gap a new pair starts.",
        minimum=0.001,
        maximum=60.0,
        live=True,
    ),
    "max_rate": Declaration(
        0.0,
        "Maximum number of images to process per second, by their stamps; 0 for all. Skipping images makes the motion "
        "of a pair larger, not wrong. 1 / max_rate must be below max_frame_gap, or every pair is discarded.",
        minimum=0.0,
        maximum=1000.0,
        live=True,
    ),
    "max_megapixels": Declaration(
        64.0,
        "Largest image that is decoded, in millions of pixels; larger ones are dropped and reported.",
        minimum=0.01,
        maximum=1000.0,
        live=True,
    ),
    "intensity_range": Declaration(
        AUTO,
        "Intensities [low, high] that become black and white, for images with more than 8 bits; auto finds a range in "
        "the images and keeps it as long as they fit it.",
        dynamic=True,
        check=_intensity_range_error,
    ),
    "mask_invalid": Declaration(
        False, "Write NaN into the flow where the confidence is below confidence_threshold.", live=True
    ),
    "confidence_threshold": Declaration(
        0.1, "Smallest confidence that mask_invalid keeps.", minimum=0.0, maximum=1.0, live=True
    ),
}


def declare_parameters(node: Node) -> None:
    """Declare every parameter on ``node``.

    Raises:
        rclpy.exceptions.ParameterException: an override has the wrong type or is out of range.
        ValueError: an override is not allowed; the text says what is allowed.
    """
    for name, declaration in DECLARATIONS.items():
        node.declare_parameter(name, declaration.default, declaration.descriptor())
    error = validate_parameters(node.get_parameters(list(DECLARATIONS)))
    if error is not None:
        raise ValueError(error)


def validate_parameters(
    parameters: Iterable[Parameter[Any]], declarations: Mapping[str, Declaration] = DECLARATIONS
) -> str | None:
    """Return the error of the first invalid value, or ``None``; parameters without a declaration are not checked."""
    errors = (
        declarations[parameter.name].error(parameter.name, parameter.value)
        for parameter in parameters
        if parameter.name in declarations
    )
    return next((error for error in errors if error is not None), None)


@dataclass(frozen=True)
class NodeSettings:
    """The parameters that take effect when the node is configured."""

    model: Path
    backend: str
    quality: str
    inference_size: Size | None
    region: Region | None
    rectify: bool
    output_scale: float
    backward: bool
    compressed: bool
    intensity_range: IntensityRange
    options: BackendOptions

    @classmethod
    def from_node(cls, node: Node) -> NodeSettings:
        """Read the parameters of ``node``.

        Raises:
            ValueError: the model's path begins with ``~``, and the home folder is unknown.
        """
        value = _values(node)
        width, height = value["inference_size"]
        return cls(
            model=_model_path(value["model"]),
            backend=value["backend"],
            quality=value["quality"],
            inference_size=Size(width, height) if width else None,
            region=Region(*value["region"]) if any(value["region"]) else None,
            rectify=value["rectify"],
            output_scale=float(value["output_scale"]),
            backward=value["direction"] == "backward",
            compressed=value["image_transport"] == "compressed",
            intensity_range=value["intensity_range"],
            options=BackendOptions(
                threads=value["threads"],
                precision=value["precision"],
                device=value["device"],
                force_engine_update=value["force_engine_update"],
            ),
        )


@dataclass(frozen=True)
class LiveSettings:
    """The parameters that take effect at once."""

    max_frame_gap: float
    max_pixels: int
    mask_invalid: bool
    confidence_threshold: float

    @classmethod
    def from_node(cls, node: Node) -> LiveSettings:
        """Read the parameters of ``node``."""
        value = _values(node)
        return cls(
            max_frame_gap=float(value["max_frame_gap"]),
            max_pixels=round(value["max_megapixels"] * 1e6),
            mask_invalid=value["mask_invalid"],
            confidence_threshold=float(value["confidence_threshold"]),
        )


def _model_path(model: str) -> Path:
    try:
        return Path(model).expanduser() if model else BUNDLED_MODEL
    except RuntimeError as error:
        raise ValueError(f"model {model}: the home folder is unknown; give an absolute path") from error


def _values(node: Node) -> dict[str, Any]:
    names = list(DECLARATIONS)
    return {name: parameter.value for name, parameter in zip(names, node.get_parameters(names), strict=True)}
