"""``lsr info``: what an index holds."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from lsr.cli.options import output_options

_EXAMPLES = """\
examples:
  lsr info my.index             documents, terms, sizes, encoder
  lsr info my.index --verify    compare every byte with its checksum
"""


def add_parser(subparsers: Any) -> None:
    """Add this sub-command to the command line."""
    parser = subparsers.add_parser(
        "info",
        help="show what an index holds, and check it",
        description="Show what an index holds: documents, terms, sizes, the encoder that filled it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[output_options()],
    )
    parser.add_argument("index", metavar="INDEX", help="folder of the index")
    parser.add_argument("--verify", action="store_true", help="read every byte and compare checksums")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the facts of an index."""
    from lsr.index import open_index

    with open_index(args.index) as index:
        facts = _facts(index)
        if args.verify:
            start = time.perf_counter()
            facts["verified_bytes"] = index.verify()
            facts["verify_seconds"] = round(time.perf_counter() - start, 3)
    if args.json:
        print(json.dumps(facts))
    elif not args.quiet:
        _print(facts)
    return 0


def _facts(index: Any) -> dict[str, Any]:
    manifest = index.manifest
    sizes = index.sizes()
    postings = index.posting_count
    return {
        "folder": str(index.folder),
        "format": manifest.version,
        "created": manifest.created,
        "documents": index.document_count,
        "deleted": index.number_bound - index.document_count,
        "shards": list(getattr(index, "shards", ())),
        "segments": len(manifest.segments),
        "segment_documents": [
            {"name": s.name, "documents": s.live, "deleted": s.deleted, "postings": s.postings}
            for s in manifest.segments
        ],
        "vocabulary_size": index.vocabulary_size,
        "postings": postings,
        "terms_per_document": postings / index.number_bound if index.number_bound else 0.0,
        "impact_bits": manifest.grid.bits,
        "impact_maximum": manifest.grid.maximum,
        "largest_error": max((s.quantisation["largest_error"] for s in manifest.segments), default=0.0),
        "relative_error": max((s.quantisation["relative_error"] for s in manifest.segments), default=0.0),
        "saturated": sum(int(s.quantisation["saturated"]) for s in manifest.segments),
        "weighting": manifest.weighting.as_dict() if manifest.weighting else {"kind": "impact"},
        "average_length": index.average_length(),
        "stored_texts": manifest.stored_texts,
        "fields": index.fields,
        "encoder": {key: value for key, value in manifest.encoder.items() if key != "folder"},
        "terms_with_block_maxima": index.terms_with_block_maxima,
        "bytes": sizes,
        "bytes_per_posting": sizes["postings"] / postings if postings else 0.0,
    }


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    encoder, sizes, weighting = facts["encoder"], facts["bytes"], facts["weighting"]
    segments = facts["segment_documents"]
    settings = ", ".join(f"{k}={v}" for k, v in encoder["settings"].items() if v not in (None, ""))
    rows = [
        ("index", f"{facts['folder']}  (format {facts['format']}, created {facts['created']})"),
        (
            "documents",
            f"{facts['documents']:,} in {_counted(len(segments), 'segment')}"
            + (f" of {_counted(len(facts['shards']), 'shard')}" if facts["shards"] else "")
            + (f", {facts['deleted']:,} deleted ones still there" if facts["deleted"] else ""),
        ),
        (
            "terms",
            f"{facts['terms_per_document']:.1f} a document, {facts['postings']:,} postings, "
            f"vocabulary of {facts['vocabulary_size']:,}",
        ),
        (
            "impacts",
            f"{facts['impact_bits']} bits up to {facts['impact_maximum']:.4g}; off by {facts['relative_error']:.2%} "
            f"of a weight on average, by {facts['largest_error']:.2g} at most; {facts['saturated']:,} saturated",
        ),
        ("fields", ", ".join(f"{name} ({kind})" for name, kind in facts["fields"].items()) or "none"),
        ("encoder", f"{encoder['name']}  ({settings})"),
        ("fingerprint", encoder["fingerprint"][:16]),
        (
            "bytes",
            f"{sizes['total']:,}: postings {sizes['postings']:,} ({facts['bytes_per_posting']:.2f} a posting), "
            f"texts {sizes['texts']:,}, other {sizes['other']:,}",
        ),
        (
            "block maxima",
            ", ".join(f"{count:,}" for count in facts["terms_with_block_maxima"])
            + " terms have them, a segment; one without any is searched exhaustively",
        ),
    ]
    if weighting["kind"] == "bm25":
        rows.insert(
            4,
            (
                "BM25",
                f"k1 {weighting['k1']}, b {weighting['b']}, mean length {weighting['average_length']:.1f} words"
                + _drift(weighting["average_length"], facts["average_length"]),
            ),
        )
    if len(segments) > 1:
        shown = ", ".join(f"{s['documents']:,}" for s in segments[:12])
        rows.insert(2, ("segments", shown + (", ..." if len(segments) > 12 else "") + " documents"))
    if "verified_bytes" in facts:
        rows.append(
            (
                "verified",
                f"all {facts['verified_bytes']:,} bytes match their checksums ({facts['verify_seconds']} s)",
            )
        )
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _drift(frozen: float, now: float) -> str:
    """Return how far the mean length has moved from the one that impacts go by, where it has."""
    if abs(now - frozen) < 0.0005 * frozen or not frozen:
        return ""
    return f" (now {now:.1f}, {(now - frozen) / frozen:+.1%}; lsr compact --refresh takes it up)"
