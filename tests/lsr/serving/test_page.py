"""The search page in a browser: what a person types, presses and sees."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import browser as chromium
import pytest
from browser import Browser
from fastapi.testclient import TestClient
from stub_index import StubIndex

import lsr
from lsr.corpus import Document
from lsr.serving import Keys, LocalIndex, Settings, create_app
from lsr.serving.interface import Answer, EarnedTerm, Mark, Query, Result, SearchOptions

Serve = Callable[..., Any]
EVIL = '<img src=x onerror="window.hacked=1">'
DOCUMENTS = [
    Document(
        "solar",
        "Panels turn sunlight into electricity.",
        "Solar panels",
        {"year": 2020, "tags": ["sun", "it's"]},
    ),
    Document(
        "wind", "Turbines turn moving air into electricity.", "Wind turbines", {"year": 2021, "order": "a'b"}
    ),
    Document("bread", "Flour, water and patience become bread.", "Sourdough", {"year": 2022, "open": True}),
    Document(
        "emoji", "👩‍👧 \U0001f50c pay for electricity ⚡ twice: electricity", "\U0001f50c electricity bill"
    ),
    Document(
        f"evil{EVIL}",
        f"<script>window.hacked=2</script> {EVIL} hackers & electricity",
        EVIL,
        {"tags": [EVIL]},
    ),
    Document(
        "long" + "g" * 400, "hackers " + "x" * 3_000 + " y" * 3_000, "hackers " + "t" * 900, {"n": "v" * 900}
    ),
]

needs_browser = pytest.mark.skipif(
    chromium.CHROMIUM is None or chromium.DRIVER is None, reason="chromium and chromedriver are not installed"
)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with chromium.browser() as window:
        yield window


@pytest.fixture
def page(window: Browser, serve: Serve, tmp_path: Path) -> Iterator[str]:
    """The address of a page over an index of this machine, open in the window."""
    folder = tmp_path / "notes.index"
    lsr.build_index(DOCUMENTS, folder, "bm25", durable=False)
    window.emulate(1280, 900)
    with serve(create_app({"notes": LocalIndex(folder, "notes")})) as port:
        address = f"http://127.0.0.1:{port}/"
        window.open(address)
        window.until(lambda: window.texts("#welcome b"))
        yield address
        assert window.complaints() == []
        window.open("about:blank")


def ids(window: Browser) -> list[str]:
    return window.run(
        "return [...document.querySelectorAll('.title')].map((a) => new URL(a.href).searchParams.get('id'))"
    )  # type: ignore[no-any-return]


@needs_browser
def test_results_come_while_a_query_is_typed(window: Browser, page: str) -> None:
    assert window.texts("#name, #welcome b") == ["notes", "6"]
    window.type("sol")
    assert window.until(lambda: window.texts(".nothing p")) == ["No document holds any term of this query."]
    window.type("ar")
    window.until(lambda: ids(window) == ["solar"])
    window.type(" electricity")
    window.until(lambda: len(ids(window)) == 4)
    assert ids(window)[0] == "solar"
    assert "4 of 6 documents" in window.texts("#count")[0]
    window.until(lambda: "4 of 6 documents" in window.texts("#status")[0])
    assert window.run("return location.search") == "?q=solar+electricity"
    assert window.run("return document.title") == "solar electricity · notes"
    first = "#results li.result:first-child"
    assert window.texts(f"{first} .title mark") == ["Solar"]
    assert window.texts(f"{first} .snippet mark") == ["electricity"]
    assert [text.split()[0] for text in window.texts(f"{first} .chip")] == ["solar", "electricity"]
    # One colour a term, in the text, the bar and the list of terms.
    colours = "return [...document.querySelectorAll(arguments[0])].map((e) => getComputedStyle(e).getPropertyValue('--term'))"
    solar, electricity = window.run(colours, f"{first} .piece")
    assert solar != electricity
    assert window.run(colours, f"{first} .snippet mark") == [electricity]
    assert window.run(colours, f"{first} .chip") == [solar, electricity]
    # Bars are as long as scores are of the best one.
    lengths = window.run(
        "return [...document.querySelectorAll('.bar')].map((bar) => "
        "[...bar.children].reduce((sum, piece) => sum + parseFloat(piece.style.width), 0))"
    )
    assert abs(lengths[0] - 100) < 0.1
    scores = [float(text.removeprefix("score ")) for text in window.texts(".score")]
    assert all(abs(length - 100 * s / scores[0]) < 1 for length, s in zip(lengths, scores, strict=True))
    assert window.run("return document.querySelector('.bar').getAttribute('aria-label')").startswith("Score ")


@needs_browser
def test_marks_stand_where_words_are_whatever_is_before_them(window: Browser, page: str) -> None:
    window.open(f"{page}?q=electricity+bill")
    window.until(lambda: ids(window)[:1] == ["emoji"])
    first = "#results li.result:first-child"
    assert window.texts(f"{first} .title mark") == ["electricity", "bill"]
    assert window.texts(f"{first} .snippet mark") == ["electricity", "electricity"]
    assert window.texts(f"{first} .snippet")[0].startswith("👩\u200d👧 ")


@needs_browser
def test_texts_are_never_html(window: Browser, page: str) -> None:
    window.open(f"{page}?q=hackers")
    window.until(lambda: len(ids(window)) == 2)
    assert EVIL in window.texts(".title")
    window.click(".title")
    window.until(lambda: window.texts("dialog[open] h2"))
    window.press("escape")
    window.open(f"{page}?q={EVIL}&where={EVIL}&id=evil{EVIL}&index={EVIL}")
    time.sleep(0.5)
    assert window.run("return window.hacked === undefined && !document.querySelector('img, #results script')")
    urls = window.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert urls
    assert all(url.startswith(page) for url in urls)
    # Nor would what got in do anything.
    window.run(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 4'; document.body.append(s)"
    )
    assert window.run("return window.hacked === undefined")
    window.until(lambda: any("Content Security Policy" in complaint for complaint in window.complaints()))


@needs_browser
def test_the_keyboard_reaches_everything(window: Browser, page: str) -> None:
    focused = "return document.activeElement.id || document.activeElement.className"
    window.run("document.activeElement.blur()")
    window.press("/")
    assert window.run(focused) == "query"
    window.type("electricity turn")
    window.until(lambda: len(ids(window)) == 4)
    expected = ids(window)
    window.press("down", "down")
    assert window.run("return new URL(document.activeElement.href).searchParams.get('id')") == expected[1]
    window.press("enter")
    window.until(lambda: window.texts("dialog[open] h2"))
    assert window.texts("#document-text")[0].endswith("electricity.")
    assert f"id={expected[1]}" in window.run("return location.search")
    rows = window.run(
        "return [...document.querySelectorAll('#document-terms tr')].map((row) => row.innerText)"
    )
    assert len(rows) == 3
    assert rows[-1].startswith("score")
    window.press("escape")
    window.until(lambda: not window.texts("dialog[open]"))
    window.until(lambda: "id=" not in window.run("return location.search"))
    # Back to the result that was read.
    assert window.run("return new URL(document.activeElement.href).searchParams.get('id')") == expected[1]
    window.press("up", "up")
    assert window.run(focused) == "query"
    window.press("escape")
    window.until(lambda: window.texts("#welcome b") and not ids(window))
    assert window.run("return document.getElementById('query').value") == ""


@needs_browser
def test_a_document_has_an_address(window: Browser, page: str) -> None:
    window.open(f"{page}?q=electricity&id=wind")
    window.until(lambda: window.texts("dialog[open] h2") == ["Wind turbines"])
    window.click("#close")
    window.until(lambda: not window.texts("dialog[open]"))
    window.until(lambda: window.run("return location.search") == "?q=electricity")
    window.click(".title")
    window.until(lambda: window.texts("dialog[open]"))
    window.run("history.back()")
    window.until(lambda: not window.texts("dialog[open]"))


@needs_browser
def test_fields_filter(window: Browser, page: str) -> None:
    window.open(f"{page}?q=electricity+bread")
    window.until(lambda: len(ids(window)) == 5)
    where = "return document.getElementById('where').value"

    def value(text: str) -> None:
        window.run(
            "[...document.querySelectorAll('.value')].find((b) => b.textContent === arguments[0]).click()",
            text,
        )

    value("2021")
    window.until(lambda: ids(window) == ["wind"])
    assert window.run(where) == "year = 2021"
    value("a'b")
    window.until(lambda: window.run(where) == "year = 2021 and \"order\" = 'a''b'")
    window.until(lambda: ids(window) == ["wind"])
    window.run(
        "const w = document.getElementById('where'); w.value = 'year >'; w.dispatchEvent(new Event('input'))"
    )
    window.until(lambda: "is no filter" in window.texts("#filter-problem")[0])
    assert window.run("return document.getElementById('where').getAttribute('aria-invalid')") == "true"
    window.run(
        "const w = document.getElementById('where'); w.value = 'year = 1'; w.dispatchEvent(new Event('input'))"
    )
    window.until(lambda: window.texts(".nothing button"))
    assert window.texts("#filter-problem") == [""]
    window.click(".nothing button")
    window.until(lambda: len(ids(window)) == 5)
    value("it's")
    window.until(lambda: ids(window) == ["solar"])
    assert window.run(where) == "has(tags, 'it''s')"
    window.open(f"{page}?q=bread&where=open")
    window.until(lambda: ids(window) == ["bread"])


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_and_long_texts(window: Browser, page: str, dark: bool) -> None:
    window.emulate(360, 740, mobile=True, dark=dark)
    window.open(f"{page}?q=hackers")
    window.until(lambda: len(ids(window)) == 2)
    fits = (
        "return [document.documentElement, document.querySelector('dialog')]"
        ".every((e) => e.scrollWidth <= innerWidth)"
    )
    assert window.run(fits)
    window.run("document.querySelectorAll('.title')[1].click()")
    window.until(lambda: window.texts("dialog[open]"))
    assert window.run(fits)
    background = window.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == dark
    assert len(window.picture()) > 5_000
    window.press("escape")


@needs_browser
def test_colours_are_chosen_and_kept(window: Browser, page: str) -> None:
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = window.run(colour)
    window.click("#theme")
    window.click("#theme")
    dark = window.run(colour)
    assert dark != light
    assert window.run("return document.getElementById('theme').getAttribute('aria-label')") == "Colours: dark"
    window.open(page)
    assert window.run(colour) == dark
    window.click("#theme")
    assert window.run(colour) == light


@needs_browser
def test_what_every_control_is_called(window: Browser, page: str) -> None:
    nameless = """
      return [...document.querySelectorAll('input, select, button, a')].filter((e) =>
        !(e.labels?.[0]?.textContent.trim() || e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML)
    """
    window.open(f"{page}?q=electricity")
    window.until(lambda: ids(window))
    assert window.run(nameless) == []
    assert window.run("return document.documentElement.lang") == "en"
    assert window.texts("h1") == ["notes"]


class Expanding(StubIndex):
    """Finds what the query's and the document's expansion found."""

    def search(self, queries: Any, options: SearchOptions) -> Answer:
        self.before()
        query: Query = queries[0]
        terms = [
            EarnedTerm("car", 1.0, 2.0, 2.0, True, True),
            EarnedTerm("vehicle", 1.0, 1.0, 1.0, False, True),
            EarnedTerm("##motive", 1.0, 0.5, 0.5, True, False),
        ]
        text = "A car is a vehicle."
        marks = [Mark(2, 5, "car", 2.0, False), Mark(11, 18, "vehicle", 1.0, True)]
        found = Result(
            "one", 3.5, title=query.text, snippet=text, snippet_marks=marks, title_marks=[], terms=terms
        )
        return Answer([[found] * min(options.k, 25)], 30, 0.001, 0.002, self.missing)


@needs_browser
def test_expansions_look_different(window: Browser, serve: Serve) -> None:
    window.emulate(1280, 900)
    with serve(create_app({"stub": Expanding()})) as port:
        window.open(f"http://127.0.0.1:{port}/?q=auto")
        window.until(lambda: len(window.texts(".result")) == 10)
        first = "#results li:first-child"
        assert window.texts(f"{first} mark.expansion") == ["vehicle"]
        assert window.texts(f"{first} mark:not(.expansion)") == ["car"]
        assert window.texts(f"{first} .chip.expansion b") == ["+ vehicle", "+ …motive"]
        told = window.run("return document.querySelector('.bar').getAttribute('aria-label')")
        assert "vehicle 29 % (the query was expanded with it)" in told
        assert "…motive 14 % (the document was expanded with it)" in told
        window.click("#more")
        window.until(lambda: len(window.texts(".result")) == 20)
        window.click("#more")
        window.until(lambda: len(window.texts(".result")) == 25)
        assert window.run("return document.getElementById('more').hidden")


class Pieces(StubIndex):
    """Finds the pieces of a word and the word itself, and another word's piece alone."""

    def search(self, queries: Any, options: SearchOptions) -> Answer:
        self.before()
        terms = [
            EarnedTerm("boundari*", 1.0, 2.0, 2.0, True, True, "Boundaries"),
            EarnedTerm("bound", 1.0, 1.5, 1.5, True, True, "Boundaries"),
            EarnedTerm("##r", 1.0, 0.5, 0.5, True, True, "shr"),
            EarnedTerm("zyxquorp*", 1.0, 0.25, 0.25, False, True),
        ]
        text = "Boundary of another"
        marks = [Mark(0, 8, "bound", 1.5, False), Mark(18, 19, "##r", 0.5, False)]
        found = Result(
            "one", 4.25, title="One", snippet=text, snippet_marks=marks, title_marks=[], terms=terms
        )
        return Answer([[found]], 1, 0.001, 0.002, self.missing)


@needs_browser
def test_the_terms_of_a_word_are_counted_together(window: Browser, serve: Serve) -> None:
    window.emulate(1280, 900)
    with serve(create_app({"stub": Pieces()})) as port:
        window.open(f"http://127.0.0.1:{port}/?q=Boundaries+shr")
        window.until(lambda: window.texts(".result"))
        assert window.texts(".chip") == ["boundaries 82 %", "r 12 %", "+ zyxquorp… 6 %"]
        told = window.run("return document.querySelector('.chip').title")
        assert told == "boundaries: 3.50, 82 %: boundari… 47 %, bound 35 %"
        colours = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((e) => getComputedStyle(e).getPropertyValue('--term'))"
        )
        pieces = window.run(colours, ".piece")
        assert len(set(pieces)) == 3
        assert window.run(colours, ".snippet mark") == pieces[:2]
        window.open("about:blank")


@needs_browser
def test_the_last_letters_typed_win(window: Browser, serve: Serve) -> None:
    index = Expanding(lambda: time.sleep(0.15))
    with serve(create_app({"stub": index})) as port:
        window.open(f"http://127.0.0.1:{port}/")
        window.until(lambda: window.texts("#welcome b"))
        window.type("a longer query than there are answers for")
        window.until(lambda: window.texts(".title")[:1] == ["a longer query than there are answers for"])
        time.sleep(0.4)
        assert window.texts(".title")[0] == "a longer query than there are answers for"


@needs_browser
def test_a_missing_part_a_missing_key_and_a_missing_service_are_told(window: Browser, serve: Serve) -> None:
    index = Expanding()
    index.missing = ["shard 2"]
    key = "r" * 20
    with serve(create_app({"stub": index}, Settings(keys=Keys(read=[key])))) as port:
        window.open(f"http://127.0.0.1:{port}/?q=auto")
        window.until(lambda: window.run("return document.activeElement.id") == "key")
        window.type("wrong-key-wrong-key")
        window.press("enter")
        window.until(lambda: "takes an API key" in window.texts("#notice")[0])
        window.run("document.getElementById('key').value = ''")
        window.type(key)
        window.press("enter")
        window.until(lambda: window.texts(".result"))
        assert window.run("return document.getElementById('key-form').hidden")
        window.until(lambda: "does not answer (shard 2)" in window.texts("#notice")[0])
    window.run("document.getElementById('query').focus()")
    window.type("x")
    window.until(lambda: window.texts("#notice") == ["The service does not answer; trying again."])
    assert window.texts(".result")  # What was found stays to be read.


def test_the_pages_files_and_how_they_are_told(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.head("/").status_code == 200
    for name in re.findall(r'(?:src|href)="(page/[^"]+)"', page.text):
        assert client.get(f"/{name}").status_code == 200
    for entry in (resources.files("lsr.serving") / "page").iterdir():
        content = entry.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"')]+", content))
        assert addresses <= {"http://www.w3.org/2000/svg"}, entry.name
        assert "innerHTML" not in content
    assert client.get("/page/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert client.get("/page/none.js").status_code == 404


def test_a_service_without_the_page() -> None:
    with TestClient(create_app({"stub": StubIndex()}, Settings(page=False))) as client:
        assert client.get("/").status_code == 404
        assert client.get("/v1/indexes").status_code == 200
