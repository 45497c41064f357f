# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""scripts/adapt_demo.sh with a stand-in for Python: the commands that it runs, its errors, and the remaining files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from places import ROOT
from process_helpers import processes_with

STAND_IN = """#!/bin/sh
trap 'exit 0' TERM
echo "$*" >>"$STAND_IN_LOG"
case "$*" in
    *"$STAND_IN_FAILS"*) echo "this failed on purpose"; exit 1 ;;
    *camera_player*) until grep -q record_bag "$STAND_IN_LOG"; do sleep 0.05; done ;; # as it waits for a subscriber
    *flow_node* | *record_bag*) while :; do sleep 0.05; done ;;
    *adapt_from_bag*) while [ "$STAND_IN_STATUS" = never ]; do sleep 0.05; done; exit "$STAND_IN_STATUS" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose Python only starts, waits and exits."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("adapt_demo.sh", "processes.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    for path, text in {"scripts/setup.sh": "#!/bin/sh\n", ".venv/bin/python": STAND_IN}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    return folder


def start(checkout: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    stand_in = {"STAND_IN_LOG": str(checkout / "log"), "STAND_IN_FAILS": "nothing", "STAND_IN_STATUS": "0"}
    return subprocess.Popen(
        [checkout / "scripts" / "adapt_demo.sh", *arguments],
        env={**os.environ, **stand_in, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(checkout: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    process = start(checkout, *arguments, **environment)
    text, _ = process.communicate(timeout=60)
    return process.returncode, text


def test_it_tells_the_whole_story_and_leaves_no_process(checkout: Path) -> None:
    mark = uuid.uuid4().hex
    for _ in range(2):  # the second run replaces what the first has left
        (checkout / "log").unlink(missing_ok=True)
        status, text = run(checkout, ADAPT_DEMO_STEPS="7", MARK=mark)
        assert status == 0, text
    output = checkout / "adapt_demo_output"
    assert str(output / "adaptation" / "report.html") in text
    times = (output / "times.txt").read_text().splitlines()
    assert [line.split()[0] for line in times] == ["render", "record", "adapt"]
    log = (checkout / "log").read_text()
    programs = ("robot_world.py --out", "flow_node", "record_bag.py", "camera_player", "--match", "adapt_from_bag.py")
    assert all(program in log for program in programs)
    adapt = log.splitlines()[-1]
    assert f"--deploy --store {output / 'models'}" in adapt
    assert all(f"--set=stage{stage}.optimization.steps=7" in adapt for stage in (1, 2, 3))
    assert processes_with(mark) == []


@pytest.mark.parametrize(
    ("adapted", "status", "message"),
    [
        ("3", 0, "report.html"),
        ("4", 0, "report.html"),
        ("5", 1, "the better model did not reach the node"),
        ("1", 1, "the adaptation has failed"),
    ],
)
def test_only_failures_fail(checkout: Path, adapted: str, status: int, message: str) -> None:
    assert (found := run(checkout, STAND_IN_STATUS=adapted))[0] == status, found
    assert message in found[1]


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        ("--frames", "rendering has failed"),
        ("flow_node", "the node has ended early"),
        ("record_bag", "the recorder has failed"),
        ("camera_player", "the camera player has failed"),
        ("--match", "the recording does not show the drive"),
    ],
)
def test_whatever_fails_is_named(checkout: Path, failing: str, message: str) -> None:
    mark = uuid.uuid4().hex
    status, text = run(checkout, STAND_IN_FAILS=failing, MARK=mark)
    assert status == 1 and message in text and "this failed on purpose" in text
    assert processes_with(mark) == []


def test_an_interrupted_demo_leaves_no_process(checkout: Path) -> None:
    mark = uuid.uuid4().hex
    process = start(checkout, STAND_IN_STATUS="never", MARK=mark)
    assert process.stdout is not None
    assert any("adapting" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130, text
    assert processes_with(mark) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["robot.mcap"], {}, "this script takes no arguments, not 'robot.mcap'"),
        ([], {"ADAPT_DEMO_STEPS": "many"}, "ADAPT_DEMO_STEPS must be a whole number of 1 or more, not 'many'"),
        ([], {"ADAPT_DEMO_STEPS": "0"}, "ADAPT_DEMO_STEPS must be"),
    ],
)
def test_bad_arguments_are_refused_before_anything_runs(
    checkout: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    status, text = run(checkout, *arguments, **environment)
    assert status == 1 and message in text
    assert not (checkout / "log").exists()


def test_it_deletes_nothing_but_its_own_results(checkout: Path, tmp_path: Path) -> None:
    mine = tmp_path / "output" / "world" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    status, text = run(checkout, ADAPT_DEMO_OUTPUT=str(tmp_path / "output"))
    assert status == 1 and "Name another folder: ADAPT_DEMO_OUTPUT=FOLDER" in text
    assert mine.read_text() == "precious"
