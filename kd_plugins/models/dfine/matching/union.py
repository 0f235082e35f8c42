"""Union of the matches of all decoder layers: global optimal localization self-distillation (arXiv 2410.13842).

The rule is that of Peterande/D-FINE, ``src/zoo/dfine/dfine_criterion.py``, ``_get_go_indices``, with two changes: ties
have a fixed order, and by default no object is lost.
"""

from __future__ import annotations

import numpy as np

from .hungarian import Pairs


def union(pairs: Pairs, last: int, keep_every_object: bool = True) -> Pairs:
    """Return at most one object per query, chosen by the votes of all prediction sets.

    A query goes to the object that most sets matched it to; in a tie to its object in set ``last``, then to the
    smallest index. This rule alone may leave an object of set ``last`` without any query, if every query it had was
    matched to another object more often. The object would then have no box loss in this step. With
    ``keep_every_object``, such an object takes back its query of set ``last`` regardless of the votes, and so does any
    object that loses its only query thereby. These pairs never conflict, since set ``last`` is one-to-one, and their
    number is the smallest possible.

    Args:
        pairs: Matches of all sets of the batch, each set one-to-one in each image.
        last: Index of the set of the last decoder layer.
        keep_every_object: Whether every object of set ``last`` keeps a query. In the released code it may lose it.

    Returns:
        Pairs sorted by (image, query), all in set ``last``.

    >>> one, zero = np.ones(3, np.int64), np.zeros(3, np.int64)
    >>> pairs = Pairs(sets=np.array([0, 1, 2]), images=zero, queries=4 * one, objects=np.array([7, 5, 7]))
    >>> union(pairs, last=1, keep_every_object=False).objects
    array([7])
    >>> union(pairs, last=1).objects
    array([5])
    """
    spread = pairs.objects.max(initial=0) + 1
    # One integer for each (image, query), each (image, object) and each pair.
    cells = pairs.images * (pairs.queries.max(initial=0) + 1) + pairs.queries
    owners = pairs.images * spread + pairs.objects
    in_last = pairs.sets == last

    keys, first, votes = np.unique(cells * spread + pairs.objects, return_index=True, return_counts=True)
    preferred = np.isin(keys, (cells * spread + pairs.objects)[in_last])
    order = np.lexsort((pairs.objects[first], ~preferred, -votes, cells[first]))
    taken, winner = np.unique(cells[first][order], return_index=True)
    chosen = first[order][winner]  # for each used (image, query), the index of its winner in `pairs`

    if keep_every_object:
        (claims,) = np.nonzero(in_last)
        slots = np.searchsorted(taken, cells[claims])
        # A granted claim stays, because no other claim has its slot, so there is at most one round per claim.
        for _ in claims:
            lost = ~np.isin(owners[claims], owners[chosen])
            if not lost.any():
                break
            chosen[slots[lost]] = claims[lost]
    return Pairs(np.full_like(chosen, last), pairs.images[chosen], pairs.queries[chosen], pairs.objects[chosen])


def lost_objects(pairs: Pairs, union_pairs: Pairs) -> int:
    """Count the objects that the last set matched and the union left without a query.

    Args:
        pairs: Matches of all sets.
        union_pairs: Result of :func:`union` of them, which holds the index of the last set.

    >>> zero = np.zeros(3, np.int64)
    >>> pairs = Pairs(sets=np.array([0, 1, 2]), images=zero, queries=zero, objects=np.array([7, 5, 7]))
    >>> lost_objects(pairs, union(pairs, last=1, keep_every_object=False)), lost_objects(pairs, union(pairs, last=1))
    (1, 0)
    """
    spread = pairs.objects.max(initial=0) + 1
    in_last = np.isin(pairs.sets, union_pairs.sets)
    owners = (pairs.images * spread + pairs.objects)[in_last]
    kept = union_pairs.images * spread + union_pairs.objects
    return int((~np.isin(owners, kept)).sum())
