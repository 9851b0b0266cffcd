"""`expunge train`: an original model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.cli.gan import train_pair
from expunge.cli.output import DryRun, Json, out, progress, show
from expunge.data import load
from expunge.gan.recipe import GanRecipe
from expunge.gan.recipes import any_recipe
from expunge.runs import accuracy_on, train_run


def train(
    recipe: str,
    *,
    out_folder: Annotated[Path, Parameter(name=["--out", "-o"])],
    data: Path | None = None,
    store: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> int:
    """Train an original model, a classifier or a GAN, and keep it in a run folder.

    Args:
        recipe: A name from `expunge recipes`, or `path/file.py:NAME` of your own (the file is executed).
        out_folder: The run folder to make; must not exist.
        data: Folder of the data sets; by default the environment variable EXPUNGE_DATA.
        store: Where a training of a GAN is kept on its way, so that it can go on; by default EXPUNGE_STORE, or .expunge
            here.
        seed: Of initialisation and order.
        device: Where to train, such as cpu or cuda.
        dry_run: Say what would be done, and do nothing.
        as_json: Plain data instead of sentences.
    """
    chosen = any_recipe(recipe)
    if isinstance(chosen, GanRecipe):
        return train_pair(
            chosen,
            out_folder,
            data=data,
            store=store,
            seed=seed,
            device=device,
            dry_run=dry_run,
            as_json=as_json,
        )
    if dry_run:
        rows = len(load(chosen.data, root=data).train)
        facts = {"models": 1, "rows": rows, "visits": rows * chosen.epochs, "out": str(out_folder)}
        show(facts) if as_json else out().print(f"would train 1 model: {rows} rows x {chosen.epochs} epochs")
        return 0
    with progress() as bar:
        run = train_run(chosen, out_folder, seed=seed, data=data, device=device, progress=bar)
    parts = {name: accuracy_on(run.model, chosen, getattr(run.splits, name)) for name in ("train", "test")}
    if as_json:
        show({"run": str(out_folder), "accuracy": parts, "cost": run.cost.to_dict()})
    else:
        shown = ", ".join(f"{name} accuracy {value:.3f}" for name, value in parts.items())
        out().print(f"{out_folder}: {chosen.name}, {shown}, {run.cost.seconds:.1f} s")
        out().print(f"next: expunge forget {out_folder} --rows class:3:50 --method scrub -o UNLEARNED", markup=False)
    return 0
