# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""flow_points: the most confident matches of each pair, as a compact cloud.

Inputs: mdflow/flow and mdflow/confidence of the flow node. Output: ~/points (PointCloud2 with the fields x, y, u, v,
confidence: a pixel of the flow's grid, its flow, and the probability that it is right; most confident first. Pixels,
not meters).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

from sensor_msgs.msg import PointCloud2

from mdflow_ros.navigation.flow_points import flow_points
from mdflow_ros.navigation.nodes.consumer import COMMON, Consumer, PublishedFlow, run
from mdflow_ros.navigation.nodes.conversions import point_cloud
from mdflow_ros.node.parameters import Declaration

CLOUD_FIELDS = ("x", "y", "u", "v", "confidence")


class FlowPointsNode(Consumer):
    """Publishes the best matches."""

    PARAMETERS: ClassVar[Mapping[str, Declaration]] = {
        "min_confidence": COMMON["min_confidence"],
        "count": Declaration(500, "Maximum number of matches.", minimum=1, maximum=1_000_000),
        "cell": Declaration(
            8,
            "At most one match per square of this side, pixels; 1 selects the best wherever they are.",
            minimum=1,
            maximum=256,
        ),
    }

    def __init__(self) -> None:
        super().__init__("flow_points", ("flow", "confidence"))
        self._points = self.output(PointCloud2, "~/points")

    def process(self, pair: PublishedFlow) -> None:
        """Select and publish."""
        chosen = flow_points(
            pair.flow, pair.confidence, self.value("count"), self.value("cell"), self.value("min_confidence")
        )
        self.publish(self._points, point_cloud(pair.header, CLOUD_FIELDS, chosen))


def main(arguments: list[str] | None = None) -> int:
    """Run the node."""
    return run(FlowPointsNode, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
