"""expunge: machine unlearning with an honest audit.

A recipe trains a model from rows; a method turns the original model into an unlearned one; an audit compares
it with gold models that never saw the forget rows; a report shows the result to people.
"""

__version__ = "0.1.0"

from expunge import methods
from expunge.bench.audit import Result, audit
from expunge.bench.stored import audit_stored
from expunge.data import DatasetRows, ForgetSet, MemoryRows, Rows, forget, load
from expunge.errors import ExpungeError
from expunge.fleet import Fleet, train_fleet
from expunge.methods import Method, Unlearned
from expunge.problem import Problem
from expunge.store import Store
from expunge.tasks import Classification, Regression
from expunge.training import Recipe, Trained, fit, predict
from expunge.training.recipes import recipe
from expunge.tuning import Tuning, tune

__all__ = [
    "Classification",
    "DatasetRows",
    "ExpungeError",
    "Fleet",
    "ForgetSet",
    "MemoryRows",
    "Method",
    "Problem",
    "Recipe",
    "Regression",
    "Result",
    "Rows",
    "Store",
    "Trained",
    "Tuning",
    "Unlearned",
    "audit",
    "audit_stored",
    "fit",
    "forget",
    "load",
    "methods",
    "predict",
    "recipe",
    "train_fleet",
    "tune",
]
