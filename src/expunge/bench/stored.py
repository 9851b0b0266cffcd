"""Stored outputs: an audit of models that were trained and run elsewhere, from one `.npz` of arrays.

gold        [models, rows, classes] logits or [models, rows] margins (nats); all other models alike
unlearned   [1, ...] a model audit, [several, ...] a method audit
original    [models, ...]
heldout     [models, ...]   gold models beside those, for the null of a method audit; may be absent
labels      [rows]          needed with logits
split       [rows]          forget, retain, test or holdout; holdout rows may be absent
ids         [rows]          what the report calls the rows; may be absent
groups      [unlearned]     the original behind each unlearned model; absent: each has its own
shadows     [models, ...]   models trained on halves of training and holdout rows, with
membership  [models, rows]  bool; both may be absent
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from expunge.audit.assemble import Pool, Shadows
from expunge.audit.estimate import check_finite
from expunge.audit.foresight import Foresight, foresee_method, foresee_model
from expunge.audit.jackknife import FloatArray
from expunge.audit.policy import Policy
from expunge.bench.audit import Result, judged
from expunge.bench.result import Head, Outcome
from expunge.bench.suite import STANDARD
from expunge.bench.words import SEEN
from expunge.errors import NeedsError, ShapeError, StoreError

Arrays = Mapping[str, npt.NDArray[Any]]

ROLES = ("gold", "unlearned", "original", "heldout", "shadows")
NEEDED = ("gold", "unlearned", "original", "split")
KNOWN = (*ROLES, "labels", "split", "ids", "groups", "membership")
SPLITS = ("forget", "retain", "test", "holdout")
BINARY = (
    "only margins were given: a row counts as right where its label has more than even odds, outputs of the other "
    "classes were not compared, and attacks did not match holdout rows by class"
)
BROKEN = (ValueError, TypeError, OSError, EOFError, AttributeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What numpy raises for a file that is no `.npz`, or a damaged one."""
UNSEEN = "the outputs were made elsewhere: which rows each gold model was trained on was not checked"


def read_stored(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a `.npz` file; nothing in it is unpickled.

    Raises:
        NeedsError: no such file. StoreError: it is no `.npz` of plain arrays.
    """
    if not path.is_file():
        raise NeedsError(f"no file {path}", hint="numpy.savez writes one; `expunge audit --help` says what it holds")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
            if all(isinstance(array, np.ndarray) for array in found.values()):
                return found
            raise ValueError("it holds something else than arrays")
    except (
        ValueError,
        TypeError,
        OSError,
        EOFError,
        AttributeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise StoreError(f"{path}: not an .npz of plain arrays ({error})", hint="write it with numpy.savez") from None


def audit_stored(
    arrays: Arrays,
    *,
    policy: Policy = STANDARD,
    seed: int = 0,
    source: str = "given arrays",
    command: str = "",
) -> Result:
    """Audit outputs that lie in arrays: of one unlearned model, or of a method by several.

    Args:
        arrays: By name, as the head of this file lists them.
        policy: What the verdict demands.
        seed: Of the nulls.
        source: Where the arrays come from, for the report.
        command: What reproduces this, for the report.

    Returns:
        Result; with margins alone, only measures on margins.

    Raises:
        NeedsError: an array or a split is missing. ShapeError: arrays that do not fit, hold infinities or NaN, or
        have other classes than gold's.
    """
    arrays = _checked(arrays)
    whole = arrays["gold"].ndim == 3
    split = arrays["split"].astype(str)
    labels = arrays["labels"].astype(np.int64) if whole else np.zeros(len(split), dtype=np.int64)
    sides = {role: _logits(arrays[role]) for role in ROLES if role in arrays}
    pool = Pool(
        gold=sides["gold"],
        heldout=sides.get("heldout"),
        original=sides["original"],
        labels=labels,
        splits={name: np.flatnonzero(split == name) for name in SPLITS},
        shadows=Shadows(sides["shadows"], arrays["membership"]) if "shadows" in sides else None,
        whole=whole,
    )
    ids = arrays["ids"] if "ids" in arrays else np.arange(len(split))
    groups = arrays.get("groups")
    head = Head(
        title="audit of stored outputs",
        command=command or "expunge.audit_stored(arrays)",
        seed=seed,
        recipe="stored outputs",
        data=source,
        forget=None,
        ids=tuple(str(row) for row in ids),
    )
    several = len(sides["unlearned"]) > 1
    outcome = Outcome("unlearned", {}, sides["unlearned"], [], {}, groups if several else None)
    data = judged(head, pool, outcome, policy, several=several)
    data["verdict"]["controls"].remove(SEEN)
    data["limits"] = [*data["limits"], UNSEEN, *([] if whole else [BINARY])]
    return Result(data)


def foresee_stored(arrays: Arrays, policy: Policy = STANDARD) -> Foresight:
    """What an audit of these arrays will be able to see; the arguments and errors are those of `audit_stored`."""
    arrays = _checked(arrays)
    split, models = arrays["split"].astype(str), len(arrays["unlearned"])
    forget, gold = int((split == "forget").sum()), len(arrays["gold"])
    if models == 1:
        return foresee_model(policy, gold=gold, forget=forget, test=int((split == "test").sum()))
    behind = len(np.unique(arrays["groups"])) if "groups" in arrays else models
    return foresee_method(policy, unlearned=behind, gold=gold, forget=forget)


def _logits(side: FloatArray) -> FloatArray:
    """Logits as they are; of margins, the logits of two classes whose margin they are: (margin, 0)."""
    if side.ndim == 3:
        return side
    both: FloatArray = np.stack([side, np.zeros_like(side)], axis=-1)
    return both


def _checked(arrays: Arrays) -> Arrays:
    for name in NEEDED:
        if name not in arrays:
            raise NeedsError(f"stored outputs: the array {name!r} is missing", hint=f"known are {', '.join(KNOWN)}")
    unknown = sorted(set(arrays) - set(KNOWN))
    if unknown:
        raise ShapeError(f"stored outputs: unknown array {unknown[0]!r}", hint=f"known are {', '.join(KNOWN)}")
    gold = arrays["gold"]
    if gold.ndim not in (2, 3):
        raise ShapeError(f"gold: expected [models, rows] margins or [models, rows, classes] logits, got {gold.shape}")
    for role in ROLES:
        if role in arrays:
            _check_side(role, arrays[role], gold)
    if gold.ndim == 3 and "labels" not in arrays:
        raise NeedsError("stored outputs: logits need the array 'labels'", hint="or store margins [models, rows]")
    lengths = {
        "split": gold.shape[1],
        "labels": gold.shape[1],
        "ids": gold.shape[1],
        "groups": len(arrays["unlearned"]),
    }
    for name, wanted in lengths.items():
        if name in arrays and arrays[name].shape != (wanted,):
            raise ShapeError(f"{name}: expected ({wanted},), got {arrays[name].shape}")
    if "groups" in arrays and arrays["groups"].dtype.kind == "f":
        raise ShapeError(f"groups: expected whole numbers or text, got {arrays['groups'].dtype}")
    if "heldout" in arrays and len(arrays["heldout"]) == 1:
        raise NeedsError("heldout: needs at least 2 models, got 1", hint="leave the array out")
    _check_names(arrays["split"])
    _check_labels(arrays)
    if ("shadows" in arrays) != ("membership" in arrays):
        raise NeedsError("stored outputs: shadows and membership come together, one of them is missing")
    if "membership" in arrays:
        wanted_shape = (len(arrays["shadows"]), gold.shape[1])
        found = arrays["membership"]
        if found.shape != wanted_shape or found.dtype != np.bool_:
            raise ShapeError(f"membership: expected {wanted_shape} bool, got {found.shape} {found.dtype}")
    return arrays


def _check_side(role: str, side: npt.NDArray[Any], gold: npt.NDArray[Any]) -> None:
    if not np.issubdtype(side.dtype, np.floating):
        raise ShapeError(f"{role}: expected floating-point numbers, got {side.dtype}")
    if side.ndim != gold.ndim or side.shape[1:] != gold.shape[1:]:
        what = "(models, rows)" if gold.ndim == 2 else "(models, rows, classes)"
        raise ShapeError(f"{role}: expected {what} with {gold.shape[1:]} like gold, got {side.shape}")
    check_finite(role, side)


def _check_names(split: npt.NDArray[Any]) -> None:
    if split.dtype.kind not in "US":
        raise ShapeError(f"split: expected text, got {split.dtype}")
    try:
        names = set(split.astype(str).tolist())
    except UnicodeDecodeError as error:
        raise ShapeError(f"split: expected {', '.join(SPLITS)}, got bytes that are no text ({error})") from None
    if not names <= set(SPLITS):
        raise ShapeError(f"split: expected {', '.join(SPLITS)}, got {sorted(names - set(SPLITS))[0]!r}")
    for name in SPLITS[:3]:
        if name not in names:
            raise NeedsError(f"stored outputs: no {name} rows; an audit needs forget, retain and test rows")


def _check_labels(arrays: Arrays) -> None:
    if "labels" not in arrays or arrays["gold"].ndim == 2:
        return
    labels = arrays["labels"]
    whole = np.issubdtype(labels.dtype, np.integer)
    bad = np.flatnonzero((labels < 0) | (labels >= arrays["gold"].shape[2])) if whole else np.zeros(1, dtype=int)
    if len(bad):
        raise ShapeError(
            f"labels: expected whole numbers 0..{arrays['gold'].shape[2] - 1}, got {labels[bad[0]]} for row {bad[0]}",
            hint="rows without a label cannot be audited: leave them out of every array",
        )
