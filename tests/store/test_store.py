"""The store's promises, on a real S3."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from mktgen import parts
from mktgen.contracts import OFFER_ITEMS, ContractError
from mktgen.documents import RetrainingRequest
from mktgen.errors import CorruptArtefact, MissingArtefact, NonDeterminism, PermanentError, TransientError
from mktgen.lineage import lineage
from mktgen.store import ObjectStore, Provenance, S3Location, Store, parse_uri

DAY = date(2017, 10, 1)


def provenance(run: str = "r1", **changes: object) -> Provenance:
    values = {"step": "clean", "run": run, "code": "c", "config": "g", "seed": 1, "parents": ()} | changes
    return Provenance(**values)  # type: ignore[arg-type]


def frame(*items: str) -> pl.DataFrame:
    return pl.DataFrame({"offer_id": ["1:a"] * len(items), "item_id": list(items)}, schema=dict(OFFER_ITEMS.columns))


@pytest.fixture
def store(object_store: ObjectStore) -> Store:
    return Store(object_store)


def test_reads_back_what_was_written(store: Store) -> None:
    manifest = store.write_table("offer_items", DAY, frame("i1", "i2"), provenance())
    assert store.current("offer_items", DAY) == manifest
    assert store.read_table(manifest).equals(frame("i1", "i2"))
    assert store.partitions("offer_items") == [DAY]


def test_several_days_come_in_order(store: Store) -> None:
    for day, item in ((date(2017, 10, 2), "b"), (date(2017, 10, 1), "a")):
        store.write_table("offer_items", day, frame(item), provenance())
    days = [date(2017, 10, 2), date(2017, 10, 1), date(2017, 10, 9)]
    assert store.read_table(store.currents("offer_items", days))["item_id"].to_list() == ["a", "b"]


def test_a_table_that_comes_frame_by_frame_is_the_same_artefact(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROWS_PER_PART", 3)
    rows = pl.DataFrame({"offer_id": list("aabbbcd"), "item_id": list("1212312")}, schema=dict(OFFER_ITEMS.columns))
    growing = parts.Parts("offer_items", tmp_path, rows_per_part=3)
    for one in rows.partition_by("offer_id", maintain_order=True):
        growing.add(one)
    whole = store.write_table("offer_items", DAY, rows, provenance())
    assert len(whole.files) == 3
    assert store.write_parts(growing, DAY, provenance()) == whole
    assert store.current("offer_items", DAY) == whole
    assert pl.concat(store.stream_table([whole], "offer_items")).equals(rows)


def test_a_table_without_rows_has_one_part_and_one_empty_frame(store: Store, tmp_path: Path) -> None:
    written = store.write_parts(parts.Parts("offer_items", tmp_path), DAY, provenance())
    assert store.write_table("offer_items", DAY, frame(), provenance()) == written
    for manifests in ([written], []):
        (streamed,) = store.stream_table(manifests, "offer_items")
        assert streamed.equals(frame())


def test_the_schema_is_checked_on_write(store: Store) -> None:
    wrong = frame("i1").with_columns(pl.lit(1).alias("item_id"))
    with pytest.raises(ContractError, match=r"offer_items\.item_id: is Int32, must be String"):
        store.write_table("offer_items", DAY, wrong, provenance())
    with pytest.raises(ContractError, match=r"key .* is not unique"):
        store.write_table("offer_items", DAY, frame("i1", "i1"), provenance())
    assert store.current("offer_items", DAY) is None


def test_the_same_derivation_twice_is_one_artefact(store: Store) -> None:
    first = store.write_table("offer_items", DAY, frame("i1"), provenance())
    assert store.write_table("offer_items", DAY, frame("i1"), provenance()) == first


def test_other_bytes_for_the_same_derivation_are_refused(store: Store) -> None:
    first = store.write_table("offer_items", DAY, frame("i1"), provenance())
    with pytest.raises(NonDeterminism, match=r"part-00000\.parquet"):
        store.write_table("offer_items", DAY, frame("i2"), provenance())
    assert store.read_table(first)["item_id"].to_list() == ["i1"]


def test_without_a_manifest_there_is_no_artefact(store: Store, object_store: ObjectStore) -> None:
    object_store.put("offer_items/dt=2017-10-01/run=r1/part-00000.parquet", b"half of it")
    assert store.current("offer_items", DAY) is None
    with pytest.raises(MissingArtefact, match="offer_items of 2017-10-01"):
        store.need("offer_items", DAY)


def test_a_killed_write_is_finished_by_the_next(store: Store, object_store: ObjectStore) -> None:
    manifest = store.write_table("offer_items", DAY, frame("i1"), provenance())
    object_store.delete("offer_items/dt=2017-10-01/_current.json")  # as if killed before the pointer
    assert store.current("offer_items", DAY) is None
    assert store.write_table("offer_items", DAY, frame("i1"), provenance()) == manifest
    assert store.current("offer_items", DAY) == manifest


def test_changed_bytes_are_not_read(store: Store, object_store: ObjectStore) -> None:
    manifest = store.write_table("offer_items", DAY, frame("i1"), provenance())
    object_store.put(f"{manifest.folder}/part-00000.parquet", b"other")
    with pytest.raises(CorruptArtefact, match=r"does not match.*run step clean for 2017-10-01 again"):
        store.read_table(manifest)
    with pytest.raises(CorruptArtefact, match="does not match"):
        list(store.stream_table([manifest], "offer_items"))
    object_store.delete(f"{manifest.folder}/part-00000.parquet")
    with pytest.raises(CorruptArtefact, match="is missing"):
        store.read_table(manifest)


def test_an_artefact_of_another_contract_is_not_read(store: Store) -> None:
    manifest = store.write_document(
        "retraining_request", DAY, RetrainingRequest(partition=DAY, requested=False, reasons=[]), provenance()
    )
    with pytest.raises(ContractError, match="another contract"):
        store.read_table(type(manifest)(**{**manifest.__dict__, "artefact": "offer_items"}))


def test_two_writers_at_once_leave_one_artefact(store: Store) -> None:
    results, errors = [], []

    def write() -> None:
        try:
            results.append(store.write_table("offer_items", DAY, frame("i1", "i2"), provenance()))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len({manifest.digest for manifest in results}) == 1


def test_put_once_lets_one_of_many_win(object_store: ObjectStore) -> None:
    won = []
    threads = [
        threading.Thread(target=lambda n=n: won.append(object_store.put_once("ledger/x", str(n).encode())))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 1


def test_lineage_walks_to_the_roots(store: Store) -> None:
    raw = pl.DataFrame({"row": pl.Series([0], dtype=pl.UInt32), "value": ["x"]})
    root = store.write_table("raw_coupons", DAY, raw, provenance("r0", step="ingest"))
    leaf = store.write_table("offer_items", DAY, frame("i1"), provenance("r1", parents=(root.as_parent(),)))
    chain = [(depth, manifest.artefact) for depth, manifest in lineage(store, store.objects.uri(leaf.folder))]
    assert chain == [(0, "offer_items"), (1, "raw_coupons")]


def test_uris_are_parsed() -> None:
    assert parse_uri("s3://b/p/decisions/dt=2017-10-01/run=abc/part-00000.parquet") == ("decisions", DAY, "abc")
    assert parse_uri("s3://b/p/decisions/dt=2017-10-01") == ("decisions", DAY, "")
    with pytest.raises(ValueError, match="not an artefact"):
        parse_uri("s3://b/p/decisions")


def test_wrong_keys_are_a_persons_matter(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(PermanentError, match="AWS_"):
        ObjectStore(object_store.location).get("x")


def test_silence_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with pytest.raises(TransientError, match="does not answer"):
        ObjectStore(S3Location("http://127.0.0.1:9", "b", "p")).get("x")


def test_what_a_query_picks_is_what_is_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS_PER_PART", 3)
    rows = pl.DataFrame({"offer_id": list("aabbbcd"), "item_id": list("1212312")}, schema=dict(OFFER_ITEMS.columns))
    manifest = store.write_table("offer_items", DAY, rows, provenance())
    assert len(manifest.files) == 3
    assert store.pick(manifest, lambda table: table).equals(rows)
    assert store.pick(manifest, lambda table: table.slice(2, 3)).equals(rows[2:5])
    found = store.pick(manifest, lambda table: table.filter(pl.col("offer_id") == "b").select("item_id"))
    assert found["item_id"].to_list() == ["1", "2", "3"]


def test_a_part_that_can_not_be_read_where_it_lies_is_named(store: Store) -> None:
    manifest = store.write_table("offer_items", DAY, frame("i1"), provenance())
    store.objects.put(f"{manifest.folder}/part-00000.parquet", b"no parquet")
    with pytest.raises(CorruptArtefact, match=r"offer_items.*run step clean for 2017-10-01 again"):
        store.pick(manifest, lambda table: table)
    store.objects.delete(f"{manifest.folder}/part-00000.parquet")
    with pytest.raises(CorruptArtefact, match="offer_items"):
        store.pick(manifest, lambda table: table)


def test_nothing_is_picked_under_another_contract(store: Store) -> None:
    manifest = store.write_table("offer_items", DAY, frame("i1"), provenance())
    with pytest.raises(ContractError, match="another contract"):
        store.pick(replace(manifest, contract="0" * 64), lambda table: table)
