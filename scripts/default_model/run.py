"""One training run: reconstruction of the text, then distillation, then judgement."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional

from lsr.composition.sparse_head import sparse_head

from .batches import QueriesOf, TopicBatches, cluster
from .dense import Texts
from .inputs import Ragged
from .judge import Collection, HeldOut, encode, judge, ndcg, own_pieces_idf, prune
from .lexical import Lexical
from .settings import Settings
from .student import Student, bags

SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_SPECIAL_IDS = list(SPECIAL.values())
_HELD_OUT_SOURCES = (
    "pycode", "docstrings", "onstartups_qa", "medquad", "pubmed_title_abstract", "squad_sentences",
    "manpages", "debian", "law_dc_code",
)  # fmt: skip


class Run:
    """What a run works with: inputs on the device, teachers, a student and a log."""

    def __init__(self, inputs: Path, backbone: Path, output: Path, settings: Settings) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(settings.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        # It builds a plan for every new shape, and batches of texts have many.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.inputs, self.backbone, self.output, self.settings = inputs, backbone, output, settings
        output.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        self._load()

    def say(self, **values: Any) -> None:
        """Write a line to the log and to the screen."""
        line = json.dumps({"at": round(time.monotonic() - self.began, 1), **values})
        print(line, flush=True)
        with (self.output / "log.jsonl").open("a") as log:
            log.write(line + "\n")

    def _load(self) -> None:
        device, folder = self.device, self.inputs

        def array(name: str) -> torch.Tensor:
            return torch.from_numpy(np.load(folder / f"{name}.npy")).to(device)

        self.sources: list[str] = json.loads((folder / "sources.json").read_text())
        self.stem_count: int = json.loads((folder / "stems.json").read_text())
        self.documents = Texts(Ragged.load(folder, "train.documents.bert"), device)
        self.queries = Texts(Ragged.load(folder, "train.queries.bert"), device)
        self.query_document = array("query_document").long()
        self.query_kind = array("query_kind")
        self.held_out = array("document_held_out")
        self.document_source = array("document_source").long()
        self.lexical = Lexical(folder, "train", self.stem_count, device)
        self.dense: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for path in sorted(folder.glob("train.documents.*.dense.npy")):
            name = path.name.split(".")[2]
            self.dense[name] = (
                array(f"train.documents.{name}.dense"),
                array(f"train.queries.{name}.dense"),
            )
        self.vocabulary = 30_522
        self.idf = own_pieces_idf(self.documents, self.vocabulary, _SPECIAL_IDS)
        settings = self.settings
        sizes = torch.bincount(self.document_source, minlength=len(self.sources)).float()
        by_source = torch.tensor(
            [settings.source_weights.get(name, 1.0) for name in self.sources], device=device
        ) * sizes.clamp(min=1).pow(settings.source_power)
        weights = by_source[self.document_source] * ~self.held_out
        main = self.dense["minilm"][0]
        clusters = cluster(main, max(2, len(main) // 300), 6, settings.seed)
        self.batches = TopicBatches(clusters, weights, settings.topics, settings.seed)
        real = self.query_kind == 0
        self.real = QueriesOf(
            torch.where(real, self.query_document, len(self.documents)), len(self.documents) + 1
        )
        self.made = QueriesOf(
            torch.where(real, len(self.documents), self.query_document), len(self.documents) + 1
        )
        for queries in (self.real, self.made):
            queries.counts[len(self.documents)] = 0
        self.say(documents=len(self.documents), queries=len(self.queries), teachers=sorted(self.dense))
        self.kept = self._kept_rows()
        layers = self.settings.layers
        self.student = Student(self.backbone, layers, self.kept.cpu(), _SPECIAL_IDS).to(device)
        if settings.start:
            self.student.load_state_dict(torch.load(settings.start, map_location=device))

    def _kept_rows(self) -> torch.Tensor:
        rows = self.settings.rows
        if not rows:
            return torch.arange(self.vocabulary, device=self.device)
        counts = torch.bincount(self.documents.values.long(), minlength=self.vocabulary)
        counts += 3 * torch.bincount(self.queries.values.long(), minlength=self.vocabulary)
        counts[_SPECIAL_IDS] = 0
        return counts.topk(rows).indices.sort().values

    # Teachers

    def teacher_parts(self, queries: torch.Tensor, documents: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each teacher's scores, float32, shape (queries, documents)."""
        parts = {"bm25": self.lexical.scores(queries, documents)}
        for name, (of_documents, of_queries) in self.dense.items():
            parts[name] = (of_queries[queries] @ of_documents[documents].T).float()
        return parts

    def teacher(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        """Return the teachers' joint logits, shape (queries, documents)."""
        total = None
        for name, part in self.teacher_parts(queries, documents).items():
            if self.weights.get(name):
                scaled = part * self.weights[name]
                total = scaled if total is None else total + scaled
        assert total is not None
        return total * self.settings.teacher_scale

    def fit_teacher(self, steps: int = 300) -> None:
        """Find the teachers' weights under which the positives are most likely (softmax regression)."""
        names = ["bm25", *self.dense]
        if self.settings.teachers:
            self.weights = dict(self.settings.teachers)
            return
        logs = torch.tensor([-1.5] + [2.5] * len(self.dense), device=self.device, requires_grad=True)
        optimiser = torch.optim.Adam([logs], lr=0.05)
        for _ in range(steps):
            documents = self.batches.draw(512)
            queries = self.real.draw(documents, self.batches.generator)
            with torch.no_grad():
                parts = self.teacher_parts(queries, documents)
            total = sum(parts[name] * logs[i].exp() for i, name in enumerate(names))
            assert isinstance(total, torch.Tensor)
            loss = functional.cross_entropy(total, torch.arange(len(documents), device=self.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        self.weights = {name: logs[i].exp().item() for i, name in enumerate(names)}
        self.say(
            teacher_weights={k: round(v, 3) for k, v in self.weights.items()}, loss=round(loss.item(), 4)
        )

    # Training

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _optimiser(self, rate: float) -> torch.optim.AdamW:
        settings = self.settings
        groups: list[dict[str, Any]] = [{"params": [], "weight_decay": settings.weight_decay, "share": 1.0}]
        groups.append({"params": [], "weight_decay": 0.0, "share": 1.0})
        groups.append({"params": [], "weight_decay": 0.0, "share": settings.factor_rate / settings.rate})
        for name, value in self.student.named_parameters():
            own = name in ("log_factor", "log_scale")
            groups[2 if own else (0 if value.dim() > 1 else 1)]["params"].append(value)
        return torch.optim.AdamW(groups, lr=rate, fused=self.device.type == "cuda", betas=(0.9, 0.98))

    def _step(self, optimiser: torch.optim.AdamW, rate: float, loss: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["share"]
        optimiser.step()

    def reconstruct(self) -> None:
        """Teach the head to name the tokens of a text, 30 % of them masked (BERT, arXiv 1810.04805)."""
        settings = self.settings
        optimiser = self._optimiser(settings.reconstruct_rate)
        began, step = time.monotonic(), 0
        model = self.student.model
        while (share := (time.monotonic() - began) / max(settings.reconstruct_seconds, 1e-9)) < 1:
            rows = self.batches.draw(settings.reconstruct_batch)
            order = torch.argsort(self.documents.lengths[rows])
            total = torch.zeros((), device=self.device)
            for part in order.chunk(settings.pieces):
                tokens, mask = self.documents.padded(rows[part], limit=settings.limit)
                inside = mask & (tokens != SPECIAL["[CLS]"]) & (tokens != SPECIAL["[SEP]"])
                chance = torch.rand(tokens.shape, device=self.device)
                hidden = inside & (chance < 0.3)
                told = hidden | (inside & (chance > 0.92))
                given = torch.where(hidden, SPECIAL["[MASK]"], tokens)
                with self._autocast():
                    states = self.student.states(given, mask)[told]
                    weight = model.bert.embeddings.word_embeddings.weight
                    logits = states @ weight.T + model.cls.predictions.bias
                loss = functional.cross_entropy(logits.float(), tokens[told])
                total = total + loss / settings.pieces
            warm = min(1.0, (step + 1) / 100)
            self._step(optimiser, settings.reconstruct_rate * warm * (1 - share), total)
            step += 1
            if step % 100 == 0:
                self.say(stage="reconstruct", step=step, loss=round(float(total), 3))
        self.say(stage="reconstruct", steps=step)

    def calibrate(self, terms: int = 500) -> None:
        """Shift the head's bias so that documents start with about `terms` terms."""
        bias = self.student.model.cls.predictions.bias
        rows = self.batches.draw(256)
        with torch.inference_mode(), self._autocast():
            tokens, mask = self.documents.padded(rows, limit=self.settings.limit)
            states = self.student.states(tokens, mask)[mask]
            weight = self.student.model.bert.embeddings.word_embeddings.weight
            # Above 0 everywhere, so that relu keeps the order of all logits.
            highest = sparse_head(states, mask.sum(1), weight, bias + 100, activation="relu")
        level = highest.topk(terms, dim=1).values[:, -1].mean() - 100
        with torch.no_grad():
            bias.sub_(level.clone())
        self.say(stage="calibrate", level=round(float(level), 3))

    def distil(self) -> None:
        """Follow the teachers' joint ranking of each batch; see `Settings`."""
        settings = self.settings
        optimiser = self._optimiser(settings.rate)
        average = copy.deepcopy(self.student).requires_grad_(False)
        penalty = 1 / (self.idf + 0.3)
        with torch.no_grad():
            self.student.log_scale.fill_(float(np.log(0.3)))
        began, step, seen = time.monotonic(), 0, 0
        mean_logs: dict[str, float] = {}
        while (share := (time.monotonic() - began) / settings.seconds) < 1:
            drawn = self.batches.draw(int(settings.batch * (1 + settings.neighbours)))
            drawn = drawn[torch.randperm(len(drawn), device=drawn.device)]
            documents, beside = drawn[: settings.batch], drawn[settings.batch :]
            real = self.real.draw(documents, self.batches.generator)
            others = [self.made.draw(documents, self.batches.generator) for _ in range(settings.made)]
            if len(beside):
                others.append(self.real.draw(beside, self.batches.generator))
            more = torch.cat(others) if others else real[:0]
            queries = torch.cat([real, more[more >= 0]])
            with torch.no_grad():
                wanted = self.teacher(queries, documents)
            with self._autocast():
                weights = self.student.documents(self.documents, documents, settings.pieces, settings.limit)
            active = (weights.detach() > 0).sum(1).float().mean()
            if share >= settings.keep_from:
                weights = prune(weights, settings.keep)
            asked = bags(self.queries, queries, self.student.query_weights(self.idf), _SPECIAL_IDS)
            scores = (asked @ weights.T) * self.student.log_scale.exp()
            matters = torch.full((len(queries),), settings.made_weight, device=self.device)
            matters[: len(real)] = 1
            each = functional.kl_div(
                scores.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="none"
            )
            ranking = (each.sum(1) * matters).sum() / matters.sum()
            loss = ranking
            contrast = torch.zeros((), device=self.device)
            if settings.contrast:
                own = wanted[: len(real)].diagonal().unsqueeze(1)
                rival = wanted[: len(real)] > own - settings.margin * own.abs()
                rival.fill_diagonal_(False)
                masked = scores[: len(real)].masked_fill(rival, -torch.inf)
                contrast = functional.cross_entropy(masked, torch.arange(len(real), device=self.device))
                loss = loss + settings.contrast * contrast
            flops = (weights.mean(0).square() * penalty).sum()
            strength = settings.sparsity * min(1.0, share / settings.ramp) ** 2
            loss = loss + strength * flops
            warm = min(1.0, share / settings.warmup) if settings.warmup else 1.0
            self._step(optimiser, settings.rate * warm * max(0.02, 1 - share), loss)
            with torch.no_grad():
                keep = min(settings.average, (step + 1) / (step + 10))
                for slow, fast in zip(average.parameters(), self.student.parameters(), strict=True):
                    slow.lerp_(fast, 1 - keep)
            step, seen = step + 1, seen + len(documents)
            if step % 1000 == 0:
                torch.save(average.state_dict(), self.output / "average.pt")
            if step % 100 == 0:
                mean_logs = {
                    "kl": round(float(ranking), 4), "contrast": round(float(contrast), 4),
                    "flops": round(float(flops), 3), "terms": round(float(active), 1),
                    "scale": round(float(self.student.log_scale.exp()), 3),
                }  # fmt: skip
                self.say(stage="distil", step=step, share=round(share, 3), documents=seen, **mean_logs)
        self.student = average
        self.say(stage="distil", steps=step, documents=seen)

    # Judgement

    def held_out_sets(self) -> list[HeldOut]:
        """Return up to 400 held-out queries a source among up to 6,000 of its documents."""
        sets = []
        for name in _HELD_OUT_SOURCES:
            if name not in self.sources:
                continue
            of_source = self.document_source == self.sources.index(name)
            apart = torch.nonzero(of_source & self.held_out).flatten()
            others = torch.nonzero(of_source & ~self.held_out).flatten()
            documents = torch.cat([apart, others])[:6000]
            place = torch.full((len(self.documents),), -1, device=self.device)
            place[documents] = torch.arange(len(documents), device=self.device)
            mine = self.held_out[self.query_document] & of_source[self.query_document]
            queries = torch.nonzero(mine & (self.query_kind == 0)).flatten()[:400]
            if len(queries):
                sets.append(HeldOut(name, documents, queries, place[self.query_document[queries]]))
        return sets

    def judge_held_out(self) -> dict[str, float]:
        """Return MRR@10 a source for the student."""
        found = {}
        with torch.inference_mode():
            table = self.student.query_weights(self.idf)
            for each in self.held_out_sets():
                texts = _subset(self.documents, each.documents)
                weights = encode(self.student, texts, keep=128).float()
                scores = bags(self.queries, each.queries, table, _SPECIAL_IDS) @ weights.T
                found[each.name] = round(each.reciprocal_rank(scores), 4)
        return found

    def judge_teachers(self) -> None:
        """Log each teacher's MRR@10 on held-out pairs."""
        with torch.inference_mode():
            for each in self.held_out_sets():
                parts = self.teacher_parts(each.queries, each.documents)
                parts["joint"] = self.teacher(each.queries, each.documents)
                ranks = {name: round(each.reciprocal_rank(part), 3) for name, part in parts.items()}
                self.say(held_out=each.name, queries=len(each.queries), **ranks)

    def judge_collections(self, names: list[str]) -> None:
        """Log nDCG@10 of the student on test collections."""
        for name in names:
            collection = Collection.load(self.inputs, name, "bert", self.stem_count, self.device)
            self.say(collection=name, **judge(self.student, collection, self.idf, _SPECIAL_IDS))

    def judge_teachers_on(self, names: list[str]) -> None:
        """Log nDCG@10 of the teachers on test collections whose dense embeddings are there."""
        for name in names:
            collection = Collection.load(self.inputs, name, "bert", self.stem_count, self.device)
            every = torch.arange(len(collection.queries), device=self.device)
            rows = torch.arange(len(collection.documents), device=self.device)
            parts = {"bm25": torch.cat([collection.lexical.scores(q, rows) for q in every.split(512)])}
            for teacher in self.dense:
                both = [
                    torch.from_numpy(np.load(self.inputs / f"{name}.{part}.{teacher}.dense.npy")).to(
                        self.device
                    )
                    for part in ("queries", "documents")
                ]
                parts[teacher] = (both[0] @ both[1].T).float()
            parts["joint"] = sum(parts[key] * weight for key, weight in self.weights.items())  # type: ignore[assignment]
            self.say(
                teachers_on=name,
                **{key: round(ndcg(part, collection.judged), 4) for key, part in parts.items()},
            )

    def save(self) -> None:
        """Write the student: its state for going on, and a folder that lsr and transformers read."""
        torch.save(self.student.state_dict(), self.output / "state.pt")
        folder = self.output / "model"
        self.student.model.half().save_pretrained(folder)
        shutil.copy(self.inputs / "tokenizer.json", folder)
        pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
        idf = {pieces.id_to_token(number): round(value, 4) for number, value in enumerate(self.idf.tolist())}
        (folder / "idf.json").write_text(json.dumps(idf, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "log_factor.npy", self.student.log_factor.detach().cpu().numpy())
        np.save(folder / "kept.npy", self.kept.cpu().numpy())
        described = dataclasses.asdict(self.settings) | {"fitted": getattr(self, "weights", {})}
        (folder / "run.json").write_text(json.dumps(described, indent=1))

    def whole(self, everything: bool) -> None:
        """Train, judge and save."""
        self.fit_teacher()
        if everything:
            self.judge_teachers()
            self.judge_teachers_on(self.settings.judged)
        if not self.settings.start:
            self.reconstruct()
            self.calibrate()
            torch.save(self.student.state_dict(), self.output / "reconstructed.pt")
        self.distil()
        held_out = self.judge_held_out()
        self.say(held_out_mean=round(float(np.mean(list(held_out.values()))), 4), **held_out)
        self.judge_collections(self.settings.judged)
        self.save()
        self.say(done=True)


def _subset(texts: Texts, rows: torch.Tensor) -> Texts:
    tokens, mask = texts.padded(rows)
    lengths = texts.lengths[rows]
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths.cpu().numpy(), out=starts[1:])
    return Texts(Ragged(tokens[mask].cpu().numpy(), starts), texts.values.device)
