"""The page of a benchmark of tuning, drawn from its result and nothing else; see `tuning_result` for its form."""

from __future__ import annotations

from typing import Any

from expunge.report.digits import count, fixed, seconds
from expunge.report.figures import Figure
from expunge.report.result import Json, part
from expunge.report.tuning_figures import tuning_figures, tuning_marks
from expunge.report.tuning_tables import called, group_name, order_table, regret_table, sign_table, twins_table

TEMPLATE = "tuning.html.j2"
GLOSSARY = {
    "twin": "A problem made from the true one: rows that the original never saw are taught to a model, and removing "
    "them again has the original as its gold. A finetuned twin is the original trained further; a rewound one is the "
    "original as it was half way, trained to the end; a fresh one is trained from scratch.",
    "gold": "A model trained from scratch with the same recipe, without the forget rows.",
    "J*": "True distance of a setting: mean distance of margins to gold on forget rows plus that on test rows, over "
    "the original's distance on forget rows. It takes gold models to know it.",
    "J": "The same on a twin, whose gold is the original. It takes none.",
    "relative regret": "J* of the setting that was taken, less that of gold's choice, over what the default would have "
    "lost: 0 is as good as tuning on gold, 1 as good as the default. Gold chooses on one half of its models and is "
    "judged on the other.",
    "informative": "A cell in which gold's choice beats the default by twice its standard error over gold models. In "
    "the others there is nothing to choose, and they are not averaged.",
    "cell, unit": "A unit is a data set, forget set and replicate: one original with its gold models and twins. A cell "
    "is a method in a unit. Intervals are over units.",
    "null": "J* of a gold model against the other gold models: what a perfect method would come to.",
    "order": "Spearman's rank correlation over settings with the truth: of J with J*, and of the distances on forget "
    "rows and on other rows apart, because J can be right by utility alone. Medians over cells.",
    "margin": "How sure a model is of a row's true label: its log-odds, in nats.",
}


def tuning_context(result: Json) -> tuple[dict[str, Any], list[Figure]]:
    """What the template needs, and the figures, of a result that `checked_tuning` made."""
    drawn = {way: tuning_figures(result, way) for way in result["twins"]}
    groups = result["summary"]["groups"]
    orders = [order_table(one, f"Order of settings: {group_name(one)}") for one in groups[1:]]
    context = {
        "result": result,
        "title": str(result.get("title") or "Tuning on twins"),
        "facts": _facts(result),
        "expected": result["summary"].get("expected") or [],
        "controls": result["summary"].get("controls") or [],
        "regrets": regret_table(result),
        "pooled": regret_table(result, "pooled"),
        "chance": _chance(part(result, "size").get("settings")),
        "order": order_table(groups[0]),
        "more": [*orders, sign_table(result), twins_table(result)],
        "drawn": {way: figures for way, figures in drawn.items() if figures},
        "marks": list(tuning_marks(result).values()),
        "called": called,
        "glossary": GLOSSARY,
    }
    return context, [figure for figures in drawn.values() for figure in figures]


def _facts(result: Json) -> list[tuple[str, str]]:
    """What was measured, as pairs for the head of the page."""
    size, studies = part(result, "size"), result.get("studies") or []
    methods = dict.fromkeys(str(cell["method"]) for cell in result["cells"])
    sets = [f"{one.get('recipe')}: {', '.join(map(str, one.get('forgets') or []))}" for one in studies]
    facts = [
        ("forget sets", "; ".join(sets)),
        ("methods", ", ".join(methods)),
        ("settings of each", size.get("settings")),
        ("gold models", size.get("gold")),
        ("twins of each kind, at most", size.get("twins")),
        ("units", len(result.get("units") or [])),
        ("cells", count(len(result["cells"]))),
        ("took", f"{seconds(result['seconds'])} s" if result.get("seconds") else None),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _chance(settings: object) -> str:
    """The overlap that settings drawn blindly would have; empty where their number is not known.

    Example:
        >>> _chance(12), _chance(None)
        ('0.50', '')
    """
    return fixed(6 / settings, 2) if isinstance(settings, int) and settings >= 6 else ""
