"""What an unlearned pair is to reach, said with both numbers; the verdict does not rest on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from expunge.gan.candidate import Candidate, median_cost
from expunge.gan.fit import TrainedPair
from expunge.gan.measure_table import MEASURES
from expunge.gan.measures import Numbers
from expunge.gan.problem import GanProblem
from expunge.gan.verdict import FORGETTING, Scored
from expunge.training.stream import cut


def steps_of(problem: GanProblem) -> int:
    """Steps of one gold's training."""
    return problem.recipe.epochs * len(cut(problem.retain, problem.recipe.batch_size))


def statements(
    table: Sequence[Scored], one: Candidate, values: Numbers, gold: Sequence[TrainedPair], steps: int
) -> list[dict[str, Any]]:
    """What was to be reached, whether it was, and both numbers.

    Args:
        table: The measures of original and gold.
        one: The candidate that the verdict is about.
        values: Its numbers.
        gold: Whose cost is compared.
        steps: Of one gold's training.
    """
    by_name, said = {line.name: line for line in table}, []
    for name in FORGETTING:
        if name not in by_name or name == "class_share" or not by_name[name].power:
            continue  # where there was nothing to forget, nothing was achieved
        ours = abs(values[name] - 0.5)
        theirs = float(np.mean([abs(value - 0.5) for value in by_name[name].gold]))
        text = (
            f"{MEASURES[name].title}, both sides: {ours:.3f} from one half, gold {theirs:.3f} (at most 0.05 more); "
            f"{values[name] - by_name[name].mean:+.3f} from gold's mean"
        )
        said.append({"text": text, "holds": ours <= theirs + 0.05})
    if "class_share" in by_name and by_name["class_share"].power:
        mean = float(np.mean(by_name["class_share"].gold))
        text = f"share of the class: {values['class_share']:.3f}, gold {mean:.3f} (at most 0.01)"
        said.append({"text": text, "holds": values["class_share"] <= 0.01})
    ratio = values["frechet"] / float(np.mean(by_name["frechet"].gold))
    said.append({"text": f"Frechet distance: {ratio:.2f} of gold's (at most 1.15)", "holds": ratio <= 1.15})
    whole, cost = median_cost(gold), one.made.cost
    visits = whole["visits"] / cost.visits if cost.visits else float("inf")
    seconds = whole["seconds"] / cost.seconds if cost.seconds else float("inf")
    text = (
        f"gold took {visits:.1f} times the visits and {seconds:.1f} times the seconds (at least 10): {steps:,} steps "
        f"on {whole['threads']} threads against {one.made.steps:,} on {cost.threads}"
    )
    if "classifier_seconds" in one.made.notes:
        both = whole["seconds"] / (cost.seconds + one.made.notes["classifier_seconds"])
        text += f"; with the classifier that finds the class, trained once for all requests, {both:.1f} times"
    said.append({"text": text, "holds": min(visits, seconds) >= 10})
    if "downstream_accuracy" in values:
        theirs = float(np.mean(by_name["downstream_accuracy"].gold))
        ours = values["downstream_accuracy"]
        text = f"downstream accuracy {ours:.3f}, with gold's pictures {theirs:.3f} (at most 0.01 below)"
        said.append({"text": text, "holds": ours >= theirs - 0.01})
    return said
