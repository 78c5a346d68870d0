"""The LSTM baseline: the Transformer's data, heads and training with a recurrent encoder in place of attention.

So the comparison is about the encoder alone. Reference: Hidasi et al., "Session-based Recommendations with Recurrent
Neural Networks", ICLR 2016.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from mktgen.models._neural import NeuralModel
from mktgen.settings import ModelSettings, TransformerSettings


class Lstm(NeuralModel):
    """One recurrent layer over the last `events` events."""

    kind: ClassVar[str] = "lstm"
    effort = 70.0
    encoder: ClassVar[Literal["transformer", "lstm"]] = "lstm"

    @classmethod
    def recipe(cls, settings: ModelSettings) -> TransformerSettings:
        return settings.lstm
