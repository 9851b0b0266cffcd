"""Tuning without gold: settings are tried on a twin problem, whose gold is the original model itself."""

from expunge.tuning.tune import Trial, Tuning, tune

__all__ = ["Trial", "Tuning", "tune"]
