# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Write the graphs of a model that engines run: the encoder, and the decoder for one direction or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from mdflow_ros.core.resizing import Size
from mdflow_ros.model.architecture import FINEST_LEVEL
from mdflow_ros.model.card import ModelCard, ModelError, Preprocessing
from mdflow_ros.model.onnx_writer.fastflownet_graph import GraphOptions, build_decoder, build_encoder
from mdflow_ros.model.weights import load_weights

PRECISIONS: dict[str, type[np.floating]] = {"fp16": np.float16, "fp32": np.float32}


def check_precision(name: str) -> None:
    """Raise ValueError unless ``name`` is a key of `PRECISIONS`."""
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision '{name}'; choose one of {', '.join(PRECISIONS)}")


Part = Literal["encoder", "decoder", "decoder-both"]
PARTS: tuple[Part, ...] = ("encoder", "decoder", "decoder-both")


@dataclass(frozen=True)
class Decoding:
    """How far a model decodes.

    Attributes:
        level: the forward flow has 1 / 2**level of the images' size.
        backward_level: the same for the backward flow, which the confidence needs.
    """

    level: int = FINEST_LEVEL
    backward_level: int = FINEST_LEVEL


class ModelGraphs:
    """Writes the graphs of a deployable model.

    Args:
        model: the ONNX file, with its card beside it; models exported by earlier versions work too.
        decoding: how far to decode.
        size: fixed size of the images, sides multiples of 64; ``None`` leaves it free.
        precision: a key of `PRECISIONS`.

    Attributes:
        card: the model's card.

    Raises:
        ModelError: the model cannot be read, or its weights do not fit the precision.
        ValueError: the precision is unknown.
    """

    def __init__(self, model: Path, decoding: Decoding, size: Size | None = None, precision: str = "fp32") -> None:
        check_precision(precision)
        weights, self.card = load_weights(model)
        self._dtype = PRECISIONS[precision]
        with np.errstate(over="ignore"):
            self._weights: dict[str, NDArray[np.floating]] = {
                name: value.astype(self._dtype) for name, value in weights.items()
            }
        for name, value in self._weights.items():
            if not np.isfinite(value).all():
                raise ModelError(f"{model}: {name} does not fit {precision}; set the precision to fp32")
        self._decoding, self._size = decoding, size

    def write(self, part: Part) -> onnx.ModelProto:
        """Write one graph; see `build_encoder` and `build_decoder` for its inputs and outputs."""
        directions = 2 if part == "decoder-both" else 1
        options = GraphOptions(self._decoding.level, self._decoding.backward_level, directions, self._size, self._dtype)
        if part == "encoder":
            return build_encoder(self._weights, self.card.preprocessing, options)
        return build_decoder(self._weights, self.card.cost_volume_normalization, options)


def subtracted_mean(card: ModelCard, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the mean of ``images`` that is subtracted from RGB / 255, float32 ``(1, 3)``.

    Networks that this package trains use the mean of each frame alone, so that its features are valid for both pairs
    that contain it. This costs no accuracy: the mean is one number, and light changes little from frame to frame.
    Official checkpoints use the mean of both images, as in their own evaluation.

    Args:
        card: of the model.
        images: ``(H, W, 3)`` uint8 RGB: one frame, or both frames of a pair.
    """
    channels = np.mean([cv2.mean(image)[:3] for image in images], axis=0) / 255
    if card.preprocessing is Preprocessing.RGB_SCALAR_MEAN:
        channels[:] = channels.mean()
    return channels.astype(np.float32)[None]


def encodes_frames_alone(card: ModelCard) -> bool:
    """Return whether the features of a frame are independent of the other frame of the pair."""
    return card.cost_volume_normalization and card.preprocessing is Preprocessing.RGB_SCALAR_MEAN
