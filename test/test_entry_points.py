# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import errno
import importlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from places import ROOT

from mdflow_ros import entry_points as robot
from mdflow_ros.version import __version__
from mdflow_training import entry_points as training

TRAINING = ROOT / "training" / "mdflow_training" / "commands"
ROBOT = ROOT / "mdflow_ros" / "commands"
COMMANDS = [
    *(("training", file.stem) for file in sorted(TRAINING.glob("[!_]*.py"))),
    *(("robot", file.stem) for file in sorted(ROBOT.glob("[!_]*.py"))),
    *(("robot", name) for name in robot._PLACES),
]
SCRIPTS = re.findall(r'"[\w-]+ = (mdflow_\w+)\.entry_points:(\w+)"', (ROOT / "setup.py").read_text())


def test_every_command_is_a_console_script_and_every_script_a_command():
    sides = {"mdflow_ros": "robot", "mdflow_training": "training"}
    assert sorted({(sides[package], name) for package, name in SCRIPTS}) == sorted(COMMANDS)


def test_every_file_of_training_starts_a_command():
    for file in (ROOT / "training").glob("*.py"):
        assert f"entry_points import {file.stem} as main" in file.read_text()
        assert (TRAINING / file.name).is_file() or (ROBOT / file.name).is_file()


@pytest.mark.parametrize(("side", "name"), COMMANDS)
@pytest.mark.parametrize(
    ("package", "remedy"),
    [("tqdm.auto", "run: pip install '."), ("rclpy", "source ROS 2 first"), ("sensor_msgs", "pip install '.[ros]'")],
)
def test_a_missing_package_is_one_line_that_names_the_fix(
    side: str,
    name: str,
    package: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def missing(module: str) -> None:
        raise ModuleNotFoundError(f"No module named '{package}' for {module}", name=package)

    monkeypatch.setattr(robot.importlib, "import_module", missing)
    assert getattr(robot if side == "robot" else training, name)() == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and f"'{package.partition('.')[0]}'" in message and remedy in message


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("flow_node", "pip install '.'\n"),
        ("record_bag", "pip install '.[recording]'\n"),
        ("flow_rerun", "pip install '.[rerun]'\n"),
        ("camera_player", "pip install '.[demo]'\n"),
    ],
)
def test_what_to_install_is_no_more_than_the_command_needs(
    name: str, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def missing(module: str) -> None:
        raise ModuleNotFoundError(f"No module named 'cv2' for {module}", name="cv2")

    monkeypatch.setattr(robot.importlib, "import_module", missing)
    monkeypatch.setattr(robot.metadata, "version", lambda package: "2.4.6")
    assert getattr(robot, name)() == 1
    assert capsys.readouterr().err.endswith(remedy)
    monkeypatch.setattr(robot.metadata, "version", lambda package: "1.26.4")  # as apt's ROS 2 needs it
    assert getattr(robot, name)() == 1
    assert capsys.readouterr().err.endswith(remedy.replace("\n", " 'numpy<2'\n"))


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_a_package_built_for_numpy_1_is_one_line_that_names_the_fix(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(_: str) -> None:
        raise ImportError(f"{module} failed to import")

    monkeypatch.setattr(robot.importlib, "import_module", broken)
    assert robot.flow_node() == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message.endswith("pip install 'numpy<2'\n")


@pytest.mark.parametrize(("side", "name"), COMMANDS)
def test_a_file_that_cannot_be_used_is_one_line_that_names_it(
    side: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def main() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "out/report.json")

    monkeypatch.setattr(robot.importlib, "import_module", lambda module: SimpleNamespace(main=main))
    assert getattr(robot if side == "robot" else training, name)() == 1
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device: 'out/report.json'\n"


def test_ctrl_c_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch):
    def main() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(robot.importlib, "import_module", lambda module: SimpleNamespace(main=main))
    assert training.evaluate() == 130


def test_an_import_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch):
    def missing(module: str) -> None:
        raise ModuleNotFoundError(module, name="mdflow_training.gone")

    monkeypatch.setattr(robot.importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError):
        training.pretrain()


def test_entry_points_need_no_training_package(tmp_path: Path):
    packages = {"torch", "tqdm", "pydantic"}
    code = f"import sys; import mdflow_training.entry_points; print(sorted({packages} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_gives_the_estimator_and_imports_no_engine_before():
    program = """
import sys, mdflow_ros
assert not {"onnxruntime", "cv2", "numpy"} & set(sys.modules)
from mdflow_ros import FlowEstimator
assert FlowEstimator is __import__("mdflow_ros.estimator").estimator.FlowEstimator
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_version_is_the_same_everywhere():
    assert f'version="{__version__}"' in (ROOT / "setup.py").read_text()
    assert f"<version>{__version__}</version>" in (ROOT / "package.xml").read_text()


def test_names_that_are_not_utf_8_are_printed_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", "strict", write_through=True))
    prints = SimpleNamespace(main=lambda: print(os.fsdecode(b"caf\xe9.mcap")))
    monkeypatch.setattr(robot.importlib, "import_module", lambda module: prints)
    assert robot.starter("frame_source", "frames", "")() == 0
    assert written.getvalue() == b"caf\\udce9.mcap\n"


@pytest.mark.parametrize("name", ["adapt_from_bag", "pretrain", "adapt_daemon"])
def test_a_run_folder_that_tensorboard_does_not_take_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    option = "--workspace" if name == "adapt_daemon" else "--out"
    command = importlib.import_module(f"mdflow_training.commands.{name}")
    with pytest.raises(SystemExit):
        command.main([option, os.fsdecode(b"caf\xe9")])
    assert f"{option}: 'caf\\udce9' is not UTF-8" in capsys.readouterr().err
