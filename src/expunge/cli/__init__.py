"""The command line: each command parses, calls one function and prints. Errors end here, in one place.

Exit codes: 0 done or pass, 1 audit failed, 2 usage, 3 inconclusive, 4 something needed is missing,
70 an error in expunge itself (EXPUNGE_DEBUG=1 shows where), 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback

from cyclopts import App, CycloptsError, Parameter

from expunge import __version__
from expunge.cli import attribute, audit, bench, demo, forget, listings, report, train, tune
from expunge.cli.flags import strict
from expunge.cli.output import complain
from expunge.errors import ExpungeError

app = App(
    name="expunge",
    help="Forget rows from a trained model, then measure how far it is from one that never saw them.",
    version=__version__,
    default_parameter=Parameter(converter=strict),
    suppress_keyboard_interrupt=False,  # `run` says how to go on
)
WORK = (
    demo.demo,
    train.train,
    forget.forget,
    attribute.attribute,
    audit.audit,
    bench.bench,
    tune.tune,
    report.report,
)
LISTS = (listings.methods, listings.estimators, listings.measures, listings.recipes, listings.data)
COMMANDS = tuple(command.__name__ for command in (*WORK, *LISTS))
for command in (*WORK, *LISTS):
    app.command(command)

BROKEN = 70
STOPPED = 130
AGAIN = dict.fromkeys(
    ("demo", "attribute", "audit", "bench", "tune"),
    "run the same command again: finished models are kept and it goes on from there",
) | {
    "train": "the same command starts a classifier anew, and goes on with a GAN where it was noted last",
    "forget": "nothing was kept: the same command starts anew",
}
"""Command -> how to go on where it was stopped."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command; returns its exit code and never raises for what a user did."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        complain(str(error), "`expunge --help` and `expunge COMMAND --help` say what is expected")
        return 2
    except ExpungeError as error:
        complain(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        complain("stopped", AGAIN.get(arguments[0] if arguments else "", ""))
        return STOPPED
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # whatever nobody foresaw must not leave with 1, which is a failed audit
        if os.environ.get("EXPUNGE_DEBUG") == "1":
            traceback.print_exc()
        text = " ".join(str(error).split())
        complain(
            f"internal error: {type(error).__name__}: {text}",
            "this is a fault in expunge: please report it with what EXPUNGE_DEBUG=1 and the same command print",
        )
        return BROKEN
    return code if isinstance(code, int) else 0


__all__ = ["COMMANDS", "app", "main", "run"]
