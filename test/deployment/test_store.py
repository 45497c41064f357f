# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import json
import shutil
from pathlib import Path

import pytest

from mdflow_ros.deployment import store as model_store
from mdflow_ros.deployment.deploy import list_versions
from mdflow_ros.deployment.store import ModelStore, default_store_folder
from mdflow_ros.model.card import (
    BUNDLED_MODEL,
    ModelCard,
    ModelError,
    Preprocessing,
    card_path,
    load_card,
    save_model,
)


def make_model(folder: Path, name: str) -> Path:
    card = ModelCard(name, "", Preprocessing.RGB_SCALAR_MEAN, True, "Apache-2.0")
    save_model(f"graph of {name}".encode(), card, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


def deploy(store: ModelStore, model: Path) -> str:
    version = store.add(model)
    store.make_current(version)
    return version.name


def test_an_empty_store_has_the_bundled_model(store: ModelStore):
    assert store.names() == [] and store.current() is None and not store.folder.exists()
    with pytest.raises(ModelError, match="none to roll back to"):
        store.previous()


def test_versions_are_kept_and_the_pointer_leads_to_a_whole_model(store: ModelStore, tmp_path: Path):
    names = [deploy(store, make_model(tmp_path, name)) for name in ("first", "second")]
    assert store.names() == names
    cards = [store.version(name).card() for name in names]
    assert [card.name for card in cards] == ["first", "second"]
    assert names[0].startswith("0001-") and names[1] == f"0002-{cards[1].sha256[:12]}"
    assert load_card(store.pointer / "teacher.onnx").name == "second"
    assert sorted(path.name for path in store.folder.iterdir()) == [*names, "current"]


def test_adding_does_not_switch(store: ModelStore, tmp_path: Path):
    first = deploy(store, make_model(tmp_path, "first"))
    second = store.add(make_model(tmp_path, "second"))
    current = store.current()
    assert current is not None and current.name == first and second.replaced == first
    store.remove(second)
    assert store.names() == [first]
    with pytest.raises(ModelError, match="roll back before"):
        store.remove(current)


def test_rolling_back_goes_to_what_was_replaced_not_to_the_number_before(store: ModelStore, tmp_path: Path):
    first, bad = (deploy(store, make_model(tmp_path, name)) for name in ("first", "bad"))
    store.make_current(store.previous())
    deploy(store, make_model(tmp_path, "third"))
    previous = store.previous()
    assert previous is not None and previous.name == first != bad
    store.make_current(previous)
    store.make_current(store.previous())
    assert store.current() is None and len(store.names()) == 3


def test_a_node_that_was_told_the_pointer_starts_with_the_bundled_model_after_rolling_back(
    store: ModelStore, tmp_path: Path
):
    deploy(store, make_model(tmp_path, "first"))
    store.make_current(store.previous())
    assert load_card(store.pointer / "teacher.onnx") == load_card(BUNDLED_MODEL)
    store.pointer.unlink()
    store.pointer.symlink_to("/opt/removed/mdflow_ros/model")  # of an installation that is gone
    assert store.current() is None
    assert deploy(store, make_model(tmp_path, "second"))


def test_the_current_model_is_not_stored_twice(store: ModelStore, tmp_path: Path):
    model = make_model(tmp_path, "only")
    assert deploy(store, model) == deploy(store, model)
    assert len(store.names()) == 1


def test_a_damaged_model_is_refused_and_leaves_nothing(store: ModelStore, tmp_path: Path):
    model = make_model(tmp_path, "good")
    name = deploy(store, model)
    model.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not the file"):
        store.add(model)
    card_path(model).unlink()
    with pytest.raises(ModelError, match="there is no file"):
        store.add(model)
    assert sorted(path.name for path in store.folder.iterdir()) == [name, "current"]


def test_a_switch_that_is_cut_off_leaves_the_old_model(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = deploy(store, make_model(tmp_path, "first"))
    second = store.add(make_model(tmp_path, "second"))

    def cut(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(model_store.Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        store.make_current(second)
    current = store.current()
    assert current is not None and current.name == first and load_card(store.pointer / "teacher.onnx").name == "first"


def test_the_default_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_store_folder() == tmp_path / "mdflow_ros" / "models"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", ignored)
        assert default_store_folder() == Path.home() / ".local/share/mdflow_ros/models"


def test_a_version_that_was_deleted_or_damaged_does_not_lock_the_store(store: ModelStore, tmp_path: Path):
    first, second = (store.add(make_model(tmp_path, name)) for name in ("first", "second"))
    store.make_current(second)
    second.model.write_bytes(b"no model")
    mended = store.add(make_model(tmp_path, "second"))
    assert mended.name.startswith("0003-") and mended.card().name == "second"
    store.make_current(mended)
    (first.folder / "deployment.json").write_text("{")
    assert "damaged" in list_versions(store) and f"* {mended.name}" in list_versions(store)
    assert store.add(make_model(tmp_path, "third")).name.startswith("0004-")
    shutil.rmtree(mended.folder)
    assert store.current() is None
    assert "* bundled model" in list_versions(store)
    store.make_current(store.add(make_model(tmp_path, "fourth")))
    assert store.current() is not None


@pytest.mark.parametrize(
    "notes",
    [
        {"deployed": "2026-01-01T00:00:00+00:00", "replaced": "../x"},
        {"deployed": "2026-01-01T00:00:00+00:00", "replaced": 3},
        {"deployed": None, "replaced": None},
        {"deployed": "\x1b[2J", "replaced": None},
        ["deployed", "replaced"],
    ],
)
def test_notes_that_point_out_of_the_store_or_are_of_another_kind_are_refused(
    store: ModelStore, tmp_path: Path, notes: object
):
    name = deploy(store, make_model(tmp_path, "first"))
    (store.folder / name / "deployment.json").write_text(json.dumps(notes))
    with pytest.raises(ModelError, match="delete its folder"):
        store.current()


def test_deeply_nested_notes_are_refused(store: ModelStore, tmp_path: Path):
    name = deploy(store, make_model(tmp_path, "first"))
    (store.folder / name / "deployment.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="delete its folder"):
        store.current()


@pytest.mark.parametrize("target", ["../outside", "/tmp", "."])
def test_a_pointer_out_of_the_store_is_refused(store: ModelStore, tmp_path: Path, target: str):
    deploy(store, make_model(tmp_path, "first"))
    store.pointer.unlink()
    store.pointer.symlink_to(target)
    with pytest.raises(ModelError, match="points out of the store"):
        store.current()
