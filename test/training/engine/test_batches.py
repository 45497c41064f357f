# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mdflow_ros.core.resizing import Size
from mdflow_ros.quality import QUALITIES
from mdflow_training.adaptation.label_cache import LabelCache, Labels
from mdflow_training.engine.batches import Batch, PairBatches, training_size
from mdflow_training.engine.distributed import ProcessContext
from mdflow_training.settings.adaptation import AdaptationConfig

SIZE = Size(128, 128)
ALONE = ProcessContext(0, 1, torch.device("cpu"))


def numbered_pairs(count: int, size: tuple[int, int] = SIZE) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.full((*size, 3), 2 * i, np.uint8), np.full((*size, 3), 2 * i + 1, np.uint8)) for i in range(count)]


def test_every_pair_is_used_once_per_epoch_in_another_order():
    batches = PairBatches(numbered_pairs(6), SIZE, 2, 0, ALONE)
    indices = [index for batch in batches.steps(0, 6) for index in batch.indices]
    assert sorted(indices[:6]) == sorted(indices[6:]) == list(range(6)) and indices[:6] != indices[6:]


def test_images_come_as_fractions_with_their_index():
    for batch in PairBatches(numbered_pairs(3), SIZE, 2, 0, ALONE).steps(0, 3):
        assert batch.first.shape == (2, 3, *SIZE)
        values = (batch.first[:, 0, 0, 0] * 255).round().int().tolist()
        assert values == [2 * index for index in batch.indices]
        assert (batch.second[:, 0, 0, 0] * 255).round().int().tolist() == [value + 1 for value in values]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_is_the_same_wherever_one_starts(workers: int):
    def indices(start: int) -> list[list[int]]:
        batches = PairBatches(numbered_pairs(5), SIZE, 2, 3, ALONE, workers)
        return [batch.indices for batch in batches.steps(start, 8)]

    assert indices(5) == indices(0)[5:]


def test_processes_share_the_batch():
    pairs = numbered_pairs(7)
    whole = [(batch.indices, batch.positions) for batch in PairBatches(pairs, SIZE, 4, 1, ALONE).steps(0, 5)]
    halves = [
        [
            (b.indices, b.positions)
            for b in PairBatches(pairs, SIZE, 4, 1, ProcessContext(r, 2, ALONE.device)).steps(0, 5)
        ]
        for r in (0, 1)
    ]
    for (indices, positions), first, second in zip(whole, *halves, strict=True):
        assert indices == first[0] + second[0] and positions == first[1] + second[1]


def test_a_batch_that_cannot_be_shared_and_no_data_are_refused():
    with pytest.raises(ValueError, match="multiple"):
        PairBatches(numbered_pairs(3), SIZE, 3, 0, ProcessContext(0, 2, ALONE.device))
    with pytest.raises(ValueError, match="no pairs"):
        PairBatches([], SIZE, 2, 0, ALONE)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (Size(640, 480), Size(320, 256)),
        (Size(1280, 720), Size(384, 256)),
        (Size(256, 192), Size(320, 256)),
        (Size(320, 240), Size(320, 256)),
        (Size(300, 40), Size(512, 128)),
    ],
)
def test_training_size_follows_the_frames(frame: Size, expected: Size):
    balanced = QUALITIES["balanced"]
    assert training_size(frame, AdaptationConfig(), balanced) == expected
    assert training_size(frame, AdaptationConfig(image_size=(128, 192)), balanced) == Size(width=192, height=128)


def test_frames_are_brought_to_the_size_of_training():
    [batch] = PairBatches(numbered_pairs(1, (200, 300)), SIZE, 1, 0, ALONE).steps(0, 1)
    assert batch.first.shape == batch.second.shape == (1, 3, *SIZE)
    assert torch.allclose(batch.second * 255, torch.ones(1), atol=1e-4)


class CountingLabeller:
    """A labeler whose labels depend on the brightness of the pair; it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, first: torch.Tensor, second: torch.Tensor) -> Labels:
        assert len(first) == 1
        self.calls += 1
        flow = torch.stack((first[0, :2] * 25.5 + 1 / 3, -second[0, :2] * 2e6))
        mask = torch.stack((first[0, :1] > 0.05, second[0, :1] > 0.05)).float()
        mask[:, :, 5, 3] = 0
        return Labels(flow, mask, torch.tensor([0.75]))


def batch_of(*indices: int) -> Batch:
    pairs = numbered_pairs(20, (16, 20))
    first, second = (
        torch.stack([torch.from_numpy(pairs[i][side]).permute(2, 0, 1).float() / 255 for i in indices])
        for side in (0, 1)
    )
    return Batch(list(indices), list(indices), first, second)


def test_labels_are_computed_once_and_survive_a_restart(tmp_path: Path):
    labeler = CountingLabeller()
    cache = LabelCache(labeler, tmp_path / "labels", 1e6, 16 * 20)
    fresh = cache(batch_of(3, 9))
    assert labeler.calls == 2
    again = LabelCache(labeler, tmp_path / "labels", 1e6, 16 * 20)(batch_of(9, 3))
    assert labeler.calls == 2
    for one, other in ((fresh.flow, again.flow), (fresh.mask, again.mask)):
        assert torch.equal(one[[0, 2]], other[[1, 3]]) and torch.equal(one[[1, 3]], other[[0, 2]])
    assert torch.equal(fresh.visible, torch.tensor([0.75, 0.75]))
    assert fresh.flow.shape == (4, 2, 16, 20) and fresh.mask.shape == (4, 1, 16, 20)
    assert fresh.flow[0, 0, 0, 0] == pytest.approx(6 * 0.1 + 1 / 3, abs=1e-3)
    assert fresh.flow.isfinite().all() and fresh.flow.abs().max() <= 1000
    assert fresh.mask[1].mean() < 1 and not fresh.mask[:, :, 5, 3].any()
    cache.clear()
    assert not (tmp_path / "labels").exists()


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[:200], lambda content: bytes(len(content))]
)
def test_labels_that_a_power_failure_has_damaged_are_computed_again(damage: Callable[[bytes], bytes], tmp_path: Path):
    labeler = CountingLabeller()
    cache = LabelCache(labeler, tmp_path, 1e6, 16 * 20)
    whole = cache(batch_of(3))
    path = tmp_path / "00000003.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert torch.equal(cache(batch_of(3)).flow, whole.flow) and labeler.calls == 2
    cache(batch_of(3))
    assert labeler.calls == 2, "and stored again"


def test_the_cache_keeps_its_budget_and_labels_stay_the_same_without_it(tmp_path: Path):
    labeler = CountingLabeller()
    bounded = LabelCache(labeler, tmp_path / "bounded", 4e3, 16 * 20)
    assert 0 < bounded.capacity < 20
    everything = batch_of(*range(20))
    without = bounded(everything)
    used = sum(path.stat().st_size for path in (tmp_path / "bounded").iterdir())
    assert 0 < used <= 4e3 and labeler.calls == 20
    with_files = bounded(everything)
    assert 20 < labeler.calls < 40 and torch.equal(without.flow, with_files.flow)
