"""The page of attribution, drawn from its result and nothing else; see `attribution_result` for its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expunge.report.attribution_result import ENDS
from expunge.report.digits import ABSENT, count, decimals, fixed, gap, loose, seconds, share
from expunge.report.result import Json, part, printable

TEMPLATE = "attribution.html.j2"
CHANGES = ("change", "error", "margin_change", "margin_error")
FLIPS = {(True, False): "right, would be wrong", (False, True): "wrong, would be right"}
GLOSSARY = {
    "if they were removed": "If a model were trained from scratch by the same recipe, without the forget rows. Nothing "
    "was retrained for this page: the outputs of such a model are predicted.",
    "logit of the true class": "The model's output for the class that a row belongs to. A fall makes the model less "
    "sure of the right answer.",
    "margin": "How sure a model is of a row's true label: its log-odds, in nats. 0 is even odds; at 5 the odds are "
    "about 150 to 1.",
    "±": "One standard error. Behind a mean over rows it was measured on held-out models, or is the largest that the "
    "errors of the rows allow; behind a row it is that row's own. It holds the noise of training with another seed.",
    "calibration": "Models were trained without other sets of as many rows, and what they put out was compared with "
    "what the estimator foretold, for logits and margins each by itself. The slope is how much came for each that was "
    "foretold: predictions were multiplied by it, and what came on average beside that was added. A slope of 0, and an "
    "R² of 0, say that the estimator foretells nothing for such rows.",
    "score": "By how many nats one training row raises the margin of a target, if it alone were there or not there. "
    "Above 0 it helps, below 0 it harms. Scores are as the estimator gives them, without calibration.",
    "cost": "Row visits, divided by those of one retraining. Fit and calibration are paid once and serve every later "
    "request about this model.",
}


@dataclass(frozen=True)
class Picture:
    """A training row behind a target, as the page shows it."""

    id: str
    label: str
    score: str
    role: str
    image: str


def attribution_context(result: Json) -> dict[str, Any]:
    """What the template needs of a result that `checked_attribution` made."""
    images, targets = part(result, "images"), result["targets"]
    return {
        "result": result,
        "title": str(result.get("title") or "Attribution"),
        "facts": _facts(result),
        "statements": statements(result),
        "parts": (PART_HEADINGS, part_lines(result)),
        "held": next((line.get("models") for line in _lines(result) if line), None),
        "headings": headings(result)[1:],
        "affected": {
            name: [(cells[0], images.get(line["id"]), cells[1:]) for line, cells in zip(lines, texts, strict=True)]
            for name, lines in part(result, "affected").items()
            if (texts := affected_lines(result, name))
        },
        "of": targets.get("of") or "test",
        "chosen": str(targets.get("chosen") or ""),
        "targets": [_target(result, one) for one in targets["items"]],
        "together": _ends(result, part(targets, "together")),
        "costs": _costs(result),
        "settings": _settings(result),
        "glossary": GLOSSARY,
    }


def statements(result: Json) -> list[tuple[str, str]]:
    """What would change: kinds of rows, forget rows first, with what is said of each."""
    said = []
    for name, one in sorted(result["parts"].items(), key=lambda pair: pair[0] != "forget"):
        right = [one.get(key) for key in ("right_before", "right_after")]
        text = printable(str(one.get("sentence") or ""))
        if None not in right:
            text += f"; {count(right[0])} of {count(one.get('rows'))} are right as it is, {count(right[1])} would be"
        said.append((name, text))
    return said


def how(result: Json) -> list[str]:
    """The estimator and why this one, what calibration found, and what the fit warns of."""
    found = part(result, "estimator")
    why = f" ({printable(str(found['why']))})" if found.get("why") else ""
    said = [f"estimator: {printable(str(found.get('name') or ABSENT))}{why}"]
    lines = {name: part(one, "calibration", "margin") for name, one in result["parts"].items()}
    slopes = [f"{name} {slope_text(line)} (R2 {fixed(line.get('r2'), 2)})" for name, line in lines.items() if line]
    if slopes:
        models = next(line.get("models") for line in lines.values() if line)
        said.append(f"calibrated on {count(models)} held-out models; slope of margins on rows of: {', '.join(slopes)}")
    if not result["parts"]:
        said.append("it ranks training rows and predicts no outputs")
    warning = part(found, "notes").get("warning")
    return [*said, *([f"warning: {printable(str(warning))}"] if warning else [])]


def _lines(result: Json) -> list[Json]:
    """What calibration of the margin found on each kind of rows."""
    return [part(one, "calibration", "margin") for one in result["parts"].values()]


def slope_text(line: Json) -> str:
    """The slope of a calibration with its error."""
    return fixed(line.get("slope"), 2) + (f" ± {fixed(line.get('slope_error'), 2)}" if line else "")


PART_HEADINGS = (
    *("rows", "number", "change", "±", "slope", "R²"),
    *("margin", "±", "slope", "R²", "right now", "would be right"),
)


def part_lines(result: Json) -> list[list[str]]:
    """A line for each kind of rows: mean changes, their error, and what calibration found."""
    lines = []
    values = [one.get(key) for one in result["parts"].values() for key in CHANGES]
    digits = decimals(values, most=3)
    for name, one in result["parts"].items():
        cells = []
        for key, change, error in (("output", *CHANGES[:2]), ("margin", *CHANGES[2:])):
            line = part(one, "calibration", key)
            cells += [signed(one.get(change), digits), fixed(one.get(error), digits)]
            cells += [slope_text(line), fixed(line.get("r2"), 2)]
        cells += [count(one.get(key)) for key in ("right_before", "right_after")]
        lines.append([name, count(one.get("rows")), *cells])
    return lines


def headings(result: Json) -> list[str]:
    """Of the table of affected rows."""
    output, margin = part(result, "unit").get("output") or "output", "margin"
    return ["row", "label", f"{output} now", "predicted", "change", "±", f"{margin} now", "predicted", "±", "answer"]


def affected_lines(result: Json, name: str) -> list[list[str]]:
    """The rows of a part whose margin changes most, as text."""
    lines = part(result, "affected").get(name) or []
    digits = decimals([line.get("change") for line in lines], most=3)
    return [
        [
            printable(str(line["id"])),
            printable(str(line.get("label") or ABSENT)),
            *(fixed(line.get(key), 2) for key in ("before", "after")),
            signed(line.get("change"), digits),
            fixed(line.get("error"), digits),
            *(fixed(line.get(key), 2) for key in ("margin_before", "margin_after", "margin_error")),
            FLIPS.get((bool(line.get("right_before")), bool(line.get("right_after"))), _right(line)),
        ]
        for line in lines
    ]


def scored(one: Json) -> tuple[str, str, str]:
    """A training row behind a target: id with what it is, label, score."""
    said = printable(str(one["id"])) + ("" if one.get("role") in (None, "retain") else f" ({one['role']})")
    return said, printable(str(one.get("label") or ABSENT)), signed(one.get("score"), 3)


def cost_text(result: Json) -> str:
    """What it cost beside a retraining, for people."""
    cost = part(result, "cost")
    return (
        f"cost: {share(cost.get('fraction'))} of the row visits of one retraining; spread over {cost.get('requests')} "
        f"requests {share(cost.get('amortised'))} each; {seconds(cost.get('seconds'))} s"
    )


def signed(value: float | None, digits: int) -> str:
    """The value with its sign, unless it is 0.

    Example:
        >>> signed(0.81, 1), signed(-0.81, 1), signed(0.01, 1), signed(None, 1)
        ('+0.8', '-0.8', '0.0', '-')
    """
    return gap(value, 0.0, digits).strip("()") or ABSENT


def _right(line: Json) -> str:
    return "right" if line.get("right_after") else "wrong"


def _target(result: Json, one: Json) -> Json:
    """A target and who is behind it."""
    return {
        "id": printable(str(one["id"])),
        "label": printable(str(one.get("label") or ABSENT)),
        "image": part(result, "images").get(one["id"]),
        "change": signed(one.get("change"), 2),
        "error": fixed(one.get("error"), 2),
        "margin": fixed(one.get("margin"), 2),
        "margin_change": signed(one.get("margin_change"), 2),
        "margin_error": fixed(one.get("margin_error"), 2),
        "ends": _ends(result, one),
    }


def _ends(result: Json, ranked: Json) -> dict[str, list[Picture]]:
    images = part(result, "images")
    return {
        end: [
            Picture(
                printable(str(one["id"])),
                printable(str(one.get("label") or ABSENT)),
                signed(one.get("score"), 3),
                str(one.get("role") or "retain"),
                images.get(one["id"]) or "",
            )
            for one in ranked.get(end) or []
        ]
        for end in ENDS
    }


def _facts(result: Json) -> list[tuple[str, str]]:
    """What was asked, as pairs for the head of the page."""
    problem, number = part(result, "problem"), part(result, "problem", "rows")
    seed = problem.get("forget_seed")
    facts = [
        ("estimator", part(result, "estimator").get("name")),
        ("recipe", problem.get("recipe")),
        ("data", problem.get("data")),
        ("would go", f"{problem['forget']}{'' if seed is None else f', seed {seed}'}" if "forget" in problem else None),
        ("rows", ", ".join(f"{count(number[split])} {split}" for split in number)),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _costs(result: Json) -> list[tuple[str, str, str]]:
    """(what, share of one retraining, row visits) of each part of the cost."""
    cost = part(result, "cost")
    once = cost.get("retraining")
    if not once:
        return []
    names = {
        "fit": "fit, once",
        "calibration": "held-out models, once",
        "prediction": "this prediction",
    }
    lines = [(names[key], share((cost.get(key) or 0) / once), count(cost.get(key) or 0)) for key in names]
    lines.append(("together", share(cost.get("fraction")), count((cost.get("fraction") or 0) * once)))
    spread = (cost.get("amortised") or 0) * once
    return [*lines, (f"a request, over {cost.get('requests')}", share(cost.get("amortised")), count(spread))]


def _settings(result: Json) -> list[tuple[str, str]]:
    """How the estimator was set, and what its fit found."""
    found = part(result, "estimator")
    pairs = {"paper": found.get("paper"), "chosen because": found.get("why")}
    pairs |= part(found, "settings") | part(found, "notes")
    return [(name.replace("_", " "), loose(value)) for name, value in pairs.items() if value not in (None, "")]
