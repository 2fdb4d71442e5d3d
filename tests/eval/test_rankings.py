from __future__ import annotations

from pathlib import Path

import numpy as np

from lsr.eval.rankings import RankingsBuilder


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    builder = RankingsBuilder()
    builder.add("q1", ["d\n1", "ü"], np.array([2, 1], np.float32))
    builder.add("q2", [], np.empty(0, np.float32))
    builder.add("q3", ["ü"], np.array([0.5], np.float32))
    built = builder.build()
    built.save(tmp_path / "r.npz")
    for rankings in (built, type(built).load(tmp_path / "r.npz")):
        assert [(query, ids, scores.tolist()) for query, ids, scores in rankings] == [
            ("q1", ["d\n1", "ü"], [2, 1]),
            ("q2", [], []),
            ("q3", ["ü"], [0.5]),
        ]
        assert len(rankings) == 3
    assert len(RankingsBuilder().build()) == 0
