"""Twin machine unlearning: unlearn only those forget rows that gold would get wrong, as foretold on a twin problem.

Source:     "Towards Aligned Data Removal via Twin Machine Unlearning", 2024, arXiv:2408.11433. Reconstruction: from
            the paper's text and equations; several of its numbers are not known to us, and are marked below.
Objective:  1. auxiliary rows D_aux from holdout, of the classes of D_f; the twin M_t is the original M_o trained
               further on D and D_aux (twin_problem.py). "Remove D_aux from M_t" has a known gold: M_o.
            2. a row is easy if gold gets it right. Known on D_aux; three features of each row, under M_t for D_aux
               and under M_o for D_f (twin_features.py), and a small network (twin_predictor.py) carry it to D_f.
            3. min_w  mean over D_r, easy D_f and hard D_f' of loss(w), where D_f' has random wrong labels
               or, with loss="neg_grad", where the loss of a hard row counts negatively
            D_aux -> ratio_scope,  M_init -> curriculum_*,  eps -> attack_budget,  L_forget -> loss
Deviations: 1. the ratio |D_aux| / |D| = |D_f| / |D_r| holds class by class; the paper's reading is
               ratio_scope="global". Subjects are matched by class too.
            2. the twin stops after the first epoch whose accuracy on D_aux reaches the original's on D_f. It is not
               trained where its labels are all equal: then all of D_f is called easy, or all of it hard.
            3. the attack climbs the divergence from the clean prediction, from a random start within its budget, and
               keeps to the range of the training rows, channel by channel; the paper's inputs are pixels in [0, 1].
            4. M_init sees a share of retain alone, so that it knows D_f no better than D_aux.
            5. features are scaled by median and interquartile range and cut at 5 of these; the epoch of the network
               is chosen on a fifth of D_aux. Several classes share one network.
            6. all rows of the last step stand in one mixture and count alike. Statistics of normalisation stay frozen.
Cost:       up to `twin_epochs` passes over D and D_aux, `curriculum_epochs` over a share of retain, `epochs` over D,
            and `attack_steps` over D_f and D_aux: with the defaults about 16 epochs. Where the recipe has no more than
            that, retraining is cheaper. The notes hold the share of one retraining.
Limits:     easy rows stay trained on with their labels, so their membership is kept: this aligns accuracy with gold
            and does not remove influence. Hard rows are driven to confident errors, which gold does not make.
            The twin shows how often the original is right on unseen rows. Where most of a class goes, gold is right
            less often than that, and too many rows are called easy: of 80 of the 102 rows of a class of digits
            98 %, of which gold gets 70 % right (5 seeds), though harder rows do rank as harder (AUROC 0.82).
            Compare with predictor="quota", which knows of single rows only the loss of a fresh network, and with
            "quota_random" and "all_easy", which know nothing of them.
            loss="neg_grad" has no bound: few hard rows or few epochs alone keep it near.
            Networks that were trained from scratch at a large rate learn little at the published ones: where the
            notes say that the twin did not learn its rows, raise twin_lr; where hard rows stay right, raise lr.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from expunge.data import Indices, MemoryRows
from expunge.errors import NeedsError, check
from expunge.methods.method import Method
from expunge.methods.reference import measured
from expunge.methods.relabel import Relabelled, relabelled
from expunge.methods.search import Choice, Log, Search, Whole
from expunge.methods.share import note_share
from expunge.methods.twin_features import FEATURES, MEMBERS, Probe
from expunge.methods.twin_predictor import FEW, SCALERS, Fit, easy_probability, highest, one_valued, own_scale
from expunge.methods.twin_problem import (
    SCOPES,
    auxiliary_counts,
    auxiliary_rows,
    called,
    draw_auxiliary,
    some,
    twin_model,
)
from expunge.problem import Problem
from expunge.seeds import generator
from expunge.training import Batch, Run, descend
from expunge.training.cost import FORWARD_SHARE
from expunge.training.optim import OPTIMIZERS

PREDICTORS = ("mlp", "all_easy", "quota", "quota_margin", "quota_random", "gold")
QUOTAS = ("quota", "quota_margin", "quota_random")
CALIBRATIONS = ("none", "match_rate")
LOSSES = ("random_label", "neg_grad")
STARTS = ("original", "twin")


@dataclass(frozen=True, kw_only=True)
class Twin(Method):
    """Unlearning of the forget rows that a predictor, taught on the twin problem, calls hard."""

    paper: ClassVar = "arXiv:2408.11433"
    needs: ClassVar = frozenset({"retain", "forget_labels", "holdout"})
    search: ClassVar[Search] = {
        "lr": Log(1e-3, 0.3),
        "epochs": Whole(2, 8),
        "twin_lr": Log(1e-5, 1e-2),
        "calibrate": Choice(("none", "match_rate")),
    }

    predictor: str = "mlp"
    """"mlp" (paper), or a control (ours): "all_easy" unlearns nothing; "quota" unlearns as many rows of a class as
    the original gets wrong of its holdout rows, those with the highest curriculum loss; "quota_margin" as many, those
    that the original itself holds least firmly: a variant that needs no twin; "quota_random" as many at
    random; "gold" asks the problem's gold models, as nobody can: an upper bound."""
    loss: str = "random_label"
    """"random_label" or "neg_grad": what is done to hard rows. (paper: both)"""
    start: str = "original"
    """"original" (paper) or "twin" (code: abc321123444/TWIN-unlearning): where the last step begins."""
    epochs: int = 5
    """Passes of the last step, >= 1. (code: abc321123444/TWIN-unlearning)"""
    lr: float = 0.01
    """Step size of the last step, > 0. (code: abc321123444/TWIN-unlearning)"""
    optimizer: str = "sgd"
    """"sgd", "adam" or "adamw", of the last step. (code: abc321123444/TWIN-unlearning)"""
    momentum: float = 0.9
    """Of "sgd" in the last step, in [0, 1). (code: abc321123444/TWIN-unlearning)"""
    weight_decay: float = 5e-4
    """L2 coefficient of the last step, >= 0. (code: abc321123444/TWIN-unlearning)"""
    retain_share: float = 1.0
    """Share of retain in the last step, in (0, 1], drawn once. (code: abc321123444/TWIN-unlearning, all)"""
    batch_size: int = 64
    """Rows a step of the twin and of the last step, >= 1, or 0 for the recipe's. (code:
    abc321123444/TWIN-unlearning)"""
    ratio_scope: str = "class"
    """"class" (ours) or "global" (paper): of what the auxiliary rows are as large a share as the forget rows."""
    twin_epochs: int = 10
    """Most passes of the twin, >= 1. (code: abc321123444/TWIN-unlearning, always 10)"""
    twin_lr: float = 1e-4
    """Step size of the twin, > 0. (code: abc321123444/TWIN-unlearning)"""
    twin_optimizer: str = "adam"
    """"sgd", "adam" or "adamw", of the twin. (code: abc321123444/TWIN-unlearning)"""
    use: tuple[str, ...] = FEATURES
    """Which features the predictor sees, one or more of "nearest", "attack" and "curriculum". (paper: all)"""
    features: str = ""
    """Of "nearest": the submodule whose input is taken as the penultimate features, one of `model.named_modules()`;
    empty for the last dense layer. (paper)"""
    neighbours: int = 5
    """Of "nearest": retain rows of the class, >= 1. (paper)"""
    attack_budget: float = 4 / 255
    """Of "attack": largest change of an input as a share of its range, >= 0. (code: abc321123444/TWIN-unlearning;
    the paper's value is not known)"""
    attack_steps: int = 5
    """Of "attack": steps, >= 0, each a third of the budget. (code: abc321123444/TWIN-unlearning)"""
    curriculum_epochs: int = 2
    """Of "curriculum": passes of the fresh network, >= 1. (code: abc321123444/TWIN-unlearning; paper: one or two)"""
    curriculum_share: float = 0.2
    """Of "curriculum": share of retain that it sees, in (0, 1]. (ours; the paper's value is not known)"""
    curriculum_members: str = "neither"
    """"neither" or "both": whether it also sees all forget and auxiliary rows. (ours)"""
    scaler: str = "transductive"
    """"transductive": forget rows are scaled by themselves, from 20 of them on; "shared": as the auxiliary rows.
    (ours)"""
    predictor_epochs: int = 100
    """Most passes of the predictor, >= 1. (paper)"""
    predictor_lr: float = 0.01
    """Step size of the predictor, > 0. (paper)"""
    predictor_weight_decay: float = 5e-4
    """L2 coefficient of the predictor, >= 0. (ours; the paper's value is not known)"""
    balanced: bool = False
    """Whether easy and hard rows weigh the same in the predictor's loss. (ours)"""
    threshold: float = 0.5
    """Probability from which a row is called easy, in (0, 1). (code: abc321123444/TWIN-unlearning)"""
    calibrate: str = "none"
    """"none", or "match_rate": in place of the threshold, as large a share is called easy as the original gets
    right of the auxiliary rows. (ours)"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "use", tuple(self.use))
        for name, known in CHOICES.items():
            value = getattr(self, name)
            check(name, value, f"one of {', '.join(known)}", value in known)
        distinct = len(set(self.use)) == len(self.use) > 0 and set(self.use) <= set(FEATURES)
        check("use", self.use, f"one or more of {', '.join(FEATURES)}, none twice", distinct)
        for name in ("epochs", "twin_epochs", "neighbours", "curriculum_epochs", "predictor_epochs"):
            check(name, getattr(self, name), ">= 1", getattr(self, name) >= 1)
        for name in ("lr", "twin_lr", "predictor_lr"):
            check(name, getattr(self, name), "> 0", getattr(self, name) > 0)
        for name in ("weight_decay", "predictor_weight_decay", "attack_budget", "attack_steps", "batch_size"):
            check(name, getattr(self, name), ">= 0", getattr(self, name) >= 0)
        for name in ("retain_share", "curriculum_share"):
            check(name, getattr(self, name), "in (0, 1]", 0 < getattr(self, name) <= 1)
        check("momentum", self.momentum, "in [0, 1)", 0 <= self.momentum < 1)
        check("threshold", self.threshold, "in (0, 1)", 0 < self.threshold < 1)
        check("balanced", self.balanced, "true or false", isinstance(self.balanced, bool))
        if self.predictor == "gold":
            object.__setattr__(self, "needs", self.needs | {"gold"})

    def unlearn(self, problem: Problem, run: Run) -> nn.Module:
        """Foretell which forget rows are hard, and unlearn these."""
        kind = problem.recipe.task.kind
        if kind != "classification":
            raise NeedsError(
                f"twin: expected a classification task, got {kind}",
                hint="`bad_teacher` and `neggrad_plus` serve every task",
            )
        counts = auxiliary_counts(problem, scope=self.ratio_scope)
        drawn = draw_auxiliary(problem, counts, seed=run.seed)
        auxiliary, copies = auxiliary_rows(problem, drawn, counts, seed=run.seed)
        run.notes |= {"auxiliary_rows": len(auxiliary), "augmented": copies}
        warnings = sparse(problem, drawn, copies)
        original = deepcopy(problem.original).to(run.device).eval()

        @cache
        def learnt() -> nn.Module:  # trained only where it is asked for, and then once
            model, notes = self.twin(problem, auxiliary, run)
            warnings.append(notes.pop("warning", ""))
            run.notes.update(notes)
            return model

        easy = self.easy(self.probe(problem, auxiliary, run), original, learnt)
        hard = np.flatnonzero(~easy.numpy())
        run.notes |= {"easy_share": 1 - len(hard) / len(easy), "hard_rows": hard.tolist()}
        if self.start == "twin":
            run.notes["holdout_rows_trained_on"] = len(drawn)
        model = deepcopy(learnt() if self.start == "twin" else original)
        self.finish(model, problem, hard, run)
        note_share(problem, run, "epochs and twin_epochs")
        warnings += [outcome(len(hard), len(easy)), run.notes.get("warning", "")]
        run.notes["warning"] = "; ".join(text for text in warnings if text)
        return model

    def most_visits(self, problem: Problem) -> float | None:
        """Those of a run that trains its twin to the last epoch and computes all that is asked for."""
        counts, rows, gone = auxiliary_counts(problem, scope=self.ratio_scope), len(problem.rows), len(problem.forget)
        taught, kept = sum(counts.values()), len(problem.retain)
        labels = problem.rows.labels.numpy()[problem.retain]
        near = int(np.isin(labels, list(counts)).sum())
        seen = max(2, round(self.curriculum_share * kept)) + (taught + gone) * (self.curriculum_members == "both")
        features = {
            "nearest": FORWARD_SHARE * (taught + gone + 2 * near),
            "attack": (self.attack_steps + 2 * FORWARD_SHARE) * (taught + gone),
            "curriculum": self.curriculum_epochs * seen + FORWARD_SHARE * (taught + gone),
        }
        asked = sum(features[name] for name in self.use)
        if self.predictor != "mlp":  # a control looks at less, but may want the curriculum and the holdout rows
            asked = features["curriculum"] + FORWARD_SHARE * len(problem.holdout)
        twin = self.twin_epochs * (rows + taught) + FORWARD_SHARE * (gone + self.twin_epochs * taught)
        last = self.epochs * (max(1, round(self.retain_share * kept)) + gone)
        return FORWARD_SHARE * taught + twin + asked + last

    def twin(self, problem: Problem, auxiliary: MemoryRows, run: Run) -> tuple[nn.Module, dict[str, Any]]:
        """The twin, and notes on it."""
        return twin_model(
            problem,
            auxiliary,
            run,
            epochs=self.twin_epochs,
            lr=self.twin_lr,
            optimizer=self.twin_optimizer,
            batch_size=self.batch_size,
        )

    def probe(self, problem: Problem, auxiliary: MemoryRows, run: Run) -> Probe:
        """What is asked of forget and auxiliary rows alike."""
        own = {f.name for f in fields(Probe)} & {f.name for f in fields(self)}
        return Probe(problem=problem, auxiliary=auxiliary, run=run, **{name: getattr(self, name) for name in own})

    def easy(self, probe: Probe, original: nn.Module, twin: Callable[[], nn.Module]) -> Tensor:
        """Which forget rows gold is thought to get right, bool `[forget]`.

        Args:
            probe: What is asked of the rows.
            original: Under which forget rows are looked at.
            twin: Trains the model under which auxiliary rows are.
        """
        run = probe.run
        scores = self.scores(probe, original, twin)
        run.notes["easy_scores"] = scores.tolist()
        if self.predictor in QUOTAS:
            return within_quota(probe.problem, original, scores, run)
        if self.predictor == "mlp" and self.calibrate == "match_rate":
            return highest(scores, round(run.notes["auxiliary_accuracy"] * len(scores)))
        return scores >= self.threshold

    def scores(self, probe: Probe, original: nn.Module, twin: Callable[[], nn.Module]) -> Tensor:
        """How easy each forget row is thought to be, `[forget]`: of "mlp" a probability, of controls but an order.

        Args:
            probe: See `easy`.
            original: See `easy`.
            twin: See `easy`.
        """
        problem, run = probe.problem, probe.run
        gone = problem.rows.take(problem.forget)
        if self.predictor == "all_easy":
            return torch.ones(len(gone))
        if self.predictor == "quota_random":
            return torch.rand(len(gone), generator=generator(run.seed, "quota"))
        if self.predictor == "quota":
            return -probe.loss(gone, "forget")
        if self.predictor == "quota_margin":
            return measured(problem.recipe.task.margin, original, gone, np.arange(len(gone)), run, "forget")
        if self.predictor == "gold":
            run.notes["gold_models"] = len(problem.gold)
            golds = [deepcopy(model).to(run.device).eval() for model in problem.gold]
            return torch.stack([probe.correct(model, gone, "forget").float() for model in golds]).mean(0)
        known = probe.correct(original, probe.auxiliary, "auxiliary")
        run.notes["auxiliary_accuracy"] = float(known.double().mean())
        if one_valued(known):
            return known[:1].repeat(len(gone))
        run.notes["scaler"] = "transductive" if own_scale(len(gone), self.scaler) else "shared"
        asked = probe.table(original, gone, "forget")  # first: what fails, fails before the twin is trained
        taught = probe.table(twin(), probe.auxiliary, "auxiliary")
        fit = Fit(self.predictor_epochs, self.predictor_lr, self.predictor_weight_decay, self.balanced)
        return easy_probability(taught, known, asked, scaler=self.scaler, fit=fit, seed=run.seed)

    def finish(self, model: nn.Module, problem: Problem, hard: Indices, run: Run) -> None:
        """The last step: `model` moves in place, away from the rows at `hard` `[n]` among the forget rows."""
        task, at = problem.recipe.task, torch.as_tensor(problem.forget[hard])
        labels, sign = problem.rows.labels.clone(), torch.ones(len(problem.rows))
        if self.loss == "random_label":  # as `random_label` draws them, whichever rows are hard
            labels[at] = relabelled(problem, run.seed, 0, exclude_true=True).labels[at]
        else:
            sign[at] = -1.0
        kept = problem.retain
        if self.retain_share < 1:
            kept = some(kept, max(1, round(self.retain_share * len(kept))), run.seed, "retain share")
        rows = np.concatenate([kept, problem.forget])

        def objective(mixed: Batch) -> Tensor:
            losses = task.loss(model(mixed.x), mixed.y)
            return (losses * sign[torch.as_tensor(mixed.indices)].to(losses.device)).mean()

        descend(
            model,
            run.epochs("mixed", Relabelled(problem.rows, labels), rows, count=self.epochs, batch_size=self.batch_size),
            objective,
            run=run,
            lr=self.lr,
            optimizer_name=self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


CHOICES: dict[str, tuple[str, ...]] = {
    "predictor": PREDICTORS,
    "loss": LOSSES,
    "start": STARTS,
    "optimizer": OPTIMIZERS,
    "ratio_scope": SCOPES,
    "twin_optimizer": OPTIMIZERS,
    "curriculum_members": MEMBERS,
    "scaler": SCALERS,
    "calibrate": CALIBRATIONS,
}
"""Setting -> what it may be."""


def within_quota(problem: Problem, original: nn.Module, scores: Tensor, run: Run) -> Tensor:
    """Easy are the forget rows with the highest scores, in each class but as many as the original gets wrong there.

    Args:
        problem: Whose holdout rows tell how often that is.
        original: On the run's device.
        scores: `[forget]`, higher is easier.
        run: Device and meter.

    Returns:
        bool `[forget]`.
    """
    of, unseen = problem.rows.labels[torch.as_tensor(problem.forget)], problem.holdout.labels
    easy = torch.empty(len(of), dtype=torch.bool)
    for group in np.unique(of.numpy()):
        at = np.flatnonzero((unseen == group).numpy())
        right = int(measured(problem.recipe.task.correct, original, problem.holdout, at, run, "holdout").sum())
        ours = of == group
        easy[ours] = highest(scores[ours], right * int(ours.sum()) // len(at))  # the hard are rounded up
    return easy


def sparse(problem: Problem, drawn: Indices, copies: int) -> list[str]:
    """Warnings where a class has few auxiliary rows of its own, or most of them are copies.

    Args:
        problem: Whose holdout rows.
        drawn: `[rows]` positions among them.
        copies: How many rows were added to these.
    """
    warnings = []
    classes, sizes = np.unique(problem.holdout.labels.numpy()[drawn], return_counts=True)
    named = zip(classes.tolist(), sizes.tolist(), strict=True)
    few = [f"{size} of class {called(problem, group)}" for group, size in named if size < FEW]
    if few:
        wanted = f"expected {FEW} or more holdout rows of each class of the forget rows"
        warnings.append(f"{wanted}, got {', '.join(few)}")
    if copies > len(drawn):
        warnings.append(
            f"{copies} of {copies + len(drawn)} auxiliary rows are changed copies of the other {len(drawn)}"
        )
    return warnings


def outcome(hard: int, rows: int) -> str:
    """What it means that `hard` of `rows` forget rows were unlearned."""
    if hard == 0:
        return "no forget row was called hard: the last step trained on all of them, and nothing was unlearned"
    if hard == rows:
        return "every forget row was called hard: the last step knew nothing of single rows"
    return f"{rows - hard} of {rows} forget rows were called easy and stay trained on: their membership is kept"
