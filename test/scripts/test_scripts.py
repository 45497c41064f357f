# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the shell scripts that need neither a network nor a new .venv."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from places import ROOT

SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_is_executable_and_parses(script):
    assert script.stat().st_mode & stat.S_IXUSR
    assert run("bash", "-n", script).stderr == ""


def test_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    result = run("shellcheck", *SCRIPTS)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["setup.sh", "demo.sh", "adapt_demo.sh"])
def test_help_is_the_header(name):
    result = run(ROOT / "scripts" / name, "--help")
    assert result.returncode == 0
    assert f"scripts/{name}" in result.stdout and "#" not in result.stdout


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout with a .venv that setup.sh recognizes, and that cannot install anything."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    fake = binaries / "python"
    fake.write_text('#!/bin/sh\n[ "$1" = -m ] && echo "pip was asked to: $*" && exit 1\necho 3.11 /usr/bin/python3\n')
    fake.chmod(0o755)
    return tmp_path


def setup(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if "ROS_DISTRO" in os.environ or Path("/opt/ros").exists():
        pytest.skip("these tests are about ROS 2 from wheels")
    return run(checkout / "scripts" / "setup.sh", *arguments, **environment)


def mark_current(checkout: Path, kind: str, wheels: str = "kilted") -> None:
    """Write the stamp that a finished installation writes."""
    key = subprocess.run(
        "{ pwd && cat setup.py pyproject.toml; } | sha256sum | cut -d ' ' -f 1",
        shell=True,
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (checkout / ".venv" / "mdflow_setup.stamp").write_text(f"{key}\nwheels {wheels}\n{kind}\n")


@pytest.mark.parametrize(("installed", "asked"), [("plain", ()), ("training", ()), ("training", ("--training",))])
def test_setup_does_nothing_when_current(checkout, installed, asked):
    mark_current(checkout, installed)
    result = setup(checkout, *asked)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_setup_installs_what_is_missing(checkout):
    mark_current(checkout, "plain")
    result = setup(checkout, "--training")
    assert "training,test,ros-kilted]" in result.stdout
    assert result.returncode == 1 and "pip failed" in result.stderr
    assert not (checkout / ".venv" / "mdflow_setup.stamp").exists(), "a failed installation is not taken for current"


def test_setup_keeps_training_when_requirements_change(checkout):
    mark_current(checkout, "training")
    with (checkout / "setup.py").open("a") as file:
        file.write("# changed\n")
    assert "training,test,ros-kilted]" in setup(checkout).stdout


def test_setup_keeps_the_wheels_that_are_installed(checkout):
    mark_current(checkout, "plain", "jazzy")
    assert setup(checkout).stdout == ""
    assert "training,test,ros-jazzy]" in setup(checkout, "--training").stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {"ROS_WHEELS": "noetic"}, "ROS_WHEELS=noetic: set it to kilted or jazzy"),
        (["--everything"], {}, "unknown argument '--everything'"),
        ([], {"PYTHON": "/nowhere/python"}, "PYTHON=/nowhere/python is not a Python 3.10 to 3.13"),
        ([], {"ROS_VERSION": "1", "ROS_DISTRO": "noetic"}, "ROS 1 (noetic) is sourced"),
    ],
)
def test_setup_says_what_is_wrong(checkout, arguments, environment, message):
    result = setup(checkout, *arguments, **environment)
    assert result.returncode == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/file.mp4"], "cannot read 'no/such/file.mp4'"),
        (["93"], "no camera /dev/video93"),
        (["a", "b"], "one argument at most"),
    ],
)
def test_demo_refuses_bad_arguments_before_it_sets_up(tmp_path, arguments, message):
    (tmp_path / "scripts").mkdir()
    for name in ("demo.sh", "processes.sh"):  # there is no setup.sh here to run
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    result = run(tmp_path / "scripts" / "demo.sh", *arguments)
    assert result.returncode == 1
    assert message in result.stderr


def test_the_demo_gives_the_node_its_quality(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    stand_ins = {"scripts/setup.sh": "true", ".venv/bin/python": 'echo "$*"; sleep 1'}
    for name, command in stand_ins.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)
    run(tmp_path / "scripts" / "demo.sh", tmp_path, DEMO_QUALITY="fast")
    assert "-p quality:=fast " in (tmp_path / "demo_output" / "node.log").read_text()
