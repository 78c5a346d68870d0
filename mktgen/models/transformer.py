"""The behaviour Transformer: a causal decoder over a customer's merchandise events, with two kinds of heads.

Next item: items of the next seven days from the state at the end of the last basket before the cut; a softmax over the
vocabulary with a copy part for items bought before. Purchase within 7 and 28 days (churn = none in 28): the same state
beside the customer features. Assumes that the next week resembles the sixteen to twenty weeks learned from; new items
fall back on category, attributes and popularity, customers without a history on popularity. References: Kang and McAuley,
"Self-Attentive Sequential Recommendation", ICDM 2018; See et al., "Get To The Point" (pointer-generator), ACL 2017; Hu et al.,
"Modeling Personalized Item Frequency Information for Next-basket Recommendation", SIGIR 2020; Su et al., "RoFormer", 2021.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from mktgen.models._neural import NeuralModel
from mktgen.settings import ModelSettings, TransformerSettings


class Transformer(NeuralModel):
    """Self-attention over the last `events` events; positions are business days."""

    kind: ClassVar[str] = "transformer"
    effort = 100.0
    encoder: ClassVar[Literal["transformer", "lstm"]] = "transformer"

    @classmethod
    def recipe(cls, settings: ModelSettings) -> TransformerSettings:
        return settings.transformer
