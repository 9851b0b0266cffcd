"""The page and the terminal table of a GAN audit: every number and picture there, nothing from outside obeyed."""

import io
import json
import math

import plotly.graph_objects as go
import pytest
from rich.console import Console

from expunge.errors import ConfigError, StoreError
from expunge.report import page, print_table, render, write_page
from expunge.report.gan_result import checked_gan
from expunge.report.gan_table import lines, outside
from tests.report.gan_fixture import ENTRIES, GOLDS, LATENTS, STEPS, make_gan
from tests.report.parsed import Page

HOSTILE = "</script><img src=x onerror=alert(1)><b>%{y}"
NEEDED = ("schema", "kind", "verdict", "measures", "entries")
OPTIONAL = [name for name in make_gan() if name not in NEEDED]
SECTION = {  # part of the result -> section that is drawn from it alone
    "grids": "grids",
    "swaps": "swaps",
    "timeline": "timeline",
    "curve": "curve",
    "statements": "statements",
    "limits": "limits",
}


@pytest.fixture(scope="module")
def whole():
    return Page(render(make_gan()))


def printed(result, width):
    out = io.StringIO()
    print_table(result, Console(file=out, width=width))
    return out.getvalue()


def measure(result, name):
    return next(one for one in result["measures"] if one["name"] == name)


def test_every_element_is_closed_and_nothing_is_loaded(whole):
    assert whole.open == []
    assert len(whole.values("id")) == len(set(whole.values("id")))
    assert not {"link", "iframe", "object", "embed"} & set(whole.tags)
    assert all(source.startswith("data:image/png;base64,") for source in whole.values("src"))
    assert all(value.startswith("#") for value in whole.values("href"))
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    assert policy in whole.values("content")
    assert "url(" not in next(script for script in whole.scripts if "--paper" in script)


def test_sections_stand_in_order(whole):
    order = ["verdict", "statements", "table", "grids", "swaps", "timeline", "curve", "cost", "settings", "glossary"]
    order += ["limits", "again"]
    assert [name for name in whole.values("id") if name in order] == order
    assert set(whole.values("aria-labelledby")) >= set(order)


def test_head_says_what_was_tested(whole):
    for fact in (
        "recipe mnist-cdcgan data mnist@10000 forget class:3, seed 0 what goes whole classes: 3",
        "rows 1,032 forget, 8,968 retain, 2,500 unseen, 8,990 test",
        f"gold models {GOLDS} pictures drawn by each pair 2,048",
        "features of distances mnist-cnn, last hidden layer, 64 numbers",
    ):
        assert fact in whole.text


@pytest.mark.parametrize(
    ("state", "word"),
    [("pass", "Pass"), ("fail", "Fail"), ("inconclusive", "Inconclusive"), ("measured", "Measured")],
)
def test_every_verdict_is_said_in_words(state, word):
    result = make_gan()
    result["verdict"]["state"] = state
    parsed = Page(render(result))
    assert f"Forgetting the threes of mnist-cdcgan: {word}" in parsed.text
    assert ("The verdict is about substitution ; the others" in parsed.text) == (state != "measured")


def test_reasons_controls_and_statements(whole):
    assert "Frechet distance 3.912, one more gold would lie in 2.790 to 3.410" in whole.text
    assert "✓ holds held-out gold is accepted 8 of 8" in whole.text
    assert "not decided a control that could not be run" in whole.text
    assert "✕ does not hold Frechet distance: 1.26 of gold's (at most 1.15)" in whole.text


def test_a_line_a_measure_with_every_number(whole):
    row = "discriminator attack judged AUC; target: gold's value 0.810 outside 0.520 0.504 to 0.536 0.530 0.310 outside"
    assert f"{row} 0.550 0.468 to 0.572 0.010" in whole.text
    for line in lines(checked_gan(make_gan())):
        for text in [*(part for cell in line.cells for part in (cell.value, cell.aside)), line.interval, line.null]:
            assert page.minus(text) in whole.text
    heads = (
        "measure original start gold target substitution gradient ascent retrain, a tenth baseline one more gold null"
    )
    assert heads in whole.text


def test_where_original_and_gold_do_not_differ_it_is_said(whole):
    assert "reconstruction attack judged AUC; target: gold's value nothing to forget 0.512" in whole.text
    assert "not above gold original like gold 3.050" in whole.text, "a quality is judged all the same"
    found = {line.title: (line.judged, line.standing) for line in lines(checked_gan(make_gan()))}
    assert found["reconstruction attack"] == (True, "nothing to forget")
    assert found["Frechet distance"] == (True, "judged, original like gold")
    assert found["share of the class"] == (True, "judged")
    assert found["recall"] == (False, "")


def test_what_lies_outside_follows_the_verdict():
    one = {"name": "m", "interval": [0.4, 0.6]}
    sides = {better: [outside(one | {"better": better}, value) for value in (0.3, 0.5, 0.7)] for better in BETTER}
    assert sides == BETTER
    assert not outside(one, None)
    assert not outside({"name": "m", "interval": None}, 0.3)
    assert outside({"name": "m", "interval": [None, 0.2]}, 0.3)


BETTER = {"gold": [True, False, True], "low": [False, False, True], "high": [True, False, False]}


def test_the_original_is_not_marked_where_there_is_nothing_to_forget():
    result = make_gan()
    measure(result, "reconstruction_auc")["original"] = 0.57
    line = lines(checked_gan(result))[1]
    assert [cell.outside for cell in line.cells] == [False] * 5
    measure(result, "reconstruction_auc")["power"] = True
    assert lines(checked_gan(result))[1].cells[0].outside


def test_grids_stand_side_by_side_in_one_order(whole):
    result = make_gan()
    told = [value for tag, name, value in whole.attributes if name == "aria-label" and "pictures drawn by" in value]
    names = ["original", "gold", *ENTRIES.values()]
    assert told == [f"{LATENTS} pictures drawn by {name}" for name in names]
    sources = whole.values("src")
    for at, grid in enumerate(result["grids"]):
        assert sources[at * LATENTS : (at + 1) * LATENTS] == grid["pictures"]
    result["grids"].reverse()
    assert Page(render(result)).values("src")[:LATENTS] == sources[:LATENTS], "original first, whatever the order"
    assert "image-rendering: pixelated" in next(script for script in whole.scripts if ".drawing" in script)


def test_substituted_pictures_stand_below_each_other(whole):
    swaps = make_gan()["swaps"]
    sources = whole.values("src")[-3 * len(swaps) :]
    assert sources == [swap[key] for key in ("before", "wanted", "after") for swap in swaps]
    told = [value for value in whole.values("alt") if value]
    assert told[0] == "before, latent 1"
    assert told[-1] == f"after, latent {len(swaps)}"


def test_measures_over_time_are_small_multiples_with_a_band(whole):
    result = make_gan()
    figures = {key: spec for key, spec in whole.figures.items() if key.startswith("timeline")}
    assert len(figures) == len(result["timeline"]["measures"])
    for spec, (name, values) in zip(figures.values(), result["timeline"]["measures"].items(), strict=True):
        own = measure(result, name)
        assert go.Figure({"data": spec["data"], "layout": spec["layout"]}).data
        assert spec["data"][0]["x"] == result["timeline"]["steps"]
        assert spec["data"][0]["y"] == values
        band, gold, original = spec["layout"]["shapes"]
        assert [band["y0"], band["y1"]] == own["interval"]
        assert gold["y0"] == pytest.approx(sum(own["gold"]) / GOLDS)
        assert original["y0"] == own["original"]
    assert "What substitution came to" in whole.text
    assert any("discriminator attack over the steps of substitution: from 0.810 to 0.5" in t for t in labels(whole))


def labels(parsed):
    return [value for tag, name, value in parsed.attributes if tag == "div" and name == "aria-label"]


def test_a_wide_interval_does_not_flatten_what_was_measured():
    result = make_gan()
    measure(result, "class_share")["interval"] = [-40.0, 40.0]
    low, high = Page(render(result)).figures["timeline-1"]["layout"]["yaxis"]["range"]
    assert -0.2 < low < 0 < 0.1 < high < 0.3


def test_quality_against_cost_on_a_log_axis(whole):
    result = make_gan()
    figures = [spec for key, spec in whole.figures.items() if key.startswith("curve")]
    assert len(figures) == 3, "four measures are there, three are drawn"
    for spec in figures:
        assert go.Figure({"data": spec["data"], "layout": spec["layout"]}).data
        assert spec["layout"]["xaxis"]["type"] == "log"
        assert [trace["meta"] for trace in spec["data"]] == ["substitute", "retrain"]
        assert spec["data"][0]["x"] == [0.01, 0.03, 0.1, 0.3]
    frechet = measure(result, "frechet")
    assert figures[1]["layout"]["annotations"][0]["text"] == "gold 3.100"
    assert figures[1]["layout"]["shapes"][1]["y0"] == pytest.approx(sum(frechet["gold"]) / GOLDS)
    assert set(whole.values("data-entry")) == {"substitute", "retrain"}
    assert any("substitution: 3.600 at 1.0%" in text for text in labels(whole))


def test_points_that_cost_nothing_have_no_place_on_a_log_axis():
    result = make_gan()
    result["curve"] = [
        {"name": "substitute", "visits_share": cost, "values": {"frechet": 3.0}} for cost in (0, None, 0.1, 0.05)
    ]
    figures = Page(render(result)).figures
    assert figures["curve-0"]["data"][0]["x"] == [0.05, 0.1]
    result["curve"] = result["curve"][:2]
    assert "curve-0" not in Page(render(result)).figures


def test_cost_by_net_beside_gold(whole):
    heads = (
        "pair generator visits discriminator visits visits together share of one gold seconds gold's seconds / its own"
    )
    assert heads in whole.text
    assert "substitution 8,520 12,780 21,300 5.3% 4.20 14.6" in whole.text
    assert "gold target – – 400,000 100% 61.5 1.00" in whole.text


def test_settings_words_and_how_to_run_it_again(whole):
    assert "substitution steps 300, lr 0.0002, substitute nearest latents found 412" in whole.text
    for one in make_gan()["measures"]:
        assert f"{one['title']} {one['meaning']}" in whole.text
    assert "expunge audit gan-unlearned --gold 8 seed 7 expunge 0.1.0 torch 2.13.0" in whole.text
    assert "no other attack was tried" in whole.text


def test_headings_of_tables_have_a_scope(whole):
    headings = [tag for tag in whole.tags if tag == "th"]
    assert len(headings) == len([1 for tag, name, _ in whole.attributes if tag == "th" and name == "scope"])
    tables = [tag for tag in whole.tags if tag == "table"]
    assert len(tables) == whole.values("class").count("scroll")


def test_no_promises_and_no_arrows(whole):
    words = whole.text.lower()
    assert not [word for word in ("compliant", "erased", "proven", "↑", "↓") if word in words]


@pytest.mark.parametrize("absent", OPTIONAL)
def test_optional_parts_may_be_absent_or_null(absent):
    result = make_gan()
    result[absent] = None
    parsed = Page(render(result))
    assert parsed.open == []
    assert "None" not in parsed.text.split()
    assert SECTION.get(absent) not in parsed.values("id")
    del result[absent]
    assert Page(render(result)).open == []
    assert "recall" in printed(result, 200)


@pytest.mark.parametrize("key", [key for key in make_gan()["measures"][0] if key != "name"])
def test_a_measure_needs_its_name_alone(key):
    result = make_gan()
    for one in result["measures"]:
        one[key] = None
    parsed = Page(render(result))
    assert parsed.open == []
    assert "None" not in parsed.text.split()
    assert "original" in printed(result, 200)


@pytest.mark.parametrize("key", [key for key in make_gan()["entries"][0] if key != "name"])
def test_an_entry_needs_its_name_alone(key):
    result = make_gan()
    for one in result["entries"]:
        one[key] = None
    parsed = Page(render(result))
    assert parsed.open == []
    assert "None" not in parsed.text.split()
    del result["entries"][0][key]
    assert Page(render(result)).open == []


def test_the_least_result_is_a_page_without_figures():
    least = {"schema": 1, "kind": "gan", "verdict": {"state": "measured"}, "measures": [], "entries": []}
    text = render(least)
    parsed = Page(text)
    assert parsed.open == []
    assert [name for name in parsed.values("id")] == ["verdict", "glossary", "again"]
    assert len(text) < 60_000, "nothing to draw: no plotly"
    assert "measure" in printed(least, 80)


def test_numbers_that_are_none_are_a_dash():
    result = make_gan()
    one = measure(result, "class_share")
    one["original"], one["interval"], one["null"] = math.nan, [math.nan, math.inf], math.nan
    one["gold"], one["values"]["ascent"] = [math.nan] * GOLDS, -math.inf
    for cost in (result["entries"][0]["cost"], result["gold_cost"]):
        cost.update(dict.fromkeys(set(cost) - {"by_net"}, math.nan))
    result["timeline"]["measures"]["class_share"] = [math.nan] * STEPS
    parsed = Page(render(result))
    assert "nan" not in parsed.text.lower().split()
    assert "share of the class judged share; target: gold's value – – 0.0022 – 0.0021 – –" in parsed.text
    assert "substitution 8,520 12,780 – – – –" in parsed.text
    assert set(parsed.figures) == {"timeline-0", "timeline-2", "curve-0", "curve-1", "curve-2"}
    text = printed(result, 200)
    assert "nan" not in text
    assert next(line for line in text.splitlines() if "share of the class" in line).split()[4:] == [
        *("-", "-", "0.0022", "-", "0.0021", "-", "judged")
    ]


def test_hostile_texts_are_only_shown():
    result = make_gan()
    result["title"] = result["command"] = result["features"] = result["limits"][0] = HOSTILE
    result["problem"] |= {"recipe": HOSTILE, "classes": [HOSTILE], "mode": HOSTILE}
    result["verdict"]["reasons"] = [HOSTILE]
    result["verdict"]["controls"][0] |= {"name": HOSTILE, "detail": HOSTILE}
    result["statements"][0]["text"] = HOSTILE
    for one in result["measures"]:
        one["title"] = one["unit"] = one["meaning"] = one["better"] = HOSTILE
    for one in result["entries"]:
        one |= {"label": HOSTILE, "role": HOSTILE, "settings": {HOSTILE: HOSTILE}, "notes": {HOSTILE: HOSTILE}}
        one["cost"]["by_net"] = {HOSTILE: 1}
    result["curve"][0]["name"] = HOSTILE
    result["curve"][0]["values"] = {HOSTILE: 1.0}
    result["versions"] = result["machine"] = {HOSTILE: HOSTILE}
    result["timeline"]["measures"] = {HOSTILE: [1.0] * STEPS}
    text = render(result)
    parsed = Page(text)
    assert "<img src=x" not in text.replace(page._plotly(), "")
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert parsed.open == []
    assert parsed.text.count(HOSTILE) > 20
    trace = parsed.figures["timeline-0"]["data"][0]
    assert trace["name"].startswith("&lt;/script&gt;&lt;img")
    assert "<img" not in json.dumps(parsed.figures)


def test_terminal_commands_in_names_are_not_kept():
    result = make_gan()
    result["title"] = result["measures"][0]["title"] = result["entries"][0]["label"] = "a\x1b[2Jb"
    assert "\x1b" not in printed(result, 200)


def test_newer_schema_and_missing_parts_are_refused():
    with pytest.raises(StoreError, match="schema 1 or older, got 2"):
        render(make_gan() | {"schema": 2})
    for name in ("verdict", "measures", "entries"):
        result = make_gan()
        del result[name]
        with pytest.raises(ConfigError, match=f"{name} missing"):
            render(result)
        with pytest.raises(ConfigError, match=f"{name} missing"):
            printed(result, 100)
    with pytest.raises(ConfigError, match=r"verdict: expected one of pass, .*, got 'sure'"):
        render(make_gan() | {"verdict": {"state": "sure"}})


def test_names_that_are_no_entry_are_refused():
    result = make_gan()
    result["measures"][0]["values"]["other"] = 0.5
    with pytest.raises(ConfigError, match="discriminator_auc has a value of other, which is no entry"):
        render(result)
    result = make_gan()
    result["grids"][0]["name"] = "other"
    with pytest.raises(
        ConfigError, match="grids: other is no entry; expected substitute, ascent, short, original, gold"
    ):
        render(result)
    result = make_gan()
    result["timeline"]["entry"] = "other"
    with pytest.raises(ConfigError, match="timeline: other is no entry"):
        render(result)
    for part in ("measures", "entries", "grids"):
        result = make_gan()
        result[part][0]["name"] = ""
        with pytest.raises(ConfigError, match=f"{part}: one has no name"):
            render(result)


def test_lists_that_do_not_fit_are_refused():
    result = make_gan()
    result["timeline"]["measures"]["frechet"].pop()
    with pytest.raises(ConfigError, match="timeline: 13 steps, 12 values of frechet"):
        render(result)
    result = make_gan()
    result["measures"][0]["interval"] = [0.5]
    with pytest.raises(ConfigError, match="discriminator_auc: expected least and most as interval, got 1 numbers"):
        render(result)


@pytest.mark.parametrize(
    "picture",
    ["https://elsewhere/x.png", "data:image/svg+xml;base64,AAAA", 'data:image/png;base64,AA" onload="x', "", None, 7],
)
@pytest.mark.parametrize("where", ["grids", "swaps"])
def test_a_picture_that_is_none_is_refused(picture, where):
    result = make_gan()
    if where == "grids":
        result["grids"][0]["pictures"][1] = picture
    else:
        result["swaps"][0]["after"] = picture
    with pytest.raises(ConfigError, match="pictures: expected data:image/png;base64"):
        render(result)


def test_a_wide_terminal_has_one_line_a_measure():
    text = printed(make_gan(), 170)
    row = "discriminator attack 0.810* 0.520 (0.504 to 0.536) 0.530 0.310* 0.550 0.468 to 0.572 judged"
    assert row in [" ".join(line.split()) for line in text.splitlines()]
    assert text.splitlines()[0].startswith("Forgetting the threes of mnist-cdcgan")
    for standing in ("nothing to forget", "judged, original like gold"):
        assert text.count(standing) == 1
    assert "*: outside of it" in text


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_no_number_is_cut_on_a_narrow_terminal(width):
    text = printed(make_gan(), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    words = text.split()
    for line in lines(checked_gan(make_gan())):
        for cell in line.cells:
            assert cell.value + "*" * cell.outside in words
    assert "nothing" in words


def test_input_is_left_as_it_was_and_the_file_is_the_page(tmp_path):
    result = make_gan()
    copy = json.dumps(result)
    assert write_page(result, tmp_path / "page.html").read_text(encoding="utf-8") == render(result)
    printed(result, 100)
    assert json.dumps(result) == copy
