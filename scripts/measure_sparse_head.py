"""The sparse head beside sentence-transformers' SpladePooling: peak memory, time, largest batch.

    python scripts/measure_sparse_head.py [--vocabulary 30522 250002] [--implementations triton chunked]
    python scripts/measure_sparse_head.py --device cpu --small

Every head starts from the same states (texts x length tokens), projects them with the same weight
and bias, and sends the same gradient back to states, weight and bias. ``naive`` is a linear layer
and SpladePooling, in training mode, as a SparseEncoder runs them. Peak memory is what the head
allocates on top of its inputs, gradients of the weights included. With ``many terms`` the bias is
0, as before training, and nearly every term is active; with ``few terms`` the bias leaves about
200 terms a text.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from lsr.composition.sparse_head import sparse_head

Head = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
WIDTH = 768
REPEATS = 9
SMALL_LOGITS = 1 << 17
SMALL = False


def inputs(
    texts: int, length: int, vocabulary: int, terms: int | None, device: str, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random states, weight and bias; the bias such that about `terms` terms a text are active."""
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype)

    states, weight = draw(texts * length, WIDTH), draw(vocabulary, WIDTH).mul_(0.02)
    bias = torch.zeros(vocabulary, device=device, dtype=dtype)
    if terms is not None:
        # From the maxima of one text: the value that `terms` of them exceed.
        with torch.no_grad():
            maxima = torch.cat([(states[:length] @ part.t()).amax(0) for part in weight.split(4096)])
            bias -= maxima.float().topk(min(terms, vocabulary)).values[-1].to(dtype)
    return states, weight, bias


def naive(length: int) -> Head:
    """Return the linear layer and SpladePooling on all logits."""
    try:
        from sentence_transformers.sparse_encoder.modules import SpladePooling
    except ImportError:
        from sentence_transformers.sparse_encoder.models import SpladePooling

    pooling = SpladePooling("max").train()

    def head(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        logits = nn.functional.linear(states, weight, bias).view(-1, length, weight.shape[0])
        mask = torch.ones(logits.shape[:2], dtype=torch.long, device=states.device)
        features = pooling({"token_embeddings": logits, "attention_mask": mask})
        values: torch.Tensor = features["sentence_embedding"]
        return values

    return head


def ours(length: int, implementation: str) -> Head:
    """Return the head of `lsr.composition.sparse_head`."""
    budget = SMALL_LOGITS if SMALL else None

    def head(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        lengths = [length] * (states.shape[0] // length)
        return sparse_head(states, lengths, weight, bias, implementation=implementation, logits_budget=budget)  # type: ignore[arg-type]

    return head


def named_head(name: str, length: int) -> Head:
    return naive(length) if name == "naive" else ours(length, name)


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


class Step:
    """One forward and backward pass, again and again."""

    def __init__(self, head: Head, tensors: tuple[torch.Tensor, ...], texts: int) -> None:
        self.head = head
        self.tensors = [tensor.requires_grad_() for tensor in tensors]
        self.pull = torch.ones(1, 1, device=tensors[0].device).expand(texts, tensors[1].shape[0])

    def forward(self) -> torch.Tensor:
        return self.head(*self.tensors)

    def __call__(self) -> None:
        values = self.forward()
        values.backward(self.pull.to(values.dtype))
        for tensor in self.tensors:
            tensor.grad = None


def milliseconds(step: Callable[[], object], device: str, repeats: int = REPEATS) -> float:
    """Return the median time of one call."""
    for _ in range(3 if device != "cpu" else 1):
        step()
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        step()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def peak_bytes(step: Callable[[], object], device: str) -> int:
    """Return what one call allocates at its peak on top of what is there."""
    if device == "cpu":
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            step()
        held = peak = 0
        for event in record.profiler.kineto_results.events():  # type: ignore[union-attr]
            if event.name() == "[memory]":
                held += event.nbytes()
                peak = max(peak, held)
        return peak
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def matrix_peak(device: str, dtype: torch.dtype) -> float:
    """Return the measured floating-point operations a second of a large matrix product."""
    size = 8192 if device != "cpu" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / (milliseconds(lambda: a @ b, device, 15) * 1e-3)


def largest_batch(name: str, length: int, vocabulary: int, device: str, dtype: torch.dtype) -> int:
    """Return the greatest number of texts (within 5%) whose forward and backward pass fits."""

    def fits(texts: int) -> bool:
        try:
            Step(named_head(name, length), inputs(texts, length, vocabulary, None, device, dtype), texts)()
            torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            return False
        finally:
            gc.collect()
            torch.cuda.empty_cache()
        return True

    low, high = 0, 64
    while fits(high):
        low, high = high, high * 2
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def agreement(names: list[str], tensors: tuple[torch.Tensor, ...], length: int) -> list[str]:
    """Relative distances of values and gradients from the float32 result of ``chunked``."""

    def outcome(name: str, dtype: torch.dtype) -> list[torch.Tensor]:
        copies = [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]
        values = named_head(name, length)(*copies)
        pull = torch.linspace(-1, 1, values.numel(), device=values.device).view_as(values)
        values.backward(pull.to(values.dtype))
        return [values.detach(), *(copy.grad for copy in copies if copy.grad is not None)]

    exact = outcome("chunked", torch.float32)
    lines = []
    for name in names:
        got = outcome(name, tensors[0].dtype)
        parts = [f"{(a.float() - b).norm() / b.norm():.1e}" for a, b in zip(got, exact, strict=True)]
        lines.append(f"- {name}: values {parts[0]}, states {parts[1]}, weight {parts[2]}, bias {parts[3]}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="sizes that two processor cores can run")
    parser.add_argument("--vocabulary", type=int, nargs="+")
    parser.add_argument("--texts", type=int)
    parser.add_argument("--length", type=int)
    parser.add_argument("--implementations", nargs="+")
    parser.add_argument("--largest", action="store_true", help="search the largest batch (CUDA, minutes)")
    options = parser.parse_args()
    global SMALL
    SMALL = options.small
    device, cpu = options.device, options.device == "cpu"
    vocabularies = options.vocabulary or ([2000, 8000] if options.small else [30_522, 250_002])
    texts = options.texts or (4 if options.small else 32)
    length = options.length or (64 if options.small else 256)
    dtype = torch.float32 if cpu else torch.bfloat16
    names = ["naive", *(options.implementations or (["chunked"] if cpu else ["triton", "chunked"]))]
    peak = matrix_peak(device, dtype)
    where = "processor" if cpu else torch.cuda.get_device_name()
    print(f"{where}, PyTorch {torch.__version__}, {texts} texts of {length} tokens, width {WIDTH}, {dtype}; ")
    print(f"matrix product peak {peak / 1e12:.3g} TFLOP/s\n")
    notes: list[str] = []
    print(
        "| vocabulary | terms | head | peak MB | of naive | forward ms | fwd+bwd ms | times faster | of peak |"
    )
    print("| --: | --- | --- | --: | --: | --: | --: | --: | --: |")
    for vocabulary in vocabularies:
        for kind, terms in (("many", None), ("few", 200)):
            base: tuple[int, float] | None = None
            for name in names:
                tensors = inputs(texts, length, vocabulary, terms, device, dtype)
                step = Step(named_head(name, length), tensors, texts)
                step()
                memory = peak_bytes(step, device)
                with torch.no_grad():
                    forward = milliseconds(step.forward, device)
                both = milliseconds(step, device)
                base = base or (memory, both)
                share = 2 * texts * length * vocabulary * WIDTH / (forward * 1e-3) / peak
                print(
                    f"| {vocabulary:,} | {kind} | {name} | {memory / 1e6:,.0f} | {memory / base[0]:.3f} "
                    f"| {forward:.2f} | {both:.2f} | {base[1] / both:.2f} | {share:.0%} |",
                    flush=True,
                )
                del step, tensors
                gc.collect()
                if not cpu:
                    torch.cuda.empty_cache()
            if vocabulary == vocabularies[0]:
                tensors = inputs(texts, length, vocabulary, terms, device, dtype)
                notes += [f"{kind} terms:", *agreement(names, tensors, length)]
                del tensors
    print("\n`of peak`: the forward pass's matrix product over the measured peak.")
    print("Relative distance from the result in float32 arithmetic:\n" + "\n".join(notes))
    if options.largest and not cpu:
        print("\n| vocabulary | head | largest batch | times naive |\n| --: | --- | --: | --: |")
        for vocabulary in vocabularies:
            first = 0
            for name in names[:2]:
                batch = largest_batch(name, length, vocabulary, device, dtype)
                first = first or batch
                print(f"| {vocabulary:,} | {name} | {batch:,} | {batch / first:.1f} |", flush=True)
    if cpu:
        print(f"\nresident at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
