"""Early stopping by time: the newest week isn't learned, and says which epoch to keep."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mktgen.models._batch import Scene, collate
from mktgen.models._network import BehaviourNetwork, rank_loss
from mktgen.models._states import batches


@dataclass(frozen=True)
class Judge:
    """Minus the mean ranking loss on `scene`: higher is better. Called with the network in evaluation mode."""

    network: BehaviourNetwork
    scene: Scene
    windows: int  # at once

    @torch.inference_mode()
    def __call__(self) -> float:
        total, count = 0.0, 0.0
        for chosen in batches(self.scene.windows, self.windows, 0, 0):
            batch = collate(self.scene, chosen).to(next(self.network.parameters()).device)
            total += float(rank_loss(self.network(batch), batch))
            count += batch.counts["ranking"]
        return -total / max(count, 1.0)
