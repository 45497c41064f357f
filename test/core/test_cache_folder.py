# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
import pwd

import pytest

from mdflow_ros.core.cache_folder import cache_folder
from mdflow_ros.deployment.store import default_store_folder


def test_a_user_without_a_home_has_folders_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `docker run --user 1234`."""

    def unknown(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache_folder("textures").is_absolute() and default_store_folder().is_absolute()
