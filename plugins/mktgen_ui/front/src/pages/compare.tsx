import type { ComponentChildren } from "preact";
import { query, useAnswer } from "../api";
import { useSpeech } from "../language";
import { go, usePlace } from "../place";
import type { Comparison, Detail, Gate, Listing } from "../types";
import { Empty, ExpectedProfit, Link, Money, RealisedProfit, Said, Section, Shown, Simulated, Status, Table, useTitle } from "../ui";

export function ComparePage() {
  const { t } = useSpeech(), { query: wanted } = usePlace();
  const days = useAnswer<Listing>("/strategies?limit=200"), known = days.data?.rows.map((row) => row.day) ?? [];
  const other = wanted.get("other") || known[0] || "", one = wanted.get("one") || known[1] || known[0] || "";
  const runs = { one_run: wanted.get("one_run"), other_run: wanted.get("other_run") };
  const answer = useAnswer<Comparison>(one && other ? `/compare${query({ one, other, ...runs })}` : null);
  useTitle(t.menu.compare);
  return (
    <>
      <header class="page-head"><h1>{t.menu.compare}</h1><p class="soft">{t.compare.lead}</p></header>
      <Shown of={days}>
        {() => known.length ? (
          <>
            <form class="filters" onSubmit={(event) => event.preventDefault()}>
              <Choice name={t.compare.one} days={known} value={one} pick={(day) => go(`/compare${query({ one: day, other })}`, true)} runs={answer.data?.one} run={runs.one_run} pickRun={(run) => go(`/compare${query({ one, other, one_run: run, other_run: runs.other_run })}`, true)} />
              <Choice name={t.compare.other} days={known} value={other} pick={(day) => go(`/compare${query({ one, other: day })}`, true)} runs={answer.data?.other} run={runs.other_run} pickRun={(run) => go(`/compare${query({ one, other, one_run: runs.one_run, other_run: run })}`, true)} />
              <button type="button" class="quiet" onClick={() => go(`/compare${query({ one: other, other: one, one_run: runs.other_run, other_run: runs.one_run })}`, true)}>⇄ {t.compare.swap}</button>
            </form>
            <Shown of={answer}>{(data) => <Sides {...data} />}</Shown>
          </>
        ) : <Empty text={t.empty.strategies} />}
      </Shown>
    </>
  );
}

function Choice({ name, days, value, pick, runs, run, pickRun }: { name: string; days: string[]; value: string; pick: (day: string) => void; runs: Detail | undefined; run: string | null; pickRun: (run: string) => void }) {
  const { t, day } = useSpeech();
  return (
    <>
      <label><span>{name}</span><select aria-label={name} value={value} onChange={(event) => pick(event.currentTarget.value)}>{[...new Set([value, ...days])].map((one) => <option key={one} value={one}>{day(one)}</option>)}</select></label>
      {runs && runs.runs.length > 1 && <label><span>{t.run}</span><select aria-label={`${name}: ${t.run}`} value={run || runs.run} onChange={(event) => pickRun(event.currentTarget.value)}>{runs.runs.map((one) => <option key={one} value={one}>{one}</option>)}</select></label>}
    </>
  );
}

interface Measure { name: string; one: ComponentChildren; other: ComponentChildren; difference: ComponentChildren }

function Sides({ one, other }: Comparison) {
  const { t, day, count, number, percent, money, signed } = useSpeech();
  const whole = (name: string, get: (side: Detail) => number): Measure => ({ name, one: count(get(one)), other: count(get(other)), difference: signed(count(get(other) - get(one)), get(other) - get(one)) });
  const cash = (name: string, get: (side: Detail) => number): Measure => ({ name, one: money(get(one)), other: money(get(other)), difference: signed(money(get(other) - get(one)), get(other) - get(one)) });
  const both = one.expected && other.expected ? other.expected.value - one.expected.value : null;
  const rows: Measure[] = [
    { name: t.status, one: <Status of={one.status} />, other: <Status of={other.status} />, difference: "" },
    whole(t.customers, (s) => s.strategy.customers), whole(t.contacted, (s) => s.strategy.contacted), whole(t.holdout, (s) => s.strategy.holdout),
    { name: t.expected, one: <ExpectedProfit of={one.expected} />, other: <ExpectedProfit of={other.expected} />, difference: both === null ? t.none : signed(money(both), both) },
    { name: t.realised, one: <RealisedProfit of={one.realised} />, other: <RealisedProfit of={other.realised} />, difference: "" },
    cash(t.compare.budget, (s) => s.strategy.allocation.budget_minor), cash(t.compare.worst, (s) => s.strategy.allocation.worst_case_cost_minor),
    { name: t.compare.shadow, one: number(one.strategy.allocation.shadow_price, 3), other: number(other.strategy.allocation.shadow_price, 3), difference: signed(number(other.strategy.allocation.shadow_price - one.strategy.allocation.shadow_price, 3), other.strategy.allocation.shadow_price - one.strategy.allocation.shadow_price) },
    { name: t.compare.floor, one: percent(one.strategy.allocation.propensity_floor, 2), other: percent(other.strategy.allocation.propensity_floor, 2), difference: "" },
    whole(t.compare.candidates, (s) => s.strategy.allocation.candidates),
  ];
  const head = (side: Detail) => <><span class="block nowrap"><Link path={`/strategies/${side.day}`}>{day(side.day)}</Link></span> <Simulated shown={side.simulated} /></>;
  return (
    <>
      <Section title={t.compare.figures}>
        <Table label={t.compare.figures} rows={rows} keyOf={(row) => row.name} columns={[
          { name: t.compare.measure, main: true, cell: (row) => row.name },
          { name: t.compare.one, head: head(one), number: true, cell: (row) => row.one },
          { name: t.compare.other, head: head(other), number: true, cell: (row) => row.other },
          { name: t.compare.difference, number: true, cell: (row) => row.difference },
        ]} />
      </Section>
      <Campaigns one={one} other={other} />
      <Segments one={one} other={other} />
      <Gates one={one} other={other} />
      <Versions one={one} other={other} />
    </>
  );
}

function keys(one: Record<string, unknown>, other: Record<string, unknown>): string[] {
  return [...new Set([...Object.keys(one), ...Object.keys(other)])].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
}

function Campaigns({ one, other }: Comparison) {
  const { t, said, count, day } = useSpeech();
  const of = (side: Detail) => Object.fromEntries(side.strategy.campaigns.map((campaign) => [campaign.campaign_id, campaign]));
  const left = of(one), right = of(other);
  const cell = (campaign: Detail["strategy"]["campaigns"][number] | undefined) => campaign ? <>{count(campaign.customers)} <small class="soft block"><Money value={campaign.expected_value_minor?.value} /></small></> : t.none;
  return (
    <Section title={t.compare.campaigns} lead={`${t.contacted}, ${t.expected}`}>
      <Table label={t.compare.campaigns} rows={keys(left, right)} keyOf={(id) => id} empty={t.empty.campaigns} columns={[
        { name: t.learning.campaign, main: true, cell: (id) => said((left[id] ?? right[id])?.name) || id },
        { name: t.compare.one, head: day(one.day), number: true, cell: (id) => cell(left[id]) },
        { name: t.compare.other, head: day(other.day), number: true, cell: (id) => cell(right[id]) },
        { name: t.compare.difference, number: true, cell: (id) => difference(left[id]?.customers, right[id]?.customers, count) },
      ]} />
    </Section>
  );
}

function difference(one: number | undefined, other: number | undefined, show: (value: number) => string): string {
  const change = (other ?? 0) - (one ?? 0);
  return change > 0 ? `+${show(change)}` : show(change);
}

function Segments({ one, other }: Comparison) {
  const { t, count, language, day } = useSpeech();
  const name = (id: string) => { const found = [...other.segments, ...one.segments].find((segment) => segment.segment_id === id); return found ? (language === "zh" ? found.name_zh : found.name_en) : id; };
  const left = one.strategy.segments, right = other.strategy.segments;
  return (
    <Section title={t.compare.segments} lead={t.customers}>
      <Table label={t.compare.segments} rows={keys(left, right)} keyOf={(id) => id} columns={[
        { name: t.strategy.segment, main: true, cell: name },
        { name: t.compare.one, head: day(one.day), number: true, cell: (id) => count(left[id] ?? 0) },
        { name: t.compare.other, head: day(other.day), number: true, cell: (id) => count(right[id] ?? 0) },
        { name: t.compare.difference, number: true, cell: (id) => difference(left[id], right[id], count) },
      ]} />
    </Section>
  );
}

function Gates({ one, other }: Comparison) {
  const { t, named, day } = useSpeech();
  const of = (side: Detail) => Object.fromEntries((side.strategy.evaluation?.gates ?? []).map((gate) => [gate.name, gate]));
  const left = of(one), right = of(other), differ = keys(left, right).filter((name) => left[name]?.passed !== right[name]?.passed);
  const cell = (gate: Gate | undefined) => {
    if (!gate) return t.none;
    const kind = gate.passed === null ? "noted" : gate.passed ? "passed" : "failed";
    return <><span class={`result ${kind}`}>{t.strategy[kind]}</span> <small class="soft block" lang="en">{gate.detail}</small></>;
  };
  return (
    <Section title={t.compare.gates}>
      <Table label={t.compare.gates} rows={differ} keyOf={(name) => name} empty={t.compare.same} columns={[
        { name: t.strategy.check, main: true, cell: (name) => named("gates", name) },
        { name: t.compare.one, head: day(one.day), cell: (name) => cell(left[name]) },
        { name: t.compare.other, head: day(other.day), cell: (name) => cell(right[name]) },
      ]} />
    </Section>
  );
}

function Versions({ one, other }: Comparison) {
  const { t, day } = useSpeech(), left = one.strategy.versions, right = other.strategy.versions;
  return (
    <Section title={t.compare.versions}>
      <Table label={t.compare.versions} rows={keys(left, right).filter((name) => left[name] !== right[name])} keyOf={(name) => name} empty={t.compare.same} columns={[
        { name: t.strategy.versions, main: true, cell: (name) => <Said>{name}</Said> },
        { name: t.compare.one, head: day(one.day), cell: (name) => <code>{left[name] ?? t.none}</code> },
        { name: t.compare.other, head: day(other.day), cell: (name) => <code>{right[name] ?? t.none}</code> },
      ]} />
    </Section>
  );
}
