# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Deploying to a live node, over the real rclpy and DDS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2: apt's, or scripts/setup.sh")

from model_files import Weights, broken_model, changed_teacher
from node_harness import ENVIRONMENT, Client, client, running_node
from rcl_interfaces.srv import GetParameters
from shifted_images import textured_image

from mdflow_ros.commands.deploy_model import main
from mdflow_ros.core.folder_lock import FolderInUse, folder_lock
from mdflow_ros.deployment import deploy as deploy_module
from mdflow_ros.deployment import running_node as running_node_module
from mdflow_ros.deployment.store import ModelStore
from mdflow_ros.model.card import card_path, load_card

DOMAIN = 80
FRAME = textured_image(128, 192)


@pytest.fixture(scope="module")
def node() -> Iterator[None]:
    with running_node(DOMAIN):
        yield


@pytest.fixture
def camera(node: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    use_domain(monkeypatch)
    with client(DOMAIN) as instance:
        instance.wait_until_listening()
        yield instance


def use_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENVIRONMENT, "ROS_DOMAIN_ID": str(DOMAIN)}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled teacher with another last layer: a model that runs and gives other flow."""

    def change(weights: Weights) -> None:
        for decoder in ("decoder2", "decoder3"):
            weights[f"{decoder}.conv7.weight"] = np.zeros_like(weights[f"{decoder}.conv7.weight"])
            weights[f"{decoder}.conv7.bias"] = np.full(2, 0.5, np.float32)

    return changed_teacher(tmp_path_factory.mktemp("models") / "other.onnx", change)


def flow_at(camera: Client, stamp_ms: int) -> np.ndarray:
    camera.publish(FRAME, stamp_ms)
    camera.publish_and_wait(FRAME, stamp_ms + 100)
    message = camera.received["flow"][-1]
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, 2)


def model_of(camera: Client) -> str:
    answer = camera.call(GetParameters, "get_parameters", GetParameters.Request(names=["model"]))
    return str(answer.values[0].string_value)


def test_a_live_node_takes_a_model_over_and_goes_back(
    camera: Client, other_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ModelStore(tmp_path / "store")
    before = flow_at(camera, 1000)

    def exaggerate(weights: Weights) -> None:
        weights["decoder3.conv7.bias"] = np.full(2, 1e9, np.float32)

    absurd = changed_teacher(tmp_path / "absurd.onnx", exaggerate)

    assert main([str(other_model), "--store", str(store.folder)]) == 0
    current = store.current()
    assert current is not None and model_of(camera) == str(current.model)
    assert load_card(other_model).sha256[:12] in capsys.readouterr().out
    assert np.abs(flow_at(camera, 2000) - before).max() > 1

    for model, reason in ((broken_model(tmp_path), "holds no FastFlowNet parameters"), (absurd, "kept the old model")):
        assert main([str(model), "--store", str(store.folder)]) == 1
        assert reason in capsys.readouterr().err
    assert store.current() == current and store.names() == [current.name] and model_of(camera) == str(current.model)

    assert main(["--list", "--store", str(store.folder)]) == 0
    assert f"* {current.name}" in capsys.readouterr().out
    assert main(["--roll-back", "--store", str(store.folder)]) == 0
    assert store.current() is None and model_of(camera) == ""
    np.testing.assert_array_equal(flow_at(camera, 3000), before)
    assert main(["--roll-back", "--store", str(store.folder)]) == 1
    assert "none to roll back to" in capsys.readouterr().err


def test_a_wrong_name_is_answered_with_the_right_one(
    camera: Client,
    other_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running_node_module, "DISCOVERY_SECONDS", 8.0)
    assert main([str(other_model), "--node", "/left/mdflow", "--store", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no node answers at /left/mdflow" in error and "there is /mdflow: choose with --node" in error
    assert ModelStore(tmp_path).names() == []


def test_without_a_node_nothing_changes_unless_offline(
    other_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_domain(monkeypatch)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN + 1))
    monkeypatch.setattr(running_node_module, "DISCOVERY_SECONDS", 0.5)
    store = ModelStore(tmp_path)
    assert main([str(other_model), "--store", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "no node answers at /mdflow" in error and f"in ROS_DOMAIN_ID {DOMAIN + 1}" in error
    assert store.names() == [] and store.current() is None

    assert main([str(other_model), "--store", str(tmp_path), "--offline"]) == 0
    assert f"model:={tmp_path}/current/teacher.onnx" in capsys.readouterr().out
    assert load_card(store.pointer / "teacher.onnx") == load_card(other_model)


def test_a_missing_model_is_named_before_any_node_is_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "absent.onnx"), "--store", str(tmp_path / "store")]) == 1
    assert "there is no file" in capsys.readouterr().err and not (tmp_path / "store").exists()


def test_a_model_that_is_not_finite_never_becomes_current(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def spoil(weights: Weights) -> None:
        weights["pconv1_1.0.weight"] = weights["pconv1_1.0.weight"] * np.float32(np.nan)

    model = changed_teacher(tmp_path / "spoiled.onnx", spoil)
    assert main([str(model), "--store", str(tmp_path / "store"), "--offline"]) == 1
    assert "pconv1_1.0.weight is not finite" in capsys.readouterr().err and not (tmp_path / "store").exists()


def test_a_model_whose_confidence_is_damaged_never_becomes_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = changed_teacher(tmp_path / "model.onnx", lambda weights: None)
    card = dataclasses.replace(load_card(model), confidence={"balanced": {}})
    card_path(model).write_text(card.to_json())
    assert main([str(model), "--store", str(tmp_path / "store"), "--offline"]) == 1
    assert "run calibrate_confidence.py" in capsys.readouterr().err and not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["run", "run/model.json"])
def test_a_run_folder_or_a_card_is_not_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.json").write_text("{}")
    assert main([str(tmp_path / name), "--store", str(tmp_path / "store")]) == 1
    assert "is not a model; give the path of its ONNX file" in capsys.readouterr().err


def test_a_store_that_cannot_be_written_leaves_the_node_its_model(
    other_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ["/old.onnx"]

    @contextmanager
    def connect(_: str) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(model=lambda: loaded[-1], load=loaded.append)

    def fail(*_: object) -> None:
        raise OSError("no links on this file system")

    monkeypatch.setattr(deploy_module, "connect", connect)
    monkeypatch.setattr(Path, "symlink_to", fail)
    store = ModelStore(tmp_path)
    with pytest.raises(OSError, match="no links"):
        deploy_module.deploy(other_model, store)
    assert len(loaded) == 3 and loaded[-1] == "/old.onnx" and store.names() == []


def test_an_interrupted_switch_gives_the_old_model_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node may still load the new model, which is then deleted."""
    running = running_node_module.RunningNode(None, None, "/mdflow")
    parameter, reloaded = ["/old.onnx"], []

    def reload(_: float) -> tuple[bool, str]:
        reloaded.append(parameter[-1])
        if len(reloaded) == 1:
            raise KeyboardInterrupt
        return True, ""

    monkeypatch.setattr(running, "model", lambda: parameter[-1])
    monkeypatch.setattr(running, "_set_model", parameter.append)
    monkeypatch.setattr(running, "_reload", reload)
    with pytest.raises(KeyboardInterrupt):
        running.load("/new.onnx")
    assert reloaded == ["/new.onnx", "/old.onnx"]


def test_two_deployments_do_not_cross(other_model: Path, tmp_path: Path) -> None:
    """Otherwise the node could run a model that is not current, and could not go back to the current one."""
    store = ModelStore(tmp_path)
    with folder_lock(store.folder):
        for act in (
            lambda: deploy_module.deploy(other_model, store, None),
            lambda: deploy_module.roll_back(store, None),
        ):
            with pytest.raises(FolderInUse, match="wait for it"):
                act()
    assert store.names() == []
