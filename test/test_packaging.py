# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The files that git and Docker ignore, and the versions that the Docker image installs."""

import re

from places import ROOT


def test_git_ignores_every_output_that_docker_does() -> None:
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    assert set((ROOT / ".dockerignore").read_text().split()) - {".git"} <= ignored


def test_docker_installs_no_version_below_those_of_setup() -> None:
    requirements = re.compile(r'"([a-z-]+)>=([\d.]+)')
    wanted = dict(requirements.findall((ROOT / "setup.py").read_text()))
    installed = dict(requirements.findall((ROOT / "docker/Dockerfile").read_text()))
    assert installed == {name: wanted[name] for name in installed} and len(installed) == 6
