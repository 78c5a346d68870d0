"""How each segment of each campaign is told in every form and language: what a brief shows of the copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from mktgen.copywriting.forms import FORMS, FormName, Language
from mktgen.copywriting.pool import Pool
from mktgen.copywriting.writer import Day, contacted, written
from mktgen.documents import Variant

JOINT: Final = " — "

# campaign_id -> language -> variants, by segment_id and form in the order of FORMS
Variants = Mapping[str, Mapping[Language, list[Variant]]]


def variants(day: Day, languages: Iterable[Language], pools: Mapping[tuple[FormName, Language], Pool]) -> Variants:
    """The wording drawn for the first contact of each campaign and segment. pools: of a form and language; else the bank's own.

    In the form and language that are sent, it is the very message.
    """
    first = contacted(day.decisions).sort("campaign_id", "segment_id", "decision_id")
    first = first.unique(["campaign_id", "segment_id"], keep="first", maintain_order=True)
    found: dict[str, dict[Language, list[Variant]]] = {}
    for language in languages:
        for name in FORMS:
            for decision, said in written(day, first, pools.get((name, language)) or Pool(name, language)):
                variant = Variant(
                    segment_id=decision["segment_id"], form=name, tone=said.wording.tone, wording_id=said.wording.id,
                    origin=said.origin, chance=said.chance, template_subject=said.wording.subject,
                    template_body=said.wording.body, subject=said.text.subject, body=said.text.body,
                )  # fmt: skip
                found.setdefault(decision["campaign_id"], {}).setdefault(language, []).append(variant)
    places: dict[str, int] = {name: place for place, name in enumerate(FORMS)}
    for told in found.values():
        for made in told.values():
            made.sort(key=lambda variant: (variant.segment_id, places[variant.form]))
    return found


def examples(found: Variants, form: FormName) -> dict[str, dict[str, str]]:
    """campaign_id -> language -> "subject — body": one message of each campaign in the form that is sent."""
    return {
        campaign: {
            language: JOINT.join(part for part in (made[0].subject, made[0].body) if part)
            for language, all_forms in told.items()
            if (made := [variant for variant in all_forms if variant.form == form])
        }
        for campaign, told in found.items()
    }
