"""What attribution found, as plain data: schema 1, see `report/attribution_result.py`, with its sentences."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from typing import Any

import numpy as np

from expunge.attribution import Estimator
from expunge.attribution.kept import SIGNS, Ranked
from expunge.attribution.subsets import total
from expunge.bench.attribute import Answer, Part, Question, alike
from expunge.bench.result import PACKAGES, SCHEMA
from expunge.data import ForgetSet, Rows, joined
from expunge.data.thumbnails import thumbnails
from expunge.methods.prediction import REQUESTS
from expunge.problem import Problem
from expunge.report.attribution import signed
from expunge.report.digits import decimals, fixed
from expunge.report.result import finite

Json = dict[str, Any]

PLAIN = (int, float, str, bool)
LIMITS = (
    "this foretells what retraining would give; nothing was retrained without these rows, and no model was changed: "
    "`expunge forget` and `expunge audit` do that",
    "a score is of one training row alone: scores do not add up to what goes when several rows go together",
)
RANDOM = "the errors were measured on random sets of as many rows; rows that have much in common may be foretold worse"
ALIKE = "the errors were measured on sets of as many rows of one class, each of another class in turn"
RANKS = "this estimator ranks training rows and predicts no outputs: another one says what would change"
UNSURE = "no model was held out, so nothing tells how far the predictions are off: --calibrate 20 does"


def attribution_result(
    answer: Answer,
    problem: Problem,
    estimator: Estimator,
    question: Question,
    *,
    forget: ForgetSet,
    why: str = "",
    command: str = "",
    seed: int = 0,
) -> Json:
    """Everything in one result.

    Args:
        answer: What was found.
        problem: Whose rows they are.
        estimator: What attributed.
        question: What was asked.
        forget: The text form of the forget set.
        why: Why this estimator, where nobody named it.
        command: What a person would type to run it again.
        seed: Of everything that was drawn.
    """
    forget_rows = len(problem.forget)
    foretold = answer.parts if estimator.predicts else {}
    result = {
        "schema": SCHEMA,
        "kind": "attribution",
        "title": f"What {forget_rows:,} {_rows(forget_rows)} of {problem.recipe.data or 'the data'} account for",
        "command": command,
        "versions": {name: version(name) for name in PACKAGES},
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "seed": seed,
        "problem": {
            "recipe": problem.recipe.name,
            "data": problem.recipe.data,
            "forget": forget.text,
            "forget_seed": forget.seed,
            "rows": {"forget": forget_rows, "retain": len(problem.retain), "test": len(problem.test)},
        },
        "estimator": _estimator(answer, estimator, why),
        "unit": unit(problem) | ({} if estimator.predicts else {"score": "units of its own"}),
        "parts": {name: _part(name, part, problem) for name, part in foretold.items()},
        "affected": {name: _affected(part, question.top) for name, part in foretold.items()},
        "targets": _targets(answer, problem, question, estimator),
        "images": _images(answer, problem, question),
        "cost": _cost(answer, problem),
        "limits": [*LIMITS, _measured(answer, problem, estimator)],
    }
    plain: Json = {key: finite(value) for key, value in result.items()}
    return plain


def _measured(answer: Answer, problem: Problem, estimator: Estimator) -> str:
    """On what the errors were measured, if at all."""
    if answer.fleet is not None:
        return ALIKE if alike(problem) else RANDOM
    return UNSURE if estimator.predicts else RANKS


def unit(problem: Problem) -> Json:
    """What the numbers are: the output that is spoken of, its unit, and the units of margins and scores."""
    if problem.recipe.task.kind == "classification":
        names = ("logit of the true class", "logits of the true class", "nats", "nats")
    else:
        names = ("output", "units of the output", "squared units", "squared units")
    return dict(zip(("output", "many", "margin", "score"), names, strict=True))


def sentence(name: str, part: Part, problem: Problem) -> str:
    """What goes, with sign, unit and error."""
    found, gone = part.effect, len(problem.forget)
    change, off = float(found.change.mean()), part.errors
    digits = decimals([change, off[0]], most=3)
    way = "lost" if change < 0 else "gained"
    if problem.recipe.task.kind != "classification":
        way = "taken off" if change < 0 else "put on"
    size, said = fixed(abs(change), digits), unit(problem)["many"]
    where = f"on the {len(found):,} {name} {_rows(len(found))}" + (", on average," if len(found) > 1 else "")
    if name == "forget" and len(found) == gone:
        where = "on average" if gone > 1 else ""
    these = f"these {gone:,} rows were" if gone > 1 else "this row were"
    first = " ".join(f"+{size} {said} would be {way} {where} if {these} removed, {_error(off[0], digits)}".split())
    margin = float(found.margin_change.mean())
    digits = decimals([margin, off[1]], most=3)
    moved = f"margin {signed(margin, digits)} {unit(problem)['margin']}"
    return f"{first}; {moved}, {_error(off[1], digits)}"


def _error(value: float, digits: int) -> str:
    return "± not known" if np.isnan(value) else f"±{fixed(value, digits)}"


def _part(name: str, part: Part, problem: Problem) -> Json:
    """One kind of rows as a whole."""
    found = part.effect
    lines = {name: getattr(part.sure, name).line.to_dict() for name in ("output", "margin")} if part.sure else None
    return {
        "rows": len(found),
        "sentence": sentence(name, part, problem),
        "change": float(found.change.mean()),
        "error": part.errors[0],
        "margin_change": float(found.margin_change.mean()),
        "margin_error": part.errors[1],
        "right_before": int(found.right_before.sum()),
        "right_after": int(found.right_after.sum()),
        "calibration": lines,
    }


def _affected(part: Part, count: int) -> list[Json]:
    """The rows whose margin changes most."""
    found = part.effect
    return [
        {
            **_row(part.rows, at),
            "before": float(found.before[at]),
            "after": float(found.after[at]),
            "change": float(found.change[at]),
            "error": float(found.error[at]),
            "margin_before": float(found.margin_before[at]),
            "margin_after": float(found.margin_after[at]),
            "margin_error": float(found.margin_error[at]),
            "right_before": bool(found.right_before[at]),
            "right_after": bool(found.right_after[at]),
        }
        for at in found.most(count)
    ]


def _targets(answer: Answer, problem: Problem, question: Question, estimator: Estimator) -> Json:
    """For each target the training rows that raise its margin, and those that lower it; and for all together."""
    part, found = answer.parts[question.of], answer.extremes
    items = []
    for column, at in enumerate(answer.targets):
        own = None if part.at is None else int(part.at[at])
        items.append(
            {
                **_row(part.rows, at),
                "margin": float(part.effect.margin_before[at]),
                **(_moved(part, at) if estimator.predicts else {}),
                **{way: _scored(problem, found.each[way], column, sign, own) for way, sign in SIGNS.items()},
            }
        )
    together = {way: _scored(problem, found.together[way], 0, sign, None) for way, sign in SIGNS.items()}
    count = "the most affected" if estimator.predicts else "those whose margin is nearest to 0"
    by = count if question.targets.isdecimal() else question.targets
    return {"of": question.of, "chosen": by, "items": items, "together": together if len(items) > 1 else None}


def _moved(part: Part, at: np.int64) -> Json:
    """How much a row is predicted to change."""
    found = part.effect
    return {
        "change": float(found.change[at]),
        "error": float(found.error[at]),
        "margin_change": float(found.margin_change[at]),
        "margin_error": float(found.margin_error[at]),
    }


def _scored(problem: Problem, ranked: Ranked, column: int, sign: int, own: int | None) -> list[Json]:
    """The training rows of a column whose score has that sign."""
    gone = set(problem.forget.tolist())
    return [
        {
            **_row(problem.rows, row),
            "score": float(score),
            "role": "itself" if row == own else "forget" if int(row) in gone else "retain",
        }
        for row, score in zip(ranked.at[:, column], ranked.scores[:, column], strict=True)
        if sign * score > 0
    ]


def _row(rows: Rows, at: int | np.int64) -> Json:
    """Id and label; a class by its name."""
    label = rows.labels[int(at)]
    if rows.labels.is_floating_point():
        shown = ", ".join(f"{value:.4g}" for value in label.reshape(-1).tolist())
    else:
        shown = rows.classes[int(label)] if rows.classes else str(int(label))
    return {"id": rows.ids[int(at)], "label": shown}


def _images(answer: Answer, problem: Problem, question: Question) -> dict[str, str]:
    """Id -> picture of every row that is shown."""
    shown = {name: part.effect.most(question.top) for name, part in answer.parts.items()}
    shown[question.of] = np.union1d(shown[question.of], answer.targets)
    ranked = [one for side in (answer.extremes.each, answer.extremes.together) for one in side.values()]
    trained = [one.at.reshape(-1) for one in ranked]
    trained += [part.at[shown[name]] for name, part in answer.parts.items() if part.at is not None]
    unseen = [part.rows.take(shown[name]) for name, part in answer.parts.items() if part.at is None]
    every = joined(problem.rows.take(np.unique(np.concatenate(trained))), *unseen)
    return dict(zip(every.ids, thumbnails(every, np.arange(len(every))), strict=False))  # none where there are none


def _estimator(answer: Answer, estimator: Estimator, why: str) -> Json:
    notes = {name: value for name, value in answer.fitted.notes.items() if isinstance(value, PLAIN)}
    return {
        "name": estimator.name(),
        "paper": estimator.paper,
        "settings": estimator.settings(),
        "why": why,
        "notes": notes,
    }


def _cost(answer: Answer, problem: Problem) -> Json:
    """Row visits: of the fit and of held-out models, once for all requests, and of this prediction."""
    once = problem.recipe.epochs * len(problem.retain)
    held = total([] if answer.fleet is None else answer.fleet.costs())
    calibration = held.visits + answer.visits.calibrating
    fit, prediction = answer.visits.fitting, answer.visits.predicting
    return {
        "retraining": once,
        "fit": fit,
        "calibration": calibration,
        "prediction": prediction,
        "fraction": (fit + calibration + prediction) / once,
        "requests": REQUESTS,
        "amortised": ((fit + calibration) / REQUESTS + prediction) / once,
        "seconds": answer.fitted.cost.seconds + held.seconds,
    }


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
