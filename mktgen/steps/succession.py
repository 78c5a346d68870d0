"""Which version of the response model serves a day: by the rule, or by a person's rollback until it is released."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from mktgen.documents import ResponsePin, ResponsePromotion, ResponseReport
from mktgen.errors import NotAllowed
from mktgen.response.succession import succession
from mktgen.steps.responding import promotion_before
from mktgen.steps.runner import Outcome, Platform, Read, Run, StepResult
from mktgen.store import Provenance, sha256

PIN: Final = "response_pin"


def promote_reads(day: date, platform: Platform) -> list[Read]:
    pinned = [found for found in platform.store.partitions(PIN) if found <= day and platform.store.current(PIN, found)]
    return [
        *(Read(name, (day,), True, "learn_response") for name in ("response_report", "response_model")),
        Read("response_promotion", promotion_before(day, platform), required=False),
        Read(PIN, tuple(pinned[-1:]), required=False),
    ]


def promote_response(run: Run) -> Outcome:
    """The day's champion: today's version only if it passed its checks and isn't shown to be worse than the one that serves."""
    before = run.document("response_promotion", ResponsePromotion) if run.has("response_promotion") else None
    pin = run.document(PIN, ResponsePin) if run.has(PIN) else None
    chosen = succession(run.document("response_report", ResponseReport), before, pin, run.settings.response)
    note = f"response model: today's version is {chosen.role}; {chosen.reason}"
    return Outcome(documents={"response_promotion": chosen}, notes=[note])


# -- rollback -------------------------------------------------------------------------------------------------------------
def roll_back(
    platform: Platform, by: str, why: str, to: date | None = None, since: date | None = None, release: bool = False
) -> StepResult:
    """Pin the response model to an earlier version, or release it, from the partition `since` on.

    to: the day the version was learned; None: what served before the version that serves now. since: None: the day after the
    last that was decided, so that no decision already made changes. Stored as an artefact with who and why; done again it
    changes nothing. Raises NotAllowed where no version is there, it failed its checks, there is nothing to release, or
    no reason is given.
    """
    if not (by.strip() and why.strip()):
        raise NotAllowed("a rollback is kept with who asked for it and why: give both")
    latest = _latest(platform)
    if latest is None:
        raise NotAllowed("no version of the response model was ever promoted: there is nothing to roll back")
    day = since or latest.partition + timedelta(days=1)
    if release:
        _require_pinned(platform, day)
        version = None
    else:
        version = to or latest.previous
        _require_sound(platform, version)
    pin = ResponsePin(partition=day, version=version, by=by.strip(), why=why.strip())
    identity = sha256(pin.to_bytes())[:16]
    manifest = platform.store.write_document(PIN, day, pin, Provenance("rollback", identity, "", "", 0, ()))
    said = "released" if version is None else f"pinned to the version of {version}"
    return StepResult(
        step="rollback", partition=day, run_id=identity, reused=False,
        artefacts={PIN: platform.objects.uri(manifest.folder)}, rows={PIN: 1}, digests={PIN: manifest.digest},
        seconds=0.0, notes=[f"response model {said} from {day} on, by {pin.by}: {pin.why}"],
    )  # fmt: skip


def _latest(platform: Platform) -> ResponsePromotion | None:
    found = platform.store.currents("response_promotion", promotion_before(date.max, platform))
    return platform.store.read_document(found[0], ResponsePromotion) if found else None


def _require_pinned(platform: Platform, day: date) -> None:
    pins = platform.store.currents(PIN, [found for found in platform.store.partitions(PIN) if found <= day])
    if not pins or platform.store.read_document(pins[-1], ResponsePin).version is None:
        raise NotAllowed(f"the response model is not pinned on {day}: there is nothing to release")


def _require_sound(platform: Platform, version: date | None) -> None:
    if version is None:
        raise NotAllowed("no earlier version served before the one that serves now: name one with --to DAY")
    manifest = platform.store.current("response_report", version)
    if manifest is None:
        raise NotAllowed(f"no response model was learned on {version}")
    report = platform.store.read_document(manifest, ResponseReport)
    if not report.usable:
        raise NotAllowed(f"the response model of {version} can't serve: {report.reason}")
