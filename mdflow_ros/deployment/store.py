# Copyright 2026 The mdflow_ros Authors
# SPDX-License-Identifier: Apache-2.0
"""The store of deployed models, one of which is current.

    ~/.local/share/mdflow_ros/models/
        0001-3fd0c4a1b2e9/teacher.onnx, teacher.json, deployment.json
        0002-81b7e66f0a53/...
        current -> 0002-81b7e66f0a53

A version never changes. `current` is switched by one rename, so a reader (a node's ``model`` parameter may name
``current/teacher.onnx``) gets the complete old or the complete new model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from mdflow_ros.core.cache_folder import home
from mdflow_ros.model.card import BUNDLED_MODEL, ModelCard, ModelError, card_path, load_card

CURRENT = "current"
MODEL_NAME = "teacher.onnx"
DEPLOYMENT_NAME = "deployment.json"
MAX_TIME_LENGTH = 64
VERSION_NAME = re.compile(r"(\d{4,})-[0-9a-f]{12}")


def default_store_folder() -> Path:
    """Return the folder of the user's store, by the XDG Base Directory Specification."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # The specification says to ignore a relative path.
    return (Path(data) if os.path.isabs(data) else home() / ".local" / "share") / "mdflow_ros" / "models"


@dataclass(frozen=True)
class Version:
    """A model in the store.

    Attributes:
        folder: of this version.
        deployed: time of its deployment, ISO 8601, UTC.
        replaced: name of the version that was current before; ``None`` for the bundled model.
    """

    folder: Path
    deployed: str
    replaced: str | None

    @property
    def name(self) -> str:
        """Number and first digits of the SHA-256."""
        return self.folder.name

    @property
    def model(self) -> Path:
        """The ONNX file; its card is beside it."""
        return self.folder / MODEL_NAME

    def card(self) -> ModelCard:
        """Read the card and check the file against it.

        Raises:
            ModelError: the version is damaged.
        """
        return load_card(self.model)

    def is_whole(self) -> bool:
        """Return whether `card` raises no error."""
        try:
            self.card()
        except ModelError:
            return False
        return True


class ModelStore:
    """Versions of deployed models in a folder.

    Args:
        folder: created when the first model is added; None for the user's store.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_store_folder()).absolute()

    @property
    def pointer(self) -> Path:
        """The link to the current version."""
        return self.folder / CURRENT

    def names(self) -> list[str]:
        """List the names of all versions, oldest first; some may be damaged."""
        if not self.folder.is_dir():
            return []
        return sorted((path.name for path in self.folder.iterdir() if VERSION_NAME.fullmatch(path.name)), key=_number)

    def version(self, name: str) -> Version:
        """Return a version by its name.

        Raises:
            ModelError: there is no such version, its `deployment.json` is damaged, or the name is not a version's name.
        """
        if not VERSION_NAME.fullmatch(name):
            raise ModelError(f"{name[:80]!r} is not the name of a model in {self.folder}; --list shows the names")
        path = self.folder / name / DEPLOYMENT_NAME
        try:
            notes = json.loads(path.read_text(encoding="utf-8"))
            deployed, replaced = notes["deployed"], notes["replaced"]
        except FileNotFoundError:
            raise ModelError(f"there is no model {name} in {self.folder}; --list shows those there are") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(f"cannot read {path}: {error}; delete its folder") from error
        if not isinstance(deployed, str) or len(deployed) > MAX_TIME_LENGTH or not deployed.isprintable():
            raise ModelError(f"cannot read {path}: 'deployed' must be a time in ISO 8601; delete its folder")
        if replaced is not None and not (isinstance(replaced, str) and VERSION_NAME.fullmatch(replaced)):
            raise ModelError(f"cannot read {path}: 'replaced' must name a model of the store; delete its folder")
        return Version(self.folder / name, deployed, replaced)

    def current(self) -> Version | None:
        """Return the current version; ``None`` for the bundled model, also if the current version has been deleted.

        Raises:
            ModelError: its `deployment.json` is damaged, or `current` is not a link to a version of this store.
        """
        if not self.pointer.is_symlink():
            if self.pointer.exists():
                raise ModelError(f"{self.pointer} is not a link; delete it, then deploy again")
            return None
        target = os.readlink(self.pointer)
        if Path(target).parts[-2:] == BUNDLED_MODEL.parts[-3:-1]:  # the installation may have moved since
            return None
        if not VERSION_NAME.fullmatch(target):
            raise ModelError(
                f"{self.pointer} points out of the store, to {target[:80]!r}; delete it, then deploy again"
            )
        return self.version(target) if self.pointer.exists() else None

    def previous(self) -> Version | None:
        """Return the version that the current one replaced; ``None`` for the bundled model.

        Raises:
            ModelError: the bundled model is current, so there is nothing to go back to; or the previous version was
                deleted; or a `deployment.json` is damaged.
        """
        current = self.current()
        if current is None:
            raise ModelError(f"no model of {self.folder} is deployed, so there is none to roll back to")
        return None if current.replaced is None else self.version(current.replaced)

    def add(self, model: Path) -> Version:
        """Copy a model and its card into the store, as a new version that is not current yet.

        The copy is checked against its card. If the same model is already current and intact, that version is returned.

        Raises:
            ModelError: the model or its card is missing or damaged.
            OSError: the store cannot be written.
        """
        card, current = load_card(model), self.current()
        if current is not None and current.name.endswith(f"-{card.sha256[:12]}") and current.is_whole():
            return current
        self.folder.mkdir(parents=True, exist_ok=True)
        notes = {
            "deployed": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "replaced": None if current is None else current.name,
        }
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".incoming-") as incoming:
            aside = Path(incoming) / "version"
            aside.mkdir()
            shutil.copyfile(model, aside / MODEL_NAME)
            shutil.copyfile(card_path(model), card_path(aside / MODEL_NAME))
            load_card(aside / MODEL_NAME)
            (aside / DEPLOYMENT_NAME).write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
            _flush(aside)
            numbers = [_number(name) for name in self.names()]
            name = f"{max(numbers, default=0) + 1:04d}-{card.sha256[:12]}"
            aside.rename(self.folder / name)
        return self.version(name)

    def make_current(self, version: Version | None) -> None:
        """Switch `pointer` to a version, or for ``None`` to the bundled model; a node may load its model from there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".pointer-") as aside:
            link = Path(aside) / CURRENT
            link.symlink_to(BUNDLED_MODEL.parent if version is None else version.name)
            link.replace(self.pointer)

    def remove(self, version: Version) -> None:
        """Delete a version that is not current.

        Raises:
            ModelError: it is current, or the store is damaged.
            OSError: it cannot be deleted.
        """
        current = self.current()
        if current is not None and current.name == version.name:
            raise ModelError(f"{version.name} is the current model; roll back before you remove it")
        shutil.rmtree(version.folder)


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _flush(folder: Path) -> None:
    """Sync the files to disk before their folder gets its name, because a robot may lose power at any moment."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
