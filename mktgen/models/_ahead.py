"""What a loop needs next, made by another thread while the loop works on what it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

KeyT = TypeVar("KeyT")
MadeT = TypeVar("MadeT")


def made_ahead(make: Callable[[KeyT], MadeT], keys: Iterable[KeyT], ahead: int) -> Iterator[MadeT]:
    """`make` of each key, in order; up to `ahead` results wait to be taken. Raises what `make` raised, at its place."""
    with ThreadPoolExecutor(1) as maker:
        waiting: list[Future[MadeT]] = []
        for key in keys:
            waiting.append(maker.submit(make, key))
            if len(waiting) > ahead:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
