"""The page of a GAN audit, drawn from its result and nothing else; see `gan_result` for its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from expunge.report.digits import ABSENT, count, fixed, loose, seconds, share
from expunge.report.figures import Figure
from expunge.report.gan_figures import curve_figures, gan_marks, timeline_figures
from expunge.report.gan_table import called, heads, known, lines
from expunge.report.result import Json, label, named, part, printable, role
from expunge.report.words import STATES

TEMPLATE = "gan.html.j2"
MODES = {"item": "single rows", "class": "whole classes"}
MEANINGS = {
    "pass": "Every judged measure on which original and gold differ lies where one more gold would, and so does "
    "quality, or on its good side. This is statistical evidence under these measures.",
    "fail": "A judged measure lies where one more gold would not; the reasons say which.",
    "inconclusive": STATES["inconclusive"].meaning,
    "measured": "Measures were taken; nothing was judged, so there is no pass or fail.",
}
GLOSSARY = {
    "pair": "A generator, which draws pictures from latents, and the discriminator that it was trained against. Both "
    "are kept and both may remember rows, so both are unlearned and tested.",
    "original": "The pair that was trained on all rows, before anything was done.",
    "gold": "A pair trained from scratch with the same recipe, without the forget rows. It is what an unlearned pair "
    "should resemble, so every target on this page is gold's value.",
    "one more gold": "Where another gold would lie, as far as those at hand tell: with few of them it is wide. A "
    "value in there is no sign of a difference; a value outside is marked, for a quality at its bad end alone.",
    "nothing to forget": "Original and gold do not differ on the measure, so it cannot show that something was "
    "forgotten, and the verdict does not rest on it. A quality is judged all the same.",
    "null": "How far a gold lies from the other gold models, on average. It is what chance alone gives.",
    "visits": "One row, real or drawn, through one net, forward and backward; forward alone counts a third.",
}
SWAPS = ("before", "wanted", "after")


@dataclass(frozen=True)
class Grid:
    """What one pair draws."""

    title: str
    role: str
    pictures: list[str]


@dataclass(frozen=True)
class Spent:
    """What one entry, or gold, cost."""

    title: str
    role: str
    cells: list[str]


def gan_context(result: Json) -> tuple[dict[str, Any], list[Figure]]:
    """What the template needs, and the figures, of a result that `checked_gan` made."""
    drawn = {"timeline": timeline_figures(result), "curve": curve_figures(result)}
    curved = {trace["meta"] for figure in drawn["curve"] for trace in figure.spec["data"]}
    state = result["verdict"]["state"]
    context = {
        "result": result,
        "title": str(result.get("title") or "Audit of a generator"),
        "state": STATES[state],
        "meaning": MEANINGS[state],
        "judged": label(result["entries"][0]) if result["entries"] else "",
        "facts": _facts(result),
        "heads": _heads(result),
        "lines": lines(result),
        "grids": _grids(result),
        "swaps": _swaps(result),
        "followed": label(named(result, str(part(result, "timeline").get("entry")))) if _followed(result) else "",
        "figures": drawn,
        "marks": [mark for name, mark in gan_marks(result).items() if name in curved],
        "costs": (_cost_heads(result), _costs(result)),
        "settings": _settings(result),
        "glossary": GLOSSARY | {called(one): str(one["meaning"]) for one in result["measures"] if one.get("meaning")},
    }
    return context, [figure for figures in drawn.values() for figure in figures]


def _facts(result: Json) -> list[tuple[str, str]]:
    """What was tested, as pairs for the head of the page."""
    problem, number = part(result, "problem"), part(result, "problem", "rows")
    seed = problem.get("forget_seed")
    mode = str(problem.get("mode") or "")
    golds = max((len(known(one.get("gold"))) for one in result["measures"]), default=0)
    facts = [
        ("recipe", problem.get("recipe")),
        ("data", problem.get("data")),
        (
            "forget",
            f"{problem['forget']}{'' if seed is None else f', seed {seed}'}" if problem.get("forget") else None,
        ),
        ("what goes", ": ".join(filter(None, (MODES.get(mode, mode), _names(problem.get("classes")))))),
        ("rows", ", ".join(f"{count(number[split])} {split}" for split in number)),
        ("gold models", golds),
        ("pictures drawn by each pair", count(result["drawn"]) if result.get("drawn") else None),
        ("features of distances", result.get("features")),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _names(classes: list[object] | None) -> str:
    return ", ".join(str(name) for name in classes or [])


def _heads(result: Json) -> list[tuple[str, str]]:
    """What stands above the cells of the table of measures, and whose column it is."""
    roles = ["original", "gold", *(role(entry) for entry in result["entries"])]
    return list(zip(heads(result), roles, strict=True))


def _grids(result: Json) -> list[Grid]:
    """What each pair draws from the same latents: original and gold first."""
    known_entries = {str(entry["name"]): entry for entry in result["entries"]}
    order = ["original", "gold", *known_entries]
    found = {str(grid["name"]): grid["pictures"] for grid in result.get("grids") or [] if grid.get("pictures")}
    grids = []
    for name in sorted(found, key=order.index):
        own = known_entries.get(name, {"name": name})
        grids.append(Grid(label(own), role(own), found[name]))
    return grids


def _swaps(result: Json) -> list[tuple[str, list[str]]]:
    """Rows of pictures, one picture for each latent that drew what had to go."""
    swaps = result.get("swaps") or []
    return [(name, [swap[name] for swap in swaps]) for name in SWAPS] if swaps else []


def _followed(result: Json) -> bool:
    return bool(named(result, str(part(result, "timeline").get("entry"))))


def _nets(result: Json) -> list[str]:
    """The nets that any entry visited."""
    return list(dict.fromkeys(net for entry in result["entries"] for net in part(entry, "cost", "by_net")))


def _cost_heads(result: Json) -> list[str]:
    nets = [f"{printable(net)} visits" for net in _nets(result)]
    return [
        *nets,
        "visits" if not nets else "visits together",
        "share of one gold",
        "seconds",
        "gold's seconds / its own",
    ]


def _costs(result: Json) -> list[Spent]:
    """A line for every entry that says what it cost, and gold as what all of it is held against."""
    nets, gold = _nets(result), part(result, "gold_cost")
    spent = []
    for entry in result["entries"]:
        cost = part(entry, "cost")
        if cost:
            cells = [count(part(cost, "by_net").get(net)) for net in nets]
            cells += [count(cost.get("visits")), share(cost.get("share")), seconds(cost.get("seconds"))]
            spent.append(Spent(label(entry), role(entry), [*cells, times(cost.get("ratio"))]))
    if gold:
        cells = [*(ABSENT for _ in nets), count(gold.get("visits")), share(1.0), seconds(gold.get("seconds"))]
        spent.append(Spent("gold", "gold", [*cells, times(1.0)]))
    return spent


def times(ratio: float | None) -> str:
    """A ratio, two or three digits.

    Example:
        >>> times(14.25), times(0.5), times(312.4), times(None)
        ('14.2', '0.50', '312', '-')
    """
    if ratio is None:
        return ABSENT
    return fixed(ratio, 0 if ratio >= 99.95 else 1 if ratio >= 9.995 else 2)


def _settings(result: Json) -> list[tuple[str, str, list[str]]]:
    """How each entry was set and what it noted, for those that say either."""
    found = []
    for entry in result["entries"]:
        texts = [_pairs(part(entry, key)) for key in ("settings", "notes")]
        if any(texts):
            found.append((label(entry), role(entry), [text or ABSENT for text in texts]))
    return found


def _pairs(facts: Json) -> str:
    return ", ".join(
        f"{printable(str(key)).replace('_', ' ')} {printable(loose(value))}" for key, value in facts.items()
    )
