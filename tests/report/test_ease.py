"""The table of easy and hard forget rows, by hand."""

from expunge.report.details import blocks, ease_block

RESULT = {
    "schema": 1,
    "kind": "method",
    "verdict": {"state": "measured"},
    "entries": [{"name": "original"}, {"name": "twin", "label": "twin, share matched"}, {"name": "gold"}],
    "ease": {
        "golds": 12,
        "rows": {"easy": 1088, "hard": 12},
        "values": {
            "method_distance": {"original": {"easy": 3.125, "hard": 9.5}, "gold": {"easy": 0.25, "hard": 0.5}},
            "disagreement": {"twin": {"easy": 0.0125, "hard": None}},
        },
    },
}


def test_a_line_an_entry_under_each_kind_of_row():
    block = ease_block(RESULT)
    assert block.note == "1,088 easy: right in at least half of 12 gold models; target: gold's value"
    assert block.columns == ["Method distance", "Disagreement"]
    lines = {kind: {line.label: line.cells for line in part} for kind, part in block.groups.items()}
    assert lines["easy"] == {
        "original": ["3.12", "-"],
        "twin, share matched": ["-", "0.013"],
        "gold": ["0.25", "-"],
    }
    assert lines["hard"] == {"original": ["9.50", "-"], "gold": ["0.50", "-"]}, "who has no value has no line"


def test_without_such_rows_there_is_no_table():
    assert ease_block({"entries": RESULT["entries"]}).groups == {}
    assert "Easy and hard forget rows" not in [block.title for block in blocks({**RESULT, "ease": None})]
    assert "Easy and hard forget rows" in [block.title for block in blocks(RESULT)]


def test_rows_of_one_kind_alone():
    ease = {"golds": 3, "rows": {"easy": 0, "hard": 10}, "values": {"row_z": {"gold": {"easy": None, "hard": 1.0}}}}
    assert list(ease_block({**RESULT, "ease": ease}).groups) == ["hard"]
