"""Options shared by the sub-commands: one name and one meaning everywhere."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from lsr.encoders.built_in import DEFAULT_ENCODER
from lsr.errors import UserError

if TYPE_CHECKING:
    from lsr.corpus import ReadOptions
    from lsr.encoders.options import EncoderOptions


def positive_int(text: str) -> int:
    """Parse an integer of at least 1, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def output_options() -> argparse.ArgumentParser:
    """Return a parent parser with ``--json`` and ``--quiet``."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON for machines instead of text")
    group.add_argument("--quiet", action="store_true", help="print no progress and no notes")
    return parser


def encoder_options(
    *, default: str | None = DEFAULT_ENCODER, documents: bool = True
) -> argparse.ArgumentParser:
    """Return a parent parser with ``--encoder`` and everything that changes what it puts out.

    Options that concern documents alone are left out where none are encoded.
    """
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("encoder")
    shown = f" (default: {default})" if default else ""
    group.add_argument(
        "--encoder",
        metavar="NAME_OR_PATH",
        default=default,
        help=f"bm25, default, default-tiny, a folder with a model, or a Hugging Face id{shown}",
    )
    group.add_argument(
        "--encoder-option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting of the encoder's own, e.g. k1=1.2 or activation=log1p; may be repeated",
    )
    group.add_argument(
        "--idf",
        choices=["training", "corpus"],
        help="for inference-free encoders: IDF from the checkpoint or from the indexed documents "
        "(default: what the model says)",
    )
    if not documents:
        parser.set_defaults(max_terms=None, long_documents="cut")
        return parser
    group.add_argument(
        "--max-terms", type=positive_int, metavar="N", help="keep the N heaviest terms of a document"
    )
    group.add_argument(
        "--long-documents",
        choices=["cut", "windows"],
        default="cut",
        help="past --max-length: drop the rest, or encode windows and take each term's maximum (default: cut)",
    )
    return parser


def compute_options() -> argparse.ArgumentParser:
    """Return a parent parser with ``--batch-size``, ``--max-length``, ``--device``, ``--threads``."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("computing")
    group.add_argument(
        "--batch-size",
        type=positive_int,
        default=32,
        metavar="N",
        help="full-length texts a batch; shorter texts are packed to the same number of tokens (default: 32)",
    )
    group.add_argument(
        "--max-length",
        type=positive_int,
        metavar="TOKENS",
        help="tokens of a text that are read (default: the encoder's own)",
    )
    group.add_argument(
        "--device", metavar="NAME", help="cpu, cuda, cuda:1, mps (default: cuda where there is one)"
    )
    group.add_argument(
        "--threads", type=positive_int, metavar="N", help="processor threads (default: all cores)"
    )
    return parser


def reading_options() -> argparse.ArgumentParser:
    """Return a parent parser with what says how a corpus is read."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--id-field", metavar="NAME", help="field with the document id (default: id, _id or docid)"
    )
    group.add_argument("--title-field", metavar="NAME", help="field with the title (default: title)")
    group.add_argument(
        "--text-field",
        metavar="NAME",
        action="append",
        default=[],
        help="field with the text (default: text, contents or body); repeated fields are joined",
    )
    group.add_argument("--encoding", default="utf-8", metavar="NAME", help="text encoding (default: utf-8)")
    group.add_argument("--skip-bad", action="store_true", help="leave out bad documents and count them")
    return parser


def read_options_from(args: argparse.Namespace) -> ReadOptions:
    """Gather the parsed options into the form that `lsr.read_corpus` takes."""
    from lsr.corpus import ReadOptions

    return ReadOptions(
        id_field=args.id_field,
        title_field=args.title_field,
        text_fields=tuple(args.text_field),
        encoding=args.encoding,
        skip_bad=args.skip_bad,
    )


def durability_options() -> argparse.ArgumentParser:
    """Return a parent parser with ``--no-sync``."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--no-sync",
        action="store_true",
        help="do not wait for the disk to confirm: faster, and safe unless the machine itself stops",
    )
    return parser


def parse_encoder_settings(pairs: list[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` pairs; numbers and true/false become values of their type."""
    from lsr.encoders.options import setting_value

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UserError(f"--encoder-option {pair!r} is not of the form NAME=VALUE, for example k1=1.2.")
        settings[name] = setting_value(value)
    return settings


def encoder_options_from(args: argparse.Namespace) -> EncoderOptions:
    """Gather the parsed options into the form that `lsr.load_encoder` takes."""
    from lsr.encoders.options import EncoderOptions

    return EncoderOptions(
        batch_size=args.batch_size,
        max_length=args.max_length,
        device=args.device,
        threads=args.threads,
        idf=args.idf,
        max_terms=args.max_terms,
        long_documents=args.long_documents,
        settings=parse_encoder_settings(args.encoder_option),
    )
