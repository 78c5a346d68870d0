import { useEffect, useState } from "preact/hooks";
import { ask, query, Refused, useAnswer } from "../api";
import { BudgetCurve } from "../charts";
import { useSpeech } from "../language";
import type { Answer, Curves, Detail } from "../types";
import { Empty, Money, Range, Said, Shown, Simulated, Tag } from "../ui";
import { DayHead } from "./head";

export function WhatIfPage({ day }: { day: string }) {
  const { t } = useSpeech(), strategy = useAnswer<Detail>(`/strategies/${day}`);
  const answer = useAnswer<Curves>(strategy.data?.curves ? `/strategies/${day}/what-if` : null);
  return (
    <>
      <DayHead day={day} tab="whatIf"><span class="tags"><Tag kind="estimate">{t.estimate}</Tag> <Simulated shown={strategy.data?.simulated} /></span></DayHead>
      <Shown of={strategy}>{(data) => data.curves ? null : <Empty text={t.empty.curves} />}</Shown>
      {strategy.data?.curves && <Shown of={answer}>{(curves) => curves.customers ? <Questions day={day} curves={curves} labels={offers(strategy.data)} /> : <Empty text={t.whatIf.nothing} />}</Shown>}
    </>
  );
}

function offers(data: Detail | null): Record<string, string> {
  return Object.fromEntries((data?.strategy.campaigns ?? []).flatMap((one) => one.offers.map((offer) => [offer.offer_id, offer.label])));
}

function Questions({ day, curves, labels }: { day: string; curves: Curves; labels: Record<string, string> }) {
  const { t, money, percent, count } = useSpeech();
  const plan = { budget: curves.budget_minor, holdout: curves.holdout_share, without: "" };
  const [asked, set] = useState(plan), [answer, answered] = useState<Answer | null>(null), [error, failed] = useState("");
  const most = curves.points.at(-1)?.budget_minor ?? curves.budget_minor;
  useEffect(() => {
    const control = new AbortController();
    ask<Answer>(`/strategies/${day}/what-if/answer${query(asked)}`, control.signal).then(
      (found) => { answered(found); failed(""); },
      (problem: unknown) => { if (!control.signal.aborted) failed(problem instanceof Refused ? problem.message : t.errors[0]); },
    );
    return () => control.abort();
  }, [day, asked]);
  const reach = 1 - curves.usual_share, more = (reach - asked.holdout) / (reach - curves.holdout_share);
  const moved = JSON.stringify(asked) !== JSON.stringify(plan);
  const onCurve = answer && !asked.without && Math.abs(more - 1) < 1e-9;
  return (
    <>
      <p class="lead">{t.whatIf.lead}</p>
      <div class="ask">
        <form class="sliders" onSubmit={(event) => event.preventDefault()}>
          <label><span>{t.whatIf.budget} <b class="value">{money(asked.budget)}</b></span>
            <input type="range" aria-label={t.whatIf.budget} min={0} max={most} step={Math.max(Math.round(curves.budget_minor / 50), 1)} value={asked.budget} aria-valuetext={money(asked.budget)} onInput={(event) => set({ ...asked, budget: event.currentTarget.valueAsNumber })} />
          </label>
          <label><span>{t.whatIf.holdout} <b class="value">{percent(asked.holdout, 0)}</b></span>
            <input type="range" aria-label={t.whatIf.holdout} min={0} max={50} step={1} value={Math.round(asked.holdout * 100)} aria-valuetext={percent(asked.holdout, 0)} onInput={(event) => set({ ...asked, holdout: event.currentTarget.valueAsNumber / 100 })} />
          </label>
          <label><span>{t.whatIf.drop}</span>
            <select aria-label={t.whatIf.drop} value={asked.without} onChange={(event) => set({ ...asked, without: event.currentTarget.value })}>
              <option value="">{t.whatIf.dropNone}</option>
              {curves.without.map((one) => <option key={one.offer_id} value={one.offer_id}>{one.offer_id}{labels[one.offer_id] ? ` – ${labels[one.offer_id]}` : ""} ({t.whatIf.forCustomers(count(one.customers))})</option>)}
            </select>
          </label>
          <button type="button" disabled={!moved} onClick={() => set(plan)}>{t.whatIf.asPlanned}</button>
        </form>
        <div class="answers" aria-live="polite">{error ? <p class="problem">{error}</p> : answer && <Figures answer={answer} curves={curves} />}</div>
      </div>
      {curves.refused && <p class="notice"><b>{t.whatIf.refused}.</b> <Said>{curves.refused.reason}</Said></p>}
      <figure><BudgetCurve points={curves.points} plan={curves.budget_minor} asked={answer && moved ? { budget: onCurve ? asked.budget : Math.min(asked.budget, most), value: answer.value_minor, interval: answer.value } : undefined} label={t.strategy.budgetLead} /><figcaption class="soft">{t.strategy.budgetLead}</figcaption></figure>
      <h2>{t.whatIf.assumptions}</h2>
      <ul class="soft">
        {curves.assumptions.map((one) => <li key={one}><Said>{one}</Said></li>)}
        <li>{t.whatIf.sampled(count(curves.sampled), count(curves.customers))}</li>
        {curves.not_computed > 0 && <li>{t.whatIf.notComputed(count(curves.not_computed))}</li>}
      </ul>
    </>
  );
}

function Figures({ answer, curves }: { answer: Answer; curves: Curves }) {
  const { t, number, count, percent } = useSpeech();
  return (
    <dl class="tiles">
      <div class="tile main"><dt>{t.whatIf.expected}</dt><dd><Money value={answer.value_minor} /></dd><dd><Range low={answer.value?.low} high={answer.value?.high} /> <small class="soft">{curves.refused ? t.assumed : t.incremental}</small></dd></div>
      <div class="tile main"><dt>{t.whatIf.difference}</dt><dd><Money value={answer.difference_minor} signed /></dd><dd><Range low={answer.difference?.low} high={answer.difference?.high} /></dd></div>
      <div class="tile"><dt>{t.whatIf.contacts}</dt><dd>{count(answer.contacts)}</dd></div>
      <div class="tile"><dt>{t.whatIf.spend}</dt><dd><Money value={answer.cost_minor} /></dd></div>
      <div class="tile"><dt>{t.whatIf.price}</dt><dd>{number(answer.price, 3)}</dd></div>
      <div class="tile"><dt>{t.whatIf.error}</dt><dd>{answer.error_ratio > 20 ? "∞" : percent(answer.error_ratio, 0)}</dd><dd><small class="soft">{t.whatIf.errorIs}</small></dd></div>
      {answer.beyond && <p class="soft beyond">{t.whatIf.beyond}</p>}
    </dl>
  );
}
