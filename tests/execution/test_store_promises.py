"""What the ledger rests on, checked against the real S3: of many conditional puts at once exactly one wins."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from mktgen.store import ObjectStore


def test_one_of_many_conditional_puts_wins_and_is_what_is_read(objects: ObjectStore) -> None:
    for round_ in range(6):
        key = f"race/{round_}"
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda who, key=key: objects.put_once(key, str(who).encode()), range(8)))
        assert won.count(True) == 1
        assert objects.get(key) == str(won.index(True)).encode()
        assert key in objects.keys("race/")
