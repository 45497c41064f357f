# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""flow_view: pictures of the flow and of its confidence, for RViz, Foxglove and rqt_image_view.

Inputs: mdflow/flow of the flow node, mdflow/confidence if a picture needs it, and with overlay also
mdflow/previous_stamp and image (sensor_msgs/Image, the flow node's own topic; or, if only that is published,
CompressedImage on image/compressed). Outputs, each computed only while it has subscribers: mdflow/flow/image_color
(rgb8; right is red, down yellow, left cyan, up violet), the same as JPEG on mdflow/flow/image_color/compressed, and
mdflow/confidence/image_color (rgb8; yellow is 1, violet 0).
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

from mdflow_ros.core.flow_color import ColorScale, confidence_to_color, draw_arrows, draw_legend, flow_to_color
from mdflow_ros.core.image_decoding import MAX_PIXELS
from mdflow_ros.core.intensity import IntensityStretch
from mdflow_ros.core.picture_files import encode_picture
from mdflow_ros.core.resizing import resize_image, size_of
from mdflow_ros.navigation.nodes.consumer import LOG_PERIOD, Consumer, PublishedFlow, run
from mdflow_ros.node.camera_input import IMAGE_TYPES, WatchedTopic
from mdflow_ros.node.messages import image_message, stamp_of, to_frame
from mdflow_ros.node.parameters import Declaration

JPEG_QUALITY = 85
KEPT_IMAGES = 20
"""Number of images that are kept until their flow arrives."""

MIN_ARROWS = 8
"""Minimum distance of arrows, pixels. Closer ones overlap, and drawing them takes longer than computing the flow."""


def _arrows_error(spacing: int) -> str | None:
    if spacing == 0 or spacing >= MIN_ARROWS:
        return None
    return f"arrows is {spacing}, so close that arrows overlap: set at least {MIN_ARROWS} pixels, or 0 for none"


class FlowViewNode(Consumer):
    """Draws each pair."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        "max_flow": Declaration(
            0.0, "Length in pixels of the strongest color; 0 adapts it to the flow.", minimum=0.0, maximum=10_000.0
        ),
        "min_confidence": Declaration(0.0, "Flow with less confidence is drawn black.", minimum=0.0, maximum=1.0),
        "arrows": Declaration(
            0,
            "Distance in pixels between arrows over the colors, at least 8; 0 draws none.",
            minimum=0,
            maximum=512,
            check=_arrows_error,
        ),
        "overlay": Declaration(
            0.0,
            "Share of the camera's image in the picture of the flow; 0 shows the colors alone, 1 the image.",
            minimum=0.0,
            maximum=1.0,
        ),
        "legend": Declaration(False, "Draw the color wheel and the length of its strongest color in a corner."),
    }

    def __init__(self) -> None:
        super().__init__("flow_view", ("flow", "confidence"))
        self._color = self.output(Image, "mdflow/flow/image_color")
        self._jpeg = self.output(CompressedImage, "mdflow/flow/image_color/compressed")
        self._confidence = self.output(Image, "mdflow/confidence/image_color")
        self._scale = ColorScale()
        image = self.resolve_topic_name("image")
        self._raw, self._compressed = (
            WatchedTopic(self, topic, IMAGE_TYPES, self._on_image) for topic in (image, f"{image}/compressed")
        )
        self._images: dict[int, Image | CompressedImage] = {}
        """The camera's last images by stamp."""

    def wanted_inputs(self) -> tuple[str, ...]:
        """Leave out the confidence while no picture needs it, so that the flow node does not have to compute it."""
        needed = self.value("min_confidence") > 0 or self._confidence.get_subscription_count()
        confidence = ("confidence",) if needed else ()
        return ("flow", *confidence, "previous_stamp") if self.value("overlay") else ("flow", *confidence)

    def _poll(self) -> None:
        super()._poll()
        if "previous_stamp" in self._inputs and self.value("overlay") > 0:
            only_compressed = self._compressed.publishers() and not self._raw.publishers()
            chosen, other = (self._compressed, self._raw) if only_compressed else (self._raw, self._compressed)
            other.close()
            chosen.refresh()
        elif self._raw.is_subscribed or self._compressed.is_subscribed:
            self._raw.close()
            self._compressed.close()
            self._images.clear()

    def _on_image(self, message: Image | CompressedImage) -> None:
        stamp = stamp_of(message.header)
        self._images.pop(stamp, None)  # a looping bag repeats stamps; the new image must be the last one
        self._images[stamp] = message
        if len(self._images) > KEPT_IMAGES:
            del self._images[next(iter(self._images))]

    def process(self, pair: PublishedFlow) -> None:
        """Draw and publish the pictures that have subscribers."""
        if self._color.get_subscription_count() or self._jpeg.get_subscription_count():
            picture = self._draw(pair)
            if self._color.get_subscription_count():
                self.publish(self._color, image_message(pair.header, picture))
            if self._jpeg.get_subscription_count():
                self.publish(self._jpeg, jpeg_message(pair.header, picture))
        # Just after somebody subscribes, the pair may still lack the confidence.
        if self._confidence.get_subscription_count() and "confidence" in self._synchronizer.names:
            self.publish(self._confidence, image_message(pair.header, confidence_to_color(pair.confidence)))

    def _draw(self, pair: PublishedFlow) -> NDArray[np.uint8]:
        max_flow = self.value("max_flow") or self._scale.follow(pair.flow)
        shown = np.where((pair.confidence < self.value("min_confidence"))[..., None], np.float32(np.nan), pair.flow)
        picture = flow_to_color(shown, max_flow)
        if self.value("overlay"):
            picture = self._over_image(picture, pair)
        if self.value("arrows"):
            picture = draw_arrows(picture, shown, self.value("arrows"))
        return draw_legend(picture, max_flow) if self.value("legend") else picture

    def _over_image(self, picture: NDArray[np.uint8], pair: PublishedFlow) -> NDArray[np.uint8]:
        """Blend a picture of the flow with the image at whose pixels the flow is defined."""
        message = self._images.get(pair.newer if pair.backward else pair.older)
        if message is None:
            self.get_logger().warning(
                f"{self.resolve_topic_name('image')} has no image with the flow's stamp: remap image to the topic that "
                "the flow node gets",
                throttle_duration_sec=LOG_PERIOD,
                skip_first=True,  # the first image may have been sent before this node subscribed
            )
            return picture
        image = resize_image(to_frame(message, MAX_PIXELS, IntensityStretch()).image, size_of(picture))
        share = self.value("overlay")
        return np.asarray(cv2.addWeighted(image, share, picture, 1 - share, 0), np.uint8)


def jpeg_message(header: Header, picture: NDArray[np.uint8]) -> CompressedImage:
    """Return a JPEG message of a picture ``(H, W, 3)`` RGB."""
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(encode_picture(picture, ".jpg", JPEG_QUALITY))
    return message


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(FlowViewNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
