"""`expunge demo`: the whole story on scikit-learn's digits, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from expunge.bench.bench import run_suite
from expunge.bench.suite import load_suite
from expunge.cli.output import Json, err, progress
from expunge.cli.results import free, present
from expunge.fleet import Local
from expunge.store import Store
from expunge.training.recipes import recipe


def demo(
    *,
    out_folder: Annotated[Path, Parameter(name=["--out", "-o"])] = Path("expunge-demo"),
    store: Path | None = None,
    processes: int | None = None,
    as_json: Json = False,
) -> int:
    """Train originals and gold models on digits, forget part of one class by every kind of method, and compare.

    Args:
        out_folder: Where the result is kept; the report lies beside it.
        store: Folder of finished models; by default EXPUNGE_STORE, or .expunge here.
        processes: Worker processes; by default one per core.
        as_json: The result as plain data instead of a table.
    """
    free(out_folder)
    suite = load_suite("demo")
    methods = len(suite.entries)
    err().print(
        f"{suite.originals} originals learn the digits; {suite.gold + suite.originals} gold models learn them "
        f"without the forget rows ({suite.forget[0]});\n{methods} methods make every original forget those rows. "
        f"How far from gold are they?"
    )
    with Local(processes) as executor, progress() as bar:
        for result in run_suite(
            suite, recipe(suite.recipe), store=Store(store), command="expunge demo", executor=executor, progress=bar
        ):
            present(result, out_folder, as_json)
    return 0
