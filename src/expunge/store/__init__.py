"""Artefacts on disk: content-addressed, atomic, verified."""

from expunge.store.folder import Contents, Folder, holds, put_weights, read, read_weights, write
from expunge.store.store import Store, key_of

__all__ = ["Contents", "Folder", "Store", "holds", "key_of", "put_weights", "read", "read_weights", "write"]
