"""Measures as pure functions on arrays: they know no files, no models and no command line."""

from expunge.audit.accuracy import accuracy, accuracy_gap, average_gap
from expunge.audit.activation_distance import activation_distance
from expunge.audit.estimate import Estimate
from expunge.audit.gaussian_kl import gaussian_kl
from expunge.audit.jensen_shannon import jensen_shannon
from expunge.audit.klom import klom
from expunge.audit.margins import margins, probabilities
from expunge.audit.model_audit import ModelAudit, model_audit
from expunge.audit.population_attack import population_attack
from expunge.audit.registry import MEASURES, Measure

__all__ = [
    "MEASURES",
    "Estimate",
    "Measure",
    "ModelAudit",
    "accuracy",
    "accuracy_gap",
    "activation_distance",
    "average_gap",
    "gaussian_kl",
    "jensen_shannon",
    "klom",
    "margins",
    "model_audit",
    "population_attack",
    "probabilities",
]
