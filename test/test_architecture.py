# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Rules for imports: which module may import which."""

import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROBOT, TRAINING = "mdflow_ros", "mdflow_training"
COMMANDS = re.compile(
    rf"({ROBOT}|{TRAINING})\.commands\.|{ROBOT}\.node\.flow_node$|{ROBOT}\.navigation\.nodes\.\w+_node$|{ROBOT}\.demo\.(camera_player|flow_recorder)$"
)
HEAVY = {"torch", "torchvision", "tensorboard", "matplotlib", "pydantic", "tqdm"}
"""Packages that only training needs and a robot does not have."""

ROS = re.compile(r"rclpy|[a-z_]+_(msgs|srvs|interfaces)$|builtin_interfaces|launch|launch_ros")
ROS_ROOMS = ("node", "navigation.nodes", "demo", "commands", "recordings", "deployment")
"""Packages of the robot side that may import ROS; all others work without it."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(ROBOT, TRAINING, include_external_packages=True, cache_dir=None)


def own(graph: grimp.ImportGraph) -> set[str]:
    return {module for module in graph.modules if module.partition(".")[0] in (ROBOT, TRAINING)}


def imports(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    return [
        (module, found) for module in sorted(own(graph)) for found in graph.find_modules_directly_imported_by(module)
    ]


def test_no_import_circle(graph: grimp.ImportGraph) -> None:
    sorter = TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in own(graph)})
    try:
        sorter.prepare()
    except CycleError as error:
        pytest.fail(f"import circle: {' <- '.join(error.args[1])}")


def test_no_circle_between_rooms(graph: grimp.ImportGraph) -> None:
    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    rooms: dict[str, set[str]] = {}
    for module, imported in imports(graph):
        if imported.partition(".")[0] in (ROBOT, TRAINING) and room(module) != room(imported):
            rooms.setdefault(room(module), set()).add(room(imported))
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        pytest.fail(f"circle between rooms: {' <- '.join(error.args[1])}")


def test_robot_side_imports_neither_training_nor_its_packages(graph: grimp.ImportGraph) -> None:
    forbidden = {TRAINING, *HEAVY}
    found = [pair for pair in imports(graph) if pair[0].startswith(ROBOT) and pair[1].partition(".")[0] in forbidden]
    assert not found


def test_core_needs_no_ros(graph: grimp.ImportGraph) -> None:
    rooms = tuple(f"{ROBOT}.{room}" for room in ROS_ROOMS)
    found = [pair for pair in imports(graph) if ROS.match(pair[1].partition(".")[0]) and not pair[0].startswith(rooms)]
    assert not found


def test_nothing_imports_a_command(graph: grimp.ImportGraph) -> None:
    assert not [pair for pair in imports(graph) if COMMANDS.match(pair[1])]


def test_files_of_training_only_call_a_command() -> None:
    for file in (Path(__file__).parents[1] / "training").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 12, f"{file} does more than call a command"


def test_the_estimator_starts_without_torch_and_ros() -> None:
    blocked = sorted(HEAVY | {"rclpy", "sensor_msgs", "mdflow_training"})
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n" + (
        "from mdflow_ros.estimator import FlowEstimator; FlowEstimator()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
