# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The decisions of the daemon, with stand-ins for the programs that it runs; other tests cover these programs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="training needs torch")

from model_files import disturbed_teacher

from mdflow_ros.core.folder_lock import folder_lock
from mdflow_ros.deployment.running_node import NodeError
from mdflow_training.commands.adapt_daemon import main, parse_arguments
from mdflow_training.continual.daemon import Daemon, Limits, Programs
from mdflow_training.continual.workspace import Workspace

PROGRAM = """
import json, sys, time
from pathlib import Path
from mdflow_ros.deployment.store import ModelStore

folder, kind, *arguments = sys.argv[1:]
orders = json.loads((Path(folder) / "orders.json").read_text())
with (Path(folder) / "log.jsonl").open("a") as log:
    log.write(json.dumps([kind, *arguments]) + "\\n")
if kind == "record":
    out = Path(arguments[arguments.index("--out") + 1])
    out.mkdir()
    (out / "drive_0.mcap").write_bytes(bytes(1000))
if orders.get("slow") == kind:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        (Path(folder) / "interrupted").touch()
        sys.exit(0 if kind == "record" else 130)
if kind == "adapt" and orders.get(kind) == 0:
    store = ModelStore(Path(arguments[arguments.index("--store") + 1]))
    store.make_current(store.add(Path(orders["model"])))
sys.exit(orders.get(kind, 0))
"""


class Robot:
    """A daemon, its workspace, and the arguments that its programs received."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.folder, self.stopped = folder, False
        (folder / "program.py").write_text(PROGRAM)
        self.orders(adapt=3)
        start = [sys.executable, str(folder / "program.py"), str(folder)]
        programs = Programs([*start, "record"], [*start, "adapt"], [*start, "compare"])
        self.workspace = Workspace(folder / "workspace")
        self.daemon = Daemon(
            self.workspace,
            ["/camera"],
            ["test", "-e", str(folder / "rest")],
            programs,
            Limits(**{"poll_seconds": 0.05, "retry_seconds": 0, "disk_reserve": 0, **limits}),
            None,
            lambda: self.stopped,
        )

    def orders(self, **orders: object) -> None:
        (self.folder / "orders.json").write_text(json.dumps(orders))

    def rest(self, rests: bool = True) -> None:
        (self.folder / "rest").touch() if rests else (self.folder / "rest").unlink(missing_ok=True)

    def calls(self, kind: str) -> list[list[str]]:
        log = self.folder / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [arguments for first, *arguments in lines if first == kind]

    def record(self) -> str:
        self.rest(False)
        before = set(self.workspace.recordings())
        while set(self.workspace.recordings()) == before:
            self.daemon.step()
            time.sleep(0.3)  # recordings are named by the second
        (name,) = set(self.workspace.recordings()) - before
        self.rest()
        return name


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def robot(tmp_path: Path) -> Robot:
    return Robot(tmp_path)


def test_it_records_while_the_robot_is_busy_and_adapts_once_while_it_rests(robot: Robot) -> None:
    name = robot.record()
    assert "ended with exit status 3" in robot.daemon.step()
    (arguments,) = robot.calls("adapt")
    assert arguments[0] == f"bag:{robot.workspace.bags / name}#/camera" and "--deploy" in arguments
    assert "nothing to do" in robot.daemon.step()
    assert Workspace(robot.workspace.folder).history.used == [name]


def test_an_adaptation_is_interrupted_when_the_robot_sets_off_and_resumed_with_the_same_recordings(
    robot: Robot,
) -> None:
    robot.record()
    robot.orders(slow="adapt")

    def set_off() -> None:
        wait_for(lambda: robot.calls("adapt"))
        robot.rest(False)

    threading.Thread(target=set_off).start()
    assert "is interrupted and will be resumed" in robot.daemon.step()
    robot.orders(adapt=3)
    robot.record()
    assert "0001 ended" in robot.daemon.step()
    first, second = robot.calls("adapt")
    assert first == second
    assert "0002 ended" in robot.daemon.step(), "the recording of meanwhile has its own adaptation"


@pytest.mark.parametrize(("comparison", "stays"), [(0, True), (3, True), (4, False)])
def test_a_deployed_model_is_checked_on_the_next_recording(
    robot: Robot, comparison: int, stays: bool, tmp_path: Path
) -> None:
    robot.record()
    robot.orders(adapt=0, model=str(disturbed_teacher(tmp_path, 0.5)))
    robot.daemon.step()
    deployed = robot.workspace.store.current()
    assert deployed is not None and robot.workspace.history.on_trial == deployed.name
    assert "nothing to do" in robot.daemon.step(), "it is not checked on what it learned from"
    name = robot.record()
    robot.orders(compare=comparison, adapt=3)
    assert ("stays" if stays else "rolled back to the bundled model") in robot.daemon.step()
    assert (robot.workspace.store.current() == deployed) is stays
    (arguments,) = robot.calls("compare")
    assert arguments[0] == f"bag:{robot.workspace.bags / name}#/camera"
    assert "0002 ended" in robot.daemon.step(), "then it learns from that recording"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rolled back", "the model on trial is no longer deployed"),
        ("model before deleted", "stays, as the model before it cannot be used: there is no model"),
        ("model before damaged", "stays, as the model before it cannot be used"),
    ],
)
def test_a_trial_that_cannot_be_judged_ends_and_the_daemon_adapts_again(
    robot: Robot, change: str, said: str, tmp_path: Path
) -> None:
    store = robot.workspace.store
    if change != "rolled back":
        before = store.add(disturbed_teacher(tmp_path, 0.25))
        store.make_current(before)
    robot.record()
    robot.orders(adapt=0, model=str(disturbed_teacher(tmp_path, 0.5)))
    robot.daemon.step()
    assert robot.workspace.history.on_trial is not None
    robot.record()
    robot.orders(compare=4, adapt=3)
    if change == "rolled back":
        store.make_current(None)
    elif change == "model before deleted":
        store.remove(before)
    else:
        before.model.write_bytes(b"damaged")
    assert said in robot.daemon.step()
    assert "0002 ended" in robot.daemon.step()


def test_a_failed_adaptation_is_repeated_but_not_for_ever(robot: Robot) -> None:
    robot.record()
    for status in (1, -9, 1):
        robot.orders(adapt=status)
        assert robot.workspace.history.used == []
        said = robot.daemon.step()
    assert "0001 is given up after 3 failed attempts" in said
    assert "nothing to do" in robot.daemon.step() and len(robot.calls("adapt")) == 3

    name = robot.record()
    for status, said in ((1, "0002 will be tried again"), (3, "0002 ended with exit status 3")):
        robot.orders(adapt=status)
        assert said in robot.daemon.step()
    assert Workspace(robot.workspace.folder).history.used[-1] == name


def test_a_failed_comparison_is_repeated_but_not_for_ever(robot: Robot, tmp_path: Path) -> None:
    robot.record()
    robot.orders(adapt=0, model=str(disturbed_teacher(tmp_path, 0.5)))
    robot.daemon.step()
    robot.record()
    robot.orders(compare=1, adapt=3)
    said = [robot.daemon.step() for _ in range(3)]
    assert "will be repeated" in said[1] and "stays, the comparison failed with exit status 1" in said[2]
    assert "0002 ended" in robot.daemon.step()


def test_a_model_that_the_node_did_not_get_is_offered_once_at_each_rest(
    robot: Robot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise NodeError("no node answers")

    robot.record()
    robot.orders(adapt=5)
    assert "0001 ended with exit status 5" in robot.daemon.step()
    run = robot.workspace.runs / "0001"
    run.mkdir()
    for path in disturbed_teacher(tmp_path, 0.5).parent.glob("disturbed*"):
        path.rename(run / path.with_stem("teacher").name)
    with monkeypatch.context() as patch:
        patch.setattr("mdflow_training.continual.daemon.deploy", refuse)
        assert "cannot be deployed yet: no node answers" in robot.daemon.step()
        assert "nothing to do" in robot.daemon.step()
    robot.record()
    assert "is the current model" in robot.daemon.step()
    deployed = robot.workspace.store.current()
    assert deployed is not None and robot.workspace.history.on_trial == deployed.name
    robot.orders(compare=0, adapt=3)
    assert "stays" in robot.daemon.step(), "it is on trial"


def test_used_recordings_make_room_and_unused_ones_stay(tmp_path: Path) -> None:
    robot = Robot(tmp_path, workspace_bytes=900)
    first = robot.record()
    robot.daemon.step()  # learns from it
    second = robot.record()
    robot.rest(False)
    assert "not recording" in robot.daemon.step(), "what is left is still to be learned from"
    assert robot.workspace.recordings() == [second] and first != second


def test_used_recordings_make_room_on_a_disk_that_others_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = Robot(tmp_path, disk_reserve=1000)
    used = [robot.record(), robot.record()]
    robot.daemon.step()
    kept = robot.record()
    robot.rest(False)

    def free_if_deleted(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1000 if used[0] not in robot.workspace.recordings() else 999)

    monkeypatch.setattr(shutil, "disk_usage", free_if_deleted)
    assert "recorded" in robot.daemon.step()
    assert robot.workspace.recordings()[:2] == [used[1], kept]
    assert robot.calls("record")[-1][-2:] == ["--disk-reserve", "1e-06"]


def test_a_full_disk_costs_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = Robot(tmp_path, disk_reserve=1000)
    name = robot.record()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=999))
        for _ in range(4):
            assert "not adapting: the disk has less than 1e-06 GB free" in robot.daemon.step()
    assert robot.calls("adapt") == [] and robot.workspace.unused() == [name]
    assert "0001 ended" in robot.daemon.step()


def test_of_a_finished_run_models_and_report_stay_and_count_as_space(tmp_path: Path) -> None:
    robot = Robot(tmp_path, workspace_bytes=1400)
    robot.record()
    run = robot.workspace.runs / "0001"
    needed = ("frames/0", "stage1", "round1/stage2/labels", "control/round1", "tensorboard/stage1")
    for folder in needed:
        (run / folder).mkdir(parents=True)
        (run / folder / "file").write_bytes(bytes(1000))
    for name in ("teacher.onnx", "report.html"):
        (run / name).write_bytes(bytes(200))
    robot.orders(adapt=1)
    robot.daemon.step()
    assert all((run / folder / "file").exists() for folder in needed), "it is to be resumed"
    robot.orders(adapt=3)
    assert "0001 ended" in robot.daemon.step()
    assert sorted(path.name for path in run.iterdir()) == ["report.html", "teacher.onnx"]
    robot.record()
    assert len(robot.workspace.recordings()) == 1, "1000 + 400 bytes fill the space, so the used one is gone"


def test_what_a_killed_daemon_has_started_ends_with_it_and_what_it_deployed_is_put_on_trial(
    robot: Robot, tmp_path: Path
) -> None:
    robot.record()
    model = str(disturbed_teacher(tmp_path, 0.5))
    robot.orders(adapt=0, model=model, slow="adapt")
    daemon = os.fork()
    if daemon == 0:
        robot.daemon.step()
        os._exit(0)
    wait_for(lambda: robot.calls("adapt"))
    os.kill(daemon, signal.SIGKILL)
    os.waitpid(daemon, 0)
    wait_for((tmp_path / "interrupted").exists)

    workspace = Workspace(robot.workspace.folder)
    store = workspace.store
    assert workspace.history.current is not None and workspace.history.on_trial is None
    store.make_current(store.add(Path(model)))  # as if it was killed between the deployment and its note of it
    restarted = Robot(tmp_path)
    restarted.orders(adapt=0, model=model)
    assert "0001 ended with exit status 0" in restarted.daemon.step()
    deployed = store.current()
    assert deployed is not None and restarted.workspace.history.on_trial == deployed.name
    first, second = robot.calls("adapt")
    assert first == second, "it continues with the model that it began with"


def test_a_workspace_has_one_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with folder_lock(tmp_path):
        assert main(["--topics", "/camera", "--workspace", str(tmp_path), "--when", "true"]) == 1
    assert f"error: another process, {os.getpid()}, writes into {tmp_path}" in capsys.readouterr().err


def test_a_stop_interrupts_a_recording_and_keeps_it(robot: Robot) -> None:
    robot.orders(slow="record")
    robot.rest(False)

    def stop() -> None:
        wait_for(robot.workspace.recordings)
        robot.stopped = True

    threading.Thread(target=stop).start()
    assert "exit status 0" in robot.daemon.step()
    assert len(robot.workspace.recordings()) == 1


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    for content in ("{", "null", "[]", '{"used": 3}', '{"current": {"name": "0001"}}'):
        (workspace.folder / "history.json").write_text(content)
        with pytest.raises(ValueError, match=r"history\.json is damaged .*delete it"):
            Workspace(workspace.folder)
    (workspace.folder / "history.json").unlink()
    daemon = Daemon(workspace, ["/camera"], ["/no/such"], Programs(), Limits(), None, lambda: False)
    with pytest.raises(ValueError, match="the condition cannot be run"):
        daemon.step()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "stage1.optimisation.steps=1"], "did you mean optimization?"),
        (["--config", "/no/such.yaml"], "cannot read the configuration /no/such.yaml"),
        (["--node", "my robot"], "no node can be called 'my robot'"),
        (["--topics", "my camera"], "no topic can be called 'my camera'"),
        (["--topics", "~/image"], "no topic can be called '~/image'"),
        (["--topics", "/kämera"], "no topic can be called '/kämera'"),
        (["--set", "student.weights=/no/such.pth"], "cannot read the weights /no/such.pth"),
        (["--when", ""], "--when '' is not a command"),
        (["--when", "'"], '--when "\'" is not a command: No closing quotation'),
        (["--when", "/no/such"], "--when '/no/such' is not a command"),
    ],
)
def test_wrong_arguments_are_named_at_the_start(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = tmp_path / "workspace"
    assert main(["--topics", "/camera", "--workspace", str(workspace), "--when", "true", *arguments]) == 1
    assert said in capsys.readouterr().err and not workspace.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("threads", "-1"), ("hours", "0"), ("gigabytes", "nan"), ("minutes", "inf")]
)
def test_limits_out_of_range_are_refused(name: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--topics", "/camera", "--workspace", "w", "--when", "true", f"--{name}", value])
    assert f"argument --{name}: {value} is" in capsys.readouterr().err
