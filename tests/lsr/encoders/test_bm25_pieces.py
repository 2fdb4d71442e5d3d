from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lsr.encoders.bm25 import Bm25Encoder, load_bm25_query_encoder
from lsr.encoders.options import EncoderOptions
from lsr.errors import UserError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat", "##s", "dog", "un", "##like"]


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    """A word piece tokenizer that would truncate to four tokens, pad, and add [CLS] and [SEP]."""
    ids = {piece: number for number, piece in enumerate(PIECES)}
    ids["far"] = 12  # leaves ids that no piece has
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(PIECES[:4])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def load(source: Path | str, max_length: int | None = None) -> Bm25Encoder:
    settings = {"tokens": "pieces", "tokenizer": str(source)}
    return Bm25Encoder.from_options(EncoderOptions(settings=settings, max_length=max_length))


def test_pieces_are_counted_whole_and_without_special_tokens(tokenizer_file: Path) -> None:
    bm25 = load(tokenizer_file)
    assert bm25.vocabulary[:9] == PIECES
    assert bm25.vocabulary[12] == "far"
    assert len(bm25.vocabulary) == len(set(bm25.vocabulary)) == 13
    counts = bm25.encode_documents(["Cats [SEP] cats dog unlike far qqq", ""]).toarray()
    expected = np.zeros((2, 13))
    expected[0, [4, 5, 6, 7, 8, 12]] = [2, 2, 1, 1, 1, 1]
    np.testing.assert_array_equal(counts, expected)
    assert bm25.query_terms(["cats qqq"]) == [["cat", "##s"]]
    np.testing.assert_array_equal(load(tokenizer_file, 3).encode_documents(["cats dog dog"]).sum(), 3)


def test_a_folder_will_do(tokenizer_file: Path) -> None:
    assert load(tokenizer_file.parent).fingerprint() == load(tokenizer_file).fingerprint()


def test_the_tokenizer_is_saved_with_the_query_side(tokenizer_file: Path, tmp_path: Path) -> None:
    bm25 = load(tokenizer_file)
    index = tmp_path / "index"
    index.mkdir()
    bm25.save_query_side(index)
    tokenizer_file.unlink()
    loaded = load_bm25_query_encoder(index)
    assert loaded.query_terms(["cats dog"]) == [["cat", "##s", "dog"]]
    assert [(span.start, span.end) for span in loaded.term_spans("cats [SEP] dog")] == [
        (0, 3),
        (3, 4),
        (11, 14),
    ]


def test_another_vocabulary_is_refused(tokenizer_file: Path) -> None:
    options = EncoderOptions(settings={"tokens": "pieces", "tokenizer": str(tokenizer_file)})
    bm25 = Bm25Encoder.from_options(options)
    assert Bm25Encoder.from_options(options, bm25.vocabulary).vocabulary == bm25.vocabulary
    with pytest.raises(UserError, match="not the one that documents were encoded with"):
        Bm25Encoder.from_options(options, ["cat"])


def test_tokenizers_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(UserError, match=r"broken\.json: no tokenizer could be loaded"):
        load(tmp_path / "broken.json")
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        load(tmp_path)


def test_nothing_heavy_is_loaded_for_words(tmp_path: Path) -> None:
    code = (
        "import sys; from lsr.encoders.bm25 import Bm25Encoder, load_bm25_query_encoder as load;"
        "from lsr.encoders.options import EncoderOptions; from pathlib import Path;"
        "Bm25Encoder.from_options(EncoderOptions()).save_query_side(Path(sys.argv[1]));"
        "load(sys.argv[1]).query_terms(['a query']);"
        "heavy = {'torch', 'transformers', 'tokenizers', 'numba', 'huggingface_hub'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
