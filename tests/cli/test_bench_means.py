"""`expunge bench` on several forget sets: where results go, and the tables over all of them."""

import pytest

from expunge.bench.suite import parse_suite
from expunge.cli import run
from expunge.cli.bench import _place, _present_means
from tests.bench.problem import METHODS, fixed_choice, suite_text
from tests.bench.test_summary import apart, result


def test_of_several_results_each_is_named_by_its_text(tmp_path):
    suite = parse_suite("mine", suite_text(tmp_path, forget='["class:3:4", "class:3:6"]'))
    assert _place(tmp_path / "out", suite, suite.forget[0]).name == "out-class-3-4"
    alone = parse_suite("mine", suite_text(tmp_path))
    assert _place(tmp_path / "out", alone, alone.forget[0]).name == "out"


def test_of_several_draws_each_is_named_by_its_seed(tmp_path):
    suite = parse_suite("mine", f"draws = 2\n{suite_text(tmp_path)}")
    assert [_place(tmp_path / "out", suite, one).name for one in suite.forget] == [
        "out-class-3-10-seed-0",
        "out-class-3-10-seed-1",
    ]


def test_means_say_over_what_they_were_taken(capsys):
    _present_means(10, [result(0.6, 0.7), result(0.6, 0.5), result(0.6, 0.6, "class:4:10")])
    text = capsys.readouterr().out
    assert "10 forget rows, means over 2 forget sets, 3 draws, with standard errors:" in text
    assert "AUROC" not in text, "nothing was foretold"
    assert next(line for line in text.splitlines() if line.startswith("SCRUB")).split()[1:4] == ["0.600", "±", "0.000"]


def test_easy_and_hard_rows_have_a_table_of_their_own(capsys):
    _present_means(10, [apart(0.7, 0.5, None, "class:3:10"), apart(0.8, 0.7, 4.0, "class:4:10")])
    first, second = capsys.readouterr().out.split("forget rows that at least half of gold get right (easy)")
    assert "10 forget rows, means over 2 forget sets, with standard errors:" in first
    lines = {line.split("  ")[0]: line for line in second.splitlines()}
    assert "0.750 ± 0.050" in lines["SCRUB"]
    assert lines["SCRUB"].rstrip().endswith("4.000"), "a single set has hard rows: a mean without an error"
    assert lines["ORIGINAL"].split()[1] == "-"
    assert max(map(len, second.splitlines())) <= 160


@pytest.mark.slow
def test_two_sizes_in_two_draws(tmp_path, monkeypatch, capsys):
    text = "draws = 2\n" + suite_text(tmp_path, methods=METHODS, forget='["class:3:4", "class:3:6"]')
    (tmp_path / "mine.toml").write_text(text)
    fixed_choice(tmp_path / "store", parse_suite("mine", text).recipe, stacked=True)
    monkeypatch.chdir(tmp_path)
    assert run(["bench", "mine.toml", "--processes", "1", "--store", "store"]) == 0
    found = sorted(path.name for path in tmp_path.glob("bench-mine-*") if path.is_dir())
    assert found == [f"bench-mine-class-3-{size}-seed-{seed}" for size in (4, 6) for seed in (0, 1)]
    shown = capsys.readouterr().out
    for size in (4, 6):
        assert f"{size} forget rows, means over 1 forget sets, 2 draws, with standard errors:" in shown
