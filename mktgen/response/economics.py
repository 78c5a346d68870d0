"""What an offer is expected to cost the budget, and what it is worth."""

from __future__ import annotations

import polars as pl

from mktgen.errors import PermanentError


def expected_cost(
    contact_cost_minor: pl.Expr | int, p_redeem: pl.Expr | float, face_value_minor: pl.Expr | int
) -> pl.Expr:
    """Expected charge to the budget of one offer made: contact cost + P(redeemed | contacted) * face value, Float64."""
    contact, chance, face = (
        value if isinstance(value, pl.Expr) else pl.lit(value)
        for value in (contact_cost_minor, p_redeem, face_value_minor)
    )
    return contact.cast(pl.Float64) + chance.cast(pl.Float64) * face.cast(pl.Float64)


def priced(effects: pl.DataFrame, offers: pl.DataFrame, redemption: pl.DataFrame) -> pl.DataFrame:
    """Effects with cost and value: `effects` (of ResponseModel) and expected_cost_minor, net_minor, gross_minor.

    offers: action, contact_cost_minor, face_value_minor; redemption: customer_id, action, p_redeem given contact.
    net_minor is the incremental profit, the effect itself: the reward it was learned from has costs taken off. gross_minor =
    net + expected cost: incremental margin before costs, to be set against a budget; net > 0 says that an offer pays.
    Raises PermanentError where an effect has no offer or chance, or a cost is negative or a chance outside [0, 1].
    """
    joined = effects.join(offers, on="action", how="left", maintain_order="left").join(
        redemption, on=["customer_id", "action"], how="left", maintain_order="left"
    )
    rules = {
        "no offer or no chance of redemption": pl.any_horizontal(
            pl.col("contact_cost_minor", "face_value_minor", "p_redeem").is_null()
        ),
        "a negative cost": pl.min_horizontal("contact_cost_minor", "face_value_minor") < 0,
        "a chance outside [0, 1]": ~pl.col("p_redeem").is_between(0, 1),
    }
    for reason, rule in rules.items():
        broken = joined.filter(rule)
        if broken.height:
            example = broken.select("customer_id", "action").row(0)
            raise PermanentError(f"{broken.height} of {joined.height} effects have {reason}, e.g. {example}")
    cost = expected_cost(pl.col("contact_cost_minor"), pl.col("p_redeem"), pl.col("face_value_minor"))
    return effects.with_columns(
        joined.select(cost).to_series().alias("expected_cost_minor"), pl.col("effect_minor").alias("net_minor")
    ).with_columns((pl.col("net_minor") + pl.col("expected_cost_minor")).alias("gross_minor"))
