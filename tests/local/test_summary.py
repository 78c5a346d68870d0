"""One screen of facts."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from local import summary
from local.summary import Approval, Champion, Day, Facts, Refused, Step

NOTICE = "The Complete Journey is anonymised data of one retailer, for research and teaching. " * 6


def facts() -> Facts:
    names = ("2017-10-01", "2017-10-02", "2017-10-03")
    return Facts(
        wall_s=487.3,
        source="complete_journey",
        notice=NOTICE,
        days=[Day(d, "success", 75.2, 14, 14, "evaluated", 2469, 2469, 310, 244, 3, 50_000, 43_400, n * 155)
              for n, d in enumerate(names)],
        steps=[Step(d, "marketing_loop", t, "success", s, 1) for d in names for t, s in (("ingest", 1.5), ("train", 200.0))],
        approval=Approval("2017-10-03", "approved", "admin"),
        runs=[f"model_{n} 2017-10-01" for n in range(9)],
        registered={"mktgen-ranking": "5 versions, champion 2"},
        champions=[Champion("ranking", "personal_frequency", "ndcg_10", 0.1234, "challenger did not win: [-0.01, 0.01]",
                            "transition_counter 0.0456"),
                   Champion("customer", "logistic_regression", "auc", None, "no incumbent")],
        refused=[Refused("ctr", ["impressions", "clicks"]), Refused("uplift", ["randomised holdout"])],
        retraining="2017-10-03: no retraining: 12 rows matured, 200 needed",
        links={"Airflow": "http://127.0.0.1:8080", "MLflow": "http://127.0.0.1:5001"},
        login="admin",
        password="s3cret-word",
    )  # fmt: skip


def test_it_says_what_is_asked_of_it() -> None:
    text = "\n".join(summary.render(facts()))
    for piece in ("2017-10-02", "14/14", "1:15", "2,469", "434.00", "train 10-01 200 s", "approved by admin", "loop 6/6",
                  "ranking: personal_frequency, ndcg_10 = 0.1234 (untrained: transition_counter 0.0456)",
                  "ctr (needs impressions + clicks)",
                  "9 runs in MLflow, model_0", "mktgen-ranking: 5 versions, champion 2",
                  "http://127.0.0.1:5001", "admin / s3cret-word", "The Complete Journey"):  # fmt: skip
        assert piece in text, piece


def test_a_waiting_approval_says_what_to_do() -> None:
    waiting = replace(facts(), approval=Approval("2017-10-03", "waiting", ""))
    assert any("waits for an answer" in line and "Required Actions" in line for line in summary.render(waiting))


@given(
    notice=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=3000),
    reasons=st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=300), max_size=6),
    models=st.dictionaries(st.from_regex(r"[a-z_]{1,60}", fullmatch=True), st.just("12"), max_size=60),
    refused=st.lists(st.from_regex(r"[a-z_]{1,150}", fullmatch=True), max_size=20),
)
def test_it_fits_one_screen(notice: str, reasons: list[str], models: dict[str, str], refused: list[str]) -> None:
    full = replace(
        facts(), notice=notice, registered=models, runs=[*models], refused=[Refused(name, ["clicks"]) for name in refused],
        champions=[Champion("ranking", "m", "ndcg", 0.1, reason) for reason in reasons],
    )  # fmt: skip
    lines = summary.render(full)
    assert len(lines) <= summary.MAX_LINES
    assert max(map(len, lines)) <= summary.WIDTH
    assert lines[-1] == "Login      admin / s3cret-word"


def test_the_json_has_the_same_facts_without_the_password() -> None:
    text = summary.to_json(facts())
    assert "s3cret-word" not in text
    body = json.loads(text)
    assert body["days"][2]["messages"] == 310
    assert body["approval"] == {"partition": "2017-10-03", "responder": "admin", "state": "approved"}
