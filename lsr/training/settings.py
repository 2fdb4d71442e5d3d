"""What a training run is told, as records that a YAML file fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from lsr.errors import UserError
from lsr.training.self_supervised import PairKind


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """One source of training pairs: `path` with pairs, or `corpus` with raw text to make pairs of.

    `path`: a JSON Lines file, a folder or a pattern. `corpus`: anything that ``lsr index`` reads;
    `pairs` says how pairs are made of it, `pairs_per_document` how many with ``inverse-cloze``.
    `weight` multiplies how often the source's pairs are drawn (1: as often as any other pair);
    `limit` takes the first pairs alone. Each file of a folder or pattern is a source by itself.
    """

    path: str | None = None
    corpus: str | None = None
    pairs: PairKind = "inverse-cloze"
    pairs_per_document: int = 1
    weight: float = 1.0
    limit: int | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.corpus is None):
            raise UserError(
                "data.sources: each source names a path (pairs) or a corpus (raw text), one of the two."
            )
        if not self.weight > 0:
            raise UserError(
                f"data.sources: weight is {self.weight}; it must be above 0 (or leave the source out)."
            )
        if self.limit is not None and self.limit < 1:
            raise UserError(f"data.sources: limit is {self.limit}; it must be at least 1.")


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Where pairs come from and how batches are made of them.

    `batches`: ``mixed`` draws every pair by itself, ``one-source`` fills a batch from one source, whose
    pairs are harder to tell apart. `negatives`: how many of a pair's hard negatives enter a batch,
    drawn anew at each visit where it has more. `max_characters` cuts texts before tokenizing:
    nothing past an encoder's length counts, and a book would still be tokenized whole.
    """

    sources: tuple[SourceSettings, ...] = ()
    batches: Literal["mixed", "one-source"] = "mixed"
    negatives: int = 7
    max_characters: int = 10_000

    def __post_init__(self) -> None:
        if self.negatives < 0:
            raise UserError(f"data.negatives is {self.negatives}; it must be 0 or more.")
        if self.max_characters < 1:
            raise UserError(f"data.max_characters is {self.max_characters}; it must be at least 1.")


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """One teacher in the loop.

    `kind`: ``dense`` (a sentence-transformers model), ``sparse`` (an encoder that lsr loads),
    ``bm25`` (statistics of the training documents) or ``cross-encoder``. `model`: a folder or a
    Hugging Face id, for all but ``bm25``. `weight`: its share of the ensemble's mean.
    `max_length`: tokens that it reads, its own limit unless given.
    """

    kind: Literal["dense", "sparse", "bm25", "cross-encoder"]
    model: str = ""
    weight: float = 1.0
    max_length: int | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        if bool(self.model) == (self.kind == "bm25"):
            wanted = (
                "takes no model" if self.kind == "bm25" else "needs a model, a folder or a Hugging Face id"
            )
            raise UserError(f"teachers: {self.kind} {wanted}.")
        if not self.weight > 0:
            raise UserError(f"teachers: weight is {self.weight}; it must be above 0.")


@dataclass(frozen=True, slots=True)
class DistillationSettings:
    """How several teachers become one.

    `score`: ``in-batch`` scores every document of a batch for every query, ``candidates`` a query's own
    positive and negatives alone (what a cross-encoder can afford). `normalise`: ``min-max`` brings each
    teacher to 0..1 for each query before the mean (OpenSearch's ensemble), ``none`` leaves scores
    alone. `scale` multiplies the mean.
    """

    score: Literal["in-batch", "candidates"] = "in-batch"
    normalise: Literal["min-max", "none"] = "min-max"
    scale: float = 30.0


@dataclass(frozen=True, slots=True)
class IdfSettings:
    """What the IDF of an inference-free query side is counted on.

    `source`: ``training`` documents, a ``corpus`` (`corpus` names it), or ``model`` to keep what the
    model has. `documents`: at most so many are counted.
    """

    source: Literal["training", "corpus", "model"] = "training"
    corpus: str = ""
    documents: int = 1_000_000

    def __post_init__(self) -> None:
        if (self.source == "corpus") != bool(self.corpus):
            raise UserError("idf: name a corpus with source: corpus, and only then.")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The run itself.

    `steps` optimizer steps, or as many as `epochs` passes over the pairs take. `batch_size`: queries
    in a batch over all processes, each another's in-batch negatives. `accumulation`: batches summed
    into a step. `cache_chunk`: texts a forward pass with gradients holds; 0 holds the whole batch,
    anything else turns gradient caching on. `learning_rates`: other rates for the parameters whose
    name holds the key. `warmup`: steps, or a share of them below 1. `checkpoint_every` steps a
    checkpoint is written (0: none), of which the last `keep_checkpoints` stay. `dev`: a BEIR folder or
    ir_datasets id that is searched every `checkpoint_every` steps; training stops after `patience`
    times without a better nDCG@10, and the best checkpoint is the result. `start_terms`: where above 0, the
    head starts with output biases that give a document so many terms; see `lsr.training.calibration`.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 32
    accumulation: int = 1
    cache_chunk: int = 0
    learning_rate: float = 2e-5
    learning_rates: dict[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    warmup: float = 0.06
    decay: Literal["linear", "cosine", "constant"] = "linear"
    max_gradient_norm: float = 1.0
    bf16: bool = False
    seed: int = 42
    device: Literal["auto", "cpu"] = "auto"
    log_every: int = 20
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    dev: str = ""
    dev_split: str | None = None
    patience: int = 3
    check_initialisation: bool = True
    start_terms: int = 0
    loader_workers: int = 0

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise UserError("training: set steps or epochs, one of the two.")
        for name, least in (("batch_size", 1), ("accumulation", 1), ("log_every", 1), ("patience", 1)):
            if getattr(self, name) < least:
                raise UserError(f"training.{name} is {getattr(self, name)}; it must be at least {least}.")
        if (self.steps is not None and self.steps < 1) or (self.epochs is not None and not self.epochs > 0):
            raise UserError("training: steps and epochs must be above 0.")
        for name in (
            "cache_chunk",
            "checkpoint_every",
            "start_terms",
            "warmup",
            "weight_decay",
            "loader_workers",
        ):
            if getattr(self, name) < 0:
                raise UserError(f"training.{name} is {getattr(self, name)}; it must be 0 or more.")
        if self.dev and not self.checkpoint_every:
            raise UserError("training.dev is searched at checkpoints; set training.checkpoint_every, too.")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole configuration. `model` and `losses` are read by their own builders."""

    model: dict[str, Any]
    losses: dict[str, Any]
    data: DataSettings
    training: TrainingSettings
    teachers: tuple[TeacherSettings, ...] = ()
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    idf: IdfSettings = field(default_factory=IdfSettings)
