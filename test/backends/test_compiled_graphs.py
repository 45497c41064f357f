# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled graphs are stored for the next start; a damaged graph, or a graph for something else, is not used."""

import os

import numpy as np
import pytest

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.check import textured_pair
from mdflow_ros.backends.compiled_graphs import MAX_FILES, load_compiled, store_compiled
from mdflow_ros.backends.selection import create_backend
from mdflow_ros.core.resizing import Size
from mdflow_ros.model.card import BUNDLED_MODEL

SUBJECT = {"engine": "one 1.0", "shapes": {"image": (1, 64, 64, 3)}}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mdflow_ros" / "compiled"


def test_a_graph_is_found_again_by_its_subject_alone():
    assert load_compiled(SUBJECT) is None
    store_compiled(SUBJECT, b"graph")
    assert load_compiled(SUBJECT) == b"graph"
    assert load_compiled({**SUBJECT, "engine": "one 1.1"}) is None


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"", lambda content: content + b"x"])
def test_a_damaged_file_is_not_used(cache, damage):
    store_compiled(SUBJECT, b"graph")
    (file,) = cache.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert load_compiled(SUBJECT) is None


def test_the_folder_keeps_the_graphs_that_were_used_last(cache):
    store_compiled({"size": 0}, b"often used")
    for size in range(1, MAX_FILES + 3):
        store_compiled({"size": size}, b"graph")
        for age, file in enumerate(sorted(cache.iterdir(), key=lambda file: file.stat().st_mtime)):
            os.utime(file, (age, age))
        load_compiled({"size": 0})
    assert len(list(cache.iterdir())) == MAX_FILES
    assert load_compiled({"size": 0}) == b"often used"
    assert load_compiled({"size": 1}) is None


def test_a_folder_that_cannot_be_written_only_costs_time(cache, caplog):
    cache.parent.parent.write_text("a file where the folder should be")
    caplog.set_level("INFO")
    store_compiled(SUBJECT, b"graph")
    assert load_compiled(SUBJECT) is None
    assert "cannot keep the compiled graph" in caplog.text


def openvino_flow():
    """Return a flow, and how many graphs were compiled for it."""
    openvino = pytest.importorskip("openvino")
    backend = create_backend("openvino", BUNDLED_MODEL, BackendOptions(threads=1))
    compile_model, compiled = openvino.Core.compile_model, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            openvino.Core, "compile_model", lambda *arguments: compiled.append(1) or compile_model(*arguments)
        )
        first, second = textured_pair(Size(64, 64))
        mean = np.full((1, 3), 0.5, np.float32)
        decoded = backend.decode(backend.encode(first, mean), backend.encode(second, mean), True)
    return decoded.flow, len(compiled)


def test_openvino_starts_from_kept_graphs_with_the_same_flow(cache):
    fresh, compiled = openvino_flow()
    assert compiled == 2
    kept, compiled = openvino_flow()
    assert compiled == 0
    np.testing.assert_array_equal(kept, fresh)


def test_openvino_may_export_bytes_as_it_did_until_2025(cache, monkeypatch):
    openvino = pytest.importorskip("openvino")
    export = openvino.CompiledModel.export_model
    monkeypatch.setattr(openvino.CompiledModel, "export_model", lambda compiled: export(compiled).getvalue())
    fresh, compiled = openvino_flow()
    assert compiled == 2
    kept, compiled = openvino_flow()
    assert compiled == 0
    np.testing.assert_array_equal(kept, fresh)


@pytest.mark.parametrize("content", [b"nonsense" * 1000, b""])
def test_openvino_compiles_again_what_it_cannot_import(cache, content, monkeypatch):
    fresh, _ = openvino_flow()
    monkeypatch.setattr("mdflow_ros.backends.openvino_backend.load_compiled", lambda subject: content)
    again, compiled = openvino_flow()
    assert compiled == 2
    np.testing.assert_array_equal(again, fresh)
