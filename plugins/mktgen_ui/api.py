"""The pages' data as JSON, below /api. Each route reads artefacts; nothing is computed that the loop did not store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query

from mktgen_ui.parameters import (
    ArtefactPath,
    Day,
    DayPath,
    Id,
    IdPath,
    Limit,
    Money,
    Offset,
    Run,
    Share,
    asked_properly,
)
from mktgen_ui.places import Places

if TYPE_CHECKING:
    from mktgen.steps.runner import Platform

Json = dict[str, Any]


def make_router(platform: Callable[[], Platform], places: Places) -> APIRouter:
    """The routes. Their modules are imported when first asked for: they bring polars and boto3."""
    router = APIRouter(prefix="/api", dependencies=[Depends(asked_properly)])
    _strategies(router, platform, places)
    _decisions(router, platform)
    _what_if(router, platform)
    _learning(router, platform)
    return router


def _strategies(router: APIRouter, platform: Callable[[], Platform], places: Places) -> None:
    @router.get("/strategies")
    def listed(before: Day | None = None, limit: Limit = 30) -> Json:
        from mktgen_ui.listing import listed

        return listed(platform(), before, limit)

    @router.get("/strategies/{partition}")
    def detailed(partition: DayPath, run: Run = "") -> Json:
        from mktgen_ui.strategies import detailed

        return _found(detailed(platform(), partition, run), f"no strategy was made for {partition}")

    @router.get("/strategies/{partition}/models")
    def models(partition: DayPath) -> Json:
        from mktgen_ui.models import models

        return models(platform(), partition, places)

    @router.get("/artefacts/{artefact}/{partition}/{run}")
    def artefact(artefact: ArtefactPath, partition: DayPath, run: IdPath) -> Json:
        from mktgen_ui.lineage import origin

        return _found(origin(platform().store, artefact, partition, run), "there is no such artefact")

    @router.get("/compare")
    def compared(one: Day, other: Day, one_run: Run = "", other_run: Run = "") -> Json:
        from mktgen_ui.strategies import detailed

        sides = {"one": (one, one_run), "other": (other, other_run)}
        return {
            name: _found(detailed(platform(), day, run), f"no strategy was made for {day}")
            for name, (day, run) in sides.items()
        }


def _decisions(router: APIRouter, platform: Callable[[], Platform]) -> None:
    @router.get("/strategies/{partition}/decisions")
    def decisions(
        partition: DayPath,
        run: Run = "",
        offset: Offset = 0,
        limit: Limit = 50,
        search: Id = "",
        campaign: Id = "",
        segment: Id = "",
        contacted: bool | None = None,
        sort: Annotated[str, Query(pattern=r"^[a-z_]*$", max_length=32)] = "",
        descending: bool = False,
    ) -> Json:
        from mktgen_ui.decisions import SORTABLE, Wanted, page

        if sort and sort not in SORTABLE:
            raise HTTPException(422, f"sort: must be one of {', '.join(SORTABLE)}")
        wanted = Wanted(search, campaign, segment, contacted, sort, descending, offset, limit)
        return _found(page(platform().store, partition, run, wanted), f"no decisions of {partition} are stored")

    @router.get("/strategies/{partition}/decisions/{decision_id}")
    def decision(partition: DayPath, decision_id: IdPath) -> Json:
        from mktgen_ui.decisions import explained

        return explained(platform(), partition, decision_id)


def _what_if(router: APIRouter, platform: Callable[[], Platform]) -> None:
    @router.get("/strategies/{partition}/what-if")
    def curves(partition: DayPath) -> Json:
        from mktgen_ui.estimates import curves

        return _found(curves(platform().store, partition), f"no curves were made for {partition}")

    @router.get("/strategies/{partition}/what-if/answer")
    def answer(partition: DayPath, budget: Money, holdout: Share, without: Id = "") -> Json:
        from mktgen.errors import PermanentError
        from mktgen.strategy.what_if import answer
        from mktgen_ui.estimates import stored

        known = stored(platform().store, partition)
        if known is None:
            raise HTTPException(404, f"no curves were made for {partition}")
        try:
            return answer(known, budget, without, holdout).model_dump(mode="json")
        except PermanentError as error:
            raise HTTPException(422, str(error)) from None


def _learning(router: APIRouter, platform: Callable[[], Platform]) -> None:
    @router.get("/learning")
    def learning(day: Day | None = None) -> Json:
        from mktgen_ui.learning import learned

        return learned(platform().store, day)


def _found(answer: Json | None, otherwise: str) -> Json:
    if answer is None:
        raise HTTPException(404, otherwise)
    return answer
