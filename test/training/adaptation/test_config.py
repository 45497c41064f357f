# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from places import ROOT

from mdflow_training.commands.adapt_from_bag import main
from mdflow_training.settings.adaptation import AdaptationConfig, load_adaptation_config
from mdflow_training.settings.reading import ConfigError

CPU_CONFIG = ROOT / "training" / "configs" / "adapt_cpu.yaml"


def test_printed_settings_are_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--config", str(CPU_CONFIG), "--set", "seed=7", "--print-config"]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert load_adaptation_config(printed) == load_adaptation_config(CPU_CONFIG, ["seed=7"])
    assert "# Mixed precision; auto is" in printed.read_text()


def test_what_suits_a_computer_without_gpu_changes_little():
    config, default = load_adaptation_config(CPU_CONFIG), AdaptationConfig()
    assert (config.student.name, config.student.weights, config.rounds) == ("fastflownet", "teacher", 1)
    assert config.stage2.selection == default.stage2.selection
    assert config.stage3.start_from == "student"


def test_a_section_that_comes_twice_is_refused(tmp_path: Path):
    twice = tmp_path / "twice.yaml"
    twice.write_text("stage1:\n  optimization: {steps: 7}\nseed: 1\nstage1:\n  optimization: {batch_size: 3}\n")
    with pytest.raises(ConfigError, match=r"'stage1' stands twice in a section(.|\n)*line 1"):
        load_adaptation_config(twice)


def test_a_setting_changes_alone():
    config = load_adaptation_config(
        None, ["stage1.distillation.weight=0.7", "stage2.augmentation.spatial.rotation=0.01"]
    )
    assert config.stage1.distillation.weight == 0.7
    assert config.stage1.distillation.start == AdaptationConfig().stage1.distillation.start == 0.5
    assert config.stage2.augmentation is not None and config.stage2.augmentation.spatial is not None
    assert config.stage2.augmentation.spatial.rotation == 0.01
    assert config.stage2.augmentation.spatial.crop == 0.2
    assert config.stage3 == AdaptationConfig().stage3


def test_each_ablation_is_one_setting():
    config = load_adaptation_config(None, ["stage2.selection.rule=visible"])
    assert config.stage2.selection.rule == "visible"
    assert load_adaptation_config(None, ["stage2.augmentation=null"]).stage2.augmentation is None
    assert load_adaptation_config(None, ["stage3.unsupervised.weight=0"]).stage3.unsupervised.weight == 0
    assert load_adaptation_config(None, ["student.name=fastflownet"]).student.name == "fastflownet"
    assert load_adaptation_config(None, ["rounds=1"]).rounds == 1


def test_a_file_may_leave_settings_out(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("stage1:\n  optimization:\n    learning_rate: 1e-5\n")
    config = load_adaptation_config(path, ["stage1.optimization.steps=3"])
    assert config.stage1.optimization.learning_rate == 1e-5
    assert config.stage1.optimization.steps == 3
    assert config.stage1.optimization.batch_size == AdaptationConfig().stage1.optimization.batch_size


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stage1.optimzation.steps=3", "did you mean optimization?"),
        ("stage1.optimization.stepz=3", "stage1.optimization.stepz: unknown setting; did you mean steps?"),
        ("stage1.optimization.steps=-3", "stage1.optimization.steps: Input should be greater than or equal to 0"),
        ("rounds", "not of the form section.name=value"),
        ("rounds=[", "not YAML"),
        ("image_size=[100, 192]", "must be a multiple of 64"),
        ("stage2.augmentation.spatial.zoom=[2, 1]", "lower end"),
        ("stage2.selection.rule=best", "stage2.selection.rule"),
        ("student.name=raft", "unknown student raft: choose raft_small"),
        ("stage3.start_from=student", "stage3.start_from=student needs student.name=fastflownet"),
        ("frames.strides=[]", "frames.strides"),
        ("frames.cache_gigabytes=.inf", "finite"),
        ("frobnicate=1", "there are: seed"),
        ("seed=2000-13-45", "the value of 'seed=2000-13-45' is not YAML: month must be in 1..12"),
        ("labels.scales=1.5", "labels.scales: a list is needed, such as [1, 2] (found 1.5)"),
        ("labels=null", "labels: this is a section: change its settings with SECTION.NAME=VALUE (found None)"),
        ("frames.held_out_share=0", "frames.held_out_share=0 leaves no frames"),
        ("labels.scales=[.inf]", "labels.scales.0: Input should be a finite number"),
        ("labels.scales=[100]", "labels.scales.0: Input should be less than or equal to 4"),
        ("stage1.warped_pairs.blur=.inf", "stage1.warped_pairs.blur"),
        ("stage2.augmentation.appearance.blur=1e9", "blur: Input should be less than or equal to 10"),
        ("stage1.optimization.learning_rate=.inf", "learning_rate: Input should be a finite number"),
        ("stage1.augmentation.spatial.zoom=[1, .nan]", "zoom.1: Input should be a finite number"),
    ],
)
def test_a_wrong_setting_is_named(override: str, message: str):
    with pytest.raises(ConfigError) as caught:
        load_adaptation_config(None, [override])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 or "YAML" in message
    assert "Value error" not in str(caught.value)


def test_random_weights_must_all_learn():
    with pytest.raises(ConfigError, match="set trained_weights=all"):
        load_adaptation_config(None, ["initial_teacher=scratch", "trained_weights=fine_decoders"])


@pytest.mark.parametrize("later", ["start=0.5", "ramp=0.1", "weight=0"])
def test_a_stage_that_nothing_teaches_is_refused(later: str):
    settings = ["stage1.unsupervised.weight=0", "stage1.distillation.start=0", "stage1.distillation.ramp=0"]
    load_adaptation_config(None, settings)
    with pytest.raises(ConfigError, match="nothing teaches before"):
        load_adaptation_config(None, [*settings, f"stage1.distillation.{later}"])
    load_adaptation_config(None, [*settings, f"stage1.distillation.{later}", "stage1.warped_pairs.weight=0.5"])


def test_batch_normalization_needs_weights():
    with pytest.raises(ConfigError, match="raft_large needs student"):
        load_adaptation_config(None, ["student.name=raft_large"])
    load_adaptation_config(None, ["student.name=raft_large", "student.weights=torchvision:C_T_V2"])


def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_adaptation_config(tmp_path / "missing.yaml")
    for name, content in (("date.yaml", b"seed: 2000-13-45"), ("latin.yaml", b"seed: \xff")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=f"cannot read the configuration .*{name}"):
            load_adaptation_config(tmp_path / name)
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match="must hold settings"):
        load_adaptation_config(tmp_path / "list.yaml")
