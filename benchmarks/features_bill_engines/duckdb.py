"""The bill's tables as DuckDB SQL, promotions semi-joined before they are merged."""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb

from benchmarks.features_bill_engines import NON_MERCHANDISE, NOT_GOODS, TIMEZONE, data


def run(first: date, last: date) -> dict[str, Any]:
    where = data()
    db = duckdb.connect()
    db.execute(f"""
        create table bought as
        select t.*, timezone('{TIMEZONE}', timezone('UTC', transaction_timestamp))::date as day
        from '{where}/transactions.parquet' t
        where timezone('{TIMEZONE}', timezone('UTC', transaction_timestamp))::date between '{first}' and '{last}';

        create table promoted as
        select product_id, store_id, week,
               bool_or(coalesce(display_location, '0') <> '0') as display,
               bool_or(coalesce(mailer_location, '0') <> '0') as mailer
        from '{where}/promotions.parquet'
        semi join (select distinct product_id, store_id, week from bought) using (product_id, store_id, week)
        group by all;

        create table lines as
        select household_id, b.product_id, basket_id, day, coalesce(product_category, 'UNKNOWN') as category,
               round(sales_value * 100)::bigint as net, round(retail_disc * 100)::bigint as loyalty,
               round(coupon_disc * 100)::bigint as coupon, round(coupon_match_disc * 100)::bigint as match,
               (coalesce(display, false) or coalesce(mailer, false))::int as promo,
               p.product_id is not null and coalesce(department, 'UNKNOWN') not in {NON_MERCHANDISE}
                   and coalesce(product_category, 'UNKNOWN') not in {NOT_GOODS} as goods
        from bought b
        left join '{where}/products.parquet' p using (product_id)
        left join promoted using (product_id, store_id, week);

        create table customer_days as
        select household_id, day, count(distinct basket_id) as orders, count(*) filter (goods) as lines,
               count(distinct product_id) filter (goods) as items, count(distinct category) filter (goods) as categories,
               coalesce(sum(net) filter (goods), 0)::bigint as net, coalesce(sum(net) filter (not goods), 0)::bigint as other,
               coalesce(sum(loyalty) filter (goods), 0)::bigint as loyalty,
               coalesce(sum(coupon) filter (goods), 0)::bigint as coupon,
               coalesce(sum(net + loyalty + match) filter (goods), 0)::bigint as gross,
               coalesce(sum(promo) filter (goods), 0)::bigint as promo
        from lines group by all;

        create table customer_categories as
        select household_id, category, min(day) as first_day, max(day) as last_day, count(distinct day) as days,
               count(*) as lines, sum(net)::bigint as net
        from lines where goods group by all;

        create table item_days as
        select product_id, day, count(*) as lines, count(distinct household_id) as customers, sum(net)::bigint as net,
               sum(promo)::bigint as promo
        from lines where goods group by all;
    """)
    return {
        "tables": lambda: {
            name: db.table(name).fetchall() for name in ("customer_days", "customer_categories", "item_days")
        }
    }
