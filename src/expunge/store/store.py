"""Store: finished work by content. A key is the hash of what was asked; what is there is never made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from expunge.store.folder import Contents, Folder, read, write


def key_of(request: dict[str, Any]) -> str:
    """The key of a piece of work: a hash of everything that decides its result.

    Args:
        request: Plain data; the order of keys does not matter.

    Example:
        >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]


class Store:
    """A folder of folders, `<root>/<kind>/<key>`.

    Args:
        root: By default the environment variable EXPUNGE_STORE, or `.expunge` in the current folder.
    """

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root or os.environ.get("EXPUNGE_STORE") or ".expunge")

    def path(self, kind: str, key: str) -> Path:
        """Where a piece of work lies, whether or not it is finished."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Whether that work is finished."""
        return self.path(kind, key).is_dir()

    def get(self, kind: str, key: str) -> Folder:
        """Finished work.

        Raises:
            StoreError: absent or damaged.
        """
        return read(self.path(kind, key), kind)

    def put(self, key: str, contents: Contents) -> Folder:
        """Keep finished work; where it is there already, what is there stays."""
        if self.has(contents.kind, key):
            return self.get(contents.kind, key)
        return write(self.path(contents.kind, key), contents)

    def drop(self, kind: str, key: str) -> None:
        """Remove one piece of work, such as what was kept of a training that has ended since."""
        shutil.rmtree(self.path(kind, key), ignore_errors=True)
