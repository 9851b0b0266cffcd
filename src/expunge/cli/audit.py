"""`expunge audit`: one unlearned model against gold."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.bench.audit import audit as run_audit
from expunge.bench.audit import check_gold
from expunge.cli.output import DryRun, Json, out, progress, show
from expunge.cli.plan import describe_fleet
from expunge.cli.results import free, present
from expunge.fleet import Local, role_seeds, same_rows
from expunge.methods import Unlearned
from expunge.runs import open_unlearned
from expunge.store import Store
from expunge.training import Cost

EXIT = {"pass": 0, "measured": 0, "fail": 1, "inconclusive": 3}


def audit(
    unlearned: Path,
    *,
    gold: int = 64,
    out_folder: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    seed: int = 0,
    data: Path | None = None,
    store: Path | None = None,
    processes: int | None = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Compare an unlearned model with N gold models, found in the store or trained; exit code by verdict.

    Args:
        unlearned: A folder made by `expunge forget`.
        gold: Gold models, at least 19; 64 advised.
        out_folder: Where the result is kept; by default beside the unlearned model, with `-audit` behind.
        seed: Of the gold models.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Folder of finished models; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes; by default one per core.
        dry_run: Say how many models would be trained and what that takes, and do nothing.
        as_json: The result as plain data instead of a table.
    """
    check_gold(gold)
    place = free(out_folder or unlearned.with_name(f"{unlearned.name}-audit"))
    made, shelf = open_unlearned(unlearned, data=data), Store(store)
    problem = made.problem
    if dry_run:
        masks = same_rows(problem.rows, problem.retain, gold)
        watch = (problem.rows, problem.holdout, problem.test)
        plan = describe_fleet(problem.recipe, problem.rows, masks, role_seeds(seed, "gold", gold), watch, shelf)
        show(plan) if as_json else out().print(plan["sentence"])
        return 0
    facts = made.facts
    answer = Unlearned(
        made.model, facts["method"], facts["settings"], facts["seed"], Cost.from_dict(facts["cost"]), [], facts["notes"]
    )
    command = shlex.join(["expunge", "audit", str(unlearned), "--gold", str(gold), "--seed", str(seed)])
    with Local(processes) as executor, progress() as bar:
        result = run_audit(
            problem,
            answer,
            gold=gold,
            seed=seed,
            forget=made.forget,
            command=command,
            store=shelf,
            executor=executor,
            progress=bar,
        )
    present(result.data, place, as_json)
    return EXIT[result.verdict]
