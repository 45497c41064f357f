# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The presets name parameters that exist, with values that the node accepts."""

import pytest
import yaml
from places import ROOT

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from rclpy.parameter import Parameter

from mdflow_ros.node.parameters import DECLARATIONS, validate_parameters

PRESETS = sorted((ROOT / "config" / "presets").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_the_node_accepts_a_preset(path):
    values = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    assert values and set(values) <= set(DECLARATIONS)
    for name, value in values.items():
        assert type(value) is type(DECLARATIONS[name].default), name
    assert validate_parameters([Parameter(name, value=value) for name, value in values.items()]) is None


def test_the_presets_are_installed_and_described():
    text = (ROOT / "docs" / "computers.md").read_text()
    assert PRESETS and all(f"`{path.name}`" in text for path in PRESETS)
    assert "config/presets/*.yaml" in (ROOT / "setup.py").read_text()
