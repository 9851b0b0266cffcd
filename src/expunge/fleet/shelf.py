"""Rows in the store, so that a task can name them by fingerprint instead of carrying them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from expunge.data import MemoryRows, Rows
from expunge.errors import StoreError
from expunge.store import Contents, Store


def shelve(store: Store, rows: Rows) -> str:
    """Keep rows in the store and return their fingerprint, by which any process finds them."""
    if not store.has("rows", rows.fingerprint):
        x, y = rows.batch(np.arange(len(rows)))
        arrays = {"x": x.numpy(), "y": y.numpy(), "ids": np.array(rows.ids)}
        store.put(rows.fingerprint, Contents("rows", {"rows": len(rows)}, arrays=arrays))
    return rows.fingerprint


def fetch(store: Store, fingerprint: str) -> MemoryRows:
    """The rows of that fingerprint; read once per process.

    Raises:
        StoreError: absent, or their content is not what the fingerprint says.
    """
    return _fetch(store.root.resolve(), fingerprint)


@lru_cache(maxsize=8)
def _fetch(root: Path, fingerprint: str) -> MemoryRows:
    folder = Store(root).get("rows", fingerprint)
    rows = MemoryRows(folder.array("x"), folder.array("y"), ids=folder.array("ids").tolist())
    if rows.fingerprint != fingerprint:
        raise StoreError(f"{folder.path}: rows do not have the fingerprint in their name", hint="delete it")
    return rows
