# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Measure a model's flow and confidence on data sets with ground truth."""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mdflow_ros.backends.backend import BackendError, BackendOptions, BackendUnavailable
from mdflow_ros.backends.selection import AUTO, BACKENDS
from mdflow_ros.core.argument_types import at_least
from mdflow_ros.core.atomic_files import check_writable, replace_file, write_json
from mdflow_ros.core.resizing import Size, size_of
from mdflow_ros.estimator import FlowEstimator
from mdflow_ros.model.card import BUNDLED_MODEL, Preprocessing
from mdflow_ros.quality import AUTO as AUTO_QUALITY
from mdflow_ros.quality import QUALITIES
from mdflow_training.evaluation.baselines import create_baselines
from mdflow_training.evaluation.datasets import Benchmarks, find_benchmarks
from mdflow_training.evaluation.flow_evaluation import (
    Confidence,
    Estimate,
    Evaluation,
    Method,
    PairListener,
    evaluate_methods,
    without_confidence,
)
from mdflow_training.evaluation.flow_pairs import LoadedPair
from mdflow_training.evaluation.pictures import draw_calibration, draw_evaluation
from mdflow_training.evaluation.table import format_table
from mdflow_training.existing_report import check_report
from mdflow_training.flow_files import Flow, Image, write_image

MODEL = "model"
"""The model's name among the methods."""

SYNTHETIC = "synthetic"
NATIVE, MDFLOW = "native", "mdflow"

EXIT_OK, EXIT_INCOMPLETE, EXIT_UNUSABLE = 0, 1, 2


def mdflow_inference_size(image_size: Size) -> Size | None:
    """Return the size at which MDFlow's own evaluation runs the network, or None if it has none for these images.

    It is 1024x448 for images of the size of MPI Sintel and 1024x512 for KITTI. Source: the evaluation scripts of
    ltkong218/MDFlow.
    """
    width, height = image_size
    if (width, height) == (1024, 436):
        return Size(1024, 448)
    if 1224 <= width <= 1242 and 370 <= height <= 376:
        return Size(1024, 512)
    return None


def model_method(
    model: Path, backend: str, protocol: str, threads: int, quality: str = AUTO_QUALITY
) -> tuple[Method, dict[str, Any]]:
    """Load a deployable model.

    Returns:
        The method, and the description of the model for the report.

    Raises:
        ModelError: the model is missing or damaged.
        BackendUnavailable: the backend cannot run here.
        BackendError: the backend cannot load the model.
    """

    @cache
    def estimator(inference_size: Size | None) -> FlowEstimator:
        return FlowEstimator(model, backend, inference_size, options=BackendOptions(threads=threads), quality=quality)

    def estimate(first: Image, second: Image) -> tuple[Flow, Confidence | None]:
        size = size_of(first)
        result = estimator(mdflow_inference_size(size) if protocol == MDFLOW else None).estimate(first, second)
        return result.flow, result.confidence

    loaded = estimator(None)
    about = {"name": loaded.card.name, "sha256": loaded.card.sha256, "backend": loaded.backend}
    return estimate, about | {"quality": loaded.quality}


def import_to(folder: Path, checkpoint: Path, preprocessing: Preprocessing) -> Path:
    """Convert a ``.pth`` to a deployable model in ``folder``, and return its path."""
    from mdflow_training.networks.checkpoints import import_checkpoint

    model = folder / f"{checkpoint.stem}.onnx"
    import_checkpoint(checkpoint, model, preprocessing=preprocessing)
    return model


def find_data(spec: str) -> Benchmarks:
    """Return the data sets of a folder, or generated ones for ``synthetic`` and ``synthetic:COUNT``.

    Raises:
        OSError: there is no such folder.
        ValueError: the folder has no pairs, or the count is not a positive integer.
    """
    kind, _, count = spec.partition(":")
    if kind != SYNTHETIC:
        return find_benchmarks(Path(spec))
    if count and not (count.isdecimal() and int(count) > 0):
        raise ValueError(f"{spec}: give the number of pairs, for example {SYNTHETIC}:20")
    from mdflow_training.evaluation.synthetic_benchmark import DEFAULT_COUNT, synthetic_sets

    return Benchmarks(synthetic_sets(int(count or DEFAULT_COUNT)))


def report_of(evaluation: Evaluation, problems: Sequence[str], about: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON report: the model's metrics are ``sets.NAME``, a baseline's ``sets.NAME.baselines.BASELINE``."""
    sets = {}
    for name, scores in evaluation.scores.items():
        summaries = {method: score.summary() for method, score in scores.items()}
        sets[name] = summaries.pop(MODEL) | ({"baselines": summaries} if summaries else {})
    return about | {"sets": sets, "problems": list(problems)}


def prepare_outputs(report: Path, pictures: Path | None, data: Path) -> None:
    """Create the output folders before anything is measured.

    Raises:
        OSError: another file is at one of the paths, or a folder cannot be written.
        ValueError: the folder of the pictures is inside the data.
    """
    if pictures is not None and data.is_dir() and pictures.resolve().is_relative_to(data.resolve()):
        raise ValueError(f"{pictures} is inside --data, where the next run would read it; choose another --pictures")
    if report.is_dir():
        raise IsADirectoryError(f"{report} is a folder; --out is the file to write")
    check_report(report, "sets")
    if report.suffix == ".onnx" or report.with_suffix(".onnx").exists():
        raise FileExistsError(f"{report} belongs to the model {report.with_suffix('.onnx')}; choose another --out")
    for folder in (report.parent, pictures):
        if folder is not None:
            check_writable(folder)


def _picture_writer(folder: Path | None) -> PairListener | None:
    """Return a function that draws the model's result on every pair into ``folder/SET/PAIR.png``."""

    def write(set_name: str, method: str, pair_name: str, pair: LoadedPair, estimate: Estimate) -> None:
        if method == MODEL:
            assert folder is not None
            try:
                write_image(folder / set_name / f"{pair_name}.png", draw_evaluation(pair, estimate))
            except OSError as error:
                raise OSError(f"measured, but there is no picture: {error}") from error

    return write if folder else None


def _write_calibrations(folder: Path, sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw how well the model's confidence is calibrated on each set, into ``folder/SET_calibration.png``."""
    for name, metrics in sets.items():
        if "calibration" in metrics:
            picture = draw_calibration(metrics["calibration"], metrics["ece"])
            replace_file(folder / f"{name}_calibration.png", picture)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 if every pair was measured, 1 if files were missing or broken, 2 if nothing could be measured or reported.
    """
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(options.threads or -1)  # -1 is OpenCV's default: all cores
    try:
        benchmarks = find_data(options.data)
        prepare_outputs(options.out, options.pictures, Path(options.data))
        with tempfile.TemporaryDirectory() as folder:  # kept open: each inference size loads the model again
            methods, about_model = _load_methods(options, Path(folder))
            evaluation = evaluate_methods(methods, benchmarks.sets, _picture_writer(options.pictures))
    except (OSError, ValueError, BackendUnavailable, BackendError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNUSABLE

    problems = [str(problem) for problem in benchmarks.problems] + evaluation.problems
    about = {
        "command": shlex.join(["python", "training/evaluate.py", *(sys.argv[1:] if arguments is None else arguments)]),
        "model": {"path": str(options.model), **about_model},
        "data": options.data,
        "protocol": options.protocol,
        "machine": {"processor": platform.processor() or platform.machine(), "threads": options.threads},
        "versions": {"opencv": cv2.__version__, "numpy": np.__version__},
    }
    if not evaluation.scores:
        return _print_problems(problems, any_measured=False)
    report = report_of(evaluation, problems, about)
    print(format_table(report["sets"]))
    print(f"\n{about_model['name']} ({about_model['backend']}, quality {about_model['quality']})", flush=True)
    try:
        write_json(options.out, report)
        if options.pictures:
            _write_calibrations(options.pictures, report["sets"])
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_UNUSABLE
    print(f"report in {options.out}")
    return _print_problems(problems, any_measured=True)


def _load_methods(options: argparse.Namespace, folder: Path) -> tuple[dict[str, Method], dict[str, Any]]:
    """Load the model and the baselines; a checkpoint is first converted in ``folder``.

    Returns:
        The methods by name, and the description of the model for the report; see `model_method`, also for the errors.
    """
    model = options.model
    if model.suffix in (".pth", ".pt"):
        model = import_to(folder, model, Preprocessing(options.preprocessing))
    method, about = model_method(model, options.backend, options.protocol, options.threads, options.quality)
    methods: dict[str, Method] = {MODEL: method}
    if options.baselines:
        methods |= {name: without_confidence(baseline) for name, baseline in create_baselines().items()}
    return methods, about


def _print_problems(problems: Sequence[str], any_measured: bool) -> int:
    """Print what was not measured; return the exit status."""
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    if problems:
        print(f"problems: {len(problems)}; the metrics cover the pairs that could be measured", file=sys.stderr)
    if not any_measured:
        return EXIT_UNUSABLE
    return EXIT_INCOMPLETE if problems else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        type=Path,
        default=BUNDLED_MODEL,
        help="deployable model (.onnx with its card) or FastFlowNet checkpoint (.pth); default: the bundled teacher",
    )
    parser.add_argument(
        "--data",
        metavar="DATASET_SPEC",
        required=True,
        help="folder of one data set, or with a subfolder for each: MPI Sintel, KITTI 2012 or 2015 or FlyingChairs "
        "as distributed, or image pairs next to their flow (.flo, .pfm, KITTI .png). Or "
        f"{SYNTHETIC}:COUNT to generate pairs (use ./{SYNTHETIC} for a folder of this name)",
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON report to write")
    parser.add_argument(
        "--baselines", "--peers", action="store_true", help="also measure zero flow, OpenCV's DIS and Farneback"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw every pair and the calibration of each set into this folder"
    )
    parser.add_argument(
        "--protocol",
        choices=(NATIVE, MDFLOW),
        default=NATIVE,
        help="size at which the network runs: native uses the size chosen by the quality (which may enlarge small "
        "images); mdflow uses MDFlow's, 1024x448 on MPI Sintel and 1024x512 on KITTI (default: %(default)s)",
    )
    parser.add_argument(
        "--quality", default=AUTO_QUALITY, choices=(AUTO_QUALITY, *QUALITIES), help="default: %(default)s"
    )
    parser.add_argument("--backend", default=AUTO, choices=(AUTO, *BACKENDS), help="default: %(default)s")
    parser.add_argument(
        "--threads", type=at_least(0), default=1, help="CPU threads; 0 for all cores; default: %(default)s"
    )
    parser.add_argument(
        "--preprocessing",
        choices=[choice.value for choice in Preprocessing],
        default=Preprocessing.RGB_SCALAR_MEAN.value,
        help="preprocessing of a .pth: rgb_scalar_mean for MDFlow's and this package's checkpoints, bgr_channel_mean "
        "for the supervised FastFlowNet (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
