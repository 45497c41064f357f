# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Find the data sets with ground truth below a folder: official layouts, or one subfolder a set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdflow_ros.recordings.file_kinds import folders_below, is_hidden
from mdflow_training.evaluation.flow_pairs import PairFiles, TruePair
from mdflow_training.evaluation.pair_discovery import discover_pairs
from mdflow_training.flow_files import BadFile

SINTEL_PASSES = ("clean", "final")
KITTI_IMAGES = ("image_2", "colored_0", "image_0")
"""Folders with the left images: KITTI 2015, KITTI 2012 in color and in gray."""
CHAIRS_SPLIT = "FlyingChairs_train_val.txt"
"""File with one line for each pair of FlyingChairs: ``1`` for training, ``2`` for validation."""

NOTHING_FOUND = (
    "no images with their flow (.flo, .pfm or KITTI's .png) in this folder; convert other flow, such as .flo5 and "
    ".npy, to .flo"
)


@dataclass
class Benchmarks:
    """Data sets by name, and the problems with their files."""

    sets: dict[str, Sequence[TruePair]] = field(default_factory=dict)
    problems: list[BadFile] = field(default_factory=list)

    def add(self, name: str, pairs: list[PairFiles], problems: Sequence[BadFile] = ()) -> None:
        """Add a set; if it has no pairs, only its problems are kept."""
        if pairs:
            self.sets[name] = pairs
        self.problems += problems


def find_benchmarks(root: Path) -> Benchmarks:
    """Find the data sets below ``root``.

    ``root`` is the folder of one set, named after it, or each of its subfolders is. A set is MPI Sintel (it becomes
    two, ``NAME_clean`` and ``NAME_final``), KITTI 2012 or 2015 or FlyingChairs as they are distributed, or any folder
    whose pairs `pair_discovery` understands, at any depth.

    Raises:
        FileNotFoundError: there is no such folder.
        BadFile: there is no pair with ground truth in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    root = root.resolve()
    benchmarks = Benchmarks()
    pairs, problems = discover_pairs(root, root)
    for folder in [root] if pairs or _is_official(root) else _subfolders(root):
        known = len(benchmarks.sets) + len(benchmarks.problems)
        try:
            _add_set(benchmarks, folder)
        except OSError as error:
            benchmarks.problems.append(_unreadable(folder, error))
        if known == len(benchmarks.sets) + len(benchmarks.problems):
            benchmarks.problems.append(BadFile(folder, NOTHING_FOUND))
    if not benchmarks.sets:
        nothing = BadFile(root, NOTHING_FOUND)
        reasons = [str(problem) for problem in problems + benchmarks.problems if str(problem) != str(nothing)]
        raise BadFile(root, "\n  ".join([NOTHING_FOUND, *reasons]))
    return benchmarks


def _add_set(benchmarks: Benchmarks, folder: Path) -> None:
    training = _training_folder(folder)
    if _is_sintel(training):
        for rendering in SINTEL_PASSES:
            if (training / rendering).is_dir():
                benchmarks.add(f"{folder.name}_{rendering}", _sintel_pairs(training, rendering))
    elif _is_kitti(training):
        benchmarks.add(folder.name, _kitti_pairs(training))
    else:
        pairs, problems = _pairs_at_any_depth(folder)
        if (folder / CHAIRS_SPLIT).is_file():
            pairs = _validation_chairs(folder / CHAIRS_SPLIT, pairs)
        benchmarks.add(folder.name, pairs, problems)


def _is_official(folder: Path) -> bool:
    training = _training_folder(folder)
    return _is_sintel(training) or _is_kitti(training) or _is_chairs(folder)


def _training_folder(folder: Path) -> Path:
    return folder / "training" if (folder / "training").is_dir() else folder


def _is_sintel(folder: Path) -> bool:
    return (folder / "flow").is_dir() and any((folder / rendering).is_dir() for rendering in SINTEL_PASSES)


def _is_kitti(folder: Path) -> bool:
    return (folder / "flow_occ").is_dir() and any((folder / images).is_dir() for images in KITTI_IMAGES)


def _is_chairs(folder: Path) -> bool:
    return any((folder / "data").glob("*_flow.flo"))


def _sintel_pairs(training: Path, rendering: str) -> list[PairFiles]:
    """Pair ``{clean,final}/SCENE/frame_0001.png`` and ``frame_0002.png`` with ``flow/SCENE/frame_0001.flo``.

    Every frame of a scene but the last has a flow; reading the pair names what is missing.
    """
    pairs = []
    for scene in sorted({path.name for kind in (rendering, "flow") for path in _subfolders(training / kind)}):
        frames = _numbers(training / rendering / scene, "frame_*.png")
        for number in sorted(_numbers(training / "flow" / scene, "frame_*.flo") | set(sorted(frames)[:-1])):
            name, next_name = (f"{scene}/frame_{frame:04d}" for frame in (number, number + 1))
            pairs.append(
                PairFiles(
                    name,
                    training / rendering / f"{name}.png",
                    training / rendering / f"{next_name}.png",
                    training / "flow" / f"{name}.flo",
                    occlusion=_within(training / "occlusions", f"{name}.png"),
                    invalid=_within(training / "invalid", f"{name}.png"),
                )
            )
    return pairs


def _kitti_pairs(training: Path) -> list[PairFiles]:
    """Pair ``image_2/ID_10.png`` and ``ID_11.png`` with ``flow_occ/ID_10.png`` and ``flow_noc/ID_10.png``."""
    images = next(training / name for name in KITTI_IMAGES if (training / name).is_dir())
    firsts = sorted({path.name for folder in (images, training / "flow_occ") for path in folder.glob("[!.]*_10.png")})
    return [
        PairFiles(
            name.removesuffix(".png"),
            images / name,
            images / name.replace("_10.png", "_11.png"),
            training / "flow_occ" / name,
            visible_ground_truth=_within(training / "flow_noc", name),
        )
        for name in firsts
    ]


def _within(folder: Path, name: str) -> Path | None:
    """Return the path of a file in an optional folder, or None if the folder does not exist."""
    return folder / name if folder.is_dir() else None


def _numbers(folder: Path, pattern: str) -> set[int]:
    """Return the numbers in the names of a folder's files; a copy such as ``frame_0001 (1).png`` has none."""
    ends = (path.stem.split("_")[-1] for path in folder.glob(pattern))
    return {int(end) for end in ends if end.isdecimal()}


def _pairs_at_any_depth(folder: Path) -> tuple[list[PairFiles], list[BadFile]]:
    pairs: list[PairFiles] = []
    problems: list[BadFile] = []
    for place in (folder, *sorted(folders_below(folder))):
        try:
            found, wrong = discover_pairs(place, folder)
        except OSError as error:
            found, wrong = [], [_unreadable(place, error)]
        pairs += found
        problems += wrong
    return pairs, problems


def _unreadable(folder: Path, error: OSError) -> BadFile:
    return BadFile(folder, f"the folder cannot be read: {error}")


def _validation_chairs(split: Path, pairs: list[PairFiles]) -> list[PairFiles]:
    """Keep the pairs that FlyingChairs sets aside for validation; line ``n`` of the file is pair ``n``."""
    lines = split.read_bytes().split()
    validation = {number for number, line in enumerate(lines, start=1) if line == b"2"}
    numbered = ((pair, Path(pair.name).name.split("_")[0]) for pair in pairs)
    return [pair for pair, number in numbered if number.isdecimal() and int(number) in validation]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.relative_to(folder)))
