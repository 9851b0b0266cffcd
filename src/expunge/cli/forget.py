"""`expunge forget`: an unlearned model from a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.attribution.named import configured as estimator_of
from expunge.cli.flags import configured
from expunge.cli.gan import forget_pair
from expunge.cli.output import DryRun, Json, out, progress, show, table
from expunge.data import ForgetSet
from expunge.gan.runs import is_gan
from expunge.methods import Method
from expunge.methods import method as find_method
from expunge.runs import Accuracy, accuracies, check_new, forget_run, latest_subsets, open_run
from expunge.store import Store


def forget(
    run: Path,
    *flags: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    rows: str,
    method: str,
    out_folder: Annotated[Path, Parameter(name=["--out", "-o"])],
    rows_seed: int = 0,
    seed: int = 0,
    data: Path | None = None,
    store: Path | None = None,
    device: str = "cpu",
    code: Path | None = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Forget rows from a run's model, by a method with its own flags (`expunge methods NAME` lists them).

    Args:
        run: A folder made by `expunge train`.
        flags: The method's own.
        rows: Which rows: random:N, class:C, class:C:N, ids:FILE, subject:ID or indices:FILE.npy.
        method: A name from `expunge methods`.
        out_folder: The folder to make; must not exist.
        rows_seed: Of the draw of forget rows.
        seed: Of the method.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Where `expunge attribute --subsets` kept models, for methods that predict from them, and where the
            classifier lies that finds a class among a GAN's pictures; by default EXPUNGE_STORE, or .expunge here.
        device: Where to compute, such as cpu or cuda.
        code: Your own file that holds the model, where its recipe names one (the file is executed).
        dry_run: Say what would be done, and do nothing.
        as_json: Plain data instead of a table.
    """
    forget_set = ForgetSet(rows, rows_seed)
    if is_gan(run):
        return forget_pair(
            run,
            flags,
            rows=forget_set,
            method=method,
            place=out_folder,
            seed=seed,
            data=data,
            store=store,
            device=device,
            dry_run=dry_run,
            as_json=as_json,
        )
    chosen = configured(find_method(method), flags)
    check_new(out_folder)
    parent = open_run(run, data=data, code=code)
    problem = parent.problem(forget_set.indices(parent.splits.train), forget_set.kind)
    if dry_run:
        facts = {
            "method": method,
            "settings": chosen.settings(),
            "forget": len(problem.forget),
            "retain": len(problem.retain),
            "out": str(out_folder),
        }
        show(facts) if as_json else out().print(
            f"would forget {len(problem.forget)} of {len(problem.rows)} rows by {method} into {out_folder}"
        )
        return 0
    subsets = latest_subsets(parent.recipe, parent.splits.train, Store(store)) if _predicts_from(chosen) else None
    with progress() as bar:
        made, unlearned = forget_run(
            parent, forget_set, chosen, out_folder, seed=seed, device=device, subsets=subsets, progress=bar
        )
    before, after = accuracies(problem.original, problem), accuracies(made.model, problem)
    fraction = unlearned.cost.visits / (parent.recipe.epochs * len(problem.retain))
    if as_json:
        show(
            {
                "out": str(out_folder),
                "before": before,
                "after": after,
                "cost": unlearned.cost.to_dict(),
                "fraction_of_retraining": fraction,
                "notes": unlearned.notes,
            }
        )
        return 0
    table(["accuracy on", "original", method], [[name, f"{before[name]:.3f}", f"{after[name]:.3f}"] for name in before])
    out().print(
        f"{out_folder}: {len(problem.forget)} rows, {unlearned.cost.seconds:.1f} s, "
        f"{fraction:.1%} of the row visits of one retraining"
    )
    out().print(unlearned.notes.get("warning") or diagnosis(before, after), markup=False)
    out().print(f"next: expunge audit {out_folder} --gold 64", markup=False)
    return 0


def _predicts_from(method: Method) -> bool:
    """Whether the method's estimator needs models on random subsets of the rows."""
    named = method.settings().get("estimator")
    return named is not None and "subsets" in estimator_of(str(named)).needs


def diagnosis(before: Accuracy, after: Accuracy) -> str:
    """What the accuracies alone say, and which way to turn; only an audit against gold says how near it is."""
    unseen = after["holdout"]
    if after["test"] < before["test"] - 0.05 or after["retain"] < before["retain"] - 0.1:
        return "sign of collapse: utility fell by several points; lower the step size or the epochs"
    if after["forget"] < unseen - 0.5:
        return "sign of over-forgetting: far less right on forget rows than on unseen rows; do less of it"
    if abs(after["forget"] - before["forget"]) < 0.005:
        return "accuracy on forget rows did not change; that is right only if gold gets them right too"
    return "accuracy on forget rows changed and utility held"
