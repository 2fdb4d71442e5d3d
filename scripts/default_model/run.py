"""One training run: reconstruction of the text, then distillation, then judgement."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
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
from .judge import LEXICAL, Collection, HeldOut, encode, judge, ndcg, prune
from .lexical import Words
from .settings import Settings
from .statistics import idf_tables, own_terms_by_group, stems_by_group
from .student import Student, Vocabulary, asked_terms
from .teachers import Teachers
from .workers import Workers

SPECIAL = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_SPECIAL_IDS = list(SPECIAL.values())
_HELD_OUT_SOURCES = (
    "pycode", "docstrings", "onstartups_qa", "medquad", "pubmed_title_abstract", "squad_sentences",
    "manpages", "debian", "law_dc_code",
)  # fmt: skip
# Steps whose parts are timed.
_TIMED = range(60, 110)


class Run:
    """What a run works with: inputs on the device, teachers, a student and a log."""

    def __init__(self, inputs: Path, backbone: Path, output: Path, settings: Settings) -> None:
        self.workers = Workers()
        self.device = self.workers.device
        torch.manual_seed(settings.seed + 1000 * self.workers.number)
        torch.backends.cuda.matmul.allow_tf32 = True
        # It builds a plan for every new shape, and batches of texts have many.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.inputs, self.backbone, self.output, self.settings = inputs, backbone, output, settings
        output.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        self._times: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
        self._timing = False
        self._load()

    def say(self, **values: Any) -> None:
        """Write a line to the log and to the screen."""
        if not self.workers.first:
            return
        line = json.dumps({"at": round(time.monotonic() - self.began, 1), **values})
        print(line, flush=True)
        with (self.output / "log.jsonl").open("a") as log:
            log.write(line + "\n")

    def _array(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.load(self.inputs / f"{name}.npy")).to(self.device)

    def _load(self) -> None:
        device, folder, settings = self.device, self.inputs, self.settings
        self.sources: list[str] = json.loads((folder / "sources.json").read_text())
        self.documents = Texts(Ragged.load(folder, "train.documents.bert"), device)
        self.queries = Texts(Ragged.load(folder, "train.queries.bert"), device)
        self.query_document = self._array("query_document").long()
        self.query_kind = self._array("query_kind")
        self.held_out = self._array("document_held_out")
        self.document_source = self._array("document_source").long()
        self.words = Words(folder, "train", device)
        self.teachers = Teachers(folder, self.words, device)
        term_of = self._array("term_of_piece").long()
        kept = self._kept_terms(term_of)
        known = Vocabulary(term_of, self._array("content_pieces"), kept, _SPECIAL_IDS).to(device)
        sizes = torch.bincount(self.document_source, minlength=len(self.sources))
        of_sources = own_terms_by_group(
            self.documents, self.words, known, self.document_source, len(self.sources)
        )
        whole = sizes.cpu().numpy()
        self.idf = idf_tables(of_sources, whole, device).masked_fill(known.special, 0)
        group = self.document_source.cpu().numpy()
        self.stem_idf = idf_tables(stems_by_group(self.words, group, len(self.sources)), whole, device)
        by_source = torch.tensor(
            [settings.source_weights.get(name, 1.0) for name in self.sources], device=device
        ) * sizes.float().clamp(min=1).pow(settings.source_power)
        weights = by_source[self.document_source] * ~self.held_out
        main = self.teachers.dense["minilm"][0]
        clusters = cluster(main, max(2, len(main) // 300), 6, settings.seed)
        self.batches = TopicBatches(
            clusters, weights, settings.topics, settings.seed + 1000 * self.workers.number
        )
        real = self.query_kind == 0
        nowhere = len(self.documents)
        self.real = QueriesOf(torch.where(real, self.query_document, nowhere), nowhere + 1)
        self.made = QueriesOf(torch.where(real, nowhere, self.query_document), nowhere + 1)
        for queries in (self.real, self.made):
            queries.counts[nowhere] = 0
        self.student = Student(
            self.backbone,
            settings.layers,
            known,
            len(self.sources) + 1,
            compiled=settings.compiled and device.type == "cuda",
        ).to(device)
        self.say(
            documents=len(self.documents), queries=len(self.queries), terms=known.size, rows=len(kept),
            teachers=sorted(self.teachers.dense), workers=self.workers.count,
        )  # fmt: skip

    def _kept_terms(self, term_of: torch.Tensor) -> torch.Tensor:
        """Return the most frequent terms of texts and queries, words and their parts, ascending."""
        pieces = len(term_of)
        counts = torch.bincount(term_of[self.documents.values.long()], minlength=pieces).float()
        counts += 3 * torch.bincount(term_of[self.queries.values.long()], minlength=pieces)
        # Punctuation and special tokens mean nothing as expansions.
        counts[~self._array("content_pieces")] = 0
        counts[_SPECIAL_IDS] = 0
        return counts.topk(min(self.settings.rows, pieces)).indices.sort().values

    # Queries and what they are weighed by

    def tables_of(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the row of the IDF tables for each query: its source's, or everything's."""
        source = self.document_source[self.query_document[queries]]
        own = torch.rand(len(queries), device=self.device) < self.settings.own_statistics
        return torch.where(own, source, len(self.sources))

    # Training

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        if not self._timing or self.device.type != "cuda":
            yield
            return
        both = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        both[0].record()
        yield
        both[1].record()
        self._times[name].append((both[0], both[1]))

    def _optimiser(self, rate: float) -> torch.optim.AdamW:
        settings = self.settings
        groups: list[dict[str, Any]] = [{"params": [], "weight_decay": settings.weight_decay, "share": 1.0}]
        groups.append({"params": [], "weight_decay": 0.0, "share": 1.0})
        groups.append({"params": [], "weight_decay": 0.0, "share": settings.factor_rate / settings.rate})
        for name, value in self.student.named_parameters():
            groups[2 if name == "log_scales" else (0 if value.dim() > 1 else 1)]["params"].append(value)
        return torch.optim.AdamW(groups, lr=rate, fused=self.device.type == "cuda", betas=(0.9, 0.98))

    def _step(self, optimiser: torch.optim.AdamW, rate: float, loss: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        with self._timed("backward"):
            loss.backward()
        with self._timed("optimiser"):
            self.workers.average_gradients(self.student.parameters())
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
        seconds = max(settings.reconstruct_seconds, 1e-9)
        while (share := self.workers.agree((time.monotonic() - began) / seconds)) < 1:
            rows = self.batches.draw(settings.reconstruct_batch)
            packed = self.documents.packed(rows, settings.limit)
            tokens = packed.tokens
            inside = (tokens != SPECIAL["[CLS]"]) & (tokens != SPECIAL["[SEP]"])
            chance = torch.rand(tokens.shape, device=self.device)
            hidden = inside & (chance < 0.3)
            told = (hidden | (inside & (chance > 0.92))).nonzero().flatten()
            given = torch.where(hidden, SPECIAL["[MASK]"], tokens)
            with self._autocast():
                states = self.student.states(packed._replace(tokens=given))[told]
                weight = model.bert.embeddings.word_embeddings.weight
                logits = states @ weight.T + model.cls.predictions.bias
            loss = functional.cross_entropy(logits.float(), tokens[told])
            warm = min(1.0, (step + 1) / 100)
            self._step(optimiser, settings.reconstruct_rate * warm * (1 - share), loss)
            step += 1
            if step % 100 == 0:
                self.say(stage="reconstruct", step=step, loss=round(float(loss), 3))
        self.say(stage="reconstruct", steps=step)

    def check_packed(self) -> None:
        """Compare the packed forward pass with transformers' own on a few texts; stop where they differ."""
        rows = self.batches.draw(64)
        packed = self.documents.packed(rows, self.settings.limit)
        tokens, mask = self.documents.padded(rows, limit=self.settings.limit)
        model = self.student.model
        with torch.inference_mode(), self._autocast():
            found = self.student.states(packed)
            plain = model.bert(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
            expected = model.cls.predictions.transform(plain)[packed.owners, packed.places]
        cosine = functional.cosine_similarity(found.float(), expected.float())
        self.say(packed_cosine=[round(float(cosine.min()), 5), round(float(cosine.mean()), 6)])
        if float(cosine.mean()) < 0.999:
            raise SystemExit("the packed forward pass is not the model's")

    def calibrate(self) -> None:
        """Shift the head's bias so that documents start with about `start_terms` terms."""
        bias = self.student.model.cls.predictions.bias
        known = self.student.vocabulary
        packed = self.documents.packed(self.batches.draw(256), self.settings.limit)
        with torch.inference_mode(), self._autocast():
            pooled = known.content[packed.tokens]
            lengths = torch.bincount(packed.owners[pooled], minlength=packed.count)
            weight = self.student.model.bert.embeddings.word_embeddings.weight[known.kept]
            # Above 0 everywhere, so that relu keeps the order of all logits.
            raised = bias[known.kept] + 100
            states = self.student.states(packed)[pooled]
            highest = sparse_head(states, lengths, weight, raised, activation="relu")
        level = highest.topk(self.settings.start_terms, dim=1).values[:, -1].mean() - 100
        level = self.workers.agree(float(level))
        with torch.no_grad():
            bias.sub_(level)
        self.say(stage="calibrate", level=round(level, 3))

    def _drawn(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return documents, queries, and how many of these are the documents' own, in their order."""
        settings = self.settings
        drawn = self.batches.draw(int(settings.batch * (1 + settings.neighbours)))
        drawn = drawn[torch.randperm(len(drawn), device=drawn.device)]
        documents, beside = drawn[: settings.batch], drawn[settings.batch :]
        real = self.real.draw(documents, self.batches.generator)
        others = [self.made.draw(documents, self.batches.generator) for _ in range(settings.made)]
        if len(beside):
            others.append(self.real.draw(beside, self.batches.generator))
        more = torch.cat(others) if others else real[:0]
        return documents, torch.cat([real, more[more >= 0]]), len(real)

    def distil(self) -> None:
        """Follow the teachers' joint ranking of each batch; see `Settings`."""
        settings, student, known = self.settings, self.student, self.student.vocabulary
        optimiser = self._optimiser(settings.rate)
        average = copy.deepcopy(student).requires_grad_(False)
        penalty = 1 / (self.idf[-1] + 0.3)
        began, step, seen = time.monotonic(), 0, 0
        while (share := self.workers.agree((time.monotonic() - began) / settings.seconds)) < 1:
            self._timing = step in _TIMED
            with self._timed("teachers"), torch.no_grad():
                documents, queries, real = self._drawn()
                table_of = self.tables_of(queries)
                parts = self.teachers.parts(queries, documents, self.stem_idf, table_of)
                wanted = self.teachers.joint(parts)
                asked = asked_terms(self.queries, self.words, queries, known) * self.idf[table_of]
            with self._timed("documents"), self._autocast():
                weights = student.documents(self.documents, documents, settings.pieces, settings.limit)
            with self._timed("loss"):
                active = (weights.detach() > 0).sum(1).float().mean()
                if share >= settings.keep_from:
                    weights = prune(weights, settings.keep)
                scores = asked @ weights.T
                scores = scores * student.log_scales.exp()[table_of].unsqueeze(1)
                matters = torch.full((len(queries),), settings.made_weight, device=self.device)
                matters[:real] = 1
                each = functional.kl_div(
                    scores.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="none"
                )
                ranking = (each.sum(1) * matters).sum() / matters.sum()
                loss = ranking
                contrast = torch.zeros((), device=self.device)
                if settings.contrast:
                    mine = wanted[:real].diagonal().unsqueeze(1)
                    rival = wanted[:real] > mine - settings.margin * mine.abs()
                    rival.fill_diagonal_(False)
                    masked = scores[:real].masked_fill(rival, -torch.inf)
                    contrast = functional.cross_entropy(masked, torch.arange(real, device=self.device))
                    loss = loss + settings.contrast * contrast
                flops = (weights.mean(0).square() * penalty).sum()
                strength = settings.sparsity * min(1.0, share / settings.ramp) ** 2
                loss = loss + strength * flops
            warm = min(1.0, share / settings.warmup) if settings.warmup else 1.0
            self._step(optimiser, settings.rate * warm * max(0.02, 1 - share), loss)
            with torch.no_grad(), self._timed("average"):
                keep = min(settings.average, (step + 1) / (step + 10))
                torch._foreach_lerp_(list(average.parameters()), list(student.parameters()), 1 - keep)
            step, seen = step + 1, seen + len(documents) * self.workers.count
            if step == _TIMED.stop:
                self._say_times()
            if step % 2000 == 0 and self.workers.first:
                torch.save(average.state_dict(), self.output / "average.pt")
            if step % 200 == 0:
                self.say(
                    stage="distil", step=step, share=round(share, 3), documents=seen,
                    kl=round(float(ranking), 4), contrast=round(float(contrast), 4),
                    flops=round(float(flops), 3), terms=round(float(active), 1),
                    scale=round(float(student.log_scales[-1].exp()), 3),
                )  # fmt: skip
        self.student = average
        self.say(stage="distil", steps=step, documents=seen)

    def _say_times(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            spent = {
                name: round(sum(a.elapsed_time(b) for a, b in pairs) / len(_TIMED), 2)
                for name, pairs in self._times.items()
            }
            self.say(milliseconds_a_step=spent)

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

    @torch.inference_mode()
    def judge_held_out(self) -> dict[str, float]:
        """Return MRR@10 a source for the student."""
        found = {}
        known = self.student.vocabulary
        for each in self.held_out_sets():
            weights = encode(self.student, _subset(self.documents, each.documents)).float()
            own, others = self.words.own_terms(each.documents, known.size)
            whole = prune(weights + LEXICAL * own, 128, others)
            source = self.document_source[each.documents[0]]
            table_of = source.expand(len(each.queries))
            asked = asked_terms(self.queries, self.words, each.queries, known) * self.idf[source]
            lexical = self.words.scores(
                each.queries, each.documents, self.stem_idf, table_of, fixed=True, without_pieces=True
            )
            scores = asked @ whole.T + LEXICAL * lexical
            found[each.name] = round(each.reciprocal_rank(scores), 4)
        return found

    @torch.inference_mode()
    def judge_teachers(self) -> None:
        """Log each teacher's MRR@10 on held-out pairs."""
        for each in self.held_out_sets():
            table_of = self.document_source[each.documents[0]].expand(len(each.queries))
            parts = self.teachers.parts(each.queries, each.documents, self.stem_idf, table_of)
            parts["joint"] = self.teachers.joint(parts)
            ranks = {name: round(each.reciprocal_rank(part), 3) for name, part in parts.items()}
            self.say(held_out=each.name, queries=len(each.queries), **ranks)

    def judge_collections(self) -> None:
        """Log nDCG@10 of the student on test collections."""
        trained = (self.idf[-1], self.stem_idf[-1])
        for name in self.settings.judged:
            collection = Collection.load(self.inputs, name, self.device)
            self.say(collection=name, **judge(self.student, collection, trained))

    @torch.inference_mode()
    def judge_teachers_on_collections(self) -> None:
        """Log nDCG@10 of the teachers on test collections whose dense embeddings are there."""
        for name in self.settings.judged:
            collection = Collection.load(self.inputs, name, self.device)
            queries = torch.arange(len(collection.queries), device=self.device)
            rows = torch.arange(len(collection.documents), device=self.device)
            table_of, tables = torch.zeros_like(queries), collection.words.idf()
            parts = {
                "bm25": torch.cat(
                    [
                        collection.words.scores(some, rows, tables, table_of[some])
                        for some in queries.split(512)
                    ]
                )
            }
            for teacher in self.teachers.dense:
                both = [self._array(f"{name}.{side}.{teacher}.dense") for side in ("queries", "documents")]
                parts[teacher] = (both[0] @ both[1].T).float()
            parts["joint"] = self.teachers.joint(parts)
            found = {key: round(ndcg(part, collection.judged), 4) for key, part in parts.items()}
            self.say(teachers_on=name, **found)

    def save(self) -> None:
        """Write the student: its state for going on, and a folder that lsr and transformers read."""
        torch.save(self.student.state_dict(), self.output / "state.pt")
        folder = self.output / "model"
        self.student.model.half().save_pretrained(folder)
        shutil.copy(self.inputs / "tokenizer.json", folder)
        pieces = Tokenizer.from_file(str(folder / "tokenizer.json"))
        idf = {
            pieces.id_to_token(number): round(value, 4) for number, value in enumerate(self.idf[-1].tolist())
        }
        (folder / "idf.json").write_text(json.dumps(idf, ensure_ascii=False), encoding="utf-8")
        np.save(folder / "kept.npy", self.student.vocabulary.kept.cpu().numpy())
        described = dataclasses.asdict(self.settings) | {
            "fitted": self.teachers.weights,
            "scales": self.student.log_scales.exp().tolist(),
        }
        (folder / "run.json").write_text(json.dumps(described, indent=1))

    def whole(self, everything: bool) -> None:
        """Train, judge and save."""
        settings = self.settings
        self.check_packed()
        if settings.teachers:
            self.teachers.weights = dict(settings.teachers)
        else:
            loss = self.teachers.fit(self._fitted_parts)
            self.say(teacher_weights=self.teachers.weights, loss=round(loss, 4))
        if self.workers.count > 1:
            self.teachers.weights = {
                name: self.workers.agree(value) for name, value in self.teachers.weights.items()
            }
        if everything and self.workers.first:
            self.judge_teachers()
            self.judge_teachers_on_collections()
        self.workers.wait()
        if settings.start:
            self.student.load(Path(settings.start))
        else:
            self.reconstruct()
            self.calibrate()
        self.distil()
        if self.workers.first:
            held_out = self.judge_held_out()
            self.say(held_out_mean=round(float(np.mean(list(held_out.values()))), 4), **held_out)
            self.save_copy()
            self.judge_collections()
            self.say(done=True)

    def save_copy(self) -> None:
        """Save, and go on in the precision of before."""
        kept = self.student
        self.student = copy.deepcopy(kept)
        self.save()
        self.student = kept

    def _fitted_parts(self) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            documents = self.batches.draw(512)
            queries = self.real.draw(documents, self.batches.generator)
            return self.teachers.parts(queries, documents, self.stem_idf, self.tables_of(queries))


def _subset(texts: Texts, rows: torch.Tensor) -> Texts:
    tokens, mask = texts.padded(rows)
    lengths = texts.lengths[rows]
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths.cpu().numpy(), out=starts[1:])
    return Texts(Ragged(tokens[mask].cpu().numpy(), starts), texts.values.device)
