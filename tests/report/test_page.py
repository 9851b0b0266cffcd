"""The page: one file, no network, nothing from outside obeyed, and every number of the table on it."""

import json

import plotly.graph_objects as go
import pytest

from expunge.errors import ConfigError, StoreError
from expunge.report import page, render, rows, write_page
from tests.report.fixture import make_result
from tests.report.parsed import Page

HOSTILE = "</script><img src=x onerror=alert(1)><b>%{y}"
OPTIONAL = ["title", "command", "versions", "machine", "seed", "problem", "models", "retraining", "statements"]
OPTIONAL += ["densities", "per_row", "power", "roc", "epsilon", "strata", "limits"]


@pytest.fixture(scope="module")
def whole():
    return Page(render(make_result()))


@pytest.mark.parametrize("kind", ["method", "model"])
def test_every_element_is_closed(kind):
    parsed = Page(render(make_result(kind)))
    assert parsed.open == []
    assert len(parsed.values("id")) == len(set(parsed.values("id")))


def test_nothing_is_loaded(whole):
    assert not {"link", "img", "iframe", "object", "embed"} & set(whole.tags)
    assert whole.values("src") == []
    assert all(value.startswith("#") for value in whole.values("href"))
    css = next(script for script in whole.scripts if "--paper" in script)
    assert "url(" not in css
    assert "@import" not in css


def test_content_policy_forbids_the_network(whole):
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    assert policy in whole.values("content")


def test_every_entry_and_every_number_appears(whole):
    for row in rows(make_result()):
        texts = [text for cell in row.cells for text in (cell.value, cell.aside) if text]
        assert row.label in whole.text
        assert " ".join(page.minus(text) for text in texts) in whole.text


def test_sections_stand_in_order(whole):
    order = [
        "verdict",
        "power",
        "statements",
        "table",
        "densities",
        "cost",
        "roc",
        "rows",
        "epsilon",
        "strata",
        "measures",
        "glossary",
        "limits",
        "again",
    ]
    assert [name for name in whole.values("id") if name in order] == order


@pytest.mark.parametrize(("state", "word"), [("pass", "Pass"), ("fail", "Fail"), ("inconclusive", "Inconclusive")])
def test_verdict_is_said_in_words(state, word):
    result = make_result("model")
    result["verdict"] = {
        "state": state,
        "controls": [{"name": "power", "holds": False, "detail": "too few models"}],
    }
    parsed = Page(render(result))
    assert word in parsed.text
    assert "does not hold" in parsed.text
    assert "too few models" in parsed.text


def test_no_promises_and_no_arrows(whole):
    words = whole.text.lower()
    assert not [word for word in ("compliant", "erased", "proven", "↑", "↓") if word in words]


def test_hostile_texts_are_only_shown():
    result = make_result()
    result["title"] = result["command"] = result["limits"][0] = HOSTILE
    result["entries"][1]["label"] = result["problem"]["recipe"] = HOSTILE
    result["entries"][1]["settings"] = {HOSTILE: HOSTILE}
    result["per_row"]["forget"]["ids"] = [HOSTILE] * 80
    text = render(result)
    parsed = Page(text)
    assert "<img" not in text.replace(page._plotly(), "")
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert "img" not in parsed.tags
    assert parsed.open == []
    assert parsed.values("data-entry")
    shown = parsed.figures["rows-forget"]["data"][1]["text"][0]
    assert shown.startswith("row &lt;/script&gt;&lt;img")  # plotly decodes entities and obeys no tag of it


def test_hostile_entry_name_reaches_buttons_and_lines_alike():
    result = make_result("model")
    old = result["entries"][1]["name"]
    result["entries"][1]["name"] = HOSTILE
    for values in (result["per_row"]["forget"]["values"], result["densities"]["forget"]["density"]):
        values[HOSTILE] = values.pop(old)
    parsed = Page(render(result))
    assert HOSTILE in parsed.values("data-entry")
    assert HOSTILE in [line.get("meta") for line in parsed.figures["rows-forget"]["data"]]


def test_terminal_commands_in_names_are_not_kept():
    result = make_result()
    result["entries"][1]["label"] = "a\x1b[2Jb"
    assert "\x1b" not in render(result)


@pytest.mark.parametrize("kind", ["method", "model"])
def test_figures_are_valid_plotly(kind):
    figures = Page(render(make_result(kind))).figures
    names = {f"{figure}-{split}" for figure in ("density", "rows") for split in ("forget", "retain", "test")}
    assert set(figures) == names | {"cost", "roc", "strata"} | ({"epsilon"} if kind == "method" else set())
    for spec in figures.values():
        assert go.Figure({"data": spec["data"], "layout": spec["layout"]}).data


def test_every_figure_says_what_it_shows(whole):
    plots = [value for tag, name, value in whole.attributes if tag == "div" and name == "aria-label"]
    plots = [value for value in plots if value != "Entries shown" and ". " in value]
    assert len(plots) == len(whole.figures)
    assert any("SCRUB: cost 21%, distance 1.83." in value for value in plots)


def test_headings_of_tables_have_a_scope(whole):
    headings = [tag for tag in whole.tags if tag == "th"]
    assert len(headings) == len([1 for tag, name, _ in whole.attributes if tag == "th" and name == "scope"])


def test_thousands_of_rows_are_thinned_but_the_far_ones_stay():
    result = make_result("model")
    own = result["per_row"]["retain"]
    own["ids"] = [f"row-{at}" for at in range(5000)]
    own["labels"], own["null"] = [0] * 5000, None
    own["values"] = {"unlearned": [float(at) for at in range(5000)]}
    line = Page(render(result)).figures["rows-retain"]["data"][0]
    assert len(line["x"]) <= 400
    assert line["y"][-200:] == [float(at) for at in range(4800, 5000)]
    assert line["text"][-1] == "row row-4999, label 0"


@pytest.mark.parametrize("absent", OPTIONAL)
def test_optional_parts_may_be_absent_or_null(absent):
    result = make_result("method" if absent == "epsilon" else "model")
    result[absent] = None
    assert Page(render(result)).open == []
    del result[absent]
    assert Page(render(result)).open == []


def test_hostile_texts_of_the_later_parts_are_only_shown():
    result = make_result()
    entry = result["entries"][1]
    for values in (result["roc"]["entries"], result["epsilon"]["values"], result["strata"]["values"]):
        values[HOSTILE] = values.pop(entry["name"])
    entry["name"] = entry["label"] = entry["verdict"]["reasons"][0] = HOSTILE
    result["roc"]["attack"] = result["power"]["text"][0] = result["strata"]["unit"] = HOSTILE
    result["power"]["items"][0] = dict.fromkeys(("name", "unit", "detail"), HOSTILE) | {"value": 1.0}
    result["epsilon"]["ids"] = [HOSTILE] * 80
    text = render(result)
    parsed = Page(text)
    assert "<img" not in text.replace(page._plotly(), "")
    assert "img" not in parsed.tags
    assert parsed.open == []
    assert parsed.text.count(HOSTILE) > 5
    for name in ("roc", "epsilon", "strata"):
        line = next(line for line in parsed.figures[name]["data"] if line.get("meta") == HOSTILE and "name" in line)
        assert line["name"].startswith("&lt;/script&gt;")
    assert parsed.figures["epsilon"]["data"][1]["text"][0].startswith("row &lt;/script&gt;&lt;img")


def test_verdict_of_an_entry_is_a_word_and_a_sign(whole):
    classes = [value for value in whole.values("class") if value.startswith("decided ")]
    states = [entry["verdict"]["state"] for entry in make_result()["entries"]]
    assert classes == [f"decided {state}" for state in states]
    assert "21% 0.04 inconclusive" in whole.text
    signs = whole.values("d")
    assert sum(path == page.STATES["fail"].icon for path in signs) == states.count("fail")


def test_measured_does_not_deny_the_verdicts_of_entries():
    result = make_result()
    assert "no policy was applied" not in Page(render(result)).text
    for entry in result["entries"]:
        entry["verdict"] = None
    parsed = Page(render(result))
    assert "no policy was applied" in parsed.text
    assert "decided" not in " ".join(parsed.values("class"))


def test_power_in_sentences_and_numbers(whole):
    assert "a shift of all forget rows by 0.32 gold standard deviations" in whole.text
    assert "smallest shift of a single row that is seen 0.507 gold sd of one row" in whole.text
    assert "threshold of the policy – gold's own spread" in whole.text


def test_power_of_sentences_alone_has_no_table():
    result = make_result("model")
    result["power"] = {"text": ["Nothing smaller than that."], "items": None}
    parsed = Page(render(result))
    assert "Nothing smaller than that." in parsed.text
    assert "detail" not in parsed.values("data-title")


def test_stripped_result_says_so_in_place_of_the_rows():
    result = make_result() | {"stripped": True}
    for name in ("per_row", "densities", "epsilon"):
        del result[name]
    for entry in result["entries"]:
        del entry["accuracy"]
    parsed = Page(render(result))
    assert "Rows were stripped: this page holds aggregates only." in parsed.text
    assert set(parsed.figures) == {"cost", "roc", "strata"}
    assert "digits/forget" not in render(result)
    assert "Rows were stripped" not in Page(render(make_result())).text


def test_buttons_of_every_key_hide_what_is_drawn(whole):
    drawn = {trace.get("meta") for spec in whole.figures.values() for trace in spec["data"]} - {None}
    assert set(whole.values("data-entry")) == drawn
    assert drawn == {entry["name"] for entry in make_result()["entries"]}


def test_the_least_result():
    text = render({"schema": 1, "kind": "model", "verdict": {"state": "measured"}, "entries": [{"name": "gold"}]})
    assert "Measured" in text
    assert len(text) < 100_000  # nothing to draw: no plotly


def test_not_a_number_is_a_dash():
    result = make_result("model")
    result["entries"][1]["measures"]["klom"]["forget"] |= {
        "value": float("nan"),
        "interval": None,
        "start": None,
    }
    result["densities"]["forget"]["density"]["gold"][3] = float("inf")
    result["per_row"]["forget"]["values"]["unlearned"][5] = None
    parsed = Page(render(result))
    assert "nan" not in parsed.text.lower().split()
    assert len(parsed.figures["rows-forget"]["data"][2]["x"]) == 79


def test_newer_schema_is_refused():
    with pytest.raises(StoreError, match="schema 1 or older, got 2"):
        render(make_result() | {"schema": 2})


@pytest.mark.parametrize("part", ["schema", "kind", "verdict", "entries"])
def test_missing_part_is_named(part):
    result = make_result()
    del result[part]
    with pytest.raises(ConfigError, match=part):
        render(result)


@pytest.mark.parametrize("change", [{"kind": "gold"}, {"verdict": {"state": "ok"}}, {"entries": [{"label": "a"}]}])
def test_unknown_kind_verdict_or_nameless_entry(change):
    with pytest.raises(ConfigError):
        render(make_result() | change)


def test_lengths_that_do_not_fit():
    result = make_result()
    result["per_row"]["forget"]["ids"].pop()
    with pytest.raises(ConfigError, match="79 ids, 80 values of original"):
        render(result)
    result = make_result()
    result["densities"]["test"]["edges"].pop()
    with pytest.raises(ConfigError, match="densities test"):
        render(result)


def test_file_is_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "report.html"
    assert write_page(make_result("model"), path) == path
    before = path.read_text(encoding="utf-8")
    assert before == render(make_result("model"))

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(page.os, "replace", broken)
    with pytest.raises(StoreError, match=r"could not write .*disk full"):
        write_page(make_result(), path)
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_input_is_left_as_it_was():
    result = make_result()
    copy = json.dumps(result)
    render(result)
    assert json.dumps(result) == copy
