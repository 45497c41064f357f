# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""Match the images in a folder with their ground-truth flow by file name.

What data sets call their files differs; what the names have in common does not: they share everything but words such
as ``flow`` or ``img`` and the number of the frame. So each name is reduced to its *identity*, the rest:

- ``flow10.flo`` is (10), ``frame10.png`` is frame 10 of (): the flow goes from frame 10 to frame 11;
- ``occ_000010_10.png`` is (10, 10), ``000010_10.png`` is frame 10 of (10): from frame 10 to frame 11;
- ``0000004_flow.flo`` is (4), ``0000004_img1.ppm`` is frame 1 of (4): between the only two frames of (4);
- ``0000004-flow_01.flo`` names both of its frames, ``0000004-img_0.png`` and ``0000004-img_1.png`` (FlyingChairs2);
- ``15_17.flo`` does so, too: ``15.png`` and ``17.png``, as the ground truth of a recording, named by stamps.

In a folder with a single flow and two images, they belong together, whatever their names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from mdflow_training.evaluation.flow_pairs import PairFiles
from mdflow_training.flow_files import BadFile, holds_kitti_flow, is_kitti_flow

IMAGE_SUFFIXES = {".png", ".ppm", ".pgm", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}
FLOW_SUFFIXES = {".flo", ".pfm"}

IMAGE_WORDS = {"frame", "image", "img", "im", "color", "colored", "rgb"}
FLOW_WORDS = {"flow", "flo", "gt", "truth"}
VISIBLE_WORDS = {"noc"}
OCCLUSION_WORDS = {"occ", "occlusion", "occlusions"}
INVALID_WORDS = {"invalid"}
NUMBER = re.compile(r"\d+")
BACKWARD = re.compile(r"(?<![a-z])(bwd|bw|backward|past|reverse)(?![a-z])|flow_10$")
CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where the next word of a name such as ``OpticalFlowIntoPast`` begins, which is FlyingThings3D's."""
FORWARD_WORDS = {"fw", "fwd", "forward"}
ROLE_WORDS = IMAGE_WORDS | FLOW_WORDS | VISIBLE_WORDS | OCCLUSION_WORDS | INVALID_WORDS | FORWARD_WORDS

Identity = tuple[int | str, ...]


class BackwardFlow(BadFile):
    """The flow from the second image to the first."""


@dataclass
class FolderContent:
    """The files of a folder by their role, each with its identity."""

    frames: dict[Identity, dict[int, Path]] = field(default_factory=lambda: defaultdict(dict))
    unnumbered: list[Path] = field(default_factory=list)
    ground_truth: dict[Identity, Path] = field(default_factory=dict)
    visible_ground_truth: dict[Identity, Path] = field(default_factory=dict)
    occlusion: dict[Identity, Path] = field(default_factory=dict)
    invalid: dict[Identity, Path] = field(default_factory=dict)

    @property
    def images(self) -> list[Path]:
        """Every image, in the order of the frames."""
        return [path for _, group in sorted(self.frames.items(), key=str) for _, path in sorted(group.items())] + (
            self.unnumbered
        )


def discover_pairs(folder: Path, set_folder: Path) -> tuple[list[PairFiles], list[BadFile]]:
    """Return the pairs directly in ``folder``, and the problems found.

    Wrong are flows without their two images, and numbered images of which not one belongs to a pair.
    Pairs are called after their first image, from ``set_folder`` on.
    """
    content = _sort_by_role(folder)
    pairs: list[PairFiles] = []
    problems: list[BadFile] = []
    backward: list[BadFile] = []
    explained: set[Identity] = set()
    for identity, ground_truth in content.ground_truth.items():
        try:
            first, second = _images_of(identity, ground_truth, content)
        except BadFile as problem:
            (backward if isinstance(problem, BackwardFlow) else problems).append(problem)
            explained |= {identity, identity[:-1]}
            continue
        pairs.append(
            PairFiles(
                first.relative_to(set_folder).with_suffix("").as_posix(),
                first,
                second,
                ground_truth,
                content.visible_ground_truth.get(identity),
                content.occlusion.get(identity),
                content.invalid.get(identity),
            )
        )
    problems += [] if pairs else backward  # beside the flow there, the flow back is not missed
    used = {path for pair in pairs for path in (pair.first, pair.second)}
    for identity, group in content.frames.items():
        if identity not in explained and used.isdisjoint(group.values()):
            problems.append(BadFile(min(group.values()), "no ground truth goes with this image"))
    return pairs, problems


def _images_of(identity: Identity, ground_truth: Path, content: FolderContent) -> tuple[Path, Path]:
    if identity and isinstance(identity[-1], int):
        sequence, number = content.frames.get(identity[:-1], {}), identity[-1]
        if len(sequence) == 2 and NUMBER.findall(ground_truth.stem)[-1] == "".join(map(str, sorted(sequence))):
            first, second = (path for _, path in sorted(sequence.items()))
            return first, second
        of_both = content.frames.get(identity[:-2], {})
        if identity[-2:-1] and identity[-2] in of_both and number in of_both and number not in sequence:
            return of_both[identity[-2]], of_both[number]
        found = [frame for frame in (number, number + 1) if frame in sequence]
        if len(found) == 2:
            return sequence[number], sequence[number + 1]
        if found:
            missing = 2 * number + 1 - found[0]
            raise BadFile(ground_truth, f"frame {missing} is missing beside {sequence[found[0]].name}")
    shots = content.frames.get(identity, {})
    if len(shots) == 2:
        first, second = (path for _, path in sorted(shots.items()))
        return first, second
    if shots:
        names = ", ".join(path.name for path in shots.values())
        raise BadFile(ground_truth, f"exactly two images must be beside it, not: {names}")
    if BACKWARD.search(CAPITAL.sub("_", ground_truth.stem).lower()):
        raise BackwardFlow(ground_truth, "its name says that it is the flow back, from the second image to the first")
    if len(content.ground_truth) == 1 and len(content.images) == 2:
        return content.images[0], content.images[1]
    raise BadFile(ground_truth, "no two images beside it go with its name; put images and flow into one folder")


def _sort_by_role(folder: Path) -> FolderContent:
    content = FolderContent()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        tokens: list[str] = re.findall(r"[^\W\d_]+|\d+", path.stem.lower())
        words = set(tokens)
        identity = tuple(int(token) if token.isdigit() else token for token in tokens if token not in ROLE_WORDS)
        if _is_flow(path, words):
            role = content.visible_ground_truth if words & VISIBLE_WORDS else content.ground_truth
            role.setdefault(identity, path)
        elif path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        elif words & OCCLUSION_WORDS:
            content.occlusion.setdefault(identity, path)
        elif words & INVALID_WORDS:
            content.invalid.setdefault(identity, path)
        elif words & FLOW_WORDS:
            continue  # a picture of a flow
        else:
            _add_image(content, identity, path)
    for identity in content.visible_ground_truth.keys() - content.ground_truth.keys():
        content.ground_truth[identity] = content.visible_ground_truth.pop(identity)
    return content


def _is_flow(path: Path, words: set[str]) -> bool:
    if path.suffix.lower() != ".png":
        return path.suffix.lower() in FLOW_SUFFIXES
    named_so = bool(words & (FLOW_WORDS | VISIBLE_WORDS | OCCLUSION_WORDS))
    try:
        return is_kitti_flow(path) and (named_so or holds_kitti_flow(path))
    except (BadFile, OSError):  # its name has to tell what it was; reading it will name it
        return named_so


def _add_image(content: FolderContent, identity: Identity, path: Path) -> None:
    position = next((index for index in reversed(range(len(identity))) if isinstance(identity[index], int)), None)
    if position is None:
        content.unnumbered.append(path)
    else:
        number = identity[position]
        assert isinstance(number, int)
        content.frames[identity[:position] + identity[position + 1 :]].setdefault(number, path)
