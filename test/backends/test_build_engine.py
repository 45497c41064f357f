# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The command that builds, lists and deletes engines."""

import pytest

pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")

from stand_in_gpu import GPU, StandInCuda, count_builds, stand_in_tensorrt

from mdflow_ros.backends.tensorrt import cuda_driver, cuda_memory
from mdflow_ros.backends.tensorrt.cuda_driver import Gpu
from mdflow_ros.commands import build_engine
from mdflow_ros.commands.build_engine import main


@pytest.fixture
def builds(monkeypatch, tmp_path):
    cuda = StandInCuda()
    monkeypatch.setattr(cuda_memory, "runtime", cuda)
    monkeypatch.setattr(build_engine, "load_tensorrt", lambda: (stand_in_tensorrt(cuda), GPU))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return count_builds(monkeypatch)


def test_it_builds_all_parts_once_lists_and_prunes(builds, capsys, monkeypatch):
    assert main(["--size", "100x64", "--precision", "fp32"]) == 0
    paths = capsys.readouterr().out.split()
    for path, part in zip(paths, ("encoder", "decoder", "decoder-both"), strict=True):
        assert f"/mdflow_ros/engines/128x64-fp32-{part}-2-3-" in path
    assert [len(model.graph.output) for model, _ in builds] == [2, 2, 3]

    assert main(["--size", "128x64", "--precision", "fp32", "--list"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith("\n".join(paths))
    assert "TensorRT 10.3.0, Stand-in (8.7), built in" in listed
    assert len(builds) == 3
    assert main(["--size", "128x64", "--precision", "fp32", "--force"]) == 0
    assert len(builds) == 6

    capsys.readouterr()
    assert main(["--prune"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    trt = stand_in_tensorrt(StandInCuda())
    monkeypatch.setattr(build_engine, "load_tensorrt", lambda: (trt, Gpu("Thor", "11.0")))
    assert main(["--prune", "--list"]) == 0
    output = capsys.readouterr().out
    assert all(f"removed {path}\n" in output for path in paths)
    assert output.endswith("engines: no engines\n")


def test_a_damaged_engine_is_listed_as_such(builds, capsys):
    main(["--size", "64x64"])
    with open(capsys.readouterr().out.split()[0], "ab") as file:
        file.write(b"?")
    main(["--list"])
    listed = capsys.readouterr().out
    assert listed.count(" MB, damaged\n") == 1
    assert listed.count("built in") == 2


def test_without_a_driver_it_says_so_and_still_lists_and_clears(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cuda_driver, "DRIVER_LIBRARY", "libno-such-driver.so.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for arguments in (["--size", "640x384"], ["--prune"]):
        assert main(arguments) == 1
        assert capsys.readouterr().err.startswith("error: there is no NVIDIA driver here")
    assert main(["--prune", "--all", "--list"]) == 0


def test_a_missing_model_is_named(builds, tmp_path, capsys):
    assert main(["--size", "64x64", "--model", str(tmp_path / "none.onnx")]) == 1
    assert "error: there is no file" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_stops_it_before_the_build(builds, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert main(["--size", "64x64"]) == 1
    assert "error: " in capsys.readouterr().err
    assert not builds


@pytest.mark.parametrize("arguments", [[], ["--size", "640"], ["--size", "0x64"], ["--list", "--all"]])
def test_bad_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err
