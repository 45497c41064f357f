# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""A process that publishes camera topics at 50 Hz until it is killed, and logs every message that it sent.

    python camera_process.py LOG

Each line of LOG is ``topic<TAB>hexadecimal of the serialized message``.
"""

import itertools
import sys
import time

import cv2
import numpy as np
import rclpy
from bag_files import panning_images
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from mdflow_ros.node.camera_info import camera_info_topic

RAW, JPEG, CHATTER = "/camera/image_raw", "/camera/image_raw/compressed", "/chatter"


def main():
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # a signal simply ends it
    node = rclpy.create_node("camera")
    publishers = {
        RAW: node.create_publisher(Image, RAW, 10),
        JPEG: node.create_publisher(CompressedImage, JPEG, qos_profile_sensor_data),
        camera_info_topic(RAW): node.create_publisher(CameraInfo, camera_info_topic(RAW), 10),
        CHATTER: node.create_publisher(String, CHATTER, 10),
    }
    images = panning_images(50)
    with open(sys.argv[1], "w", buffering=1) as log:
        for number in itertools.count():
            stamp = node.get_clock().now().to_msg()
            for topic, publisher in publishers.items():
                message = make_message(topic, images[number % 50])
                if topic != CHATTER:
                    message.header.stamp, message.header.frame_id = stamp, "camera"
                log.write(f"{topic}\t{serialize_message(message).hex()}\n")
                publisher.publish(message)
            time.sleep(0.02)


def make_message(topic, image):
    if topic == RAW:
        height, width = image.shape[:2]
        return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=image.tobytes())
    if topic == JPEG:
        return CompressedImage(format="png", data=np.asarray(cv2.imencode(".png", image[..., ::-1])[1]).tobytes())
    return CameraInfo(height=image.shape[0], width=image.shape[1]) if topic != CHATTER else String(data="hello")


if __name__ == "__main__":
    main()
