"""Tuning without gold: settings are tried on a twin problem, whose gold is the original model itself."""

from expunge.tuning.plan import Plan, plan
from expunge.tuning.rounds import Trial
from expunge.tuning.tune import Tuning, tune

__all__ = ["Plan", "Trial", "Tuning", "plan", "tune"]
