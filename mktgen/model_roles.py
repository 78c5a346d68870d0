"""Who is champion, challenger, shadow or rollback of a registered model. Speaks to a client of MLflow that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from mktgen.model_run import AliasMove, Roles, identity

PROMOTED: Final = "mktgen.promoted_partition"


def where(tags: Mapping[str, str]) -> str:
    """A search for these tags."""
    return " and ".join(f"tags.`{name}` = '{tags[name]}'" for name in sorted(tags))


def hand_on(client: Any, name: str, tags: Mapping[str, str], roles: Roles) -> AliasMove:
    """client: of MLflow. tags: of the registered model. An older partition than the last one moves nothing."""
    if tags.get(PROMOTED, "") > roles.partition.isoformat():
        reason = f"nothing moved: {tags[PROMOTED]} was handed on already and {roles.partition} is older"
        return AliasMove(roles.task, name, False, _aliases(client, name), reason)
    known = {alias: _logged(client, name, roles.kind, day) for alias, day in roles.days.items()}
    for alias in ("champion", "rollback", "challenger", "shadow"):
        if known.get(alias) is not None:
            client.set_registered_model_alias(name, alias, known[alias])
        elif alias in _aliases(client, name):
            client.delete_registered_model_alias(name, alias)
    unlogged = [f"{alias} {roles.days[alias]} was never logged here" for alias in known if known[alias] is None]
    client.set_registered_model_tag(name, "mktgen.rule", roles.rule)
    client.set_registered_model_tag(name, "mktgen.reason", "; ".join([roles.reason, *unlogged]))
    client.set_registered_model_tag(name, PROMOTED, roles.partition.isoformat())
    return AliasMove(roles.task, name, True, _aliases(client, name), "; ".join([roles.reason, *unlogged]))


def _aliases(client: Any, name: str) -> dict[str, str]:
    return {alias: str(number) for alias, number in client.get_registered_model(name).aliases.items()}


def _logged(client: Any, name: str, kind: str, day: date) -> str | None:
    """The newest version of a kind for a training day; None: there is none."""
    tags = {key: value for key, value in identity("", kind, day).items() if value}
    found = client.search_model_versions(f"name = '{name}' and {where(tags)}")
    return str(max(int(item.version) for item in found)) if found else None
