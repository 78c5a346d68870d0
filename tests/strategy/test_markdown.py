"""What an approver reads: everything that matters, on one screen, and nothing in a strategy becomes markup."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from mktgen.documents import Gate, LaunchEvidence, OfferLine, Refusal, Strategy, StrategyEvaluation
from mktgen.strategy.markdown import LONGEST, SAMPLES, Sample, approval_text, literal, plain, samples
from tests.support.strategy_day import make_day

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
# As mdast-util-gfm-autolink-literal 2.0 finds links and addresses in text that nobody marked as one.
AUTOLINKS = (
    re.compile(r"(https?://|www(?=\.))([-.\w]+)([^ \t\r\n]*)", re.IGNORECASE | re.ASCII),
    re.compile(r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", re.ASCII),
)
HOSTILE = (
    "[free](https://evil.example) ![x](//evil.example/p.png) <script>alert(1)</script> <a href=x>y</a> https://evil.example "
    "www.evil.example a@evil.example `code` **bold** ~~no~~ &lt;b&gt; | a | b | \\",
    "\n\n# heading\n\n- item\n\n```\nfence\n```\n\n~~~~\n> quote\n\n| a |\n|---|\n| b |\n\n[ref]: https://evil.example\n\n[ref]",
    "\u202eevil\u2066\u200b\u2028## x\r\n***\rsetext\r===",
)
FOREIGN = st.one_of(
    st.text(max_size=200), st.sampled_from(HOSTILE), st.text(alphabet="`~\n #[](<>)!*_-=|\\&:/.w@h", max_size=60)
)


def evaluated(strategy: Strategy, **changes: object) -> Strategy:
    gates = [
        Gate(name="budget", passed=True, detail="fine"),
        Gate(name="caps", passed=False, detail="3 customers over"),
    ]
    evaluation = StrategyEvaluation(
        partition=strategy.partition, gates=gates, metrics={}, stopped=True, reasons=["caps"],
        refused=[Refusal(metric="uplift", missing=["randomised holdout"], reason="r")],
    )  # fmt: skip
    launch = LaunchEvidence(
        partition=strategy.partition, standing="experiment", reason="nothing is known yet", value=None, logged=None,
        comparisons=[], facts={},
    )  # fmt: skip
    return strategy.model_copy(update={"evaluation": evaluation, "launch": launch, **changes})


def parts(text: str) -> list[Token]:
    return [child for token in READER.parse(text) for child in (token, *(token.children or []))]


def test_an_approver_reads_what_matters() -> None:
    day = make_day()
    strategy, shown = evaluated(day.strategy), samples(day.decisions, day.messages)
    text = approval_text(strategy, shown)
    words = "".join(token.content for token in parts(text) if token.type in ("text", "code_inline"))
    for campaign in strategy.campaigns:
        assert campaign.name["en"] in words
        assert campaign.audience["en"] in words
    for said in (
        strategy.source_notice, f"{strategy.contacted} of {strategy.customers} customers are contacted", "budget of 90.00",
        "1 passed, 1 FAILED, 0 not applicable", "3 customers over", "An experiment: nothing is known yet", "NOT incremental",
        "uplift (needs randomised holdout)",
    ):  # fmt: skip
        assert said in words
    assert len(text.splitlines()) < 60
    fences = [token.content for token in parts(text) if token.type == "fence"]
    assert fences == [f"{one.subject}\n\n{one.body}\n" for one in shown]


def test_messages_are_shown_of_different_campaigns_and_segments_and_always_the_same_ones() -> None:
    day = make_day()
    shown = samples(day.decisions, day.messages)
    assert len(shown) == SAMPLES
    assert shown == samples(day.decisions.reverse(), day.messages.reverse())
    assert len({(one.campaign_id, one.segment_id) for one in shown}) == SAMPLES
    campaigns = day.messages["campaign_id"].n_unique()
    assert len({one.campaign_id for one in shown}) == min(campaigns, SAMPLES)
    rows = day.messages.join(day.decisions.select("decision_id", "segment_id"), on="decision_id").to_dicts()
    for one in shown:
        assert any(row["body"] == one.body and row["segment_id"] == one.segment_id for row in rows)


def test_a_day_without_contacts_has_its_text_too() -> None:
    nobody = make_day().strategy.model_copy(update={"campaigns": [], "contacted": 0})
    text = approval_text(nobody, [])
    assert "Nobody is contacted today" in text
    assert "not evaluated" in text
    assert "as customers will read" not in text


@given(FOREIGN)
def test_foreign_words_become_no_markup_and_stay_the_characters_they_are(text: str) -> None:
    tokens = parts(f"- {plain(text, 1_000)} end")
    kinds = {token.type for token in tokens}
    assert kinds <= {"bullet_list_open", "list_item_open", "paragraph_open", "inline", "text", "text_special",
                     "paragraph_close", "list_item_close", "bullet_list_close"}  # fmt: skip
    words = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
    assert not any(pattern.search(words) for pattern in AUTOLINKS)
    assert words.replace("\u2060", "").split() == [*_visible(text).split(), "end"]


def _visible(text: str) -> str:
    return "".join(c for c in " ".join(text.split()) if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))


@given(FOREIGN)
def test_a_message_is_shown_as_it_is_and_never_leaves_its_block(text: str) -> None:
    tokens = READER.parse("\n".join(["before", "", *literal(text, 1_000), "", "after"]))
    assert [token.type for token in tokens if token.level == 0] == [
        "paragraph_open", "paragraph_close", "fence", "paragraph_open", "paragraph_close",
    ]  # fmt: skip
    shown = next(token.content for token in tokens if token.type == "fence")
    assert shown.splitlines() == [line.replace("\0", "\ufffd") for line in text.splitlines()]


@pytest.mark.parametrize("words", [*HOSTILE, "&", "`"])
def test_whatever_a_strategy_holds_its_text_is_short_and_has_no_links_or_pictures(words: str) -> None:
    long = words * 1_000
    base = make_day().strategy
    campaign = base.campaigns[0].model_copy(
        update={
            "name": {"en": long}, "audience": {"en": long}, "channel": long, "send_at_local": long,
            "offers": [OfferLine(offer_id="o", label=long, customers=1)] * 9,
        }
    )  # fmt: skip
    many = StrategyEvaluation(
        partition=base.partition, gates=[Gate(name=long, passed=False, detail=long)] * 50, metrics={}, stopped=True,
        refused=[Refusal(metric=long, missing=[long], reason=long)] * 50, reasons=[],
    )  # fmt: skip
    strategy = evaluated(base, campaigns=[campaign] * 50, source_notice=long).model_copy(update={"evaluation": many})
    text = approval_text(strategy, [Sample(long, long, long, long, long, long)] * SAMPLES)
    assert len(text) <= LONGEST
    kinds = {token.type for token in parts(text)}
    assert not kinds & {
        "link_open",
        "image",
        "html_inline",
        "html_block",
        "code_inline",
        "table_open",
        "blockquote_open",
        "hr",
    }
    assert sum(token.type == "heading_open" for token in parts(text)) == 2
