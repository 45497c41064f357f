# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from textured_pairs import AffinePair

from mdflow_ros.core.confidence import camera_noise
from mdflow_training.losses.census import (
    OUTSIDE,
    RADIUS,
    TAPS,
    Census,
    census_distance,
    inside_window,
    luma,
)
from mdflow_training.losses.unsupervised import masked_mean, photometric_loss, smoothness_loss
from mdflow_training.networks.fastflownet import warp


def interior(distance: torch.Tensor) -> torch.Tensor:
    return distance[..., RADIUS:-RADIUS, RADIUS:-RADIUS]


def slow_census_distance(first: torch.Tensor, second: torch.Tensor, y: int, x: int) -> float:
    """The definition, one pixel at a time."""
    total = 0.0
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in range(-RADIUS, RADIUS + 1):
            t = [(image[0, 0, y + dy, x + dx] - image[0, 0, y, x]) for image in (first, second)]
            squashed = [value / (0.81 + value**2) ** 0.5 for value in t]
            squared = (squashed[0] - squashed[1]) ** 2
            total += float(squared / (0.1 + squared))
    return total / TAPS


def test_census_distance_is_its_definition():
    torch.manual_seed(0)
    first, second = 255 * torch.rand(2, 2, 1, 12, 14)
    distance = census_distance(first, second)
    for y, x in ((3, 3), (5, 9), (8, 10)):
        assert float(distance[0, 0, y, x]) == pytest.approx(slow_census_distance(first, second, y, x), abs=1e-5)


def test_the_gradient_is_that_of_the_distance():
    torch.manual_seed(0)
    first = 255 * torch.rand(2, 1, 10, 11, dtype=torch.float64)
    second = (first + 2 * torch.randn_like(first)).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: interior(census_distance(first, image)), (second,), atol=1e-5)


def test_census_ignores_brightness_and_marks_its_border():
    image = torch.rand(1, 1, 16, 18) * 200
    assert interior(census_distance(image, image)).abs().max() == 0
    assert interior(census_distance(image, image + 25)).max() < 1e-4
    distance = census_distance(image, image)
    assert (distance * (1 - inside_window(image)) == OUTSIDE * (1 - inside_window(image))).all()


def test_random_images_are_about_as_far_apart_as_stated():
    torch.manual_seed(0)
    first, second = luma(torch.rand(2, 3, 64, 64)).split(1)
    assert 0.4 < float(interior(census_distance(first, second)).median()) < 0.7


def test_photometric_gradient_points_towards_the_true_flow():
    pair = AffinePair((48, 64), (1.0, 0.0), shortest_wave=12)
    flow = torch.zeros_like(pair.forward, requires_grad=True)
    photometric_loss(pair.first, pair.second, flow, torch.ones_like(flow[:, :1])).backward()
    assert flow.grad is not None
    assert float(flow.grad[:, 0].sum()) < 0, "u has to grow"
    assert abs(float(flow.grad[:, 1].sum())) < abs(float(flow.grad[:, 0].sum())) / 3


def test_photometric_loss_is_least_at_the_true_flow_and_sees_only_visible_pixels():
    pair = AffinePair((48, 64), (2.0, -1.0), 0.02)
    ones = torch.ones(1, 1, 48, 64)
    true = photometric_loss(pair.first, pair.second, pair.forward, ones)
    assert true < photometric_loss(pair.first, pair.second, torch.zeros_like(pair.forward), ones)
    left = ones.clone()
    left[..., 32:] = 0
    wrong_on_the_right = pair.forward.clone()
    wrong_on_the_right[..., 40:] += 5
    assert photometric_loss(pair.first, pair.second, wrong_on_the_right, left) == pytest.approx(
        float(photometric_loss(pair.first, pair.second, pair.forward, left)), abs=1e-6
    )
    flow = pair.forward.clone().requires_grad_()
    photometric_loss(pair.first, pair.second, flow, left).backward()
    assert flow.grad is not None and not flow.grad[..., 36:].any() and flow.grad[..., :32].any()


def test_masked_mean_weighs_samples_alike():
    values = torch.stack((torch.full((1, 4, 4), 2.0), torch.full((1, 4, 4), 6.0)))
    mask = torch.ones(2, 1, 4, 4)
    mask[0, :, 1:] = 0
    assert float(masked_mean(values, mask)) == pytest.approx(4, abs=1e-4)
    assert float(masked_mean(values, torch.zeros_like(mask))) == 0


def test_the_photometric_loss_in_numbers():
    def distance(difference: float) -> float:
        squared = difference**2 / (0.81 + difference**2)
        return squared / (0.1 + squared)

    ramp = torch.arange(20.0).expand(1, 1, 16, 20).contiguous()
    flow, everything = torch.zeros(1, 2, 16, 20), torch.ones(1, 1, 16, 20)
    # In each of the 7 rows of a window, the ramp differs from its center by 1, 2 and 3 levels on both sides.
    of_window = 7 * 2 * sum(distance(step) for step in (1, 2, 3))
    loss = float(photometric_loss(ramp, torch.zeros_like(ramp), flow, everything))
    assert loss == pytest.approx((of_window + 0.01) ** 0.4, rel=1e-4)


def test_smoothness_is_measured_in_pixels_of_the_flow():
    image = torch.zeros(1, 3, 32, 64)
    flow = torch.zeros(1, 2, 8, 16)
    flow[:, 0] = 2 * torch.arange(16.0)  # 2 pixels of the image from one to the next, which are 4 apart
    across, nothing = (0.5**2 + 1e-6) ** 0.5, 1e-3
    expected = ((across + nothing) / 2 + nothing) / 2  # mean over u and v, then over both axes
    assert float(smoothness_loss(image, flow)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("order", [1, 2])
def test_the_smoothness_of_a_batch_is_the_mean_of_its_samples(order: int):
    torch.manual_seed(0)
    images, flows = torch.rand(2, 3, 32, 64), torch.randn(2, 2, 8, 16)
    images[1] *= 0.1
    flows[1] *= 10
    alone = [float(smoothness_loss(images[i : i + 1], flows[i : i + 1], order)) for i in range(2)]
    assert float(smoothness_loss(images, flows, order)) == pytest.approx(sum(alone) / 2, rel=1e-5)


@pytest.mark.parametrize(("order", "free"), [(1, "constant"), (2, "linear")])
def test_smoothness_is_free_for_the_flow_it_favors(order: int, free: str):
    image = torch.full((1, 3, 32, 32), 0.5)
    ramp = torch.linspace(0, 8, 32).view(1, 1, 1, 32).expand(1, 2, 32, 32)
    flow = ramp if free == "linear" else torch.ones(1, 2, 32, 32)
    assert float(smoothness_loss(image, flow, order)) < 2e-3
    assert float(smoothness_loss(image, ramp.square(), order)) > 0.05


def test_smoothness_excuses_changes_at_edges():
    flow = torch.zeros(1, 2, 32, 32)
    flow[..., 16:] = 4
    edge = torch.zeros(1, 3, 32, 32)
    edge[..., 16:] = 1
    for order in (1, 2):
        excused = smoothness_loss(edge, flow, order)
        assert excused < 0.2 * smoothness_loss(torch.zeros_like(edge), flow, order)


def test_noise_is_measured_whatever_the_picture():
    torch.manual_seed(0)
    for pair in (AffinePair((96, 128), (0.0, 0.0)), AffinePair((96, 128), (0.0, 0.0), shortest_wave=20)):
        for deviation in (0.0, 1.0, 4.0):
            noise = torch.randn(3, 3, 96, 128) * deviation / 255
            noise = noise / (0.2989**2 + 0.5870**2 + 0.1140**2) ** 0.5
            gray = luma(pair.first * 0.5 + 0.2 + noise)[0, 0].numpy()
            assert camera_noise(gray) == pytest.approx(deviation, abs=0.35)


def test_without_noise_the_census_is_the_original():
    assert Census.for_noise(0.0) == Census() == Census(0.0, 0.81)
    first, second = torch.rand(2, 1, 3, 32, 32)
    census = Census()
    first, second = census.prepare(first), census.prepare(second)
    assert torch.equal(census.distance(first, second), census_distance(first, second))


def test_in_dark_noisy_images_the_adapted_census_still_tells_right_from_wrong():
    torch.manual_seed(0)
    pair = AffinePair((96, 128), (2.0, -1.0), shortest_wave=16)
    first, second = (image * 0.1 + 5 / 255 * torch.randn_like(image) for image in (pair.first, pair.second))

    def contrast(census: Census) -> float:
        a, b = census.prepare(first), census.prepare(second)
        right, wrong = (
            interior(census.distance(a, warp(b, flow, "border"))) for flow in (pair.forward, pair.forward + 3)
        )
        return float((right.mean() - wrong.mean()).abs() / wrong.std())

    assert contrast(Census.for_noise(3.3)) > 3 * contrast(Census())
