"""Lucene itself, in the version that pyserini brings: features as OpenSearch and Elasticsearch index them,
and Anserini's impact index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exports.base import Found, Reader, json_lines, requests, topics
from lsr.eval.systems.java import java_class as java


class LuceneFeatures(Reader):
    """Builds Lucene's FeatureField from bulk files and runs the queries that the engines build from requests."""

    note = "Lucene's FeatureField and BooleanQuery, the classes behind the engine's field and query"

    def __init__(self, name: str, weights_of: Any) -> None:
        self.name = name
        self._weights_of = weights_of

    def load(self, export: Path, work: Path) -> None:
        feature, document = (
            java("org.apache.lucene.document.FeatureField"),
            java("org.apache.lucene.document.Document"),
        )
        stored, number = (
            java("org.apache.lucene.document.StoredField"),
            java("org.apache.lucene.document.NumericDocValuesField"),
        )
        self.directory = java("org.apache.lucene.store.FSDirectory").open(
            java("java.nio.file.Paths").get(str(work))
        )
        writer = java("org.apache.lucene.index.IndexWriter")(
            self.directory, java("org.apache.lucene.index.IndexWriterConfig")()
        )
        lines = json_lines(export, "bulk-*.ndjson")
        for action in lines:
            body = next(lines)
            row = document()
            row.add(stored("id", action["index"]["_id"]))
            row.add(number("number", body["number"]))
            for term, value in body["impacts"].items():
                row.add(feature("impacts", term, float(value)))
            writer.addDocument(row)
        writer.forceMerge(1)
        writer.close()

    def answers(self, export: Path, k: int) -> dict[str, Found]:
        feature, occur = (
            java("org.apache.lucene.document.FeatureField"),
            java("org.apache.lucene.search.BooleanClause$Occur"),
        )
        builder, sort, field, kind = (
            java("org.apache.lucene.search.BooleanQuery$Builder"),
            java("org.apache.lucene.search.Sort"),
            java("org.apache.lucene.search.SortField"),
            java("org.apache.lucene.search.SortField$Type"),
        )
        reader = java("org.apache.lucene.index.DirectoryReader").open(self.directory)
        import jnius

        reader = jnius.cast("org.apache.lucene.index.IndexReader", reader)
        searcher = java("org.apache.lucene.search.IndexSearcher")(reader)
        order = sort(field.FIELD_SCORE, field("number", kind.LONG))
        stored = searcher.storedFields()
        found: dict[str, Found] = {}
        for number, request in requests(export):
            query = builder()
            for term, weight in self._weights_of(request).items():
                query.add(feature.newLinearQuery("impacts", term, float(weight)), occur.SHOULD)
            hits = searcher.search(query.build(), k, order).scoreDocs
            sorted_hits = [jnius.cast("org.apache.lucene.search.FieldDoc", hit) for hit in hits]
            found[number] = [
                (str(stored.document(hit.doc).get("id")), float(hit.fields[0])) for hit in sorted_hits
            ]
        return found


class AnseriniImpacts(Reader):
    """Anserini's JsonVectorCollection and SimpleImpactSearcher."""

    name = "anserini"
    note = "indexed and searched by Anserini; query weights are whole numbers up to 255"

    def load(self, export: Path, work: Path) -> None:
        self.folder = work / "lucene"
        options = f"-collection JsonVectorCollection -input {export / 'corpus'} -index {self.folder} "
        options += "-generator DefaultLuceneDocumentGenerator -threads 1 -impact -pretokenized -optimize"
        java("io.anserini.index.IndexCollection").main(options.split())

    def answers(self, export: Path, k: int) -> dict[str, Found]:
        integer = java("java.lang.Integer")
        searcher = java("io.anserini.search.SimpleImpactSearcher")(str(self.folder))
        found: dict[str, Found] = {}
        for number, weights in topics(export):
            query = java("java.util.HashMap")()
            for term, weight in weights.items():
                query.put(term, integer(weight))
            found[number] = [(str(hit.docid), float(hit.score)) for hit in searcher.search(query, k)]
        return found
