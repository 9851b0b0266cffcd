"""The table's cells by hand, and how a terminal shows them."""

import io

from rich.console import Console

from expunge.report import Cell, Column, columns, print_table, render, rows
from expunge.report.details import blocks
from expunge.report.labels import SIDES, Box, place
from expunge.report.marks import marks
from tests.report.fixture import make_result
from tests.report.parsed import Page


def small(**changes):
    """Original, one method and gold, on forget rows alone."""
    klom = {"value": 5.104, "interval": [4.8, 5.4], "null": 0.696, "start": 9.2}
    entries = [
        {
            "name": "original",
            "accuracy": {"forget": {"mean": 0.99}},
            "measures": {"klom": {"forget": {**klom, "value": 9.2}}},
        },
        {
            "name": "scrub",
            "label": "SCRUB",
            "accuracy": {"forget": {"mean": 0.912, "low": 0.9, "high": None}},
            "measures": {"klom": {"forget": {**klom, **changes}}},
            "cost": {"fraction": 0.1234, "seconds": 0.0213},
        },
        {"name": "gold", "accuracy": {"forget": {"mean": 0.8811}}},
    ]
    retraining = {"visits": 100.0, "seconds": 12.34}
    return {
        "schema": 1,
        "kind": "method",
        "verdict": {"state": "measured"},
        "entries": entries,
        "retraining": retraining,
    }


def texts(result, at):
    return [str(cell) for cell in rows(result)[at].cells]


def test_cells_by_hand():
    assert texts(small(), 0) == ["0.990 (+0.109)", "-", "-", "9.20", "-", "-", "-", "-"]
    assert texts(small(), 1) == ["0.912 (+0.031)", "-", "-", "5.10", "-", "-", "12%", "0.02"]


def test_gold_stands_at_its_null_and_costs_one_retraining():
    assert texts(small(), 2) == ["0.881", "-", "-", "0.70", "-", "-", "100%", "12.3"]


def test_null_and_start_stand_in_the_heading_where_shared():
    assert columns(small())[3] == Column("KLoM P95", "forget", ("null 0.70", "start 9.20"))


def test_null_that_differs_stands_in_the_cells():
    result = small(null=0.281)
    assert columns(result)[3].notes == ("start 9.20",)
    assert rows(result)[0].cells[3] == Cell("9.20", "(null 0.70)")
    assert rows(result)[1].cells[3] == Cell("5.10", "(null 0.28)")


def test_order_and_roles_are_those_given():
    assert [(row.name, row.role) for row in rows(small())] == [
        ("original", "original"),
        ("scrub", "method"),
        ("gold", "gold"),
    ]


def test_no_measure_no_columns():
    result = small()
    for entry in result["entries"]:
        entry.pop("measures", None)
    assert [column.title for column in columns(result)] == ["forget", "retain", "test", "cost", "seconds"]
    assert len(rows(result)[1].cells) == 5


def test_another_measure_leads_where_klom_is_absent():
    result = small()
    for entry in result["entries"][:2]:
        entry["measures"] = {"margin_shift": entry["measures"].pop("klom")}
    assert columns(result)[3].group == "Margin shift"


def test_verdicts_stand_at_the_right_end():
    result = small()
    result["entries"][1]["verdict"] = {"state": "fail", "reasons": ["too far"]}
    assert columns(result)[-1] == Column("", "verdict", text=True)
    assert [row.cells[-1] for row in rows(result)] == [Cell("-"), Cell("fail", state="fail"), Cell("-")]


def test_no_verdict_no_column():
    result = small()
    result["entries"][1]["verdict"] = None
    assert columns(result)[-1].title == "seconds"
    assert len(columns(result)) == len(rows(result)[1].cells)


def test_no_accuracy_no_columns():
    result = small()
    for entry in result["entries"]:
        entry["accuracy"] = None
    assert [column.title for column in columns(result)] == ["forget", "retain", "test", "cost", "seconds"]
    assert columns(result)[0].group == "KLoM P95"
    assert texts(result, 1) == ["5.10", "-", "-", "12%", "0.02"]


def printed(result, width):
    out = io.StringIO()
    print_table(result, Console(file=out, width=width))
    return out.getvalue()


def test_wide_terminal_has_one_line_per_entry():
    text = printed(make_result(), 130)
    line = next(line for line in text.splitlines() if "SCRUB" in line)
    assert line.split() == ["SCRUB", *" ".join(texts(make_result(), 5)).split()]
    assert "null 0.70" in text


def test_narrow_terminal_loses_no_number():
    result = make_result()
    text = printed(result, 80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for row in rows(result):
        assert all(cell.value in text and cell.aside in text for cell in row.cells)
        assert len(row.cells) == len(columns(result))
    assert "KLoM P95 forget: null 0.70, start 9.20" in text


def test_verdicts_of_a_wide_terminal_are_a_column():
    line = next(line for line in printed(make_result(), 130).splitlines() if "SCRUB" in line)
    assert line.split()[-1] == "inconclusive"


def test_verdicts_of_a_narrow_terminal_stand_below():
    text = printed(make_result(), 80)
    assert "verdict pass: retraining (as a method), gold (retrained)" in text
    assert "verdict inconclusive: SCRUB" in text
    assert "verdict" not in text.partition("KLoM P95 forget: null")[0]
    assert "verdict" not in printed(make_result("model"), 80)


def test_names_are_not_obeyed_by_the_terminal():
    result = small()
    result["entries"][1]["label"] = "[red]x\x1b[2J"
    text = printed(result, 130)
    assert "[red]x" in text
    assert "\x1b" not in text


def test_blocks_hold_interval_null_and_start():
    found = {block.title: block for block in blocks(small())}
    assert list(found) == ["KLoM", "Accuracy", "Cost"]
    assert found["KLoM"].columns == ["value", "95% interval", "null", "start"]
    assert found["KLoM"].groups["forget"][1].cells == ["5.10", "4.80 to 5.40", "0.70", "9.20"]
    assert found["Accuracy"].groups["forget"][1].cells == ["0.912", "-", "+0.031"]


def block_of(result, title):
    return next(block for block in blocks(result) if block.title == title)


def test_verdicts_lead_the_blocks_with_their_reasons():
    result = small()
    result["entries"][1]["verdict"] = {"state": "fail", "reasons": ["too far", "twice\x1b[2J"]}
    block = blocks(result)[0]
    assert (block.title, block.text, block.columns) == ("Verdicts", True, ["verdict", "reasons"])
    (line,) = block.groups[""]
    assert (line.label, line.cells) == ("SCRUB", ["fail", "too far\ntwice\ufffd[2J"])


def test_verdict_without_reasons():
    result = small()
    result["entries"][1]["verdict"] = {"state": "pass", "reasons": None}
    assert blocks(result)[0].groups[""][0].cells == ["pass", "-"]


def test_band_of_the_null_needs_both_ends():
    result = small(extra={"null_low": 0.61, "null_high": 0.84})
    block = block_of(result, "KLoM")
    assert block.columns == ["value", "95% interval", "null", "null band", "start"]
    assert [line.cells[3] for line in block.groups["forget"]] == ["-", "0.61 to 0.84"]
    assert "null band" not in block_of(small(extra={"null_high": 0.84}), "KLoM").columns


def test_band_is_no_companion_of_an_unknown_measure():
    result = small(extra={"null_low": 0.61, "null_high": 0.84, "odd_one": 2.5})
    for entry in result["entries"][:2]:
        entry["measures"] = {"margin_shift": entry["measures"].pop("klom")}
    assert blocks(result)[0].columns == ["value", "95% interval", "null", "null band", "start", "odd one"]


def test_measure_of_all_rows_stands_in_its_block_alone():
    result = small()
    result["entries"][1]["measures"]["tug_of_war"] = {"all": {"value": 0.25, "null": 0.01, "extra": {"tow": 0.75}}}
    block = block_of(result, "Tug of war")
    assert list(block.groups) == ["all"]
    assert block.groups["all"][0].cells == ["0.250", "-", "0.010", "-", "0.750"]
    assert block.note == "1 - ToW, distance to gold"
    assert "all" not in [column.title for column in columns(result)]
    assert "all rows" in Page(render(result)).text


def test_rows_of_another_unit_are_left_out():
    result = small(stats={"mean": 2.0, "p95": 5.1})
    attack = {"value": 0.02, "stats": {"mean": 0.7, "p95": 2.5}}
    result["entries"][1]["measures"]["population_attack"] = {"forget": attack}
    assert block_of(result, "Population attack").columns == ["value", "95% interval", "null", "start"]
    assert block_of(result, "KLoM").columns[-2:] == ["mean", "P95"]


def test_counts_have_no_decimals():
    result = small()
    result["entries"][1]["measures"]["rank_ks"] = {"forget": {"value": 0.25, "extra": {"flagged": 12.0}}}
    assert block_of(result, "Rank test, KS").groups["forget"][0].cells[-1] == "12"


def test_small_numbers_keep_two_digits():
    block = next(block for block in blocks(make_result()) if block.title == "Gaussian KL")
    assert block.groups["forget"][0].cells[2] == "0.042"


def test_unknown_measure_shows_all_its_companions():
    result = small(extra={"odd_one": 1.0})
    for entry in result["entries"][:2]:
        entry["measures"] = {"margin_shift": entry["measures"].pop("klom")}
    assert blocks(result)[0].columns[-1] == "odd one"


def test_marks_differ_without_colour():
    found = marks(make_result()).values()
    assert len({(mark.dash, mark.symbol) for mark in found}) == len(found)
    assert {mark.short for mark in found} >= {"original", "gold", "retraining"}


def test_labels_are_apart_where_there_is_room():
    boxes = [Box(100, 50, 6), Box(120, 50, 6), Box(110, 60, 6)]
    sides = place(boxes, [], 300, 120)
    found = [box.label(side) for box, side in zip(boxes, sides, strict=True)]
    for at, one in enumerate(found):
        assert sides[at] in SIDES
        for other in found[:at]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart
