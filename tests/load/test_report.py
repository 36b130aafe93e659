"""The report: one self-contained file with all results, which no text in them can break."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plotly.offline import get_plotlyjs

from akapulu_async import SessionState
from akapulu_async.load.report import MOST_ROWS, page, write_report
from akapulu_async.load.results import Latencies
from tests.support.made_loads import made_result

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\"'`$title ${x}\\u003c"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """A parsed page.

    Attributes:
        elements: The name and attributes of all elements, in order.
        texts: The text of each element with that of its descendants, in the same order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[int] = []
        self.feed(html)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(len(self.elements))
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag, f"{tag} closes another element"

    def handle_data(self, data: str) -> None:
        for number in self._open:
            self.texts[number] += data

    def all(self, tag: str, **wanted: str) -> list[str]:
        """Return the texts of all matching elements."""
        pairs = zip(self.elements, self.texts, strict=True)
        return [
            text
            for (name, attributes), text in pairs
            if name == tag and all(attributes.get(key) == value for key, value in wanted.items())
        ]

    def table(self, caption: str) -> list[list[str]]:
        """Return the cells of the table whose caption starts with a text, row by row."""
        rows: list[list[str]] = []
        inside = False
        for (name, _), text in zip(self.elements, self.texts, strict=True):
            if name in {"table", "caption"}:
                inside = name == "caption" and text.startswith(caption)
            elif inside and name == "tr":
                rows.append([])
            elif inside and name in {"th", "td"}:
                rows[-1].append(text)
        assert rows, f"there is no table {caption}"
        return rows

    @property
    def figures(self) -> dict[str, Any]:
        """The data of the charts."""
        (text,) = self.all("script", type="application/json")
        figures: dict[str, Any] = json.loads(text)
        return figures

    @property
    def skeleton(self) -> list[tuple[str, list[str]]]:
        """The elements without their texts."""
        return [(name, sorted(attributes)) for name, attributes in self.elements]


def seconds(*values: float) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


def strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@pytest.fixture(scope="module")
def usual() -> Page:
    return Page(page(made_result(500, warnings=("One.", "Two."))))


def test_written(tmp_path: Path) -> None:
    """The file contains the page, and replaces an older one."""
    path = tmp_path / "report.html"
    path.write_text("old")
    result = made_result(20, title="Zwölf Gespräche: 十二")
    write_report(result, path)
    assert path.read_bytes().decode() == page(result)
    assert "<title>Load test: Zwölf Gespräche: 十二</title>" in path.read_text(encoding="utf-8")


def test_no_such_folder(tmp_path: Path) -> None:
    """A file that cannot be written raises OSError."""
    with pytest.raises(FileNotFoundError):
        write_report(made_result(1), tmp_path / "missing" / "report.html")


def test_lone_surrogates(tmp_path: Path) -> None:
    """A file name that is not valid text is shown escaped."""
    write_report(made_result(1, settings={"file": "caf\udce9.json"}), tmp_path / "report.html")
    shown = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert shown.table("Settings of this test")[1] == ["file", "caf\\udce9.json"]


def test_loads_nothing(usual: Page) -> None:
    """Nothing in the page makes a browser send a request, and its policy forbids requests."""
    loading = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href", "style"}
    for name, attributes in usual.elements:
        assert name not in {"link", "img", "iframe", "object", "embed", "base", "form", "video", "audio"}
        assert not loading & attributes.keys()
        assert not [attribute for attribute in attributes if attribute.startswith("on")]
    assert not re.search(r"@import|url\(", "".join(usual.all("style")))
    (policy,) = (
        attributes["content"]
        for _, attributes in usual.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    directives = dict(directive.split(" ", 1) for directive in (policy or "").split("; "))
    assert directives.keys() == {"default-src", "script-src", "style-src", "img-src"}
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "data: blob:"
    assert "http" not in (policy or "")


def test_only_its_own_scripts_run(usual: Page) -> None:
    """The policy allows only the charting library and the page's script, by their hashes."""
    scripts = [
        text
        for (name, attributes), text in zip(usual.elements, usual.texts, strict=True)
        if name == "script" and "type" not in attributes
    ]
    assert len(scripts) == 2
    assert scripts[0] == get_plotlyjs()
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    (policy,) = (attributes["content"] for _, attributes in usual.elements if "http-equiv" in attributes)
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in (policy or "")


def test_accessible(usual: Page) -> None:
    """The page has a language, nested headings and table headers, and each chart has a name and a caption."""
    assert usual.elements[0] == ("html", {"lang": "en"})
    assert [name for name, _ in usual.elements if name == "h1"] == ["h1"]
    levels = [int(name[1]) for name, _ in usual.elements if re.fullmatch("h[1-6]", name)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attributes["scope"] in {"col", "row"} for name, attributes in usual.elements if name == "th")
    named = {
        attributes["id"]: text
        for (_, attributes), text in zip(usual.elements, usual.texts, strict=True)
        if "id" in attributes
    }
    assert len(named) == sum("id" in attributes for _, attributes in usual.elements)
    charts = [attributes for _, attributes in usual.elements if attributes.get("role") == "img"]
    assert {chart["id"] for chart in charts} == usual.figures.keys()
    for chart in charts:
        assert named[chart["aria-labelledby"]]
        assert named[chart["aria-describedby"]].endswith(".")


def test_charts(usual: Page) -> None:
    """There is a chart of each aspect of a load test."""
    assert list(usual.figures) == [
        "ready-distribution",
        "ready-over-time",
        "connect-distribution",
        "connect-over-time",
        "sessions",
        "loop-lag",
        "failures-by-cause",
        "failures-over-time",
    ]


def test_axes_have_titles(usual: Page) -> None:
    """Each visible axis has a title, and times have a unit."""
    for name, figure in usual.figures.items():
        axes = [axis for key, axis in figure["layout"].items() if re.match("[xy]axis", key)]
        assert len(axes) >= 2
        for axis in axes:
            title = axis["title"]["text"]
            assert title or axis["visible"] is False, name
            if "time to" in title or "latency" in title or "since" in title:
                assert re.search(r"\b(ms|s|min|h)\b", title), name


def test_colours(usual: Page) -> None:
    """All colours of charts are defined in both schemes of the page, and a state has the same colour everywhere."""
    (style,) = usual.all("style")
    used = {text for text in strings(usual.figures) if text.startswith(("var(", "#", "rgb"))}
    assert {f"var(--{state.value.replace('_', '-')})" for state in SessionState if state != "ended"} <= used
    for colour in used:
        assert len(re.findall(rf"{re.escape(colour[4:-1])}: #", style)) == 2, colour
    areas = {trace["name"]: trace["fillcolor"] for trace in usual.figures["sessions"]["data"]}
    assert areas["bot_ready"] == usual.figures["ready-distribution"]["data"][0]["marker"]["color"]
    assert areas["bot_ready"] == usual.figures["ready-over-time"]["data"][0]["marker"]["color"]
    assert areas["connecting"] == usual.figures["connect-distribution"]["data"][0]["marker"]["color"]


def test_summary() -> None:
    """The summary has the counts of attempts, ready and failed, and a table of quantiles."""
    result = attrs.evolve(made_result(400), ready=seconds(1.5), connect=seconds(0.25), loop_lag=seconds(0.002))
    shown = Page(page(result))
    ready, failed = sum(attempt.ready is not None for attempt in result.attempts), sum(result.failures.values())
    assert shown.all("dd") == ["400", str(ready), str(failed)]
    assert shown.all("dt") == ["attempts", f"ready, {ready / 4:.1f} %", f"failed, {failed / 4:.1f} %"]
    assert shown.table("Latencies count")[0] == ["", "Time to ready", "Connect latency", "Event-loop lag"]
    assert shown.table("Latencies count")[1:] == [
        ["count", "1", "1", "1"],
        *([name, "1.5 s", "250 ms", "2 ms"] for name in ("p50", "p90", "p95", "p99", "max")),
    ]


def test_quantiles_are_those_of_the_result() -> None:
    """Each row of the table is the quantile of its name."""
    result = attrs.evolve(made_result(1), ready=seconds(*(number / 100 for number in range(100, 1100))))
    column = [row[1] for row in Page(page(result)).table("Latencies count")]
    assert column == ["Time to ready", "1,000", "5.99 s", "9.99 s", "10.5 s", "10.9 s", "11 s"]


def test_header_and_settings(usual: Page) -> None:
    """The page has the title, the start, the duration and the settings."""
    assert usual.all("h1") == ["500 conversations"]
    assert usual.all("header")[0].strip().endswith("Started 2026-03-10 18:10:02 UTC, took 2 min 23 s.")
    assert usual.table("Settings of this test")[1:] == [list(item) for item in made_result(1).settings.items()]
    (footer,) = usual.all("footer")
    assert "Latencies count from the time a conversation was due" in footer
    assert "HDR histograms" in footer


def test_interrupted() -> None:
    """The header of an interrupted test says so."""
    assert Page(page(made_result(5, interrupted=True))).all("header")[0].strip().endswith("; interrupted.")


def test_warnings(usual: Page) -> None:
    """Warnings come before all figures; without warnings there is no such section."""
    assert usual.all("li") == ["One.", "Two."]
    order = [attributes.get("aria-labelledby") for name, attributes in usual.elements if name == "section"]
    assert order[:2] == ["warnings-heading", "figures-heading"]
    unwarned = Page(page(made_result(5)))
    assert unwarned.all("section", **{"class": "warnings"}) == []
    assert unwarned.all("li") == []


def test_load_generator() -> None:
    """The load generator's own figures are shown if they are known."""
    known = Page(page(made_result(5, arrival_lag=seconds(0.004), resolution=0.5, cpu_share=0.42)))
    (section,) = known.all("section", **{"aria-labelledby": "figures-heading"})
    assert known.table("Latencies count")[0][-1] == "Arrival lag"
    assert [row[-1] for row in known.table("Latencies count")[1:]] == ["1", *["4 ms"] * 5]
    assert "up to 500 ms late, half of that on average. The load generator used 42 % of a core." in section
    (section,) = Page(page(made_result(5))).all("section", **{"aria-labelledby": "figures-heading"})
    assert "Polling" not in section
    assert "of a core" not in section


def test_failures_table() -> None:
    """Failures are in a table by cause, most frequent first; the last row sums up the rest of very many."""
    few = Page(page(made_result(10, failures={"ready_timeout": 1, "ServerError 503": 3})))
    assert few.table("Failed attempts")[1:] == [["ServerError 503", "3", "75.0 %"], ["ready_timeout", "1", "25.0 %"]]
    many = Page(page(made_result(10, failures={f"cause {number}": 2 for number in range(MOST_ROWS + 50)})))
    rows = many.table("Failed attempts")[1:]
    assert len(rows) == MOST_ROWS + 1
    assert rows[-1][:2] == ["50 other causes", "100"]


def test_hostile_names(usual: Page) -> None:
    """Texts from outside stay text: they add no element and no script."""
    result = made_result(
        500,
        title=HOSTILE,
        warnings=(HOSTILE, "Two."),
        settings={HOSTILE: HOSTILE, "a": "b", "c": "d"},
        failures={HOSTILE: 20},
    )
    shown = Page(page(result))
    assert shown.all("h1") == [HOSTILE]
    assert shown.all("title") == [f"Load test: {HOSTILE}"]
    assert shown.all("li") == [HOSTILE, "Two."]
    assert shown.table("Failed attempts")[1] == [HOSTILE, "20", "100 %"]
    assert shown.table("Settings of this test")[1] == [HOSTILE, HOSTILE]
    assert len(shown.all("script")) == len(usual.all("script"))
    assert {name for name, _ in shown.elements} == {name for name, _ in usual.elements}


@pytest.mark.slow
@settings(max_examples=5)
@given(st.text(), st.text(), st.text(min_size=1))
def test_any_names(title: str, setting: str, cause: str) -> None:
    """Any text is shown unchanged, and does not change the structure of the page."""
    without = page(made_result(3, title="t", settings={"s": "v"}, failures={"c": 1}))
    with_names = page(made_result(3, title=title, settings={"s": setting}, failures={cause: 1}))
    library = get_plotlyjs()  # slow to parse, and covered by another test
    shown, plain = Page(with_names.replace(library, "")), Page(without.replace(library, ""))
    assert shown.skeleton == plain.skeleton
    assert shown.all("h1") == [title]
    assert shown.table("Settings of this test")[1] == ["s", setting]
    assert shown.table("Failed attempts")[1][0] == cause


@pytest.mark.parametrize(
    ("count", "ready", "charts"),
    [
        pytest.param(0, 1.0, {"sessions", "loop-lag"}, id="none"),
        pytest.param(20, -1.0, {"sessions", "loop-lag", "failures-by-cause", "failures-over-time"}, id="none ready"),
        pytest.param(
            1,
            1.0,
            {
                "ready-distribution",
                "ready-over-time",
                "connect-distribution",
                "connect-over-time",
                "sessions",
                "loop-lag",
            },
            id="one",
        ),
    ],
)
def test_small_tests(count: int, ready: float, charts: set[str]) -> None:
    """Every test has a report; charts without data have captions only."""
    shown = Page(page(made_result(count, ready=ready)))
    assert shown.figures.keys() == charts
    assert len(shown.all("figcaption")) == 8
    assert all(len(text) > 10 for text in shown.all("figcaption"))


def test_unsampled() -> None:
    """A report needs neither samples nor latencies."""
    shown = Page(page(made_result(0, samples=(), loop_lag=Latencies())))
    assert shown.figures == {}
    assert shown.table("Latencies count")[1:] == [
        ["count", "0", "0", "0"],
        *([name, "-", "-", "-"] for name in ("p50", "p90", "p95", "p99", "max")),
    ]


def test_large_test(tmp_path: Path) -> None:
    """The file of twenty thousand attempts is hardly larger than that of two thousand, and counts all of them."""
    large, small = tmp_path / "large.html", tmp_path / "small.html"
    write_report(made_result(2_000), small)
    write_report(made_result(20_000), large)
    library = len(get_plotlyjs().encode())
    assert large.stat().st_size - library < 400_000
    assert large.stat().st_size - library < 2 * (small.stat().st_size - library)
    assert Page(large.read_text(encoding="utf-8")).all("dd")[0] == "20,000"
