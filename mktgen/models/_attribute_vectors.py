"""Attributes of items and customers as vectors. They start at 0: the network learns first what it would without them."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mktgen.models._attributes import BUCKETS, Facts

_HIDDEN_SHARE: Final = 0.05  # of what is known that a step hides, so that missing ones are nothing new


class FieldVectors(nn.Module):
    """The sum of the fields' vectors; token 0, missing, adds nothing."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.value = nn.Embedding(values + 1, width)

    def start(self) -> None:
        nn.init.zeros_(self.value.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """[rows, width] of [rows, fields]."""
        shown = _shown(tokens) if self.training else tokens
        result: Tensor = functional.embedding_bag(shown, self.value.weight, mode="sum", padding_idx=0)
        return result


class ItemVectors(FieldVectors):
    """The fields' vectors, and the mean of the vectors of the text's words and runs of letters."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__(values, width)
        self.text = nn.Embedding(BUCKETS, width)

    def start(self) -> None:
        super().start()
        nn.init.zeros_(self.text.weight)

    def of(self, facts: Facts) -> Tensor:
        """[items, width]; each text once, however many items share it."""
        texts = functional.embedding_bag(facts.bucket, self.text.weight, facts.first, mode="mean")
        text = _shown(facts.text) if self.training else facts.text
        result: Tensor = self(facts.value) + functional.embedding(text, texts)
        return result


def _shown(tokens: Tensor) -> Tensor:
    return tokens * (torch.rand(tokens.shape, device=tokens.device) >= _HIDDEN_SHARE)
