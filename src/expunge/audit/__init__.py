"""Measures as pure functions on arrays: they know no files, no models and no command line."""

from expunge.audit.accuracy import accuracy, accuracy_gap, average_gap
from expunge.audit.activation_distance import activation_distance
from expunge.audit.aus import aus
from expunge.audit.brittleness import Brittleness, brittleness
from expunge.audit.challenge import challenge, final_score
from expunge.audit.confusion import confusion
from expunge.audit.disagreement import disagreement
from expunge.audit.efficacy import efficacy
from expunge.audit.epsilon import ceiling, epsilon
from expunge.audit.estimate import Estimate
from expunge.audit.explained import explained
from expunge.audit.foretold import foretold
from expunge.audit.gaussian_kl import gaussian_kl
from expunge.audit.gaussian_poison import GaussianPoison, gaussian_poison
from expunge.audit.jensen_shannon import jensen_shannon
from expunge.audit.klom import klom
from expunge.audit.lds import Lds, lds
from expunge.audit.lira import half_masks, lira, lira_scores
from expunge.audit.loo_correlation import loo_correlation
from expunge.audit.margins import margins, probabilities
from expunge.audit.memorisation import Memorisation, memorisation, strata
from expunge.audit.method_audit import MethodAudit, Reference, method_audit
from expunge.audit.model_audit import ModelAudit, model_audit
from expunge.audit.noise_auc import noise_auc
from expunge.audit.one_run import OneRun, one_run
from expunge.audit.population_attack import population_attack
from expunge.audit.power import Power, power
from expunge.audit.rank_tests import RankTests, rank_tests
from expunge.audit.registry import MEASURES, Measure
from expunge.audit.relearn import relearn
from expunge.audit.rmia import rmia
from expunge.audit.rmia_scores import choose_a, rmia_scores
from expunge.audit.roc import tpr_at_fpr
from expunge.audit.tug_of_war import tug_of_war
from expunge.audit.u_lira import u_lira
from expunge.audit.utility import Utility, utility
from expunge.audit.zrf import zrf

__all__ = [
    "MEASURES",
    "Brittleness",
    "Estimate",
    "GaussianPoison",
    "Lds",
    "Measure",
    "Memorisation",
    "MethodAudit",
    "ModelAudit",
    "OneRun",
    "Power",
    "RankTests",
    "Reference",
    "Utility",
    "accuracy",
    "accuracy_gap",
    "activation_distance",
    "aus",
    "average_gap",
    "brittleness",
    "ceiling",
    "challenge",
    "choose_a",
    "confusion",
    "disagreement",
    "efficacy",
    "epsilon",
    "explained",
    "final_score",
    "foretold",
    "gaussian_kl",
    "gaussian_poison",
    "half_masks",
    "jensen_shannon",
    "klom",
    "lds",
    "lira",
    "lira_scores",
    "loo_correlation",
    "margins",
    "memorisation",
    "method_audit",
    "model_audit",
    "noise_auc",
    "one_run",
    "population_attack",
    "power",
    "probabilities",
    "rank_tests",
    "relearn",
    "rmia",
    "rmia_scores",
    "strata",
    "tpr_at_fpr",
    "tug_of_war",
    "u_lira",
    "utility",
    "zrf",
]
