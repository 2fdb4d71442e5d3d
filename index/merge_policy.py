"""Which segments to merge: few enough to search, seldom enough to write each posting a few times.

A logarithmic policy as in Lucene's LogMergePolicy, on consecutive segments only, since document
numbers follow the order of segments and equal scores the order of documents. A segment's tier is the
logarithm of its live postings to the base of `FACTOR`, with everything below `SMALL` one tier. When
`FACTOR` segments of one tier, with none of a higher one between them, are there, they become one. So an
index grown by adds has fewer than `FACTOR` segments a tier, and a posting is written about once a tier.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lsr.index.manifest import SegmentEntry

FACTOR = 8
SMALL = 100_000
# Bounds what one commit may have to do; larger segments are merged on request only.
MOST_POSTINGS = 50_000_000
# A segment with more deleted documents than this is written anew.
MOST_DELETED = 0.5


def live_postings(entry: SegmentEntry) -> int:
    """Estimate the postings of a segment's live documents."""
    return round(entry.postings * entry.live / entry.documents) if entry.documents else 0


def tier(entry: SegmentEntry) -> int:
    """Return the tier of a segment, 0 for the small ones."""
    return max(0, math.ceil(math.log(max(live_postings(entry), 1) / SMALL, FACTOR)))


def segments_to_merge(entries: Sequence[SegmentEntry]) -> range | None:
    """Return the places of the segments to merge next, consecutive; None where all is well."""
    tiers = [tier(entry) for entry in entries]
    for level in sorted(set(tiers)):
        for run in _runs(tiers, level):
            while sum(live_postings(entries[i]) for i in run) > MOST_POSTINGS:
                run = run[1:]
            if sum(tiers[i] == level for i in run) >= FACTOR:
                return run
    for place, entry in enumerate(entries):
        if entry.deleted > MOST_DELETED * entry.documents and live_postings(entry) <= MOST_POSTINGS:
            return range(place, place + 1)
    return None


def _runs(tiers: Sequence[int], level: int) -> Iterator[range]:
    """Yield the runs of segments up to a tier, cut to where they begin and end with that tier."""
    places: list[int] = []
    for place, found in enumerate([*tiers, level + 1]):
        if found == level:
            places.append(place)
        elif found > level:
            if places:
                yield range(places[0], places[-1] + 1)
            places = []
