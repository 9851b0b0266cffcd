"""Artefacts on disk: a folder of safetensors, npy and json files under a manifest of their hashes.

A folder is written to a temporary sibling, flushed to the disk and renamed, so that it is either whole or
absent. What is read back is compared with the manifest first. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from expunge.errors import StoreError

SCHEMA = 1
"""Version of the manifest; a folder of a newer one is refused."""
MANIFEST = "manifest.json"
MAKERS = {
    "run": "`expunge train RECIPE -o RUN` makes one",
    "unlearned": "`expunge forget RUN --rows SPEC --method NAME -o OUT` makes one",
    "result": "`expunge audit OUT`, `expunge attribute RUN` and `expunge bench SUITE` make one",
}
"""Kind of folder -> the command that makes one."""
PACKAGES = ("expunge", "torch", "numpy", "scipy", "scikit-learn", "safetensors")


@dataclass(frozen=True)
class Contents:
    """What goes into a folder: weights by name, arrays by name, and facts for the manifest."""

    kind: str
    """What the folder holds, such as "run" or "model"."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain data, kept in the manifest."""
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """File stem -> state dict."""
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """File stem -> array."""
    documents: dict[str, Any] = field(default_factory=dict)
    """File stem -> plain data, kept as json."""
    streamed: Iterable[tuple[str, npt.NDArray[Any]]] = ()
    """More arrays with their file stems, made while the folder is written: only one of them is in memory."""


@dataclass(frozen=True)
class Folder:
    """A folder that was opened: its manifest is known to be sound, its files are checked when read."""

    path: Path
    kind: str
    facts: dict[str, Any]
    hashes: dict[str, str]

    def array(self, stem: str) -> npt.NDArray[Any]:
        """The array in `<stem>.npy`, once its hash matches."""
        path = self._verified(f"{stem}.npy")
        try:
            values: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise StoreError(f"{path}: not an array file ({error})") from None
        return values

    def document(self, stem: str) -> Any:  # noqa: ANN401  (json is what it is)
        """The plain data in `<stem>.json`, once its hash matches."""
        return json.loads(self._verified(f"{stem}.json").read_text())

    def weights(self, stem: str) -> dict[str, Tensor]:
        """The state dict in `<stem>.safetensors`, once its hash matches."""
        return read_weights(self._verified(f"{stem}.safetensors"))

    def load_into(self, model: nn.Module, stem: str) -> nn.Module:
        """Put stored weights into a model of the same architecture; evaluation mode.

        Raises:
            StoreError: names or shapes differ, or the file is damaged.
        """
        return put_weights(model, self.weights(stem), self.path / f"{stem}.safetensors")

    def _verified(self, name: str) -> Path:
        path = self.path / name
        if name not in self.hashes or not path.is_file():
            raise StoreError(f"{self.path}: expected a file {name}, found none", hint="run the command again")
        if file_hash(path) != self.hashes[name]:
            raise StoreError(
                f"{path}: its content is not what the manifest recorded (damaged or edited)",
                hint="restore it from a copy, or delete the folder and run the command again",
            )
        return path


def write(path: Path, contents: Contents, *, replace: bool = False) -> Folder:
    """Write a folder so that it appears whole or not at all.

    Args:
        path: Where; must not exist unless `replace`.
        contents: What.
        replace: Put the new folder in the place of an old one of the same kind; nothing else is ever deleted.
            The old one is set aside first: a kill in between leaves it whole, as a hidden sibling.

    Raises:
        StoreError: the place is taken, or the disk is full; then nothing is left behind.
    """
    if path.exists() and not (replace and holds(path, contents.kind)):
        raise StoreError(f"{path} exists already", hint="choose another name, or delete it first")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        _fill(temporary, contents)
        _put_in_place(temporary, path, replace)
        _flush(path.parent)
    except (OSError, SafetensorError) as error:
        if path.is_dir() and not replace:  # somebody else finished the same folder first: theirs stays
            return read(path)
        raise StoreError(f"could not write {path}: {error}", hint="free some space or choose another disk") from None
    finally:
        if temporary is not None:  # still there after an error of any kind; else it bears its final name
            shutil.rmtree(temporary, ignore_errors=True)
    return read(path)


def holds(path: Path, kind: str) -> bool:
    """Whether a folder of that kind lies there."""
    try:
        return read(path).kind == kind
    except StoreError:
        return False


def read(path: Path, kind: str | None = None) -> Folder:
    """Open a folder.

    Raises:
        StoreError: absent, not a folder of expunge, of another kind or of a newer schema.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise StoreError(
            f"{path}: expected a folder with {MANIFEST}, found none",
            hint=MAKERS.get(kind or "", ""),
        )
    try:
        data = json.loads(manifest.read_text())
        schema, found, facts, hashes = int(data["schema"]), data["kind"], dict(data["facts"]), dict(data["files"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise StoreError(f"{manifest}: not a manifest ({error})") from None
    if schema > SCHEMA:
        raise StoreError(
            f"{path}: written by a newer expunge (schema {schema}, this one knows {SCHEMA})",
            hint="pip install --upgrade expunge",
        )
    if data.get("seal") != seal(data):
        raise StoreError(
            f"{manifest}: its content is not what was written (damaged or edited)",
            hint="restore it from a copy, or delete the folder and run the command again",
        )
    if kind is not None and found != kind:
        raise StoreError(f"{path}: expected a folder of kind {kind!r}, got {found!r}", hint=MAKERS.get(kind, ""))
    return Folder(path, found, facts, hashes)


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file, the only weights format that is read.

    Raises:
        StoreError: truncated, or another format such as a pickle.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise StoreError(
            f"{path}: not a safetensors file ({error})",
            hint="pickled weights are never read: load them yourself and save with safetensors.torch.save_file",
        ) from None


def put_weights(model: nn.Module, weights: dict[str, Tensor], source: Path) -> nn.Module:
    """Load a state dict strictly; evaluation mode.

    Raises:
        StoreError: names or shapes differ: the weights are for another architecture.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise StoreError(
            f"{source}: weights of another architecture ({first[0].strip()})",
            hint="use the recipe that the weights were trained with",
        ) from None
    return model.eval()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(folder: Path, contents: Contents) -> None:
    """Every file, flushed, then the manifest with their hashes."""
    for stem, state in contents.weights.items():
        save_file(
            # each tensor on its own: weights that are tied in the model are stored once per name
            {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()},
            folder / f"{stem}.safetensors",
        )
    for stem, values in chain(contents.arrays.items(), contents.streamed):
        np.save(folder / f"{stem}.npy", values, allow_pickle=False)
    for stem, data in contents.documents.items():
        (folder / f"{stem}.json").write_text(json.dumps(data))
    files = sorted(folder.iterdir())
    manifest = {
        "schema": SCHEMA,
        "kind": contents.kind,
        "facts": contents.facts,
        "packages": {name: version(name) for name in PACKAGES},
        "files": {file.name: file_hash(file) for file in files},
    }
    (folder / MANIFEST).write_text(json.dumps({**manifest, "seal": seal(manifest)}, indent=1))
    for file in [*files, folder / MANIFEST]:
        _flush(file)
    folder.chmod(0o755)
    _flush(folder)


def seal(manifest: dict[str, Any]) -> str:
    """SHA-256 of everything else in a manifest."""
    data = json.loads(json.dumps({key: value for key, value in manifest.items() if key != "seal"}))  # as read back
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _put_in_place(temporary: Path, path: Path, replace: bool) -> None:
    """Give a finished folder its name; an old one is removed last, or put back."""
    aside = temporary.with_name(f"{temporary.name}-old")
    if replace and path.exists():
        path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        if aside.exists() and not path.exists():
            aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
