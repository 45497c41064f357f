# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Build a model's TensorRT engines before the node needs them; list and prune cached engines."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from pathlib import Path

from mdflow_ros.backends.backend import BackendError, BackendUnavailable
from mdflow_ros.backends.tensorrt.cache import EngineCache
from mdflow_ros.backends.tensorrt.library import load_tensorrt
from mdflow_ros.core.atomic_files import check_writable
from mdflow_ros.core.resizing import Size, network_size
from mdflow_ros.model.architecture import SIZE_MULTIPLE
from mdflow_ros.model.card import BUNDLED_MODEL, ModelError
from mdflow_ros.model.graphs import PARTS
from mdflow_ros.quality import QUALITIES


def build_engines(
    model: Path, size: Size, precision: str, force: bool, cache: EngineCache, quality: str = "best"
) -> list[Path]:
    """Build the engines of a model that are not cached, and return the files of all of them.

    Raises:
        BackendUnavailable: there is no GPU, or a package is missing.
        ModelError: the model cannot be read.
        BackendError: an engine cannot be built.
        OSError: the cache cannot be written.
    """
    trt, gpu = load_tensorrt()
    from mdflow_ros.backends.tensorrt.engine import EngineSpecification, find_or_build_engine

    check_writable(cache.folder)
    paths = []
    for part in PARTS:
        specification = EngineSpecification(model, size, precision, QUALITIES[quality].decoding, part)
        _, path = find_or_build_engine(trt, gpu, cache, specification, force=force)
        if path is None:
            raise OSError(f"the engine was built but could not be stored in {cache.folder}")
        paths.append(path)
    return paths


def list_engines(cache: EngineCache) -> str:
    """Return a list of the cached engines as text."""
    lines = [f"{cache.folder}:"]
    for path, record in cache.records().items():
        start = f"{path.name}: {path.stat().st_size / 1e6:.1f} MB"
        if record is None:
            lines.append(f"  {start}, damaged")
            continue
        key = record.key
        lines.append(
            f"  {start}, model {key.model_sha256[:12]}, TensorRT {key.tensorrt}, {key.gpu} ({key.compute_capability}), "
            f"built in {record.build_seconds:.0f} s"
        )
    return "\n".join(lines if len(lines) > 1 else [f"{lines[0]} no engines"])


def prune_engines(cache: EngineCache, everything: bool) -> list[Path]:
    """Remove all engines, or only those that are damaged or that this machine's TensorRT and GPU cannot use.

    Raises:
        BackendUnavailable: without a GPU and TensorRT it is unknown which engines are usable.
        OSError: a file cannot be removed.
    """
    if everything:
        return cache.prune(lambda record: True)
    trt, gpu = load_tensorrt()
    here = (trt.__version__, gpu.name, gpu.compute_capability)
    return cache.prune(lambda record: (record.key.tensorrt, record.key.gpu, record.key.compute_capability) != here)


def _size(text: str) -> Size:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    size = Size(int(match[1]), int(match[2])) if match else Size(0, 0)
    if not all(size):
        raise argparse.ArgumentTypeError(f"'{text}' is not a size like 640x384")
    return network_size(size, SIZE_MULTIPLE)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="ONNX file (default: the bundled model)")
    parser.add_argument(
        "--size", type=_size, help="WIDTHxHEIGHT, rounded up to multiples of 64; the node's inference_size"
    )
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16", help="default: fp16")
    parser.add_argument("--quality", choices=tuple(QUALITIES), default="best", help="the node's quality; default: best")
    parser.add_argument("--force", action="store_true", help="build even if matching engines are cached")
    parser.add_argument("--list", action="store_true", help="list the cached engines")
    parser.add_argument("--prune", action="store_true", help="remove engines that this machine can no longer use")
    parser.add_argument("--all", action="store_true", help="with --prune: remove all engines")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.size or options.list or options.prune):
        parser.error("give --size WIDTHxHEIGHT to build engines, or --list, or --prune")
    if options.all and not options.prune:
        parser.error("--all needs --prune")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cache = EngineCache()
    try:
        if options.prune:
            removed = prune_engines(cache, options.all)
            print("\n".join(f"removed {path}" for path in removed) or "nothing to remove")
        if options.size:
            for path in build_engines(
                options.model, options.size, options.precision, options.force, cache, options.quality
            ):
                print(path)
        if options.list:
            print(list_engines(cache))
    except (BackendUnavailable, BackendError, ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
