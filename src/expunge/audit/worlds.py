"""Worlds of models for U-LiRA: which rows each model forgot or never saw, and which original stands behind it.

Source:     own bookkeeping; the need for it: in U-LiRA one original serves many unlearnings.
Objective:  no original is on both sides of a decision, and errors count originals, not models.
Deviations: none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from expunge.audit.jackknife import FloatArray, IntArray
from expunge.errors import ShapeError


class World(NamedTuple):
    """Models of one world.

    Args:
        margins: [models, rows] nats.
        mask: [models, rows] bool, the rows for which a model belongs to the world.
        origin: [models] number of the original behind each model.
    """

    margins: FloatArray
    mask: npt.NDArray[np.bool_]
    origin: IntArray

    def of(self, models: npt.NDArray[Any], rows: IntArray | slice = slice(None)) -> World:
        """Only these models and rows."""
        return World(self.margins[models][:, rows], self.mask[models][:, rows], self.origin[models])


def worlds(
    sides: Mapping[str, FloatArray | None],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    groups: Mapping[str, npt.NDArray[Any]],
) -> dict[str, World]:
    """World of every role, with originals numbered alike in all of them.

    Args:
        sides: role -> [models, rows] margins, or None.
        masks: role -> [models, rows] bool; absent: every row.
        groups: role -> [models] ids of originals; absent: a new original for each model.

    Returns:
        Role -> World, without the roles that are None.

    Raises:
        ShapeError: an unknown role, or a mask or group that does not fit.

    Example:
        >>> side = np.zeros((2, 1))
        >>> worlds({"unlearned": side, "gold": side}, {}, {"gold": np.array(["b", "a"])})["unlearned"].origin.tolist()
        [2, 3]
    """
    present = {role: side for role, side in sides.items() if side is not None}
    for name, given in (("masks", masks), ("groups", groups)):
        if unknown := sorted(set(given) - set(present)):
            raise ShapeError(f"{name}: expected roles {', '.join(present)}, got {unknown[0]!r}")
    for role, ids in groups.items():
        if ids.shape != (len(present[role]),):
            raise ShapeError(f"groups: expected one id per {role} model ({len(present[role])}), got {ids.shape}")
    known = np.unique(np.concatenate([ids.astype(str) for ids in groups.values()])) if groups else np.array([], str)
    found, fresh = {}, len(known)
    for role, side in present.items():
        mask = masks.get(role, np.ones(side.shape, dtype=bool))
        if mask.shape != side.shape or mask.dtype != np.bool_:
            raise ShapeError(f"masks: expected {role} {side.shape} bool, got {mask.shape} {mask.dtype}")
        if role in groups:
            origin = np.searchsorted(known, groups[role].astype(str))
        else:
            origin = np.arange(fresh, fresh + len(side))
            fresh += len(side)
        found[role] = World(side, mask, origin)
    return found


def turns(all_worlds: Mapping[str, World], parts: int, *, seed: int) -> IntArray:
    """Part of every original, [originals], drawn so that each role is spread evenly over the parts.

    Args:
        all_worlds: role -> World.
        parts: number of parts, >= 1.
        seed: of the draw.

    Example:
        >>> side = np.zeros((4, 1))
        >>> sorted(turns(worlds({"gold": side}, {}, {}), 2, seed=0).tolist())
        [0, 0, 1, 1]
    """
    count = 1 + max(int(world.origin.max()) for world in all_worlds.values())
    kind = np.zeros(count, dtype=np.intp)  # which roles an original stands behind
    for bit, world in enumerate(all_worlds.values()):
        kind[np.unique(world.origin)] += 1 << bit
    order = np.random.default_rng([abs(seed), 2]).permutation(count)
    order = order[np.argsort(kind[order], kind="stable")]
    part = np.empty(count, dtype=np.intp)
    part[order] = np.arange(count) % parts
    return part
