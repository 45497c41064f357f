# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from textured_pairs import AffinePair

from mdflow_training.augmentation.augmentor import Augmentation
from mdflow_training.networks.directions import stack_directions, swap_directions
from mdflow_training.networks.fastflownet import warp
from mdflow_training.settings.adaptation import (
    AppearanceSettings,
    AugmentationSettings,
    EraserSettings,
    SpatialSettings,
)

SIZE = (96, 128)
STILL = SpatialSettings(
    zoom=(1, 1), squeeze=(1, 1), rotation=0, translation=0, relative_zoom=(1, 1), relative_rotation=0,
    relative_translation=0, horizontal_flip=0, vertical_flip=0,
)  # fmt: skip
PLAIN = AugmentationSettings(spatial=SpatialSettings(), appearance=None)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def smooth_pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Stacked images and flows of a smooth texture under a rotation and a shift."""
    pair = AffinePair(SIZE, (4.0, -2.0), 0.03, shortest_wave=24)
    return stack_directions(pair.first, pair.second), stack_directions(pair.forward, pair.backward)


def match_error(images: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Mean color difference to the match, by direction, where the match is in view."""
    target = swap_directions(images)
    in_view = warp(torch.ones_like(images[:, :1]), flow) > 0.999
    difference = (warp(target, flow, "border") - images).abs().mean(dim=1, keepdim=True)
    return torch.stack([difference[i][in_view[i]].mean() for i in range(len(images))])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("crop", [0.0, 0.3])
def test_augmented_flow_fits_the_augmented_images_both_ways(seed: int, crop: float):
    images, flow = smooth_pair()
    settings = PLAIN.model_copy(update={"spatial": SpatialSettings(crop=crop, relative_translation=0.05)})
    augmentation = Augmentation(settings, SIZE, generators(seed))
    images, flow = augmentation.images(images), augmentation.flow(flow)
    assert (match_error(images, flow) < 0.004).all()
    assert (match_error(images, torch.zeros_like(flow)) > 0.02).all()


@pytest.mark.parametrize("flips", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_flips_are_exact(flips: tuple[float, float]):
    horizontal, vertical = flips
    settings = STILL.model_copy(update={"horizontal_flip": horizontal, "vertical_flip": vertical})
    augmentation = Augmentation(PLAIN.model_copy(update={"spatial": settings}), SIZE, generators(0))
    images, flow = smooth_pair()
    axes = [-1] * (horizontal == 1) + [-2] * (vertical == 1)
    signs = torch.tensor([1 - 2 * horizontal, 1 - 2 * vertical]).view(1, 2, 1, 1)
    assert torch.allclose(augmentation.images(images), images.flip(axes), atol=1e-5)
    assert torch.allclose(augmentation.flow(flow), flow.flip(axes) * signs, atol=1e-4)


def test_doing_nothing_is_exact():
    images, flow = smooth_pair()
    for settings in (
        AugmentationSettings(spatial=STILL, appearance=None),
        AugmentationSettings(spatial=None, appearance=None),
    ):
        augmentation = Augmentation(settings, SIZE, generators(3))
        assert torch.allclose(augmentation.images(images), images, atol=1e-5)
        assert torch.allclose(augmentation.flow(flow), flow, atol=1e-4)


def test_masks_move_with_the_images():
    images, _ = smooth_pair()
    mask = (images[:, :1] > 0.5).float()
    augmentation = Augmentation(PLAIN, SIZE, generators(5))
    moved = augmentation.mask(mask)
    agreement = ((moved > 0.5) == (augmentation.images(images)[:, :1] > 0.5)).float().mean()
    assert moved.min() >= 0 and moved.max() <= 1 and agreement > 0.98


def test_nothing_from_outside_the_frame_comes_in():
    for seed in range(20):
        augmentation = Augmentation(PLAIN, SIZE, generators(seed))
        corners = torch.tensor([[0.0, 0, 1], [127, 0, 1], [0, 95, 1], [127, 95, 1]], dtype=torch.float64).T
        origins = torch.linalg.inv(augmentation.spatial.matrices) @ corners
        assert (origins[:, :2] >= -1e-3).all() and (origins[:, 0] <= 127.001).all() and (origins[:, 1] <= 95.001).all()


def test_a_sample_is_augmented_alike_whatever_else_is_in_the_batch():
    images, flow = smooth_pair()
    pairs = images.repeat_interleave(2, dim=0)
    settings = AugmentationSettings(eraser=EraserSettings(probability=1))
    both = Augmentation(settings, SIZE, generators(1, 2))
    alone = Augmentation(settings, SIZE, generators(2))
    assert torch.allclose(both.images(pairs)[1::2], alone.images(images), atol=1e-5)
    assert torch.allclose(both.flow(flow.repeat_interleave(2, dim=0))[1::2], alone.flow(flow), atol=1e-5)


def test_appearance_changes_both_frames_alike_and_nothing_moves():
    same = torch.rand(1, 3, *SIZE).repeat(2, 1, 1, 1)
    settings = AugmentationSettings(spatial=None, appearance=AppearanceSettings(noise=0))
    changed = Augmentation(settings, SIZE, generators(4)).images(same)
    assert torch.equal(changed[0], changed[1]) and not torch.allclose(changed, same, atol=1e-3)
    assert changed.min() >= 0 and changed.max() <= 1
    settings = AugmentationSettings(spatial=None, appearance=AppearanceSettings(asymmetric=1, noise=0))
    changed = Augmentation(settings, SIZE, generators(4)).images(same)
    assert not torch.allclose(changed[0], changed[1], atol=1e-3)
    noisy = AugmentationSettings(spatial=None, appearance=AppearanceSettings(blur=0, noise=0.1))
    changed = Augmentation(noisy, SIZE, generators(4)).images(torch.full((2, 3, *SIZE), 0.5))
    assert 0 < changed[0].std() < 0.11 and not torch.equal(changed[0], changed[1])


def test_blur_keeps_constants_and_takes_contrast():
    settings = AppearanceSettings(
        brightness=0, contrast=0, saturation=0, gamma=(1, 1), blur=3, blur_probability=1, noise=0
    )
    augmentation = Augmentation(AugmentationSettings(spatial=None, appearance=settings), SIZE, generators(1, 2))
    constant = torch.full((4, 3, *SIZE), 0.4)
    assert torch.allclose(augmentation.images(constant), constant, atol=1e-5)
    random = torch.rand(4, 3, *SIZE)
    blurred = augmentation.images(random).std(dim=(1, 2, 3)) / random.std(dim=(1, 2, 3))
    assert blurred.max() <= 1 and blurred.min() < 0.5


def test_the_eraser_paints_one_frame_and_leaves_labels_alone():
    images, flow = smooth_pair()
    settings = AugmentationSettings(spatial=None, appearance=None, eraser=EraserSettings(probability=1, boxes=1))
    painted_frames = set()
    for seed in range(8):
        augmentation = Augmentation(settings, SIZE, generators(seed))
        changed = ((augmentation.images(images) - images).abs() > 1e-3).any(dim=1)
        areas = changed.sum(dim=(1, 2)).tolist()
        assert sorted(area > 0 for area in areas) == [False, True]
        assert 0.5 * (0.13 * 96) ** 2 < max(areas) <= (0.27 * 96 + 1) ** 2
        painted_frames.add(areas.index(max(areas)))
        assert torch.allclose(augmentation.flow(flow), flow, atol=1e-4)
    assert painted_frames == {0, 1}
