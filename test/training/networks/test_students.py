# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from full_resolution import to_full_resolution_pixels
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large, raft_small

from mdflow_training.networks.fastflownet import FastFlowNet
from mdflow_training.networks.flow_network import FastFlowNetwork, initialize_for_scratch, subtract_pair_mean
from mdflow_training.networks.raft_weights import to_torchvision
from mdflow_training.networks.students import build_student
from mdflow_training.settings.adaptation import StudentSettings

TO_OFFICIAL = (
    ("feature_encoder.", "fnet."),
    ("context_encoder.", "cnet."),
    ("convnormrelu1.0.", "conv1."),
    ("convnormrelu1.1.", "norm1."),
    ("convnormrelu2.0.", "conv2."),
    ("convnormrelu2.1.", "norm2."),
    ("convnormrelu3.0.", "conv3."),
    ("convnormrelu.0.", "conv1."),
    ("convnormrelu.1.", "norm1."),
    ("motion_encoder.convcorr1.0.", "encoder.convc1."),
    ("motion_encoder.convcorr2.0.", "encoder.convc2."),
    ("motion_encoder.convflow1.0.", "encoder.convf1."),
    ("motion_encoder.convflow2.0.", "encoder.convf2."),
    ("motion_encoder.conv.0.", "encoder.conv."),
    ("mask_predictor.convrelu.0.", "update_block.mask.0."),
    ("mask_predictor.conv.", "update_block.mask.2."),
)


def official_state(network: nn.Module) -> dict[str, Tensor]:
    """Return these weights in the format of a checkpoint of princeton's RAFT."""
    state = {}
    for name, value in network.state_dict().items():
        name = re.sub(r"^(feature|context)_encoder\.conv\.", r"\1_encoder.conv2.", name)
        one_gru = "update_block.recurrent_block.convgru2.convz.weight" not in network.state_dict()
        name = re.sub(
            r"recurrent_block\.convgru(\d)\.conv([zrq])\.", r"gru.conv\2." if one_gru else r"gru.conv\2\1.", name
        )
        for ours, theirs in TO_OFFICIAL:
            name = name.replace(ours, theirs)
        state[f"module.{name}"] = value
        if ".downsample.1." in name:
            state[f"module.{name.replace('downsample.1', 'norm3')}"] = value
    return state


def randomized_raft() -> nn.Module:
    torch.manual_seed(0)
    network = raft_large(weights=None).eval()
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return network


def assert_same_flow(settings: StudentSettings, original: nn.Module, normalize: Callable[..., tuple[Tensor, Tensor]]):
    """Check that a student with these settings gives the same flow as the original network on normalized images."""
    student = build_student(settings, {}).eval()
    first, second = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        expected = original(*normalize(first, second), num_flow_updates=settings.updates)[-1]
        found = student(first, second)[-1]
    assert torch.allclose(found[:1], expected, atol=1e-4) and expected.abs().max() > 0.01


def test_official_raft_checkpoints_convert_exactly(tmp_path: Path):
    original = randomized_raft()
    official = official_state(original)
    assert len(official) == 179 and len(original.state_dict()) == 169
    for name in (
        "module.fnet.conv1.weight",
        "module.fnet.layer2.0.downsample.0.bias",
        "module.cnet.norm1.running_mean",
        "module.cnet.layer3.0.norm3.num_batches_tracked",
        "module.cnet.layer1.1.conv2.weight",
        "module.cnet.conv2.bias",
        "module.update_block.encoder.convf2.bias",
        "module.update_block.encoder.conv.weight",
        "module.update_block.gru.convz1.weight",
        "module.update_block.gru.convq2.bias",
        "module.update_block.flow_head.conv2.weight",
        "module.update_block.mask.0.weight",
        "module.update_block.mask.2.bias",
    ):
        assert name in official
    assert set(to_torchvision(official)) == set(original.state_dict())
    path = tmp_path / "raft.pth"
    torch.save(official, path)
    settings = StudentSettings(name="raft_large", weights=str(path), normalization="pair_mean", updates=2)
    assert_same_flow(settings, original, subtract_pair_mean)


def test_official_small_raft_checkpoints_convert_exactly(tmp_path: Path):
    torch.manual_seed(0)
    original = raft_small(weights=None).eval()
    official = official_state(original)
    for name in (
        "module.fnet.layer1.0.conv3.weight",
        "module.cnet.layer2.0.downsample.0.bias",
        "module.update_block.encoder.convc1.weight",
        "module.update_block.gru.convz.weight",
        "module.update_block.gru.convq.bias",
    ):
        assert name in official
    path = tmp_path / "raft-small.pth"
    torch.save(official, path)
    settings = StudentSettings(name="raft_small", weights=str(path), normalization="symmetric", updates=2)
    assert_same_flow(settings, original, lambda first, second: (2 * first - 1, 2 * second - 1))


@pytest.mark.parametrize("name", ["raft_small", "fastflownet"])
def test_students_predict_both_directions_in_pixels(name: str):
    torch.manual_seed(0)
    student = build_student(StudentSettings(name=name, updates=3), {}).train()
    first, second = torch.rand(2, 2, 3, 128, 192)
    flows = student(first, second)
    assert len(flows) == (3 if name == "raft_small" else 5)
    height, width = flows[-1].shape[-2:]
    assert flows[-1].shape[:2] == (4, 2) and 128 % height == 0 and width * 128 == height * 192
    swapped = student(second, first)[-1]
    assert torch.allclose(flows[-1][:2], swapped[2:], atol=1e-3), "the second half is the way back"
    assert not torch.allclose(flows[-1][:2], flows[-1][2:], atol=1e-3)


def test_the_teacher_is_fastflownet_itself():
    torch.manual_seed(0)
    teacher = FastFlowNetwork().eval()
    first, second = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        flow = teacher(first, second)[-1]
        assert isinstance(teacher.core, FastFlowNet)
        raw = teacher.core(*subtract_pair_mean(first, second))[0]
    upsampled = nn.functional.interpolate(flow[:1], (128, 128), mode="bilinear", align_corners=False)
    assert torch.allclose(upsampled, to_full_resolution_pixels(raw), atol=1e-4)


def test_batch_normalization_stays_frozen_in_training():
    student = build_student(StudentSettings(name="raft_large", updates=1), {}).train()
    norms = [module for module in student.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(module.training for module in norms) and student.core.training


def test_a_student_may_begin_as_the_teacher():
    teacher = FastFlowNetwork()
    student = build_student(StudentSettings(name="fastflownet", weights="teacher"), teacher.core.state_dict())
    for name, value in teacher.core.state_dict().items():
        assert torch.equal(student.core.state_dict()[name], value)


def test_scratch_initialization_upsamples_bilinearly_and_starts_small():
    torch.manual_seed(0)
    network = FastFlowNetwork()
    before = network.core.decoder2.conv7.weight.clone()  # type: ignore[union-attr,operator]
    initialize_for_scratch(network)
    constant = network.core.up3(torch.ones(1, 2, 8, 8))  # type: ignore[operator]
    assert torch.allclose(constant[..., 1:-1, 1:-1], torch.ones(1))
    assert torch.allclose(network.core.decoder2.conv7.weight, before * 0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "raft_medium"}, "unknown student raft_medium: choose raft_small"),
        ({"name": "raft_small", "weights": "teacher"}, "only a fastflownet student"),
        ({"name": "raft_small", "weights": "torchvision:NOPE"}, "torchvision:NOPE: choose one of C_T_V1"),
        ({"name": "raft_small", "weights": "missing.pth"}, "cannot read the weights missing.pth"),
        ({"name": "fastflownet", "normalization": "symmetric"}, "set student.normalization to null"),
    ],
)
def test_wrong_students_are_refused(settings: dict[str, str], message: str):
    with pytest.raises(ValueError, match=message):
        build_student(StudentSettings(**settings), {})  # type: ignore[arg-type]


def test_weights_of_another_network_are_refused(tmp_path: Path):
    path = tmp_path / "other.pth"
    torch.save(FastFlowNet().state_dict(), path)
    with pytest.raises(ValueError, match=r"do not fit RAFT \(\d+ missing, such as .*; \d+ unknown") as caught:
        build_student(StudentSettings(name="raft_small", weights=str(path)), {})
    assert len(str(caught.value)) < 400, "a line, not every name"
    state = raft_small().state_dict()
    state["feature_encoder.conv.bias"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"\(1 of another shape, such as feature_encoder\.conv\.bias\)"):
        build_student(StudentSettings(name="raft_small", weights=str(path)), {})


def test_a_file_that_is_no_checkpoint_is_named_without_torch_s_advice_to_run_it(tmp_path: Path):
    path = tmp_path / "page.pth"
    path.write_text("<html>")
    with pytest.raises(ValueError, match=r"cannot read the weights .*page\.pth: ") as caught:
        build_student(StudentSettings(name="raft_small", weights=str(path)), {})
    assert "arbitrary code" not in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("ptlflow") is not None, reason="ptlflow is installed")
def test_a_missing_ptlflow_is_named():
    with pytest.raises(ValueError, match="pip install ptlflow"):
        build_student(StudentSettings(name="ptlflow:raft_small"), {})


def test_mixed_precision_gives_flows_in_float32():
    torch.manual_seed(0)
    network = FastFlowNetwork(torch.bfloat16).eval()
    exact = FastFlowNetwork().eval()
    exact.core.load_state_dict(network.core.state_dict())
    first, second = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        flow, reference = network(first, second)[-1], exact(first, second)[-1]
    assert flow.dtype == torch.float32 and not torch.equal(flow, reference)
    assert (flow - reference).abs().mean() < 0.1 * reference.abs().mean()


def test_a_ptlflow_model_predicts_both_directions():
    pytest.importorskip("ptlflow", reason="ptlflow is not installed")
    student = build_student(StudentSettings(name="ptlflow:raft_small"), {}).train()
    first, second = torch.rand(2, 1, 3, 128, 128)
    flows = student(first, second)
    assert len(flows) > 1 and all(flow.shape == (2, 2, 128, 128) for flow in flows)
    flows[-1].mean().backward()
    assert any(parameter.grad is not None for parameter in student.parameters())
    with torch.no_grad():
        assert len(student.eval()(first, second)) == 1


def test_only_a_student_that_starts_from_the_teacher_may_keep_weights():
    teacher = FastFlowNetwork().core.state_dict()
    copied = build_student(StudentSettings(name="fastflownet", weights="teacher"), teacher, trained="fine_decoders")
    fresh = build_student(StudentSettings(name="fastflownet", weights=None), teacher, trained="fine_decoders")
    kept = {name for name, parameter in copied.core.named_parameters() if not parameter.requires_grad}
    assert "pconv1_1.0.weight" in kept and "decoder5.conv1.0.weight" in kept and "decoder4.conv1.0.weight" not in kept
    assert all(parameter.requires_grad for parameter in fresh.core.parameters())
