"""Documents a second: `lsr.encoders.LearnedEncoder` beside sentence-transformers' SparseEncoder.encode.

    python scripts/measure_encoding.py [--models minilm base] [--lengths 128 256]
    python scripts/measure_encoding.py --device cpu --small

Both run the same randomly initialised BERT, saved on the spot; the bias of its head is set so that
about 200 terms a document are active, as in a trained encoder. Documents are drawn so that each
fills the length after truncation. Both start from text and end with sparse rows: ours in memory
(SciPy), sentence-transformers' as its default, a sparse tensor on the device; `dense rows` is its
encode with ``convert_to_sparse_tensor=False``, which leaves that work undone. Each takes the best
of several batch sizes. `device alone` counts the time in which kernels ran, as if texts came
tokenized and rows were free. bfloat16 on CUDA, float32 on a processor.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
import torch

from lsr.encoders import EncoderOptions
from lsr.encoders.learned import LearnedEncoder

VOCABULARY = 30_522
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TERMS = 200
# Layers, width, attention heads.
MODELS = {"minilm": (6, 384, 12), "base": (12, 768, 12), "tiny": (2, 128, 2)}


def words() -> list[str]:
    """Return a vocabulary of made-up words of the lengths of English ones."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    made: dict[str, None] = {}
    while len(made) < VOCABULARY - len(SPECIAL):
        made["".join(generator.choice(letters, generator.integers(2, 9)))] = None
    return SPECIAL + list(made)


def documents(count: int, length: int, vocabulary: list[str]) -> list[str]:
    """Return texts of more than `length` words that are one piece each."""
    drawn = np.random.default_rng(1).integers(len(SPECIAL), VOCABULARY, (count, length + 10))
    return [" ".join(vocabulary[i] for i in row) for row in drawn]


def save_checkpoint(folder: Path, model_name: str, vocabulary: list[str], device: str) -> None:
    """Write a random masked language model whose documents have about TERMS terms."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), vocab_file=str(folder / "vocab.txt"))
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(0)
    layers, width, heads = MODELS[model_name]
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    model = BertForMaskedLM(config).to(device).eval()
    texts = documents(8, 128, vocabulary)
    ids = tokenizer(texts, truncation=True, max_length=128, return_tensors="pt").to(device)
    with torch.no_grad():
        maxima = model(**ids).logits.amax(1)
        # One bias for all terms: the value that TERMS of a document's maxima exceed.
        model.cls.predictions.decoder.bias -= maxima.topk(TERMS, 1).values[:, -1].mean()
        model.cls.predictions.bias.copy_(model.cls.predictions.decoder.bias)
    model.cpu().save_pretrained(str(folder))


def operations(model_name: str, length: int) -> float:
    """Return the floating-point operations that one document asks for."""
    layers, width, _ = MODELS[model_name]
    body = layers * (24 * width**2 * length + 4 * length**2 * width)
    return body + 2 * width**2 * length + 2 * length * width * VOCABULARY


def matrix_peak(device: str, dtype: torch.dtype) -> float:
    """Return the measured operations a second of a large matrix product."""
    size = 8192 if device != "cpu" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / min(seconds(lambda: a @ b, device) for _ in range(10))


def seconds(work: Callable[[], object], device: str) -> float:
    """Return the time of one call, to the end of its work on the device."""
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def best_rate(
    encode: Callable[[list[str], int], object], texts: list[str], sizes: list[int], device: str
) -> tuple[float, int]:
    """Return (documents a second, batch size) of the fastest size, twice each, the better time."""
    rates = []
    for size in sizes:
        try:
            encode(texts[: 2 * size], size)
            taken = min(seconds(lambda size=size: encode(texts, size), device) for _ in range(2))  # type: ignore[misc]
            rates.append((len(texts) / taken, size))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    return max(rates)


def device_seconds(encode: Callable[[], object], rows: int) -> float:
    """Return how long the device computed in one call; print its `rows` costliest kernels."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        encode()
    kernels = [event for event in seen.key_averages() if event.device_type != torch.autograd.DeviceType.CPU]
    for kernel in sorted(kernels, key=lambda kernel: -kernel.self_device_time_total)[:rows]:
        print(f"<!-- {kernel.self_device_time_total / 1e3:8.2f} ms x{kernel.count:<5} {kernel.key[:70]} -->")
    return float(sum(kernel.self_device_time_total for kernel in kernels)) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="sizes that two processor cores can run")
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS))
    parser.add_argument("--lengths", type=int, nargs="+")
    parser.add_argument("--documents", type=int, help="for ours; the others encode a quarter of them")
    parser.add_argument("--profile", type=int, default=0, metavar="ROWS", help="print our costliest kernels")
    options = parser.parse_args()
    device, cpu = options.device, options.device == "cpu"
    names = options.models or (["tiny"] if options.small else ["minilm", "base"])
    lengths = options.lengths or ([32] if options.small else [128, 256])
    count = options.documents or (256 if options.small else 16_384)
    dtype = torch.float32 if cpu else torch.bfloat16
    sizes = [16, 64] if options.small else [128, 512]
    peak = matrix_peak(device, dtype)
    print(f"{'processor' if cpu else torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {dtype}, ")
    print(f"{os.cpu_count()} processor cores; matrix product peak {peak / 1e12:.3g} TFLOP/s\n")
    print("| model | length | encoder | documents a second | batch | times faster | of peak | terms |")
    print("| --- | --: | --- | --: | --: | --: | --: | --: |")
    vocabulary = words()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder), name, vocabulary, device)
            for length in lengths:
                texts = documents(count, length, vocabulary)
                measure(Path(folder), name, length, texts, sizes, device, dtype, peak, options.profile)


def measure(
    folder: Path,
    name: str,
    length: int,
    texts: list[str],
    sizes: list[int],
    device: str,
    dtype: torch.dtype,
    peak: float,
    profiled: int,
) -> None:
    """Print three rows of the table for one model and length."""
    from sentence_transformers import SparseEncoder

    theirs: Any = SparseEncoder(str(folder), device=device, model_kwargs={"dtype": dtype})
    theirs.max_seq_length = length
    fewer = texts[: len(texts) // 4]

    def encode_sparse(batch: list[str], size: int) -> object:
        return theirs.encode(batch, batch_size=size, show_progress_bar=False)

    def encode_dense(batch: list[str], size: int) -> object:
        return theirs.encode(batch, batch_size=size, show_progress_bar=False, convert_to_sparse_tensor=False)

    first = 0.0
    rows = []
    for label, encode in (("SparseEncoder.encode", encode_sparse), ("the same, dense rows", encode_dense)):
        rate, size = best_rate(encode, fewer, sizes, device)
        first = first or rate
        rows.append((label, rate, size))
    expected = encode_dense(texts[:64], 32)

    loaded: dict[int, LearnedEncoder] = {}

    def encode_ours(batch: list[str], size: int) -> Any:
        if size not in loaded:
            loaded.clear()
            asked = EncoderOptions(
                batch_size=size,
                max_length=length,
                device=device,
                settings={"precision": str(dtype).removeprefix("torch.")},
            )
            loaded[size] = LearnedEncoder.load(str(folder), asked)
        return loaded[size].encode_documents(batch)

    rate, size = best_rate(encode_ours, texts, sizes, device)
    rows.append(("LearnedEncoder", rate, size))
    got = encode_ours(texts[:64], size)
    reference = expected.float().cpu().numpy()  # type: ignore[attr-defined]
    ours = got.toarray()
    cosine = (ours * reference).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(reference, axis=1)
    for label, rate, size in rows:
        share = rate * operations(name, length) / peak
        print(
            f"| {name} | {length} | {label} | {rate:,.0f} | {size} | {rate / first:.2f} | {share:.0%} "
            f"| {got.nnz / 64:.0f} |",
            flush=True,
        )
    print(f"<!-- least cosine of the two encoders' rows: {cosine.min():.4f} -->")
    if device != "cpu":
        busy = 4096 / device_seconds(lambda: encode_ours(texts[:4096], size), profiled)
        share = busy * operations(name, length) / peak
        print(
            f"| {name} | {length} | LearnedEncoder, device alone | {busy:,.0f} | {size} | | {share:.0%} | |"
        )


if __name__ == "__main__":
    main()
