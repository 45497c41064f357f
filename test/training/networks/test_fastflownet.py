# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The torch network, its ONNX graph and the ONNX decoder agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from shifted_images import shifted_pair

torch = pytest.importorskip("torch", reason="needs torch: scripts/setup.sh --training")

from full_resolution import to_full_resolution_pixels

from mdflow_ros.backends.backend import BackendOptions
from mdflow_ros.backends.onnxruntime_backend import OnnxRuntimeBackend
from mdflow_ros.model.architecture import kept_displacements, parameter_shapes
from mdflow_ros.model.card import BUNDLED_MODEL, Preprocessing, load_card
from mdflow_ros.model.graphs import Decoding, subtracted_mean
from mdflow_ros.model.onnx_writer.fastflownet_graph import build_graph
from mdflow_ros.model.weights import load_weights
from mdflow_training.networks.fastflownet import FastFlowNet, cost_volume, normalize_features

SIZES = [(64, 64), (128, 192), (192, 64), (256, 320)]


@pytest.fixture(scope="module")
def teacher() -> FastFlowNet:
    weights, card = load_weights(BUNDLED_MODEL)
    network = FastFlowNet(card.cost_volume_normalization)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network.eval()


def run(graph: bytes, images: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"images": images})


def torch_flows(network: FastFlowNet, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    centered = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    centered = centered - centered.double().mean().float()
    with torch.no_grad():
        finest = network.forward_both(centered[:1], centered[1:])[0]
    return to_full_resolution_pixels(finest[:1]), to_full_resolution_pixels(finest[1:])


def test_official_parameters() -> None:
    network = FastFlowNet()
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == parameter_shapes()
    assert len(parameter_shapes()) == 104
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_366_114


def test_official_displacements() -> None:
    official = [
        *(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21, 22, 23, 24, 26, 28, 29, 30, 31, 32, 33, 34, 36, 38, 39, 40, 41),
        *(42, 44, 46, 47, 48, 49, 50, 51, 52, 54, 56, 57, 58, 59, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80),
    ]
    assert [(dy + 4) * 9 + dx + 4 for dx, dy in kept_displacements()] == official


def test_cost_volume_finds_a_displacement() -> None:
    first = torch.randn(1, 64, 12, 20)
    second = torch.roll(first, shifts=(2, -1), dims=(2, 3))
    best = cost_volume(first, second)[0, :, 4:8, 4:16].flatten(1).mean(1).argmax()
    assert kept_displacements()[int(best)] == (-1, 2)


def test_normalized_features_have_one_mean_and_deviation_and_a_finite_gradient() -> None:
    first, second = 3 * torch.randn(2, 2, 8, 6, 5, dtype=torch.double) + 1
    both = torch.cat(normalize_features(first, second), dim=1)
    torch.testing.assert_close(both.mean((1, 2, 3)), torch.zeros(2, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(both.std((1, 2, 3)), torch.ones(2, dtype=torch.double), atol=1e-5, rtol=0)
    black = torch.zeros(1, 8, 6, 5, requires_grad=True)
    normalize_features(black, black)[0].sum().backward()
    assert black.grad is not None and black.grad.isfinite().all()


@pytest.mark.parametrize("size", SIZES)
def test_graph_equals_torch_at_every_size(teacher: FastFlowNet, size: tuple[int, int]) -> None:
    images = np.stack(shifted_pair(*size, right=5, down=2))
    expected = torch_flows(teacher, images)[0][0].permute(1, 2, 0).numpy()
    weights, card = load_weights(BUNDLED_MODEL)
    graph = build_graph(weights, card.preprocessing, card.cost_volume_normalization)
    np.testing.assert_allclose(run(graph.SerializeToString(), images)[0], expected, atol=1e-3)


@pytest.mark.parametrize("level", [2, 3])
def test_decoder_equals_torch_at_every_level_and_in_both_directions(teacher: FastFlowNet, level: int) -> None:
    images = np.stack(shifted_pair(128, 192, right=5, down=2))
    centered = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    centered = centered - centered.double().mean(dim=(1, 2, 3), keepdim=True).float()
    with torch.no_grad():
        flows = teacher.forward_both(centered[:1], centered[1:])[level - 2 :]
    backend = OnnxRuntimeBackend(BUNDLED_MODEL, BackendOptions(decoding=Decoding(level, level), threads=1))
    card = load_card(BUNDLED_MODEL)
    frames = [backend.encode(image, subtracted_mean(card, [image])) for image in images]
    decoded = backend.decode(frames[0], frames[1], True)
    expected = (flows[0][:1], flows[1][:1], flows[0][1:])
    for ours, theirs in zip(decoded, expected, strict=True):
        np.testing.assert_allclose(ours, 20 * theirs[0].permute(1, 2, 0).numpy(), atol=1e-3)


@pytest.mark.parametrize("normalization", [False, True])
@pytest.mark.parametrize("preprocessing", list(Preprocessing))
def test_graph_variants_equal_torch(preprocessing: Preprocessing, normalization: bool) -> None:
    torch.manual_seed(3)
    network = FastFlowNet(normalization).eval()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    images = np.stack(shifted_pair(128, 192, right=5, down=2))
    graph = build_graph(weights, preprocessing, normalization)
    (flow,) = run(graph.SerializeToString(), images)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    if preprocessing is Preprocessing.BGR_CHANNEL_MEAN:
        pixels = pixels.flip(1)
        pixels = pixels - pixels.mean(dim=(0, 2, 3), keepdim=True)
    else:
        pixels = pixels - pixels.mean()
    with torch.no_grad():
        expected = to_full_resolution_pixels(network(*pixels.float()[:, None])[0])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(flow, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: weights.pop("up3.bias"), "1 missing, for example up3.bias"),
        (lambda weights: weights.update(extra=np.zeros(1)), "1 superfluous, for example extra"),
        (lambda weights: weights.update({"up3.bias": np.zeros(3)}), "1 of another shape, for example up3.bias"),
    ],
)
def test_wrong_parameters_are_named(teacher: FastFlowNet, change: object, problem: str) -> None:
    weights = {name: value.numpy() for name, value in teacher.state_dict().items()}
    change(weights)  # type: ignore[operator]
    with pytest.raises(ValueError, match=problem):
        build_graph(weights, Preprocessing.RGB_SCALAR_MEAN, True)


def test_graph_is_the_same_every_time(teacher: FastFlowNet) -> None:
    weights = {name: value.numpy() for name, value in teacher.state_dict().items()}
    graphs = [build_graph(weights, Preprocessing.RGB_SCALAR_MEAN, True).SerializeToString() for _ in range(2)]
    assert graphs[0] == graphs[1]


def test_bundled_model_is_small() -> None:
    assert Path(BUNDLED_MODEL).stat().st_size < 6e6
