# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of RViz and Foxglove: well-formed, and of topics that the nodes publish."""

import json
import re

import pytest
import yaml
from places import ROOT

CONFIG = ROOT / "config"
PUBLISHED = {
    *(f"/mdflow/{name}" for name in re.findall(r'"~/(\w+)"', (ROOT / "mdflow_ros/node/publishers.py").read_text())),
    *(
        f"/{topic}" if topic.startswith("mdflow/") else f"/{file.stem.removesuffix('_node')}/{topic.removeprefix('~/')}"
        for file in (ROOT / "mdflow_ros/navigation/nodes").glob("*_node.py")
        for topic in re.findall(r'self\.output\(\w+, "([^"]+)"', file.read_text())
    ),
}
OF_OTHERS = {"/image", "/diagnostics"}


def topics_in(text: str) -> set[str]:
    return set(re.findall(r'(?<=[ "])/[a-z_/]+', text))


@pytest.mark.parametrize("name", ["mdflow.rviz", "mdflow_foxglove.json"])
def test_layouts_show_topics_that_exist(name: str) -> None:
    shown = topics_in((CONFIG / name).read_text())
    assert "/mdflow/flow/image_color" in shown & PUBLISHED
    assert shown <= PUBLISHED | OF_OTHERS


def test_rviz_displays_have_a_class_and_a_topic() -> None:
    manager = yaml.safe_load((CONFIG / "mdflow.rviz").read_text())["Visualization Manager"]
    assert all(display["Class"].startswith("rviz_default_plugins/") for display in manager["Displays"])
    assert all(display["Topic"]["Value"] for display in manager["Displays"])


def test_each_panel_of_foxglove_has_its_place_and_its_settings() -> None:
    layout = json.loads((CONFIG / "mdflow_foxglove.json").read_text())

    def leaves(node: str | dict) -> list[str]:
        if isinstance(node, str):
            return [node]
        assert node["direction"] in ("row", "column")
        return leaves(node["first"]) + leaves(node["second"])

    panels = leaves(layout["layout"])
    assert len(panels) == len(set(panels)) and set(panels) == set(layout["configById"])
    kinds = {panel.partition("!")[0] for panel in panels}
    assert kinds == {"Image", "Plot", "DiagnosticSummary", "DiagnosticStatusPanel"}
