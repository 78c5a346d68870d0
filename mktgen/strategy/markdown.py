"""The strategy of a day in plain Markdown."""

from __future__ import annotations

from mktgen.documents import Campaign, Interval, Strategy


def render_markdown(strategy: Strategy) -> str:
    """The strategy in plain Markdown, short enough to read before approving."""
    plan = strategy.allocation
    lines = [
        f"# Strategy for {strategy.partition}: {strategy.status}",
        "",
        f"{strategy.contacted} of {strategy.customers} customers contacted, {strategy.holdout} held out. "
        f"Worst case {plan.worst_case_cost_minor / 100:.2f} of a budget of {plan.budget_minor / 100:.2f}.",
        "",
    ]
    if not strategy.campaigns:
        lines += ["Nobody is contacted today.", ""]
    for campaign in strategy.campaigns:
        lines += _campaign_lines(campaign)
    lines += [*_class_lines(strategy), *_launch_lines(strategy), *_experiment_lines(strategy)]
    if strategy.evaluation is not None:
        failed = [f"- {reason}" for reason in strategy.evaluation.reasons] or ["All gates passed."]
        refused = [f"- {r.metric}: needs {', '.join(r.missing)}" for r in strategy.evaluation.refused]
        lines += [
            "## Evaluation",
            "",
            *failed,
            "",
            "Not computed, because the data can't support it:",
            "",
            *refused,
            "",
        ]
    lines += ["## Assumptions", "", *(f"- {text}" for text in strategy.assumptions), ""]
    lines += [f"Source: {strategy.source}. {strategy.source_notice}", ""]
    return "\n".join(lines)


def _campaign_lines(campaign: Campaign) -> list[str]:
    lines = [
        f"## {campaign.name.get('en', campaign.campaign_id)}",
        "",
        f"- Objective: {campaign.objective}",
        f"- Audience: {campaign.audience.get('en', '')} / {campaign.audience.get('zh', '')}",
        f"- Offers: {'; '.join(f'{offer.label} ({offer.customers})' for offer in campaign.offers)}",
        f"- Send: {campaign.send_at_local} local time by {campaign.channel}, cost at most "
        f"{campaign.worst_case_cost_minor / 100:.2f}",
    ]
    if campaign.expected_redemptions is not None:
        lines.append(f"- Expected redeeming customers: {_range(campaign.expected_redemptions, 1.0)}")
    if campaign.expected_value_minor is not None:
        learned = campaign.expected_value_minor.method.startswith("incremental")
        kind = "incremental" if learned else "assumed and not incremental"
        lines.append(f"- Expected value, {kind}: {_range(campaign.expected_value_minor, 0.01)}")
    lines += [f"- Why: {reason}" for reason in campaign.reasons]
    lines += [f"- Why {each.item} for {each.customer_id}: {'; '.join(each.reasons)}" for each in campaign.why_examples]
    lines += [
        f"- Copy ({language}): {' '.join(text.split())}" for language, text in sorted(campaign.copy_example.items())
    ]
    return [*lines, ""]


def _class_lines(strategy: Strategy) -> list[str]:
    """Who responds how, and what was done with them."""
    told = [
        f"- {one.name} ({one.meaning}): {one.customers} customers, {one.contacted} contacted, {one.held_out} held out; their "
        f"best offer changes the chance to buy by {_range(one.effect, 100.0)} points"
        + (f" and profit by {_range(one.effect_minor, 0.01)}" if one.effect_minor else "")
        for one in strategy.classes
    ]
    return ["## Response of customers", "", *(told or [strategy.classes_note or "not known"]), ""]


def _launch_lines(strategy: Strategy) -> list[str]:
    """What past trials say of the policy."""
    launch = strategy.launch
    if launch is None:
        return []
    told = [f"- against {one.incumbent}: {one.gate.detail}" for one in launch.comparisons]
    words = {
        "proven": "Proven",
        "experiment": "An experiment",
        "futile": "Nothing to explore",
        "not_judged": "Not judged",
    }[launch.standing]
    return ["## On past trials", "", f"{words}: {launch.reason}", *told, ""]


def _experiment_lines(strategy: Strategy) -> list[str]:
    """What to try next."""
    proposal = strategy.next_experiment
    if proposal is None:
        return []
    others = [
        f"- next {one.offer_id}: {one.eligible} eligible"
        + (f", worth knowing {one.information_minor / 100:.2f}" if one.information_minor is not None else "")
        for one in proposal.others
    ]
    return ["## Next experiment", "", proposal.reason, *others, ""]


def _range(interval: Interval, unit: float) -> str:
    return f"{interval.value * unit:.1f} ({interval.low * unit:.1f} to {interval.high * unit:.1f})"
