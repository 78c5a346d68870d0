"""The best k of a catalogue for many customers, a block of items at a time: never all scores at once."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from mktgen.models._softmax import Pairs

_BLOCK: Final = 2**15  # items scored at once


def stream_top(
    queries: Tensor, table: Tensor, offset: Tensor, excluded: Pairs | None, k: int, block: int = _BLOCK
) -> tuple[Tensor, Tensor]:
    """Scores and item indices, each [S, min(k, V)], best first, ties by index; -inf where fewer items are allowed.

    queries: [S, D]; table: [V, D]; offset: [V]. Holds S * `block` scores at a time, whatever V is. Once k are found only
    what beats the last of them is looked at: of a million items in any order but by score, a few hundred per customer.
    """
    best = queries.new_zeros(queries.shape[0], 0, dtype=torch.float32)
    which = torch.zeros(queries.shape[0], 0, dtype=torch.int64, device=queries.device)
    for first in range(0, table.shape[0], block):
        scores = (queries @ table[first : first + block].T).float().add_(offset[first : first + block])
        if excluded is not None:
            inside = (excluded.item >= first) & (excluded.item < first + block)
            scores[excluded.row[inside], excluded.item[inside] - first] = -torch.inf
        values, places = _top_of(scores, k) if best.shape[1] < k else _above(scores, best[:, -1:], k)
        # What was found before has the lower indices, so a stable sort keeps ties in order.
        best, order = torch.cat([best, values], dim=1).sort(dim=1, descending=True, stable=True)
        best = best[:, :k]
        which = torch.cat([which, places + first], dim=1).gather(1, order[:, :k])
    return best, which


def _above(scores: Tensor, bar: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Each row's scores above its bar and their places, in order of place, filled up with -inf; the best k where they are
    many. An equal score comes later than what set the bar, so it loses."""
    row, place = (scores > bar).nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=scores.shape[0])
    widest = int(count.max()) if count.numel() else 0
    if widest > 4 * k:
        return _top_of(scores, k)
    slot = torch.arange(row.numel(), device=row.device) - (count.cumsum(0) - count)[row]
    values = scores.new_full((scores.shape[0], widest), -torch.inf)
    places = torch.zeros(values.shape, dtype=torch.int64, device=row.device)
    values[row, slot], places[row, slot] = scores[row, place], place
    return values, places


def _top_of(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """topk, with ties by index: PyTorch's own leaves open which of equal scores it takes, and in what order."""
    if scores.shape[1] <= k:
        return scores.sort(dim=1, descending=True, stable=True)
    values, places = scores.topk(k, dim=1)
    bar = values[:, -1:]
    tied = ((scores == bar).sum(1) > (values == bar).sum(1)).nonzero()[:, 0]
    if tied.numel():
        fully = scores[tied].sort(dim=1, descending=True, stable=True)
        values[tied], places[tied] = fully.values[:, :k], fully.indices[:, :k]
    places, by_index = places.sort(dim=1)
    values, order = values.gather(1, by_index).sort(dim=1, descending=True, stable=True)
    return values, places.gather(1, order)
