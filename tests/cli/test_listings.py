"""The listing of measures: complete, readable on a terminal of 120 columns, and the same in the documentation."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from docs.generate import measures_page, measures_table
from expunge.audit import MEASURES
from expunge.audit.registry import MODES
from expunge.cli import run
from expunge.cli.listings import COST, measure_cells


def terminal(arguments, columns):
    """Lines that a command writes on a terminal of that width."""
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1", "TERM": "xterm", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "expunge", *arguments]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as shown:
        os.close(slave)
        words = b""
        while part := _read(master):
            words += part
    os.close(master)
    assert shown.returncode == 0
    return words.decode().splitlines()


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end was closed
        return b""


def columns_of(lines):
    """Name -> text of every column of a table; a cell may go on in the lines below."""
    starts = [found.start() for found in re.finditer(r"(?<=  )\S|^\S", lines[0])]
    cells, name = {}, ""
    for line in lines[1:]:
        parts = [line[at:to].strip() for at, to in zip(starts, [*starts[1:], None], strict=True)]
        name = parts[0] or name
        cells[name] = [f"{a} {b}".strip() for a, b in zip(cells.get(name, [""] * len(starts)), parts, strict=True)]
    return cells


def test_the_table_fits_a_terminal_of_120_columns():
    lines = terminal(["measures"], 120)
    assert max(len(line.rstrip()) for line in lines) <= 120
    end = lines.index(next(line for line in lines if not line.strip()))
    assert " ".join(" ".join(lines[end:]).split()) == COST
    assert re.split(r"  +", lines[0].strip()) == ["measure", "mode", "models (advised)", "cost", "null", "what"]
    shown = columns_of(lines[:end])
    assert list(shown) == list(MEASURES)
    for name, measure in MEASURES.items():
        assert shown[name] == [cell.replace("\n", " ") for cell in measure_cells(measure)]
    assert len(lines) < 5 * len(MEASURES)


def test_cells_of_a_measure():
    assert measure_cells(MEASURES["klom"]) == [
        "klom",
        "method",
        "2 (100) unlearned\n4 (100) gold",
        "100 c + 100 u",
        "P95 0.69 at 100 + 100, 0.28 at 200 + 200",
        "KL divergence of the rows' margins from gold's, by histograms over models.",
    ]
    assert measure_cells(MEASURES["model_audit"])[2] == "1 unlearned\n4 (64) gold\n1 original"


def test_the_list_as_data(capsys):
    assert run(["measures", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["measure"] for one in listed] == list(MEASURES)
    for one in listed:
        assert list(one) == ["measure", "mode", "least", "advised", "cost", "null", "what"]
        measure = MEASURES[one["measure"]]
        assert (one["least"], one["advised"]) == (dict(measure.least), dict(measure.advised))
        assert all(one[key] for key in ("cost", "null", "what"))
        assert one["mode"] in MODES


@pytest.mark.parametrize("name", MEASURES)
def test_a_page_begins_with_what_it_takes(name, capsys):
    measure = MEASURES[name]
    assert run(["measures", name]) == 0
    words = capsys.readouterr().out
    head, rest = words.split(f"\n\n{COST}\n\n")
    first, mode, models, cost, null = head.splitlines()
    assert first == name
    assert mode == f"mode:   {measure.mode}, {MODES[measure.mode]}"
    assert models.startswith("models: " + ", ".join(f"{number} {role}" for role, number in measure.advised.items()))
    assert all(f"{number} {role}" in models for role, number in measure.least.items())
    assert (cost, null) == (f"cost:   {measure.cost}", f"null:   {measure.null}")
    assert rest == measure.page + "\n"
    assert run(["measures", name, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["name"], data["page"], data["null"]) == (name, measure.page, measure.null)


def test_a_page_tells_models_that_may_be_absent(capsys):
    run(["measures", "epsilon"])
    said = "models: 128 unlearned, 128 gold advised; at least 16 unlearned, 16 gold; if any, 16 original, 16 heldout"
    assert said in capsys.readouterr().out.splitlines()


def test_the_documentation_has_the_same_table():
    heading, rule, *lines = measures_table().splitlines()
    assert heading.count("|") == rule.count("|") == 7
    assert len(lines) == len(MEASURES)
    for line, (name, measure) in zip(lines, MEASURES.items(), strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        assert cells[0] == f"[`{name}`](#{name})"
        assert cells[1:] == [cell.replace("\n", ", ") for cell in measure_cells(measure)[1:]]
    assert f"# Measures\n\n{measures_table()}\n\n{COST}\n\n## klom\n" in measures_page()
