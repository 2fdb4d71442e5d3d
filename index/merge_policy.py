"""Which segments to merge: few enough to search, seldom enough to write each posting a few times.

A logarithmic policy as in Lucene's LogMergePolicy, on consecutive segments only, since document
numbers follow the order of segments and equal scores the order of documents. A segment's tier is the
logarithm of its live postings to the base of `FACTOR`, with everything below `SMALL` one tier. When
`FACTOR` segments in a row are of one tier or lower ones, they become one. So an index has fewer than
`FACTOR` segments a tier, and a posting is written about once a tier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
        # The longest run of segments of this tier or lower that ends before a higher one.
        last = len(entries)
        while last > 0:
            first = last
            while first > 0 and tiers[first - 1] <= level:
                first -= 1
            if last - first >= FACTOR:
                run = range(first, last)
                while sum(live_postings(entries[i]) for i in run) > MOST_POSTINGS:
                    run = run[1:]
                if len(run) >= FACTOR:
                    return run
            last = first - 1 if first else 0
    for place, entry in enumerate(entries):
        if entry.deleted > MOST_DELETED * entry.documents and live_postings(entry) <= MOST_POSTINGS:
            return range(place, place + 1)
    return None
