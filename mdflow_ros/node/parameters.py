# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: their defaults, descriptions and ranges, and what each of them may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.selection import AUTO, BACKENDS
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL


@dataclass(frozen=True)
class Declaration:
    """One parameter.

    Attributes:
        default: its default, which also gives its type.
        description: what it does; says too whether a change takes effect at once.
        minimum: smallest value, for numbers.
        maximum: largest value, for numbers.
        choices: the only values, for strings.
        read_only: can be set at the start only.
    """

    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    read_only: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """Return the ROS descriptor."""
        descriptor = ParameterDescriptor(description=self.description, read_only=self.read_only)
        if self.choices is not None:
            descriptor.additional_constraints = f"one of: {', '.join(self.choices)}"
        if isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.minimum, to_value=self.maximum)]
        elif isinstance(self.default, int) and not isinstance(self.default, bool):
            descriptor.integer_range = [
                IntegerRange(from_value=int(self.minimum or 0), to_value=int(self.maximum or 0))
            ]
        return descriptor


ON_CONFIGURE = "Takes effect when the node is configured."
LIVE = "Takes effect at once."

DECLARATIONS = {
    "autostart": Declaration(True, "Configure and activate without being told to.", read_only=True),
    "model": Declaration(
        "", f"ONNX file of the model, its card beside it; empty for the bundled teacher. {ON_CONFIGURE}"
    ),
    "backend": Declaration(
        AUTO,
        f"Engine that runs the model; auto takes the best that works here and logs why. {ON_CONFIGURE}",
        choices=(AUTO, *BACKENDS),
    ),
    "inference_size": Declaration(
        [0, 0],
        "Width and height at which the network runs, rounded up to multiples of 64; [0, 0] for the image's own size. "
        f"{ON_CONFIGURE}",
    ),
    "output_scale": Declaration(
        1.0,
        f"Size of the published flow over the size of the image; vectors are scaled alike. {ON_CONFIGURE}",
        minimum=0.05,
        maximum=1.0,
    ),
    "direction": Declaration(
        "forward",
        "forward: from the older to the newer image, on the older one's grid; backward: from the newer to the older, "
        f"on the newer one's grid. {ON_CONFIGURE}",
        choices=("forward", "backward"),
    ),
    "image_transport": Declaration(
        "raw",
        f"raw: subscribe to sensor_msgs/Image on `image`; compressed: to CompressedImage on `image/compressed`. "
        f"{ON_CONFIGURE}",
        choices=("raw", "compressed"),
    ),
    "threads": Declaration(0, f"CPU threads for inference; 0 takes all cores. {ON_CONFIGURE}", minimum=0, maximum=256),
    "precision": Declaration("fp16", f"Arithmetic of the TensorRT engine. {ON_CONFIGURE}", choices=("fp16", "fp32")),
    "force_engine_update": Declaration(
        False, f"Build a new TensorRT engine even if a fitting one is cached. {ON_CONFIGURE}"
    ),
    "build_only": Declaration(
        False, "Build the TensorRT engine if needed, then exit without processing images.", read_only=True
    ),
    "max_frame_gap": Declaration(
        0.5,
        f"Longest time between the two images of a pair, in seconds; pairs start over after a longer gap. {LIVE}",
        minimum=0.001,
        maximum=60.0,
    ),
    "mask_invalid": Declaration(
        False, f"Write NaN into the flow where confidence is below confidence_threshold. {LIVE}"
    ),
    "confidence_threshold": Declaration(
        0.1, f"Least confidence that mask_invalid keeps. {LIVE}", minimum=0.0, maximum=1.0
    ),
}


def declare_parameters(node: Node) -> None:
    """Declare every parameter on ``node``.

    Raises:
        rclpy.exceptions.InvalidParameterValueException: an override is out of range.
    """
    for name, declaration in DECLARATIONS.items():
        node.declare_parameter(name, declaration.default, declaration.descriptor())


def reason_to_refuse(parameters: list[Parameter[Any]]) -> str | None:
    """Return why the new values are not acceptable, or ``None`` if they are; ranges are rclpy's to check."""
    for parameter in parameters:
        declaration = DECLARATIONS.get(parameter.name)
        if declaration is None:
            continue
        if declaration.choices is not None and parameter.value not in declaration.choices:
            return f"{parameter.name} must be one of {', '.join(declaration.choices)}, not '{parameter.value}'"
        if parameter.name == "inference_size":
            size = list(parameter.value or [])
            if size != [0, 0] and (len(size) != 2 or not all(64 <= side <= 8192 for side in size)):
                return f"inference_size must be [width, height] of 64 to 8192 pixels each, or [0, 0], not {size}"
    return None


@dataclass(frozen=True)
class Settings:
    """The parameters that take effect when the node is configured."""

    model: Path
    backend: str
    inference_size: Size | None
    output_scale: float
    backward: bool
    compressed: bool
    options: BackendOptions

    @classmethod
    def of(cls, node: Node) -> Settings:
        """Read them."""

        def value(name: str) -> Any:
            return node.get_parameter(name).value

        width, height = value("inference_size")
        inference_size = (width, height) if width else None
        options = BackendOptions(
            threads=value("threads"), precision=value("precision"), force_engine_update=value("force_engine_update")
        )
        return cls(
            model=Path(value("model")).expanduser() if value("model") else BUNDLED_MODEL,
            backend=value("backend"),
            inference_size=inference_size,
            output_scale=value("output_scale"),
            backward=value("direction") == "backward",
            compressed=value("image_transport") == "compressed",
            options=options,
        )
