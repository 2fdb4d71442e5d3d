"""``lsr encode``: what an encoder makes of a text, or of a whole file of documents."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsr.cli.options import compute_options, encoder_options, encoder_options_from, output_options
from lsr.errors import UserError

if TYPE_CHECKING:
    from scipy import sparse

    from lsr.corpus import Document
    from lsr.encoders.base import Encoder

_EXAMPLES = """\
examples:
  lsr encode "solar panels on roofs" --encoder PATH            term weights of a text, heaviest first
  lsr encode "solar panels" --encoder PATH --query             as a query
  lsr encode "solar panels" --encoder PATH --json              as one JSON object
  lsr encode corpus.jsonl --encoder PATH -o vectors.jsonl.gz   a file as Anserini JSON vectors
  lsr index vectors.jsonl.gz -o my.index                       ... which lsr index takes

learned encoders (--encoder-option NAME=VALUE):
  kind=splade|splade-doc|inference-free     how queries are encoded (default: from the checkpoint)
  activation=log1p|double-log1p             default: from the checkpoint; double-log1p where an idf.json
                                            lies beside a model that does not say (OpenSearch v1 and v2
                                            models want log1p, v3 double-log1p)
  pooling=max|sum   special_tokens=keep|zero   precision=float32|bfloat16|float16   revision=NAME
"""

# Suffixes of what lsr.corpus reads: such an argument is meant as a file, even one that is missing.
_FILE_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".md", ".rst", ".html")
_BATCH = 1_000


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "encode",
        help="show or write the term weights of texts",
        description=(
            "Encode a text, or a file or folder of documents. A text's terms are shown heaviest first; "
            '"+" marks expansions, terms that the text itself does not hold. Documents become Anserini JSON '
            'vectors, one object a line: {"id", "contents", "vector"}. With bm25 the weights are term counts.'
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[encoder_options(), compute_options(), output_options()],
    )
    parser.add_argument(
        "source",
        metavar="TEXT_OR_FILE",
        help="a text, - for standard input, or a file or FOLDER/ as lsr index takes it",
    )
    parser.add_argument("--query", action="store_true", help="encode as queries, not as documents")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write there instead of standard output (.gz too)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command."""
    from lsr.encoders import load_encoder

    named_file = _names_file(args.source)
    encoder = load_encoder(args.encoder, encoder_options_from(args))
    if named_file:
        _encode_file(args, encoder)
    else:
        _encode_text(args, encoder)
    cut = getattr(encoder, "cut_count", 0)
    if cut and not args.quiet and args.long_documents == "cut":
        texts = "text was" if cut == 1 else "texts were"
        print(
            f"lsr: {cut} {texts} cut at {encoder.settings.get('max_length')} tokens; "
            "--long-documents windows reads all of them.",
            file=sys.stderr,
        )
    return 0


def _names_file(source: str) -> bool:
    if source == "-":
        return True
    try:
        # A word that happens to name a folder is a word; "notes/" is the folder.
        folder = source.endswith(("/", os.sep)) or source in (".", "..") or os.sep in source
        if Path(source).is_file() or (folder and Path(source).is_dir()):
            return True
    except (OSError, ValueError):
        # A text too long for a file name, or with characters that no name has.
        return False
    stem = source.removesuffix(".gz").removesuffix(".zst")
    if stem.lower().endswith(_FILE_SUFFIXES) and not any(letter.isspace() for letter in source):
        raise UserError(
            f"{source}: there is no such file; name one that exists, or quote a text with spaces."
        )
    return False


def _encode_text(args: argparse.Namespace, encoder: Encoder) -> None:
    weights = _weights(encoder, [args.source], args.query)
    vector = next(_vectors(encoder, weights))
    ranked = sorted(vector.items(), key=lambda item: (-item[1], item[0]))
    if args.json or args.output:
        line = _line("text", args.source, dict(ranked))
        _write(args.output, iter([line]))
        return
    own = {span.term for span in encoder.term_spans(args.source)}
    if not ranked:
        print("no terms")
        return
    width = max(len(term) for term, _ in ranked)
    for term, weight in ranked:
        print(f"{'  ' if term in own else '+ '}{term:<{width}}  {weight:.4f}")
    if not args.quiet:
        added = sum(term not in own for term, _ in ranked)
        print(f"{len(ranked)} terms, {added} of them expansions (+)", file=sys.stderr)


def _encode_file(args: argparse.Namespace, encoder: Encoder) -> None:
    from lsr.cli.progress import progress
    from lsr.corpus import estimate_total, read_corpus

    total = None if args.source == "-" else estimate_total([args.source])
    with progress("encoding", total, quiet=args.quiet) as bar:

        def lines() -> Iterator[str]:
            for batch in _batches(read_corpus([args.source])):
                texts = [document.full_text for document in batch]
                weights = _weights(encoder, texts, args.query)
                for document, text, vector in zip(batch, texts, _vectors(encoder, weights), strict=True):
                    yield _line(document.id, text, vector)
                bar.advance(len(batch))

        _write(args.output, lines())


def _weights(encoder: Encoder, texts: Sequence[str], query: bool) -> sparse.csr_array:
    if encoder.weighting == "frequency":
        # BM25 weighs a document by the corpus around it; alone it is its words and their counts.
        return encoder.encode_documents(texts)
    return encoder.encode_queries(texts) if query else encoder.encode_documents(texts)


def _vectors(encoder: Encoder, weights: sparse.csr_array) -> Iterator[dict[str, float]]:
    vocabulary = encoder.vocabulary
    for start, stop in zip(weights.indptr[:-1], weights.indptr[1:], strict=True):
        ids, values = weights.indices[start:stop].tolist(), weights.data[start:stop].tolist()
        yield {vocabulary[i]: float(f"{value:.7g}") for i, value in zip(ids, values, strict=True)}


def _line(number: str, text: str, vector: dict[str, float]) -> str:
    return json.dumps({"id": number, "contents": text, "vector": vector}, ensure_ascii=False)


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _write(output: str | None, lines: Iterator[str]) -> None:
    """Write lines to standard output, or to a file that appears only when it is whole."""
    if output is None:
        for line in lines:
            print(line)
        return
    from lsr.whole_file import whole_file

    with whole_file(Path(output)) as file:
        for line in lines:
            file.write(line + "\n")
