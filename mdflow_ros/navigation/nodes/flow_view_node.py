# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""flow_view: pictures of the flow and of its confidence, for RViz, Foxglove and rqt_image_view.

Inputs: mdflow/flow of the flow node, and mdflow/confidence where a picture needs it. Outputs, each computed only while
it is watched: mdflow/flow/image_color (rgb8; right is red, down yellow, left cyan, up violet), the same as JPEG on
mdflow/flow/image_color/compressed, and mdflow/confidence/image_color (rgb8; yellow is 1, violet 0).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mdflow_ros.core.flow_color import ColorScale, confidence_to_color, draw_arrows, flow_to_color
from mdflow_ros.navigation.nodes.consumer import Consumer, PublishedFlow, run
from mdflow_ros.node.messages import image_message
from mdflow_ros.node.parameters import Declaration

JPEG_QUALITY = 85
MIN_ARROWS = 8
"""Closer arrows overlap and take longer to draw than the flow takes to compute, pixels."""


def _arrows_error(spacing: int) -> str | None:
    if spacing == 0 or spacing >= MIN_ARROWS:
        return None
    return f"arrows is {spacing}, so near that they cover each other: set {MIN_ARROWS} pixels or more, or 0 for none"


class FlowViewNode(Consumer):
    """Draws each pair."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        "max_flow": Declaration(
            0.0, "Length in pixels of the strongest color; 0 follows the flow slowly.", minimum=0.0, maximum=10_000.0
        ),
        "min_confidence": Declaration(0.0, "Flow of less confidence is drawn black.", minimum=0.0, maximum=1.0),
        "arrows": Declaration(
            0,
            "Distance in pixels between arrows drawn over the colors, 8 at least; 0 draws none.",
            minimum=0,
            maximum=512,
            check=_arrows_error,
        ),
    }

    def __init__(self) -> None:
        super().__init__("flow_view", ("flow", "confidence"))
        self._color = self.output(Image, "mdflow/flow/image_color")
        self._jpeg = self.output(CompressedImage, "mdflow/flow/image_color/compressed")
        self._confidence = self.output(Image, "mdflow/confidence/image_color")
        self._scale = ColorScale()

    def wanted_inputs(self) -> tuple[str, ...]:
        """Leave out the confidence while no picture needs it, as the flow node computes it only for subscribers."""
        needed = self.value("min_confidence") > 0 or self._confidence.get_subscription_count()
        return ("flow", "confidence") if needed else ("flow",)

    def process(self, pair: PublishedFlow) -> None:
        """Draw what is watched."""
        if self._color.get_subscription_count() or self._jpeg.get_subscription_count():
            picture = self._draw(pair)
            if self._color.get_subscription_count():
                self._color.publish(image_message(pair.header, picture))
            if self._jpeg.get_subscription_count():
                self._jpeg.publish(jpeg_message(pair.header, picture))
        # Just after somebody began to watch it, the pair is still one without a confidence.
        if self._confidence.get_subscription_count() and "confidence" in self._synchronizer.names:
            self._confidence.publish(image_message(pair.header, confidence_to_color(pair.confidence)))

    def _draw(self, pair: PublishedFlow) -> NDArray[np.uint8]:
        max_flow = float(self.value("max_flow")) or self._scale.follow(pair.flow)
        shown = np.where((pair.confidence < self.value("min_confidence"))[..., None], np.float32(np.nan), pair.flow)
        picture = flow_to_color(shown, max_flow)
        return draw_arrows(picture, shown, self.value("arrows")) if self.value("arrows") else picture


def jpeg_message(header: Header, picture: NDArray[np.uint8]) -> CompressedImage:
    """Return a JPEG message of a picture ``(H, W, 3)`` RGB."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(encoded.tobytes())
    return message


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(FlowViewNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
