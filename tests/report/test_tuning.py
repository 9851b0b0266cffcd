"""The page of a benchmark of tuning: one file, every number of it there, nothing from outside obeyed."""

import json

import plotly.graph_objects as go
import pytest

from expunge.errors import ConfigError, StoreError
from expunge.report import page, render, write_page
from expunge.report.tuning_figures import pair
from expunge.report.tuning_tables import regret_table
from tests.report.parsed import Page
from tests.report.tuning_fixture import GOLDS, METHODS, SETTINGS, TWINS, make_tuning

HOSTILE = "</script><img src=x onerror=alert(1)><b>%{y}"
OPTIONAL = ["title", "command", "seconds", "versions", "machine", "studies", "size", "limits", "units"]


@pytest.fixture(scope="module")
def whole():
    return Page(render(make_tuning()))


def test_every_element_is_closed_and_nothing_is_loaded(whole):
    assert whole.open == []
    assert len(whole.values("id")) == len(set(whole.values("id")))
    assert not {"link", "img", "iframe", "object", "embed"} & set(whole.tags)
    assert whole.values("src") == []
    assert all(value.startswith("#") for value in whole.values("href"))
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    assert policy in whole.values("content")


def test_sections_stand_in_order(whole):
    order = ["expected", "regret", "order", "settings", "controls", "more", "glossary", "limits", "again"]
    assert [name for name in whole.values("id") if name in order] == order


def test_a_panel_for_each_twin_data_set_and_kind_of_forget_set(whole):
    assert set(whole.figures) == {f"twin-{twin}-{panel}" for twin in range(2) for panel in range(3)}
    for spec in whole.figures.values():
        assert go.Figure({"data": spec["data"], "layout": spec["layout"]}).data
        assert spec["layout"]["xaxis"]["type"] == spec["layout"]["yaxis"]["type"] == "log"
    assert whole.text.count("fashion-mnist@2000, class") >= len(TWINS)


def test_points_are_every_setting_and_the_choices(whole):
    result = make_tuning()
    cells = [one for one in result["cells"] if (one["data"], one["kind"]) == ("digits", "class")]
    traces = {trace.get("meta"): trace for trace in whole.figures["twin-0-0"]["data"]}
    assert set(traces) == {None, *METHODS, "twin's choice", "gold's choice", "default"}
    assert len(traces["ssd"]["x"]) == SETTINGS * len(cells) // len(METHODS), '"no change" is a line, not a point'
    assert len(traces["default"]["x"]) == len(cells)
    assert len(traces["gold's choice"]["x"]) == 2 * len(cells)
    for at, one in enumerate(cells):
        (place,) = one["places"]["twin finetune"]
        runs = one["ways"]["twin finetune"]["value"]
        assert traces["twin's choice"]["x"][at] == pytest.approx(sum(run[place] for run in runs) / 2, rel=1e-3)
        assert traces["twin's choice"]["y"][at] == pytest.approx(sum(one["true"][place]) / GOLDS, rel=1e-3)


def test_null_and_doing_nothing_are_lines(whole):
    layout = whole.figures["twin-1-0"]["layout"]
    assert [note["text"] for note in layout["annotations"]] == ["null: gold against gold 0.32", "no change 1.40"]
    assert layout["shapes"][0]["y0"] == pytest.approx(0.32)


def test_every_figure_says_what_it_shows(whole):
    plots = [value for tag, name, value in whole.attributes if tag == "div" and name == "aria-label"]
    told = [value for value in plots if "J on the twin" in value]
    assert len(told) == len(whole.figures)
    assert all("Median true distance of twin's choice" in value for value in told)


def test_buttons_hide_what_is_drawn(whole):
    drawn = {trace.get("meta") for spec in whole.figures.values() for trace in spec["data"]} - {None}
    assert set(whole.values("data-entry")) == drawn


def test_regrets_stand_in_the_table(whole):
    table = regret_table(make_tuning())
    assert table.head == ("chosen by", "everything", "digits, class", "digits, random", "fashion-mnist@2000, class")
    assert set(table.lines) >= {"twin finetune", "matching unseen rows", "staying close", "gold (upper bound)"}
    assert "twin finetune, one twin" not in table.lines
    assert table.lines["informative cells"] == ["9 of 12"] * 4
    for name, cells in table.lines.items():
        for column, cell in enumerate(cells):
            small = table.small(name, column)
            assert " ".join(page.minus(text) for text in (cell, small) if text) in whole.text
    assert "the default" not in regret_table(make_tuning(), "pooled").lines


def test_order_signs_twins_and_controls_in_words(whole):
    for text in ("0.71 −0.24 0.83 0.67 0.71", "9 of 11", "0.033", "4 of 5", "0.61 0.37 7 5 of 8"):
        assert text in whole.text
    assert "overlap of 0.75" in whole.text, "6 of 8 settings"
    assert "✕ does not hold" in whole.text
    assert "✓ as it must be shuffled objective rank correlation 0.01" in whole.text
    assert "not decided ratio rule broken" in whole.text


def test_what_reproduces_it_stands_on_the_page(whole):
    assert "python -m benchmarks tuning --out tuning.json" in whole.text
    assert "2.13.0" in whole.text


def test_hostile_texts_are_only_shown():
    result = make_tuning()
    result["title"] = result["command"] = result["limits"][0] = HOSTILE
    for one in result["cells"]:
        one["method"] = one["forget"] = HOSTILE
        one["data"] = HOSTILE
    result["summary"]["groups"][1]["data"] = HOSTILE
    result["summary"]["controls"][0]["detail"] = result["summary"]["expected"][0]["way"] = HOSTILE
    result["studies"][0]["forgets"] = [HOSTILE]
    result["summary"]["groups"][0]["cells"]["sign"]["twin fresh"]["rival"] = HOSTILE
    text = render(result)
    parsed = Page(text)
    assert "<img" not in text.replace(page._plotly(), "")
    assert "img" not in parsed.tags
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert parsed.open == []
    assert parsed.text.count(HOSTILE) > 5
    line = next(trace for trace in parsed.figures["twin-0-0"]["data"] if trace.get("meta") == HOSTILE)
    assert line["name"].startswith("&lt;/script&gt;&lt;img")
    assert line["text"][0].startswith("&lt;/script&gt;&lt;img")


@pytest.mark.parametrize("absent", OPTIONAL)
def test_optional_parts_may_be_absent_or_null(absent):
    result = make_tuning()
    result[absent] = None
    assert Page(render(result)).open == []
    del result[absent]
    assert Page(render(result)).open == []


def test_diverged_settings_are_counted_and_not_drawn():
    result = make_tuning()
    result["cells"][0]["true"][3] = [None] * GOLDS
    result["cells"][0]["ways"]["twin fresh"]["value"][1][4] = None
    result["cells"][0]["places"]["twin fresh"] = [4]
    parsed = Page(render(result))
    assert "2 settings diverged on the twin or on the true problem" in parsed.text
    counts = [len(parsed.figures[f"twin-{twin}-0"]["data"][1]["x"]) for twin in range(2)]
    assert counts == [2 * SETTINGS - 1, 2 * SETTINGS - 2]
    assert pair(result["cells"][0], "twin fresh", 4) is None


def test_the_least_result_and_numbers_that_are_none():
    result = make_tuning()
    least = {key: result[key] for key in ("schema", "kind", "twins", "ways")}
    least["cells"] = [{"data": "d", "kind": "class", "method": "m", "ways": {"twin fresh": {}}, "true": [[1.0], [2.0]]}]
    least["summary"] = {"groups": [{"data": None, "kind": None, "cells": {"ways": {"twin fresh": {"regret": None}}}}]}
    text = render(least)
    assert Page(text).open == []
    assert "None" not in Page(text).text.split()
    assert len(text) < 100_000  # nothing to draw: no plotly


def test_newer_schema_is_refused():
    with pytest.raises(StoreError, match="schema 1 or older, got 2"):
        render(make_tuning() | {"schema": 2})


@pytest.mark.parametrize("part", ["twins", "ways", "cells", "summary"])
def test_missing_part_is_named(part):
    result = make_tuning()
    del result[part]
    with pytest.raises(ConfigError, match=part):
        render(result)


def test_lists_that_do_not_fit():
    result = make_tuning()
    result["cells"][2]["ways"]["close"]["value"][0].pop()
    with pytest.raises(ConfigError, match="cell 2: 9 candidates, 8 values of close"):
        render(result)
    result = make_tuning()
    result["cells"][1]["places"]["close"] = [9]
    with pytest.raises(ConfigError, match=r"cell 1: close takes \[9\] of 9 candidates"):
        render(result)
    result = make_tuning()
    result["cells"][1]["method"] = ""
    with pytest.raises(ConfigError, match=r"cell 1: .* method missing"):
        render(result)


def test_page_is_written_and_the_input_left_as_it_was(tmp_path):
    result = make_tuning()
    copy = json.dumps(result)
    assert write_page(result, tmp_path / "tuning.html").stat().st_size > 1_000_000
    assert json.dumps(result) == copy
