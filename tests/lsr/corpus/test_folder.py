from __future__ import annotations

import time
from pathlib import Path

import pytest

from lsr.corpus import Document, ReadOptions, ReadReport, estimate_total, read_corpus
from lsr.corpus.markup import split_headed, split_html
from lsr.errors import UserError


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "b.txt").write_text("plain text", encoding="utf-8")
    (folder / "a b.md").write_text("# A heading #\n\nbody *text*\n", encoding="utf-8")
    (folder / "deep" / "c.rst").write_text("=====\nTitle\n=====\n\nbody\n", encoding="utf-8")
    (folder / "deep" / "er" / "d.HTML").write_text("<title>T</title><p>x</p>", encoding="utf-8")
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / ".hidden.txt").write_text("secret", encoding="utf-8")
    (folder / ".git" / "e.txt").write_text("secret", encoding="utf-8")
    return folder


def test_a_folder_is_read_in_order(notes: Path) -> None:
    report = ReadReport()
    documents = list(read_corpus([notes], report=report))
    assert [(document.id, document.title, document.text.strip()) for document in documents] == [
        ("a b.md", "A heading", "body *text*"),
        ("b.txt", "b", "plain text"),
        ("deep/c.rst", "Title", "body"),
        ("deep/er/d.HTML", "T", "x"),
    ]
    assert report.passed_over == 1
    assert "1 file of other kinds passed over" in (report.summary() or "")
    assert report.fraction == 1.0
    assert estimate_total([str(notes)]) == 4


def test_a_single_file(notes: Path) -> None:
    (document,) = read_corpus([notes / "deep" / "c.rst"])
    assert (document.id, document.title) == ("c.rst", "Title")
    assert estimate_total([notes / "b.txt"]) == 1


def test_links_to_folders_are_not_followed(notes: Path) -> None:
    (notes / "loop").symlink_to(notes, target_is_directory=True)
    assert len(list(read_corpus([notes]))) == 4


def test_undecodable_files(notes: Path) -> None:
    path = notes / "b.txt"
    path.write_bytes(b"first\ncaf\xe9")
    with pytest.raises(UserError) as caught:
        list(read_corpus([notes]))
    assert str(caught.value).startswith(f"{path}:2: byte 9 (0xe9) is not utf-8")
    report = ReadReport()
    assert len(list(read_corpus([notes], ReadOptions(skip_bad=True), report))) == 3
    assert report.bad == 1
    documents = list(read_corpus([notes], ReadOptions(encoding="latin-1")))
    assert documents[1].text == "first\ncafé"


def test_nul_and_unstorable_names(notes: Path) -> None:
    (notes / "b.txt").write_text("nul \0", encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.txt: 'the text' holds a NUL"):
        list(read_corpus([notes]))
    (notes / "b.txt").unlink()
    try:
        Path(notes, "x\udce9.txt").write_text("x", encoding="utf-8")
    except OSError:
        pytest.skip("the file system takes only Unicode names")
    with pytest.raises(UserError, match="lone surrogate"):
        list(read_corpus([notes]))


def test_empty_files_are_empty_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert list(read_corpus([tmp_path])) == [
        Document(id="a.txt", text="", title="a", location=str(tmp_path / "a.txt"))
    ]


def test_fields_make_no_sense_for_files(notes: Path) -> None:
    with pytest.raises(UserError, match="--id-field"):
        list(read_corpus([notes], ReadOptions(id_field="x")))


@pytest.mark.parametrize(
    ("content", "title", "text"),
    [
        ("# One\ntwo", "One", "two"),
        ("\n\n## One ##\n", "One", ""),
        ("One\n===\ntwo", "One", "two"),
        ("####\nOne\n####\ntwo", "One", "two"),
        ("no heading\nat all", "", "no heading\nat all"),
        ("text\n\n# late heading", "", "text\n\n# late heading"),
        ("#hashtag first", "", "#hashtag first"),
        ("", "", ""),
    ],
)
def test_headings(content: str, title: str, text: str) -> None:
    assert split_headed(content) == (title, text)


def test_html() -> None:
    title, text = split_html(
        "<!doctype html><html><head><title> Two\n words</title><style>p {color: red}</style></head>"
        "<body><script>var x = '<p>';</script><h1>Head</h1><p>in<b>side</b> one &amp; two</p>"
        "<ul><li>a</li><li>b</li></ul>line<br>break<!-- comment --></body></html>"
    )
    assert title == "Two words"
    assert text == "Head\ninside one & two\na\nb\nline\nbreak"


def test_html_without_title_takes_the_first_heading() -> None:
    assert split_html("<p>x</p><h1>He<i>ad</i></h1>") == ("Head", "x\nHead")


def test_html_that_is_none() -> None:
    assert split_html("http://example.com") == ("", "http://example.com")
    assert split_html("<<<>>> &&& <p")[0] == ""


def test_deep_and_wide_html_takes_linear_time() -> None:
    start = time.perf_counter()
    assert split_html("<div>" * 20_000 + "deep") == ("", "deep")
    assert len(split_html("<td>a</td>" * 20_000)[1].split("\n")) == 20_000
    # Half a second each; twenty and more when every line break is put in by searching for its place.
    assert time.perf_counter() - start < 8
