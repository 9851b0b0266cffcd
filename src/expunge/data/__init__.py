"""Rows, named data sets and forget sets."""

from expunge.data.forget import ForgetSet, forget
from expunge.data.named import DATASETS, load
from expunge.data.rows import DatasetRows, Indices, MemoryRows, Rows, joined
from expunge.data.splits import Splits

__all__ = [
    "DATASETS",
    "DatasetRows",
    "ForgetSet",
    "Indices",
    "MemoryRows",
    "Rows",
    "Splits",
    "forget",
    "joined",
    "load",
]
