"""`expunge audit`: one unlearned model, a method by several of them, or stored outputs, against gold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from expunge.audit.foresight import Foresight, foresee_method, foresee_model
from expunge.audit.policy import Policy
from expunge.audit.policy import policy as find_policy
from expunge.bench.audit import PLANTED_GOLD, Result, check_gold, check_relearn, check_shadows
from expunge.bench.audit import audit as run_audit
from expunge.bench.fleets import shadow_plan
from expunge.bench.result import check_classes
from expunge.bench.stored import audit_stored, foresee_stored, read_stored
from expunge.cli.gan import audit_pair
from expunge.cli.output import DryRun, Json, err, progress, show_plan
from expunge.cli.plan import describe_fleet, describe_plan
from expunge.cli.results import EXIT, free, named, present, shelf_at, spelled, workers
from expunge.data import joined
from expunge.errors import ConfigError
from expunge.fleet import role_seeds, same_rows
from expunge.gan.audit import GOLD as PAIRS
from expunge.gan.runs import is_gan
from expunge.runs import UnlearnedRun, check_same_request, open_unlearned
from expunge.store import Store

STORED = ".npz"
GOLD = 64
"""Gold models of a classifier, advised."""


def audit(
    *unlearned: Path,
    gold: int | None = None,
    shadows: int = 0,
    relearn: int = 0,
    planted: Annotated[bool, Parameter(name="--planted", negative="")] = False,
    out_folder: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    policy: str = "standard",
    seed: int = 0,
    data: Path | None = None,
    store: Path | None = None,
    processes: int | None = None,
    device: str = "cpu",
    code: Path | None = None,
    features: str = "",
    rows: Annotated[bool, Parameter(name="--rows", negative="--no-rows")] = True,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Compare unlearned models with N gold models, found in the store or trained; exit code by verdict.

    One folder is a model audit: could this model be a gold model? Several folders of one method and forget set, made
    from different originals, are a method audit: do its models follow gold's law? A .npz file holds outputs made
    elsewhere: arrays gold, unlearned, original [models, rows] (margins) or [models, rows, classes] (logits, with
    labels), split [rows] and, if you have them, heldout, ids, groups, shadows and membership.

    Args:
        unlearned: Folders made by `expunge forget`, or one .npz file.
        gold: Gold models, by default 64; policies ask for 19 to 64. For a GAN by default 8, at least 2.
        shadows: Models on random halves of the rows, even, for LiRA, RMIA and difficulty; 0 for none, 64 advised.
        relearn: Gold models that relearn the forget rows beside the unlearned one; 0 for none, 8 advised.
        planted: Train three more originals with marks on the forget rows, unlearn them by the same method and
            settings, and look for the marks.
        out_folder: Where the result is kept; by default beside the unlearned model, with `-audit` behind.
        policy: What the verdict demands: screen, standard, strict, or the path of a TOML file like theirs.
        seed: Of the gold models.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Folder of finished models; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes on cpu; by default one per core.
        device: Where to train gold, such as cpu or cuda.
        code: Your own file that holds the model, where its recipe names one (the file is executed).
        features: Of a GAN: your own `path/file.py:NAME`, a function from pictures [n, c, h, w] to features [n, d] such
            as Inception's (the file is executed); by default a classifier trained here.
        rows: Keep ids and distances of single rows, which are personal data; --no-rows keeps aggregates only.
        dry_run: Say what would be trained, what that takes and what could be seen, and do nothing.
        as_json: The result as plain data instead of a table.
    """
    chosen = find_policy(policy)
    if not unlearned:
        raise ConfigError("audit: expected a folder made by `expunge forget`", hint="`expunge audit --help`")
    if is_gan(unlearned[0]):
        strange = {
            "policy": policy != "standard",
            "shadows": shadows,
            "relearn": relearn,
            "planted": planted,
            "code": code,
        }
        for name in (name for name, given in strange.items() if given):
            raise ConfigError(
                f"--{name}: an audit of a GAN takes none", hint="its level and controls are fixed; see docs/gan.md"
            )
        return audit_pair(
            unlearned,
            gold=PAIRS if gold is None else gold,
            out_folder=out_folder,
            seed=seed,
            data=data,
            store=store,
            processes=processes,
            device=device,
            features=features,
            rows=rows,
            dry_run=dry_run,
            as_json=as_json,
        )
    if features:
        raise ConfigError("--features: expected the unlearned pair of a GAN, got a classifier")
    gold = GOLD if gold is None else gold
    stored = [path for path in unlearned if path.suffix == STORED]
    if stored and len(unlearned) > 1:
        raise ConfigError(f"audit: expected {stored[0]} alone", hint="one .npz file holds all outputs of an audit")
    whole = named(unlearned[0])
    place = free(out_folder or whole.with_name(f"{whole.stem if stored else whole.name}-audit"))
    given: dict[str, object] = {"policy": policy, "seed": seed}
    after: dict[str, object] = {"out": out_folder, "no-rows": None if rows else True}
    if stored:
        command = spelled("audit", str(unlearned[0]), **given, **after)
        arrays = read_stored(unlearned[0])
        if dry_run:
            return show_plan(describe_plan({}, foresee_stored(arrays, chosen)), as_json)
        result = audit_stored(arrays, policy=chosen, seed=seed, source=unlearned[0].name, command=command)
        return _present(result, place, rows, as_json)
    check_gold(gold)
    check_shadows(shadows)
    check_relearn(relearn, gold)
    shelf = shelf_at(store)
    made = [open_unlearned(path, data=data, code=code) for path in unlearned]
    check_same_request(made)
    check_classes(made[0].problem.recipe)
    if dry_run:
        kept = max(relearn, PLANTED_GOLD if planted else 0)
        return show_plan(_plan(made, chosen, shelf, gold=gold, shadows=shadows, kept=kept, seed=seed), as_json)
    elsewhere = {"data": data, "store": store, "device": None if device == "cpu" else device, "code": code}
    more = {"shadows": shadows or None, "relearn": relearn or None, "planted": planted or None}
    given = {"gold": gold, **more, **given, **elsewhere, **after}
    command = spelled("audit", *(str(path) for path in unlearned), **given)
    single = len(made) == 1
    with workers(device, processes) as executor, progress() as bar:
        if not as_json:  # what could be seen is said before anything is trained
            err().print(*_foresight(chosen, made, gold).text, sep="\n", markup=False, soft_wrap=True)
        result = run_audit(
            made[0].problem,
            made[0].unlearned if single else [run.unlearned for run in made],
            originals=() if single else [run.parent.model for run in made],
            gold=gold,
            shadows=shadows,
            relearn=relearn,
            planted=planted,
            seed=seed,
            policy=chosen,
            forget=made[0].forget,
            command=command,
            device=device,
            store=shelf,
            executor=executor,
            progress=bar,
        )
    return _present(result, place, rows, as_json)


def _present(result: Result, place: Path, rows: bool, as_json: bool) -> int:
    present((result if rows else result.strip_rows()).data, place, as_json)
    return EXIT[result.verdict]


def _plan(
    made: Sequence[UnlearnedRun], policy: Policy, shelf: Store, *, gold: int, shadows: int, kept: int, seed: int
) -> dict[str, Any]:
    """What the audit would train, and what it could see; three planted trainings come on top."""
    problem = made[0].problem
    behind = _behind(made)
    models = gold + (behind if behind > 1 else 0)
    masks = same_rows(problem.rows, problem.retain, models)
    watch = (problem.rows, problem.holdout, problem.test)
    seeds = role_seeds(seed, "gold", models)
    fleet = describe_fleet(problem.recipe, problem.rows, masks[kept:], seeds[kept:], watch, shelf)
    parts = {"gold": fleet}
    if kept:
        fleet = describe_fleet(problem.recipe, problem.rows, masks[:kept], seeds[:kept], watch, shelf, weights=True)
        parts["gold with weights"] = fleet
    if shadows:
        sampled = joined(problem.rows, problem.holdout)
        masks, seeds = shadow_plan(len(sampled), shadows, seed=seed)
        parts["shadows"] = describe_fleet(problem.recipe, sampled, masks, seeds, watch, shelf)
    return describe_plan(parts, _foresight(policy, made, gold))


def _foresight(policy: Policy, made: Sequence[UnlearnedRun], gold: int) -> Foresight:
    problem = made[0].problem
    forget = len(problem.forget)
    if len(made) > 1:
        return foresee_method(policy, unlearned=_behind(made), gold=gold, forget=forget)
    return foresee_model(policy, gold=gold, forget=forget, test=len(problem.test))


def _behind(made: Sequence[UnlearnedRun]) -> int:
    """How many originals the unlearned models come from."""
    return len({run.parent.path.resolve() for run in made})
