"""The report: one self-contained file with all results, which no text in them can break."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from random import Random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akapulu_async import SessionState
from akapulu_async.load.comparison import Earlier
from akapulu_async.load.metrics import judge, parse
from akapulu_async.load.report import MOST_ROWS, page, write_report
from akapulu_async.load.results import Latencies
from tests.support.made_loads import made_result, result_of
from tests.support.measured import attempt

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
    def charts(self) -> list[str]:
        """The ids of the drawings."""
        return [attributes["id"] or "" for _, attributes in self.elements if attributes.get("role") == "img"]

    @property
    def skeleton(self) -> list[tuple[str, list[str]]]:
        """The elements without their texts."""
        return [(name, sorted(attributes)) for name, attributes in self.elements]


def seconds(*values: float) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    return latencies


@pytest.fixture(scope="module")
def usual() -> Page:
    return Page(page(made_result(500, warnings=("One.", "Two."))))


def test_written(tmp_path: Path) -> None:
    """The file contains the page, and replaces an older one."""
    path = tmp_path / "report.html"
    path.write_text("old")
    result = made_result(20, title="Zwölf Gespräche: 十二")
    write_report(result, (), None, path)
    assert path.read_bytes().decode() == page(result)
    assert "<title>Load test: Zwölf Gespräche: 十二</title>" in path.read_text(encoding="utf-8")


def test_no_such_folder(tmp_path: Path) -> None:
    """A file that cannot be written raises OSError."""
    with pytest.raises(FileNotFoundError):
        write_report(made_result(1), (), None, tmp_path / "missing" / "report.html")


def test_lone_surrogates(tmp_path: Path) -> None:
    """A file name that is not valid text is shown escaped."""
    write_report(made_result(1, settings={"file": "caf\udce9.json"}), (), None, tmp_path / "report.html")
    shown = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert shown.table("Settings")[1] == ["file", "caf\\udce9.json"]


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
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert usual.all("script") == []


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
    for chart in (attributes for _, attributes in usual.elements if attributes.get("role") == "img"):
        assert named[chart["aria-labelledby"] or ""]
        assert named[chart["aria-describedby"] or ""].endswith(".")


def test_charts(usual: Page) -> None:
    """There is a chart of each aspect of a load test."""
    assert usual.charts == [
        "ready-distribution",
        "ready-over-time",
        "connect-distribution",
        "connect-over-time",
        "rate",
        "polls",
        "sessions",
        "loop-lag",
        "failures-over-time",
    ]


def test_colours(usual: Page) -> None:
    """All colours of charts are defined in both schemes of the page."""
    (style,) = usual.all("style")
    used = {
        name
        for _, attributes in usual.elements
        for name in (attributes.get("class") or "").split()
        if name.startswith("c-")
    }
    assert {f"c-{state.value.replace('_', '-')}" for state in SessionState if state != "ended"} <= used
    for colour in used:
        assert f".{colour} {{ --colour: var(--{colour[2:]}); }}" in style
        assert len(re.findall(rf"--{colour[2:]}: #", style)) == 2, colour


def test_the_verdict_comes_first() -> None:
    """The page opens with PASS or FAIL and each threshold; without thresholds it says that there were none."""
    result = made_result(200)
    kept, crossed = judge(parse("seconds>3600"), result), judge(parse("failures>0"), result)
    for verdicts, heading in (((kept,), "PASS"), ((kept, crossed), "FAIL")):
        shown = Page(page(result, verdicts))
        assert shown.all("h2")[0] == heading
        assert shown.all("li")[: len(verdicts)] == [str(each) for each in verdicts]
        (section,) = shown.all("section", **{"class": f"verdict {heading.lower()}"})
        assert section
    stopped = Page(page(attrs.evolve(result, interrupted=True), (kept,)))
    assert stopped.all("h2")[0] == "PASS, but the test was interrupted"
    shown = Page(page(result))
    assert shown.all("h2")[0] == "Results"
    assert "No thresholds were set" in shown.all("main")[0]


def test_a_simulator_is_said_to_be_one(usual: Page) -> None:
    """A banner says that it was a simulator, and how fast it ran; there is none otherwise."""
    (banner,) = Page(page(made_result(5, simulator_speed=6.0))).all("p", **{"class": "banner"})
    assert banner == "A simulator at 6 times real speed; the figures say nothing about Akapulu."
    assert usual.all("p", **{"class": "banner"}) == []


def test_the_comparison(usual: Page) -> None:
    """An earlier test is laid beside this one, figure by figure; without one there is no such section."""
    result = attrs.evolve(made_result(5), ready=seconds(3.0))
    shown = Page(page(result, (), Earlier("5 conversations, 2026-03-01", {"ready_p50": 2.0, "retries": "?"})))
    rows = {row[0]: row[1:] for row in shown.table("Earlier: 5 conversations, 2026-03-01")}
    assert rows["figure"] == ["earlier", "now", "change"]
    assert rows["ready_p50"] == ["2 s", "3 s", "+50 %"]
    assert rows["retries"] == ["-", "0", ""]
    assert not any("Compared" in heading for heading in usual.all("h2"))


def test_summary() -> None:
    """The summary has the counts of attempts, ready and failed, the p95 and the mean, and a table of quantiles."""
    result = attrs.evolve(
        made_result(400, failures={"failed": 20}),
        ready=seconds(*[1.5] * 380),
        connect=seconds(0.25),
        loop_lag=seconds(0.002),
    )
    shown = Page(page(result))
    assert shown.all("dd") == ["400", "380", "20", "1.5 s", "1.5 s"]
    assert shown.all("dt") == [
        "conversations",
        "ready, 95.0 %",
        "failed, 5.0 %",
        "time to ready, p95",
        "time to ready, mean",
    ]
    assert shown.table("Latencies count") == [
        ["", "Time to ready", "Connect latency", "Event-loop lag"],
        ["count", "380", "1", "1"],
        *([name, "1.5 s", "250 ms", "2 ms"] for name in ("mean", "p50", "p90", "p95", "p99", "max")),
    ]
    assert "covers only the 380 of 400 conversations that became ready" in shown.all("main")[0]


def test_calls() -> None:
    """Polls, failed polls by status and retries are counted."""
    shown = Page(page(made_result(5, polls=1234, retries=2, poll_errors={"timeout": 1, "503": 30})))
    assert shown.table("Calls to the service")[2:] == [
        ["polls", "1,234"],
        ["failed polls", "31"],
        ["calls sent again", "2"],
    ]
    assert shown.table("Failed polls by status")[1:] == [["503", "30", "96.8 %"], ["timeout", "1", "3.2 %"]]


def test_quantiles_are_those_of_the_result() -> None:
    """Each row of the table is the quantile of its name."""
    result = attrs.evolve(made_result(1), ready=seconds(*(number / 100 for number in range(100, 1100))))
    column = [row[1] for row in Page(page(result)).table("Latencies count")]
    assert column == ["Time to ready", "1,000", "6 s", "5.99 s", "9.99 s", "10.5 s", "10.9 s", "11 s"]


def test_header_and_settings(usual: Page) -> None:
    """The page has the title, the start, the duration and the settings."""
    assert usual.all("h1") == ["500 conversations"]
    assert usual.all("header")[0].strip().endswith("Started 2026-03-10 18:10:02 UTC, took 2 min 23 s.")
    assert usual.table("Settings")[1:] == [list(item) for item in made_result(1).settings.items()]
    (footer,) = usual.all("footer")
    assert "Latencies count from the time a conversation was due" in footer
    assert "HDR histograms" in footer


def test_interrupted() -> None:
    """The header of an interrupted test says so, and interrupted conversations are counted apart."""
    shown = Page(page(result_of([attempt(0), attempt(1, ready=None)], Random(1), interrupted=True)))
    assert shown.all("header")[0].strip().endswith("; interrupted.")
    assert dict(zip(shown.all("dt"), shown.all("dd"), strict=True))["interrupted"] == "1"


def test_warnings(usual: Page) -> None:
    """Warnings come before all figures; without warnings there is no such section."""
    assert usual.all("li") == ["One.", "Two."]
    order = [attributes.get("aria-labelledby") for name, attributes in usual.elements if name == "section"]
    assert order[:2] == ["warnings-heading", "results-heading"]
    unwarned = Page(page(made_result(5)))
    assert unwarned.all("section", **{"class": "warnings"}) == []
    assert unwarned.all("li") == []


def test_load_generator() -> None:
    """The load generator's own figures are shown if they are known."""
    known = Page(page(made_result(5, arrival_lag=seconds(0.004), resolution=0.5, cpu_share=0.42)))
    (section,) = known.all("section", **{"aria-labelledby": "results-heading"})
    assert known.table("Latencies count")[0][-1] == "Arrival lag"
    assert [row[-1] for row in known.table("Latencies count")[1:]] == ["1", *["4 ms"] * 6]
    assert "up to 500 ms late, half of that on average. The load generator used 42 % of a core." in section
    (section,) = Page(page(made_result(5))).all("section", **{"aria-labelledby": "results-heading"})
    assert "Polling" not in section
    assert "of a core" not in section


def test_failures_table() -> None:
    """Failures are in a table by cause, most frequent first; the last row sums up the rest of very many."""
    few = Page(page(made_result(10, failures={"ready_timeout": 1, "ServerError 503": 3})))
    assert few.table("Failed conversations")[1:] == [
        ["ServerError 503", "3", "75.0 %"],
        ["ready_timeout", "1", "25.0 %"],
    ]
    many = Page(page(made_result(10, failures={f"cause {number}": 2 for number in range(MOST_ROWS + 50)})))
    rows = many.table("Failed conversations")[1:]
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
    assert shown.all("title")[0] == f"Load test: {HOSTILE}"
    assert shown.all("li") == [HOSTILE, "Two."]
    assert shown.table("Failed conversations")[1] == [HOSTILE, "20", "100 %"]
    assert shown.table("Settings")[1] == [HOSTILE, HOSTILE]
    assert {name for name, _ in shown.elements} == {name for name, _ in usual.elements}


@pytest.mark.slow
@settings(max_examples=5)
@given(st.text(), st.text(), st.text(min_size=1))
def test_any_names(title: str, setting: str, cause: str) -> None:
    """Any text is shown unchanged, and does not change the structure of the page."""
    without = page(made_result(3, title="t", settings={"s": "v"}, failures={"c": 1}))
    with_names = page(made_result(3, title=title, settings={"s": setting}, failures={cause: 1}))
    shown, plain = Page(with_names), Page(without)
    assert shown.skeleton == plain.skeleton
    assert shown.all("h1") == [title]
    assert shown.table("Settings")[1] == ["s", setting]
    assert shown.table("Failed conversations")[1][0] == cause


@pytest.mark.parametrize(
    ("count", "ready", "missing"),
    [
        pytest.param(0, 1.0, {"ready", "connect", "rate", "polls", "failures"}, id="none"),
        pytest.param(20, -1.0, {"ready", "connect", "rate"}, id="none ready"),
        pytest.param(1, 1.0, {"failures"}, id="one"),
    ],
)
def test_small_tests(count: int, ready: float, missing: set[str]) -> None:
    """Every test has a report; charts without data have captions only."""
    shown = Page(page(made_result(count, ready=ready)))
    assert {name.partition("-")[0] for name in shown.charts} | {"waiting"} == {
        "ready",
        "connect",
        "rate",
        "polls",
        "sessions",
        "loop",
        "failures",
        "waiting",
    } - missing
    assert len(shown.all("figcaption")) >= 8
    assert all(len(text) > 10 for text in shown.all("figcaption"))
    assert ("No conversation and no poll failed." in shown.all("main")[0]) == ("failures" in missing)


def test_unsampled() -> None:
    """A report needs neither samples nor latencies."""
    shown = Page(page(made_result(0, samples=(), loop_lag=Latencies())))
    assert shown.charts == []
    assert shown.table("Latencies count")[1:] == [
        ["count", "0", "0", "0"],
        *([name, "-", "-", "-"] for name in ("mean", "p50", "p90", "p95", "p99", "max")),
    ]


def test_large_test(tmp_path: Path) -> None:
    """The file of twenty thousand attempts is hardly larger than that of two thousand, and counts all of them."""
    large, small = tmp_path / "large.html", tmp_path / "small.html"
    write_report(made_result(2_000), (), None, small)
    write_report(made_result(20_000), (), None, large)
    assert large.stat().st_size < 1_000_000
    assert large.stat().st_size < 2 * small.stat().st_size
    assert Page(large.read_text(encoding="utf-8")).all("dd")[0] == "20,000"
