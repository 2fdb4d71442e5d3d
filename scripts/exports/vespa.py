"""Vespa by what its documentation says that wand computes: whole weights, an exact dot product."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy import sparse

from exports.base import Found, Reader, json_lines, requests

_PAIR = re.compile(r"\[(\d+),(\d+)\]")


class VespaArithmetic(Reader):
    """Reads the feed and the YQL of the requests; there is no Vespa here to run."""

    name = "vespa"
    note = "not run: the dot product that wand is documented to compute, over the feed and the YQL"

    def load(self, export: Path, work: Path) -> None:
        self.ids: list[str] = []
        indices: list[int] = []
        data: list[int] = []
        starts = [0]
        for operation in json_lines(export, "feed-*.jsonl"):
            self.ids.append(operation["fields"]["id"])
            impacts = operation["fields"]["impacts"]
            indices += map(int, impacts)
            data += impacts.values()
            starts.append(len(indices))
        self.rows = sparse.csr_array(
            (np.array(data, np.int64), np.array(indices, np.int64), np.array(starts, np.int64))
        )

    def answers(self, export: Path, k: int) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for number, request in requests(export):
            query = np.zeros(self.rows.shape[1], np.int64)
            for term, weight in _PAIR.findall(request["yql"]):
                if int(term) < len(query):
                    query[int(term)] = int(weight)
            scores = self.rows @ query
            best = np.argsort(-scores, kind="stable")[:k]
            found[number] = [(self.ids[i], float(scores[i])) for i in best.tolist() if scores[i] > 0]
        return found
