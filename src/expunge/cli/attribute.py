"""`expunge attribute`: what a run's model would put out without some rows, and which rows its answers hang on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from expunge.attribution import Estimator
from expunge.attribution.estimator import CHUNK
from expunge.attribution.named import configured
from expunge.attribution.subsets import removal_masks, subset_masks
from expunge.bench.attribute import Question, alike, cheap_estimator, quick_models
from expunge.bench.attribute import attribute as run_attribution
from expunge.bench.attributed import attribution_result
from expunge.cli.attributed import print_attribution
from expunge.cli.output import DryRun, Json, out, progress, show, show_plan
from expunge.cli.plan import WEIGHTS, describe_fleet, describe_plan
from expunge.cli.results import free, named, page_of, shelf_at, spelled, workers
from expunge.data import ForgetSet
from expunge.fleet import role_seeds
from expunge.problem import Problem
from expunge.report import write_page
from expunge.runs import open_run
from expunge.store import Contents, Store, write


def attribute(
    run: Path,
    *,
    rows: str,
    rows_seed: int = 0,
    estimator: str = "",
    of: str = "test",
    targets: str = "5",
    top: int = 10,
    calibrate: int | None = None,
    subsets: int = 0,
    out_folder: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    seed: int = 0,
    data: Path | None = None,
    store: Path | None = None,
    processes: int | None = None,
    device: str = "cpu",
    code: Path | None = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Predict what a run's model would put out without some rows, with unit and error, and name the rows that count.

    Args:
        run: A folder made by `expunge train`.
        rows: Which rows would go, as for `expunge forget`.
        rows_seed: Of the draw of these rows.
        estimator: A name from `expunge estimators`, with settings behind it if wanted: influence:damping=0.1. By
            default influence, or ekfac for a model of many parameters.
        of: Where targets are chosen from: test, forget or retain.
        targets: How many targets, those whose margin changes most; or which, written as --rows is.
        top: Training rows named for each target, at either end.
        calibrate: Models trained without random sets of as many rows, which tell scale and error: 3 to 20, 0 for none;
            by default 20 where these take less than a minute.
        subsets: Models trained on random halves of the rows, for estimators that need them; they are kept, and by
            default those in the store serve.
        out_folder: Where the result is kept; by default beside the run, with `-attribution` behind.
        seed: Of whatever is drawn.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Folder of finished models and scores; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes on cpu; by default one per core.
        device: Where to compute, such as cpu or cuda.
        code: Your own file that holds the model, where its recipe names one (the file is executed).
        dry_run: Say what would be trained and what that takes, and do nothing.
        as_json: The result as plain data instead of tables.
    """
    Question(of=of, targets=targets, top=top, calibrate=calibrate or 0, subsets=subsets)  # before anything is opened
    forget_set, shelf = ForgetSet(rows, rows_seed), shelf_at(store)
    place = free(out_folder or named(run).with_name(f"{named(run).name}-attribution"))
    parent = open_run(run, data=data, code=code)
    problem = parent.problem(forget_set.indices(parent.splits.train), forget_set.kind)
    named_as, why = (estimator, "") if estimator else cheap_estimator(problem)
    chosen = configured(named_as)
    models = quick_models(problem, shelf) if calibrate is None and chosen.predicts else calibrate or 0
    question = Question(of=of, targets=targets, top=top, calibrate=models, subsets=subsets)
    if dry_run:
        return show_plan(_plan(problem, chosen, question, shelf, seed), as_json)
    given: dict[str, object] = {"rows-seed": rows_seed or None, "estimator": named_as, "of": of}
    given |= {"targets": targets, "top": top, "calibrate": models, "subsets": subsets or None, "seed": seed}
    given |= {"data": data, "store": store}
    given |= {"device": None if device == "cpu" else device, "code": code, "out": out_folder}
    command = spelled("attribute", str(run), rows=rows, **given)
    with workers(device, processes) as executor, progress() as bar:
        answer = run_attribution(
            problem, chosen, question, seed=seed, store=shelf, executor=executor, device=device, progress=bar
        )
    result = attribution_result(
        answer, problem, chosen, question, forget=forget_set, why=why, command=command, seed=seed
    )
    write(place, Contents("result", {"title": result["title"]}, documents={"result": result}), replace=True)
    page = write_page(result, page_of(place))
    if as_json:
        show(result)
    else:
        print_attribution(result, out())
        out().print(f"\nreport: {page}", markup=False)
    return 0


def _plan(problem: Problem, estimator: Estimator, question: Question, shelf: Store, seed: int) -> dict[str, Any]:
    """What would be trained, and what scores take."""
    recipe, train = problem.recipe, problem.rows
    watch = (train, problem.holdout, problem.test)
    parts = {}
    if question.subsets:
        masks = subset_masks(question.subsets, len(train), seed=seed)
        seeds = role_seeds(seed, "subset", len(masks))
        parts["subset models"] = describe_fleet(recipe, train, masks, seeds, watch, shelf)
    if question.calibrate and estimator.predicts:
        masks = removal_masks(
            question.calibrate, len(train), size=len(problem.forget), groups=alike(problem), seed=seed
        )
        seeds = role_seeds(seed, "held-out removal", len(masks))
        parts["held-out models"] = describe_fleet(recipe, train, masks, seeds, watch, shelf)
    plan = describe_plan(parts, None)
    targets = int(question.targets) if question.targets.isdecimal() else None
    size = sum(parameter.numel() for parameter in problem.original.parameters())
    said = f"{estimator.name()} on {size:,} parameters and {len(train):,} training rows"
    if targets is not None:
        kept, held = (count * targets * WEIGHTS / 1e6 for count in (len(train), min(CHUNK, len(train))))
        said += f"; scores of {targets} targets: {kept:.1f} MB on disk, {held:.1f} MB in memory at once"
    return {
        **plan,
        "estimator": estimator.name(),
        "parameters": size,
        "sentence": f"{plan['sentence']}\n{said}".strip(),
    }
