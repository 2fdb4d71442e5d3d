"""Filters over typed fields: against plain Python, and confined to what a filter may do."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from lsr.index import DocumentRecord, Index, IndexProblem, IndexWriter
from lsr.index.fields import FieldTypes, common_type, kind_of_cell, typed, widened
from lsr.index.filters import FUNCTIONS, Filter
from lsr.index.store import Store
from lsr.index.store_writer import StoreWriter

_PAPERS: list[dict[str, Any]] = [
    {"year": 2019, "lang": "en", "price": 1.5, "tags": ["red", "blue"], "open": True},
    {"year": 2020, "lang": "de", "price": 2, "tags": ["red"], "open": False},
    {"year": 2021, "lang": "en", "price": 0.25, "tags": [], "open": True},
    {"lang": "en", "order": "o'k"},
    {},
    {"year": 1999, "lang": "EN", "price": -3.0, "tags": ["green"], "open": False},
]


def _store(folder: Path, documents: list[dict[str, Any]], *, untyped: bool = False) -> Store:
    writer = StoreWriter(folder / "documents.sqlite")
    writer.add(
        [DocumentRecord(f"d{i}", f"title {i}", "text", m, "", untyped) for i, m in enumerate(documents)]
    )
    writer.finish([])
    return Store(folder / "documents.sqlite")


def _numbers(store: Store, where: str, count: int) -> list[int]:
    mask = store.matching(Filter.parse(where, store.fields), count)
    return np.flatnonzero(mask).tolist()


@pytest.fixture
def papers(tmp_path: Path) -> Callable[[str], list[int]]:
    store = _store(tmp_path, _PAPERS)
    return lambda where: _numbers(store, where, len(_PAPERS))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("year >= 2020 and lang = 'en'", [2]),
        ("year >= 2020 or lang = 'en'", [0, 1, 2, 3]),
        ("YEAR = 2019", [0]),
        ("year is null", [3, 4]),
        ("not year = 2019", [1, 2, 5]),
        ("year in (2019, 1999)", [0, 5]),
        ("year between 2019 and 2020", [0, 1]),
        ("year = '2019'", [0]),
        ("lang like 'en'", [0, 2, 3, 5]),
        ("lower(lang) = 'en'", [0, 2, 3, 5]),
        ("price < 2", [0, 2, 5]),
        ("price = -3", [5]),
        ("open", [0, 2]),
        ("open = false", [1, 5]),
        ("has(tags, 'red')", [0, 1]),
        ("not has(tags, 'red')", [2, 5]),
        ("has(lang, 'en')", [0, 2, 3]),
        ("id = 'd4'", [4]),
        ("title like '% 3' or year = 2021", [2, 3]),
        ("\"order\" = 'o''k'", [3]),
        ("2020 <= year", [1, 2]),
        ("cast(year as text) like '20%'", [0, 1, 2]),
        ("case when year > 2019 then open else 0 end", [2]),
        ("lang || '!' = 'en!'", [0, 2, 3]),
        ("1 = 1", [0, 1, 2, 3, 4, 5]),
    ],
)
def test_expressions(papers: Callable[[str], list[int]], where: str, expected: list[int]) -> None:
    assert papers(where) == expected


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("yaer >= 2020", "there is no field 'yaer'; its fields are year (integer), lang (text)"),
        ('lang = "en"', "there is no field 'en' (text stands in single quotes: 'en')"),
        ("", "The filter is empty"),
        ("year >", "syntax error"),
        ("year = 2019)", "')' has no place"),
        ("(year = 2019", "a bracket is left open"),
        ("lang = 'en", "a quote is left open"),
        ("year = 2019; DELETE FROM documents", "';' has no place"),
        ("year = 2019 -- all", "'--' has no place"),
        ("year = ?", "'?' has no place"),
        ("year = 'new'", "year holds numbers, and 'new' is none"),
        ("'new' < year", "year holds numbers, and 'new' is none"),
        ("lang > 5", "lang holds text, and 5 is a number; write '5'"),
        ("lang not in (5)", "lang holds text, and 5 is a number; write '5'"),
        ("tags = 'red'", "tags holds lists; ask has(tags, 'red')"),
        ("order = 'x'", "syntax error"),
        ("year = 2019 limit 1", "syntax error"),
        ("max(year) = 2019", "misuse of aggregate"),
        ("(select 1)", "uses what a filter may not"),
        ("exists (select 1 from documents)", "uses what a filter may not"),
        ("year in (with recursive n(x) as (select 1 union all select x from n) select x from n)", "may not"),
        ("load_extension('x')", "uses what a filter may not"),
        ("writefile('x', 'y')", "uses what a filter may not"),
        ("zeroblob(1000000000)", "uses what a filter may not"),
        ("count(*)", "uses what a filter may not"),
        ("row_number() over () < 3", "uses what a filter may not"),
        ("lsr_widened(year, 'integer', 'text')", "there is no function"),
        ("rowid < 3", "there is no field 'rowid'"),
        ("number < 3", "there is no field 'number'"),
        ("c0 = 2019", "there is no field 'c0'"),
        ("fields.c0 = 2019", "there is no field"),
        ("text = 'text'", "there is no field 'text'"),
        ("metadata is null", "there is no field 'metadata'"),
        ("lang = '\udc80'", "bytes that are no UTF-8"),
    ],
)
def test_mistakes_are_one_sentence(papers: Callable[[str], list[int]], where: str, told: str) -> None:
    with pytest.raises(IndexProblem) as raised:
        papers(where)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_filter_that_takes_too_long_is_stopped(
    papers: Callable[[str], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsr.index.filters.MOST_SECONDS", -1.0)
    with pytest.raises(IndexProblem, match="ran for more than"):
        papers(" or ".join(f"lang like '%{i}%{i}%'" for i in range(900)))


@given(st.text(alphabet="abcyearlng ='\"()<>,.;-*/|&12\\[]%_?:@$#\0", max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_expression_gives_documents_or_a_sentence(where: str) -> None:
    store = _papers_store()
    try:
        numbers = _numbers(store, where, len(_PAPERS))
    except IndexProblem as problem:
        told = str(problem)
    else:
        told = ""
        assert set(numbers) <= set(range(len(_PAPERS)))
    assert "is damaged" not in told


_KEPT: list[tuple[tempfile.TemporaryDirectory[str], Store]] = []


def _papers_store() -> Store:
    if not _KEPT:
        folder = tempfile.TemporaryDirectory()
        _KEPT.append((folder, _store(Path(folder.name), _PAPERS)))
    return _KEPT[0][1]


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([0.5, -2.25, 3.0, 2**60 + 1, 2**70, 1e17]),
    st.sampled_from(["a", "b", "3"]),
)


@given(values=st.lists(_VALUES, min_size=1, max_size=12), cuts=st.lists(st.integers(0, 12), max_size=3))
@example(values=[3, 0.5, False], cuts=[2])
@settings(max_examples=100, deadline=None)
def test_a_fields_type_and_answers_do_not_depend_on_segments(values: list[Any], cuts: list[int]) -> None:
    """One store, or the same documents in several, each filtered with the types of all."""
    documents = [{} if value is None else {"x": value} for value in values]
    bounds = sorted({0, len(documents), *(min(cut, len(documents)) for cut in cuts)})
    with tempfile.TemporaryDirectory() as folder:
        parts = []
        for start, stop in pairwise(bounds):
            place = Path(folder, str(start))
            place.mkdir()
            parts.append((_store(place, documents[start:stop]), stop - start))
        whole = Path(folder, "whole")
        whole.mkdir()
        one = _store(whole, documents)
        kinds = [store.fields["x"] for store, _ in parts if store.fields]
        types = {"x": common_type(kinds)} if kinds else {}
        assert types == one.fields
        for where in (
            "x > 1",
            "x = '3'",
            "x is null",
            "x in ('a', 'true', '0.5', '1152921504606846977', '100000000000000000')",
            "has(x, 'a')",
            "x",
        ):
            try:
                condition = Filter.parse(where, types)
            except IndexProblem:
                continue
            expected = one.matching(condition, len(documents)).tolist()
            found = [bit for store, count in parts for bit in store.matching(condition, count).tolist()]
            assert found == expected


@pytest.mark.parametrize(
    ("cells", "kind", "kept"),
    [
        (["2020", "1999"], "integer", [2020, 1999]),
        (["1.50", "2", "-0.5", ".5", "1e3"], "number", [1.5, 2.0, -0.5, 0.5, 1000.0]),
        (["2020", "n/a"], "text", ["2020", "n/a"]),
        (["007", "12"], "text", ["007", "12"]),
        (["1.10", "1.9", "1.9.2"], "text", ["1.10", "1.9", "1.9.2"]),
        (["true", "false"], "text", ["true", "false"]),
        (["12345678901234567890"], "text", ["12345678901234567890"]),
        (["nan", "inf"], "text", ["nan", "inf"]),
        (["+5", "1_000", "١"], "text", ["+5", "1_000", "١"]),
    ],
)
def test_cells_without_types(tmp_path: Path, cells: list[str], kind: str, kept: list[Any]) -> None:
    store = _store(tmp_path, [{"x": cell} for cell in cells], untyped=True)
    assert store.fields == {"x": kind}
    documents = store.documents(range(len(cells)))
    shown = [documents[i].metadata["x"] for i in range(len(cells))]
    assert shown == kept
    assert [type(value) for value in shown] == [type(value) for value in kept]


def test_strings_of_typed_sources_stay_text(tmp_path: Path) -> None:
    store = _store(tmp_path, [{"zip": "10115"}])
    assert store.fields == {"zip": "text"}
    assert store.documents([0])[0].metadata == {"zip": "10115"}


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["integer"], "integer"),
        (["integer", "number"], "number"),
        (["boolean"], "boolean"),
        (["boolean", "integer"], "text"),
        (["integer", "text"], "text"),
        (["list", "number", "text"], "list"),
    ],
)
def test_the_rule_for_mixed_types(kinds: list[str], expected: str) -> None:
    assert common_type(kinds) == expected
    assert common_type(reversed(kinds)) == expected


def test_values_of_wider_types() -> None:
    assert typed(True, "text") == "true"
    assert typed(4.5, "text") == "4.5"
    assert typed(3, "list") == [3]
    assert typed(3.0, "text") == typed(3, "text") == "3"
    assert typed(2**60 + 1, "text") == str(2**60 + 1)
    assert typed(2**70 + 1, "text") == typed(float(2**70), "text")
    assert typed(10**400, "text") is None
    assert widened(1, "boolean", "text") == "true"
    assert widened(1, "boolean", "list") == "[true]"
    assert widened(None, "integer", "text") is None
    assert typed(2**70, "number") == float(2**70)
    assert typed(10**400, "number") is None
    assert typed({"a": 1}, "text") is None


def test_odd_values_and_names_are_stored(tmp_path: Path) -> None:
    odd = {
        'quo"te': 1,
        "select": 2,
        "a b": 3,
        "Größe": 4,
        "huge": 2**70,
        "nothing": None,
        "object": {"a": 1},
        "c0": 5,
    }
    store = _store(tmp_path, [odd, {}])
    for where in ('"quo""te" = 1', '"select" = 2', '"a b" = 3', "Größe = 4", "huge > 1e20", "c0 = 5"):
        assert _numbers(store, where, 2) == [0]
    assert "object" not in store.fields
    assert store.documents([0])[0].metadata == odd


def test_names_that_differ_only_in_case(tmp_path: Path) -> None:
    store = _store(tmp_path, [{"Year": 1, "year": 2, "x": 3}])
    assert _numbers(store, "x = 3", 1) == [0]
    with pytest.raises(IndexProblem, match="Year and year differ only in case"):
        _numbers(store, "year = 2", 1)


def test_more_fields_than_a_table_has_columns(tmp_path: Path) -> None:
    store = _store(tmp_path, [{f"f{i}": i for i in range(1500)}])
    assert len(store.fields) == 1000
    assert _numbers(store, "f999 = 999", 1) == [0]
    with pytest.raises(IndexProblem, match=r"there is no field 'f1200'; .* and 980 more"):
        _numbers(store, "f1200 = 1200", 1)
    assert store.documents([0])[0].metadata["f1200"] == 1200


def test_a_store_without_fields_has_nulls(tmp_path: Path) -> None:
    store = _store(tmp_path, [{}, {}])
    assert store.fields == {}
    types = {"year": "integer"}
    assert store.matching(Filter.parse("year is null", types), 2).tolist() == [True, True]  # type: ignore[arg-type]
    assert store.matching(Filter.parse("year = 1 or id = 'd1'", types), 2).tolist() == [False, True]  # type: ignore[arg-type]
    with pytest.raises(IndexProblem, match="no fields besides id and title"):
        _numbers(store, "year = 1", 2)


def test_kinds_survive_json() -> None:
    types = FieldTypes()
    types.observe({"x": "1", "y": 2.5}, untyped=True)
    again = FieldTypes(json.loads(json.dumps(types.kinds)))
    again.observe({"x": "a"}, untyped=True)
    assert again.types() == {"x": "text", "y": "number"}
    assert kind_of_cell("1") == "integer"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_named_exists(papers: Callable[[str], list[int]], name: str) -> None:
    calls = {
        "has": "has(tags, 'x')", "glob": "glob('a*', lang)", "like": "like('a%', lang)",
        "coalesce": "coalesce(year, 1)", "ifnull": "ifnull(year, 1)", "iif": "iif(year, 1, 2)",
        "instr": "instr(lang, 'e')", "nullif": "nullif(year, 1)", "strftime": "strftime('%Y', lang)",
        "substr": "substr(lang, 1, 1)", "max": "max(year, 1)", "min": "min(year, 1)",
    }  # fmt: skip
    papers(f"{calls.get(name, f'{name}(lang)')} is not null")


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE VIEW more AS SELECT * FROM documents",
        "CREATE TRIGGER t AFTER INSERT ON terms BEGIN DELETE FROM documents; END",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
    ],
)
def test_a_strangers_store_holds_tables_only(tmp_path: Path, schema: str) -> None:
    _store(tmp_path, _PAPERS)
    with sqlite3.connect(tmp_path / "documents.sqlite") as connection:
        connection.execute(schema)
    with pytest.raises(IndexProblem, match="holds more than tables"):
        Store(tmp_path / "documents.sqlite")


def _index(folder: Path, documents: list[dict[str, Any]]) -> Index:
    with IndexWriter(folder, encoder={"name": "test"}) as writer:
        weights = sparse.csr_array(np.arange(1, len(documents) + 1, dtype=np.float32)[:, None])
        writer.add(weights, [DocumentRecord(f"d{i}", metadata=m) for i, m in enumerate(documents)])
        writer.commit(["t0"])
    return Index(folder)


@pytest.mark.parametrize("algorithm", ["exhaustive", "vectorised"])
def test_a_filter_limits_a_search(tmp_path: Path, algorithm: Any) -> None:
    index = _index(tmp_path / "an.index", _PAPERS)
    query = sparse.csr_array(np.ones((1, 1), np.float32))
    assert index.fields["price"] == "number"
    mask = index.matching("lang = 'en'")
    hits = index.search(query, 2, allowed=mask, algorithm=algorithm)[0]
    assert hits.documents.tolist() == [3, 2]
    assert index.matching("lang = 'en'") is mask
    assert (
        index.search(query, 9, allowed=index.matching("year = 5"), algorithm=algorithm)[0].documents.size == 0
    )


def test_an_index_of_before_has_no_fields() -> None:
    for folder in (Path(__file__).parent / "data").glob("*"):
        if not (folder / "manifest.json").exists():
            continue
        with Index(folder) as index:
            assert index.fields == {}
            assert index.matching("id is not null").all()
            with pytest.raises(IndexProblem, match="no fields besides id and title"):
                index.matching("year = 1")
