"""A network whose weights, gradients and moments are spread over the processes (FSDP), and its tensors put together again."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

from torch import Tensor, nn

from mktgen.errors import PermanentError
from mktgen.models._processes import Processes

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def sharded(network: ModuleT, group: Processes) -> ModuleT:
    """A copy of the network, spread over the group; each member of a ModuleList is gathered on its own when it is needed.

    Raises PermanentError for tables with gradients of rows, which FSDP can't spread.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if any(isinstance(module, nn.Embedding) and module.sparse for module in network.modules()):
        raise PermanentError(
            "a table with gradients of rows (nn.Embedding(sparse=True)) can't be sharded: train replicated"
        )
    spread = deepcopy(network)
    mesh = init_device_mesh(group.device.type, (group.size,))
    for module in list(spread.modules()):
        if isinstance(module, nn.ModuleList):
            for member in module:
                fully_shard(member, mesh=mesh)
    fully_shard(spread, mesh=mesh)
    return spread


def whole(value: Tensor) -> Tensor:
    """All of a tensor; every process takes part in gathering a sharded one."""
    gather: Any = getattr(value, "full_tensor", None)
    result: Tensor = value if gather is None else gather()
    return result


def local(value: Tensor) -> Tensor:
    """This process's part, sharing memory."""
    part: Any = getattr(value, "to_local", None)
    result: Tensor = value if part is None else part()
    return result


def as_sharded(value: Tensor, like: Any) -> Tensor:
    """This process's part of a whole tensor, spread as `like` is; the tensor itself where that isn't spread."""
    if not hasattr(like, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
