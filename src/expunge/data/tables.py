"""Tables: a csv or parquet file, one row a line, named columns.

Numbers are standardised by the mean and standard deviation of the training split (all of it, also under @N);
text becomes one column of 0 or 1 per distinct value. Both are fixed before any forget set is known and shared
with gold. Rows are divided at random, one by one, so that a data subject may have rows in every part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import torch

from expunge.data.rows import Indices, MemoryRows, check_ids, content_ids
from expunge.data.splits import Parts, Request, Splits, drawn
from expunge.errors import ConfigError, NeedsError, ProblemError, StoreError

if TYPE_CHECKING:
    import pandas as pd

FORM = "csv:FILE?label=COLUMN&id=COLUMN&subject=COLUMN"
MOST_VALUES = 1000
"""Distinct values of a text column; more are free text, which one-hot columns do not serve."""

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """What the spec says of the table's columns."""

    label: str
    id: str | None = None
    subject: str | None = None

    @property
    def named(self) -> list[str]:
        """The columns that are no features."""
        return [column for column in (self.label, self.id, self.subject) if column is not None]


def load_table(request: Request) -> Splits:
    """`csv:FILE?label=COLUMN`: inputs `[features]`; whole-number and text labels are classes, floats targets.

    Raises:
        NeedsError: the file, or pandas, is missing.
        ConfigError: a column that the spec names is not in the table, or one cannot be a feature.
        ProblemError: a value is missing or infinite, an id comes twice, or no column is left as a feature.
        StoreError: the file is no table.
    """
    file, columns = parse(request.rest)
    path = request.given(file)
    frame = read_table(path, columns)
    labels, classes = encode_labels(frame[columns.label])
    raw, numeric = features(frame.drop(columns=columns.named), path)
    ids = content_ids(torch.from_numpy(raw), torch.from_numpy(labels))
    if columns.id is not None:
        ids = tuple(frame[columns.id].astype(str))
        check_ids(ids, None, len(raw))
    subjects = None if columns.subject is None else tuple(frame[columns.subject].astype(str))
    whole = drawn(len(raw))
    x = scaled(raw, numeric, whole.train)

    def rows(at: Indices) -> MemoryRows:
        whose = None if subjects is None else [subjects[i] for i in at]
        return MemoryRows(x[at], labels[at], ids=[ids[i] for i in at], subjects=whose, classes=classes)

    parts: Parts = whole.first(request.first)
    return Splits(request.spec, rows(parts.train), rows(parts.holdout), rows(parts.test), classes)


def parse(text: str) -> tuple[str, Columns]:
    """File and columns of `FILE?label=COLUMN&id=COLUMN`; `%26` stands for an ampersand in a name.

    Raises:
        ConfigError: no label is named, or an option is unknown.

    Example:
        >>> parse("people.csv?label=income&id=person")
        ('people.csv', Columns(label='income', id='person', subject=None))
    """
    file, _, query = text.rpartition("?")
    options = {key: unquote(value) for key, _, value in (part.partition("=") for part in query.split("&"))}
    if not file or not options.get("label") or not options.keys() <= {"label", "id", "subject"}:
        raise ConfigError(f"csv: expected {FORM} (id and subject may be left out), got csv:{text}")
    return file, Columns(options["label"], options.get("id"), options.get("subject"))


def read_table(path: Path, columns: Columns) -> pd.DataFrame:
    """The table, complete and with the named columns.

    Raises:
        NeedsError: pandas, or pyarrow for parquet, is not installed.
        StoreError: the file is no table.
        ConfigError: a named column is absent.
        ProblemError: a value is missing.
    """
    try:
        import pandas as pd

        text: dict[str, type[str]] = {c: str for c in (columns.id, columns.subject) if c is not None}
        parquet = path.suffix == ".parquet"
        frame = pd.read_parquet(path) if parquet else pd.read_csv(path, dtype=text, low_memory=False)
    except ImportError as error:
        raise NeedsError(
            f"{path}: tables need {error.name or 'pandas and pyarrow'}, which is not installed",
            hint='pip install "expunge[tables]"',
        ) from None
    except (ValueError, OSError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        raise StoreError(f"{path}: expected a table ({error})") from None
    absent = [column for column in columns.named if column not in frame.columns]
    if absent:
        raise ConfigError(f"{path}: no column {absent[0]!r}", hint=f"columns: {', '.join(map(str, frame.columns))}")
    for column in frame.columns:
        empty = np.flatnonzero(frame[column].isna())
        if len(empty):
            raise ProblemError(
                f"{path}: column {column!r}: expected no missing values, got {len(empty)}, the first in row {empty[0]}",
                hint="fill them or drop the rows before training",
            )
    return frame


def encode_labels(column: pd.Series) -> tuple[npt.NDArray[np.int64] | npt.NDArray[np.float32], tuple[str, ...]]:
    """Labels `[rows]` and class names, sorted; floats are targets of a regression and have no classes.

    Raises:
        ProblemError: a target is infinite.
    """
    if column.dtype.kind == "f":
        if not np.isfinite(column.to_numpy(np.float64)).all():
            raise ProblemError(f"column {column.name!r}: expected finite targets, got infinity")
        return column.to_numpy(np.float32), ()
    values = column.to_numpy(np.int64) if column.dtype.kind in "iu" else column.astype(str).to_numpy(object)
    classes, codes = np.unique(values, return_inverse=True)
    return codes.astype(np.int64), tuple(str(name) for name in classes)


def features(frame: pd.DataFrame, path: Path) -> tuple[Table, npt.NDArray[np.bool_]]:
    """All features `[rows, features]` unscaled, and which of them are numbers `[features]`.

    Raises:
        ConfigError: a column is neither numbers nor text, or text with too many values.
        ProblemError: no column is left, or a number is infinite.
    """
    blocks: list[Table] = []
    numeric: list[bool] = []
    for name in frame.columns:
        block = feature(frame[name], path)
        blocks.append(block)
        numeric += [frame[name].dtype.kind in "iufb"] * block.shape[1]
    if not blocks:
        raise ProblemError(f"{path}: expected feature columns beside label, id and subject, got none")
    return np.concatenate(blocks, axis=1), np.array(numeric)


def feature(column: pd.Series, path: Path) -> Table:
    """One column as `[rows, 1]` numbers, or as `[rows, values]` zeros and ones for text."""
    kind = column.dtype.kind
    if kind in "iufb":
        numbers = column.to_numpy(np.float64)[:, None]
        if not np.isfinite(numbers).all():
            raise ProblemError(f"{path}: column {column.name!r}: expected finite numbers, got infinity")
        return numbers
    if kind != "O":
        raise ConfigError(f"{path}: column {column.name!r}: expected numbers or text, got {column.dtype}")
    values, codes = np.unique(column.astype(str).to_numpy(object), return_inverse=True)
    if len(values) > MOST_VALUES:
        raise ConfigError(
            f"{path}: column {column.name!r}: expected at most {MOST_VALUES} distinct texts, got {len(values)}",
            hint="drop the column, or name it as id or subject",
        )
    return np.eye(len(values))[codes]


def scaled(raw: Table, numeric: npt.NDArray[np.bool_], train: Indices) -> npt.NDArray[np.float32]:
    """Numbers minus their mean over the `train` rows, divided by their deviation; a constant column is 0."""
    mean, std = raw[train].mean(0), raw[train].std(0)
    mean, std = np.where(numeric, mean, 0.0), np.where(numeric & (std > 0), std, 1.0)
    return ((raw - mean) / std).astype(np.float32)
