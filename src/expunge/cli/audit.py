"""`expunge audit`: one unlearned model against gold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.audit.policy import policy as find_policy
from expunge.bench.audit import audit as run_audit
from expunge.bench.audit import check_gold
from expunge.bench.result import check_classes
from expunge.cli.output import DryRun, Json, out, progress, show
from expunge.cli.plan import describe_fleet
from expunge.cli.results import free, named, present, shelf_at, spelled, workers
from expunge.fleet import role_seeds, same_rows
from expunge.methods import Unlearned
from expunge.runs import open_unlearned
from expunge.training import Cost

EXIT = {"pass": 0, "measured": 0, "fail": 1, "inconclusive": 3}


def audit(
    unlearned: Path,
    *,
    gold: int = 64,
    out_folder: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    policy: str = "standard",
    seed: int = 0,
    data: Path | None = None,
    store: Path | None = None,
    processes: int | None = None,
    device: str = "cpu",
    code: Path | None = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Compare an unlearned model with N gold models, found in the store or trained; exit code by verdict.

    Args:
        unlearned: A folder made by `expunge forget`.
        gold: Gold models, at least 19; 64 advised.
        out_folder: Where the result is kept; by default beside the unlearned model, with `-audit` behind.
        policy: What the verdict demands: screen, standard, strict, or the path of a TOML file like theirs.
        seed: Of the gold models.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Folder of finished models; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes on cpu; by default one per core.
        device: Where to train gold, such as cpu or cuda.
        code: Your own file that holds the model, where its recipe names one (the file is executed).
        dry_run: Say how many models would be trained and what that takes, and do nothing.
        as_json: The result as plain data instead of a table.
    """
    check_gold(gold)
    chosen = find_policy(policy)
    whole = named(unlearned)
    place, shelf = free(out_folder or whole.with_name(f"{whole.name}-audit")), shelf_at(store)
    made = open_unlearned(unlearned, data=data, code=code)
    problem = made.problem
    check_classes(problem.recipe)
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
    elsewhere = None if device == "cpu" else device
    given = {"data": data, "store": store, "device": elsewhere, "code": code, "out": out_folder}
    command = spelled("audit", str(unlearned), gold=gold, policy=policy, seed=seed, **given)
    with workers(device, processes) as executor, progress() as bar:
        result = run_audit(
            problem,
            answer,
            gold=gold,
            seed=seed,
            policy=chosen,
            forget=made.forget,
            command=command,
            device=device,
            store=shelf,
            executor=executor,
            progress=bar,
        )
    present(result.data, place, as_json)
    return EXIT[result.verdict]
