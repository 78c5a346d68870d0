"""Collect, clean and features on a real S3 and real days of Complete Journey."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from mktgen import pipeline
from mktgen.cleaning.day import EmptyDay
from mktgen.errors import MissingArtefact, QuarantineOverflow
from mktgen.sources.base import SourceError
from mktgen.steps.runner import Platform
from tests.steps.conftest import PlatformOf
from tests.support.hostile import EXPECTED_RULES, hostile_day, transactions

FIRST = date(2017, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
NAMES = ("order_lines", "responses", "quarantine", "context_promotions", "exposures", "offers")


def digests(platform: Platform, names: tuple[str, ...], days: list[date]) -> dict[str, str]:
    found = {}
    for name in names:
        for manifest in platform.store.currents(name, days):
            found[f"{name} {manifest.partition}"] = manifest.digest
    return found


def day_by_day(platform: Platform, days: list[date]) -> None:
    for day in days:
        for step in ("ingest", "clean", "extract_features"):
            pipeline.run_step(step, day, platform=platform)


def test_onboarding_writes_the_same_days_as_the_daily_steps(platform_of: PlatformOf) -> None:
    bulk, daily = platform_of("/bulk"), platform_of("/daily")
    lines: list[str] = []
    result = pipeline.onboard("complete_journey", DAYS[0], DAYS[-1], platform=bulk, progress=lines.append)
    day_by_day(daily, DAYS)
    assert digests(bulk, NAMES, DAYS) == digests(daily, NAMES, DAYS)
    state = ("customer_state", "sequences", "item_days", "customer_features")
    assert digests(bulk, state, DAYS[-1:]) == digests(daily, state, DAYS[-1:])
    assert result.rows["order_lines"] == sum(transactions(day).height for day in DAYS)
    assert lines


def test_a_step_is_reused_and_recomputed_to_the_same_bytes(platform_of: PlatformOf) -> None:
    platform = platform_of()
    first = pipeline.run_step("ingest", FIRST, platform=platform)
    pipeline.run_step("clean", FIRST, platform=platform)
    again = pipeline.run_step("ingest", FIRST, platform=platform)
    anew = pipeline.run_step("ingest", FIRST, platform=platform, recompute="day")
    assert not first.reused
    assert again.reused
    assert not anew.reused
    assert first.digests == again.digests == anew.digests


def test_a_missing_input_names_the_step_to_run(platform_of: PlatformOf) -> None:
    platform = platform_of()
    with pytest.raises(MissingArtefact, match=r"clean of 2017-01-01 needs raw_transactions of 2017-01-01.*Run ingest"):
        pipeline.run_step("clean", FIRST, platform=platform)
    pipeline.run_step("ingest", DAYS[2], platform=platform)
    with pytest.raises(MissingArtefact, match="needs context_promotions of 2017-01-02"):
        pipeline.run_step("clean", DAYS[2], platform=platform)


def test_features_need_every_day(platform_of: PlatformOf) -> None:
    platform = platform_of()
    pipeline.onboard("complete_journey", DAYS[0], DAYS[1], platform=platform)
    for step in ("ingest", "clean"):
        pipeline.run_step(step, DAYS[3], platform=platform)
    with pytest.raises(MissingArtefact, match=r"order_lines of 2017-01-03.*marketing_onboarding"):
        pipeline.run_step("extract_features", DAYS[3], platform=platform)


@pytest.mark.parametrize("table", ["campaigns", "coupons"])
def test_mailing_lists_and_coupons_without_their_campaign_are_quarantined(
    platform_of: PlatformOf, drop_dir: Path, table: str
) -> None:
    platform, rows = (
        platform_of(source={"drop_dir": str(drop_dir)}),
        {"campaigns": ["77", "5"], "coupons": ["9", "5", "77"]},
    )
    columns = {"campaigns": "campaign_id,household_id", "coupons": "coupon_upc,product_id,campaign_id"}
    (drop_dir / table).mkdir()
    (drop_dir / table / f"{FIRST + timedelta(days=1)}.csv").write_text(f"{columns[table]}\n{','.join(rows[table])}\n")
    day_by_day(platform, DAYS[:2])
    refused = platform.store.read_table(platform.store.need("quarantine", DAYS[1])).filter(pl.col("table") == table)
    assert refused["rule"].to_list() == ["campaign_unknown"]


def test_christmas_is_valid_and_empty(platform_of: PlatformOf) -> None:
    platform = platform_of()
    for step in ("ingest", "clean"):
        result = pipeline.run_step(step, date(2017, 12, 25), platform=platform)
    assert result.rows["order_lines"] == 0


def test_days_outside_the_source_are_refused(platform_of: PlatformOf) -> None:
    with pytest.raises(SourceError, match="2017-01-01 to 2017-12-31; 2018-01-01 was asked for"):
        pipeline.run_step("ingest", date(2018, 1, 1), platform=platform_of())


def test_an_empty_day_that_is_no_holiday_stops(platform_of: PlatformOf, drop_dir: Path) -> None:
    transactions(FIRST).clear().write_csv(drop_dir / "transactions" / "2017-01-01.csv")
    platform = platform_of(source={"drop_dir": str(drop_dir)})
    pipeline.run_step("ingest", FIRST, platform=platform)
    with pytest.raises(EmptyDay, match="no transactions arrived"):
        pipeline.run_step("clean", FIRST, platform=platform)


def test_hostile_rows_stop_the_day_with_a_message(platform_of: PlatformOf, drop_dir: Path) -> None:
    frame, counts = hostile_day(FIRST, 0.05, seed=1)
    frame.write_csv(drop_dir / "transactions" / "2017-01-01.csv")
    platform = platform_of(source={"drop_dir": str(drop_dir)})
    pipeline.run_step("ingest", FIRST, platform=platform)
    for _ in range(2):  # the second time from the record, with the same message
        with pytest.raises(
            QuarantineOverflow, match=r"transactions of 2017-01-01: \d+ of 37\d\d rows .*By rule: .*e\.g\. row"
        ):
            pipeline.run_step("clean", FIRST, platform=platform)
    refused = platform.store.read_table(platform.store.need("quarantine", FIRST))
    assert refused.filter(pl.col("table") == "transactions").height == sum(counts.values())
    assert platform.store.current("order_lines", FIRST) is None


def test_hostile_rows_within_the_threshold_go_to_quarantine_by_rule(platform_of: PlatformOf, drop_dir: Path) -> None:
    frame, counts = hostile_day(FIRST, 0.05, seed=2)
    frame.write_csv(drop_dir / "transactions" / "2017-01-01.csv")
    platform = platform_of(source={"drop_dir": str(drop_dir)}, cleaning={"max_quarantine_share": 0.1})
    pipeline.run_step("ingest", FIRST, platform=platform)
    result = pipeline.run_step("clean", FIRST, platform=platform)
    refused = platform.store.read_table(platform.store.need("quarantine", FIRST))
    by_rule = dict(refused.filter(pl.col("table") == "transactions").group_by("rule").len().iter_rows())
    expected: dict[str, int] = {}
    for attack, count in counts.items():
        expected[EXPECTED_RULES[attack]] = expected.get(EXPECTED_RULES[attack], 0) + count
    assert by_rule == expected
    assert result.rows["order_lines"] + sum(by_rule.values()) == frame.height
    assert refused["raw"].str.len_bytes().max() < 5_000, "a 10 MB value must not be copied into the quarantine"
    assert "DROP TABLE" not in "".join(refused["raw"].to_list()), (
        "customer identifiers are pseudonymised before storing"
    )


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_day_files_come_in_several_formats(platform_of: PlatformOf, drop_dir: Path, suffix: str) -> None:
    frame, path = transactions(FIRST), drop_dir / "transactions" / f"2017-01-01.{suffix}"
    frame.write_ndjson(path) if suffix == "jsonl" else frame.write_parquet(path)
    dropped = platform_of("/dropped", source={"drop_dir": str(drop_dir)})
    pipeline.run_step("ingest", FIRST, platform=dropped)
    own = platform_of("/own")
    pipeline.run_step("ingest", FIRST, platform=own)
    assert digests(dropped, ("raw_transactions",), [FIRST]) == digests(own, ("raw_transactions",), [FIRST])


def test_a_day_file_without_its_columns_is_refused(platform_of: PlatformOf, drop_dir: Path) -> None:
    (drop_dir / "transactions" / "2017-01-01.csv").write_text("household_id,price\n1,2\n")
    with pytest.raises(SourceError, match=r"columns \['store_id', .*are missing"):
        pipeline.run_step("ingest", FIRST, platform=platform_of(source={"drop_dir": str(drop_dir)}))


def test_a_rerun_that_writes_less_withdraws_the_rest(platform_of: PlatformOf, drop_dir: Path) -> None:
    """A bad delivery replaces a good one: the good day's tables must not be read on as if they were today's."""
    platform = platform_of(source={"drop_dir": str(drop_dir)})
    for step in ("ingest", "clean"):
        pipeline.run_step(step, FIRST, platform=platform)
    assert platform.store.current("order_lines", FIRST) is not None
    frame, _ = hostile_day(FIRST, 0.05, seed=3, huge_bytes=5_000)
    frame.write_csv(drop_dir / "transactions" / "2017-01-01.csv")
    pipeline.run_step("ingest", FIRST, platform=platform)
    with pytest.raises(QuarantineOverflow):
        pipeline.run_step("clean", FIRST, platform=platform)
    assert platform.store.current("order_lines", FIRST) is None
    (drop_dir / "transactions" / "2017-01-01.csv").unlink()
    for step in ("ingest", "clean"):
        result = pipeline.run_step(step, FIRST, platform=platform)
    assert result.reused
    assert platform.store.current("order_lines", FIRST) is not None
