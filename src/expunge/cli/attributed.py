"""What attribution found, in the terminal."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from rich.console import Console

from expunge.cli.output import table
from expunge.report.attribution import affected_lines, cost_text, headings, how, scored, statements

Result = dict[str, Any]


def print_attribution(result: Result, console: Console) -> None:
    """Sentences first; then the rows that change most, the training rows behind the targets, and the cost."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    for text in (*how(result), *(f"{name} rows: {said}" for name, said in statements(result))):
        say(text)
    for name, lines in result["affected"].items():
        if lines:
            say(f"\n{name} rows whose margin changes most")
            table(headings(result), affected_lines(result, name))
    say(f"\ntraining rows that the margins of {result['targets']['of']} rows hang on, in {result['unit']['score']}")
    for target in result["targets"]["items"]:
        say(f"\n{target['id']} (label {target['label']})")
        _ends(target)
    if result["targets"]["together"]:
        say("\nall of these together, mean")
        _ends(result["targets"]["together"])
    say(f"\n{cost_text(result)}")


def _ends(ranked: Result) -> None:
    """Who raises and who lowers, side by side."""
    pairs = zip_longest(*([scored(one) for one in ranked[way]] for way in ("raises", "lowers")), fillvalue=("",) * 3)
    table(
        ["raises", "label", "score", "lowers", "label", "score"],
        [[*raising, *lowering] for raising, lowering in pairs],
    )
