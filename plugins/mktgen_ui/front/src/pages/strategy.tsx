import { useAnswer } from "../api";
import { BudgetCurve, SegmentMap } from "../charts";
import { useSpeech } from "../language";
import { usePlace } from "../place";
import type { Campaign, Curves, Detail, Experiment, Gate, Refusal, Segment, StrategyDocument } from "../types";
import { Between, Empty, ExpectedProfit, Facts, Gates, Link, Money, RealisedProfit, Said, Section, Shown, Simulated, Status, Table, Tag, wanting } from "../ui";
import { Copy } from "./copy";
import { DayHead } from "./head";
import { Lineage } from "./lineage";

export function StrategyPage({ day }: { day: string }) {
  const { query } = usePlace(), run = query.get("run") ?? "";
  const answer = useAnswer<Detail>(`/strategies/${day}${run ? `?run=${encodeURIComponent(run)}` : ""}`);
  const found = answer.data;
  return (
    <>
      <DayHead day={day} tab="overview">{found && <span class="tags"><Status of={found.status} /> <Simulated shown={found.simulated} /></span>}</DayHead>
      <Shown of={answer}>{(data) => <Whole data={data} />}</Shown>
    </>
  );
}

const PARTS = ["campaigns", "budget", "segments", "copy", "checks", "trail", "source"] as const;

function Whole({ data }: { data: Detail }) {
  const { t, count } = useSpeech(), made = data.strategy, approval = data.approval;
  return (
    <>
      <p class="lead">{t.strategy.lead(count(made.customers), count(made.contacted), count(made.holdout))}</p>
      <nav class="jump" aria-label={t.strategy.jump}>{PARTS.map((part) => <a key={part} href={`#${part}`}>{t.strategy[part]}</a>)}</nav>
      {data.simulated && <p class="notice"><Tag kind="simulated">{t.simulated}</Tag> <Said>{made.source_notice}</Said></p>}
      {data.status === "replaced" && <p class="notice">{t.strategy.replaced}</p>}
      <Facts rows={[
        [t.expected, <ExpectedProfit of={data.expected} />],
        [t.realised, <RealisedProfit of={data.realised} />],
        [t.gates, <Gates counts={data.gates} />],
        [t.strategy.approval, approval ? <>{approval.approved ? t.strategy.approvedBy(approval.responder) : t.strategy.rejectedBy(approval.responder)}{approval.note && <small class="soft block">{approval.note}</small>}</> : <span class="soft">{t.strategy.nobody}</span>],
      ]} />
      {made.evaluation?.stopped && <ul class="problem">{made.evaluation.reasons.map((reason) => <li key={reason}><Said>{reason}</Said></li>)}</ul>}
      <Section title={t.strategy.campaigns} id="campaigns">
        {made.campaigns.length ? <div class="cards">{made.campaigns.map((one) => <CampaignCard key={one.campaign_id} one={one} refused={made.evaluation?.refused ?? []} incremental={data.incremental} />)}</div> : <Empty text={t.empty.campaigns} />}
      </Section>
      <Budget data={data} />
      <Segments segments={data.segments} counts={made.segments} />
      <Section title={t.strategy.copy} id="copy"><Copy copy={data.copy} campaigns={made.campaigns} segments={data.segments} /></Section>
      <Evidence made={made} />
      <Trail of={data.audit} run={data.run} />
      <Ahead ahead={data.ahead} />
      <Lineage data={data} />
    </>
  );
}

function CampaignCard({ one, refused, incremental }: { one: Campaign; refused: Refusal[]; incremental: boolean }) {
  const { t, said, count, percent, number, named } = useSpeech();
  const refusal = (metric: string) => refused.find((entry) => entry.metric === metric);
  return (
    <article class="card">
      <h3>{said(one.name) || one.campaign_id}</h3>
      <p class="soft">{named("objectives", one.objective)}</p>
      <Facts rows={[
        [t.strategy.audience, <>{count(one.customers)} <small class="soft block">{said(one.audience)}</small></>],
        [t.strategy.offers, <Offers of={one.offers} />],
        [t.strategy.when, <>{one.channel}, {one.send_at_local}</>],
        [t.strategy.spend, <Money value={one.worst_case_cost_minor} />],
        [t.strategy.value, one.expected_value_minor ? <><Between of={one.expected_value_minor} show={(v) => number(v / 100, 2)} /> <small class="soft">{incremental ? t.incremental : t.assumed}</small></> : <Refused of={undefined} />],
        [t.strategy.ctr, <Refused of={refusal("ctr")} />],
        [t.strategy.cvr, <><Between of={one.expected_redemption_rate} show={(v) => percent(v)} />{one.expected_redemptions && <small class="soft block">{t.strategy.redemptions}: <Between of={one.expected_redemptions} show={(v) => number(v, 1)} /></small>}</>],
        [t.strategy.roi, <Return one={one} refusal={refusal("roi")} />],
      ]} />
      <details><summary>{t.strategy.why}</summary>
        <ul>{one.reasons.map((reason) => <li key={reason}><Said>{reason}</Said></li>)}</ul>
        {one.why_examples.map((example) => <p key={example.customer_id + example.item_id} class="soft">{t.strategy.whyItem(example.item)}: <Said>{example.reasons.join("; ")}</Said></p>)}
      </details>
    </article>
  );
}

const SHOWN = 4;

function Offers({ of }: { of: Campaign["offers"] }) {
  const { t, count } = useSpeech();
  const list = (offers: Campaign["offers"]) => <ul class="plain">{offers.map((offer) => <li key={offer.offer_id}><Said>{offer.label}</Said> <small class="soft">{count(offer.customers)}</small></li>)}</ul>;
  return <>{list(of.slice(0, SHOWN))}{of.length > SHOWN && <details><summary><small>{t.strategy.moreOffers(count(of.length - SHOWN))}</small></summary>{list(of.slice(SHOWN))}</details>}</>;
}

// Expected profit over spend, where the data support it; else the refusal by name.
function Return({ one, refusal }: { one: Campaign; refusal: Refusal | undefined }) {
  const { percent } = useSpeech(), value = one.expected_value_minor;
  if (refusal || !value || !one.worst_case_cost_minor) return <Refused of={refusal} />;
  const over = (minor: number) => minor / one.worst_case_cost_minor;
  return <Between of={{ ...value, value: over(value.value), low: over(value.low), high: over(value.high) }} show={(v) => percent(v, 0)} />;
}

function Refused({ of }: { of: Refusal | undefined }) {
  const { t } = useSpeech();
  if (!of) return <>{t.none}</>;
  return <span class="refused" title={of.reason}>{t.strategy.refused} <small class="soft block">{t.strategy.missing}: <Said>{wanting(of.missing)}</Said></small></span>;
}

function Budget({ data }: { data: Detail }) {
  const { t, number, percent, money } = useSpeech(), plan = data.strategy.allocation;
  const curves = useAnswer<Curves>(data.curves ? `/strategies/${data.day}/what-if` : null);
  return (
    <Section title={t.strategy.budget} lead={t.strategy.budgetLead} id="budget" aside={<Link path={`/strategies/${data.day}/what-if`}>{t.tabs.whatIf} →</Link>}>
      <Facts rows={[
        [t.strategy.budget, <><Money value={plan.budget_minor} /> <small class="soft block">{t.strategy.allocated} {money(plan.allocated_cost_minor)}, {t.strategy.worst} {money(plan.worst_case_cost_minor)}</small></>],
        [t.strategy.price, plan.shadow_price > 0 ? <>{number(plan.shadow_price, 3)}<small class="soft block">{t.strategy.priceIs(number(plan.shadow_price, 3))}</small></> : <small>{t.strategy.notBinding}</small>],
        [t.strategy.policyExpects, <><Money value={plan.expected_value_minor} /> <small class="soft block">{percent(1 - plan.gap_share, 2)} {t.strategy.bound}</small></>],
        [t.strategy.floor, percent(plan.propensity_floor, 2)],
      ]} />
      {!data.curves && <Empty text={t.empty.curves} />}
      {data.curves && <Shown of={curves}>
        {(known) => known.customers ? (
          <figure>
            <BudgetCurve points={known.points} plan={known.budget_minor} label={t.strategy.budgetLead} />
            <figcaption class="soft">{known.refused ? <>{t.whatIf.refused}: <Said>{known.refused.reason}</Said></> : t.incremental} <Tag kind="estimate">{t.estimate}</Tag>{(known.points.find((p) => p.budget_minor === known.budget_minor)?.price ?? 0) > 0 && <> {t.strategy.slope}</>}</figcaption>
            <details><summary>{t.asTable}</summary>
              <Table label={t.strategy.budgetLead} rows={known.points} keyOf={(p) => String(p.budget_minor)} columns={[
                { name: t.strategy.budget, number: true, cell: (p) => <Money value={p.budget_minor} /> },
                { name: t.expected, number: true, cell: (p) => p.value ? <Between of={p.value} show={money} /> : <Money value={p.value_minor} /> },
                { name: t.whatIf.spend, number: true, cell: (p) => <Money value={p.cost_minor} /> },
                { name: t.contacted, number: true, cell: (p) => number(p.contacts) },
                { name: t.strategy.price, number: true, cell: (p) => number(p.price, 3) },
              ]} />
            </details>
          </figure>
        ) : <Empty text={t.whatIf.nothing} />}
      </Shown>}
    </Section>
  );
}

function Segments({ segments, counts }: { segments: Segment[]; counts: Record<string, number> }) {
  const { t, language, count, percent, number } = useSpeech();
  const name = (s: Segment) => (language === "zh" ? s.name_zh : s.name_en);
  return (
    <Section title={t.strategy.segments} lead={segments.length ? t.strategy.segmentsLead : undefined} id="segments">
      {segments.length ? (
        <div class="split">
          <figure><SegmentMap segments={segments} label={`${t.strategy.segments}: ${t.strategy.spend84}, ${t.strategy.risk}`} /></figure>
          <Table label={t.strategy.segments} rows={segments.map((s, index) => ({ s, index }))} keyOf={({ s }) => s.segment_id} columns={[
            { name: t.strategy.segment, main: true, cell: ({ s, index }) => <><span class={`swatch hue-${index % 8}`}>{index + 1}</span> <span title={language === "zh" ? s.description_zh : s.description_en}>{name(s)}</span></> },
            { name: t.customers, number: true, cell: ({ s }) => count(counts[s.segment_id] ?? s.customers) },
            { name: t.strategy.risk, number: true, cell: ({ s }) => percent(s.p_churn_28d, 0) },
            { name: t.strategy.spend84, number: true, cell: ({ s }) => <Money value={s.net_minor_84d} /> },
            { name: t.strategy.orders84, number: true, cell: ({ s }) => number(s.orders_84d, 1) },
          ]} />
        </div>
      ) : <Empty text={t.empty.segments} />}
    </Section>
  );
}

export function GateRows({ gates, refused, label }: { gates: Gate[]; refused: Refusal[]; label: string }) {
  const { t, named } = useSpeech();
  type Row = { key: string; name: string; kind: "failed" | "passed" | "noted" | "refused"; detail: string };
  const kind = (gate: Gate) => (gate.passed === null ? "noted" : gate.passed ? "passed" : "failed");
  const rows: Row[] = gates.map((gate) => ({ key: gate.name, name: named("gates", gate.name), kind: kind(gate), detail: gate.detail }));
  const order = ["failed", "passed", "noted"];
  rows.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  rows.push(...refused.map((entry) => ({ key: `refused ${entry.metric}`, name: named("metrics", entry.metric), kind: "refused" as const, detail: `${entry.reason.replace(/\.$/, "")}. ${t.strategy.missing}: ${wanting(entry.missing)}` })));
  const word = { failed: t.strategy.failed, passed: t.strategy.passed, noted: t.strategy.noted, refused: t.strategy.refused };
  return (
    <Table label={label} rows={rows} keyOf={(row) => row.key} columns={[
      { name: t.strategy.check, main: true, cell: (row) => row.name },
      { name: t.strategy.result, cell: (row) => <span class={`result ${row.kind}`}>{word[row.kind]}</span> },
      { name: t.strategy.detail, text: true, cell: (row) => <small lang="en">{row.detail}</small> },
    ]} />
  );
}

function Evidence({ made }: { made: StrategyDocument }) {
  const { t, count, number, named } = useSpeech();
  return (
    <>
      {made.evaluation && <Section title={t.strategy.checks} id="checks"><GateRows gates={made.evaluation.gates} refused={made.evaluation.refused} label={t.strategy.checks} /></Section>}
      {made.launch && <Section title={t.strategy.launch}><p><b>{named("standing", made.launch.standing)}</b>: <Said>{made.launch.reason}</Said></p></Section>}
      <Section title={t.strategy.classes}>
        {made.classes.length ? <Table label={t.strategy.classes} rows={made.classes} keyOf={(one) => one.name} columns={[
          { name: t.strategy.class, main: true, cell: (one) => <>{named("classes", one.name)} <small class="soft block" lang="en">{one.meaning}</small></> },
          { name: t.customers, number: true, cell: (one) => count(one.customers) },
          { name: t.contacted, number: true, cell: (one) => count(one.contacted) },
          { name: t.holdout, number: true, cell: (one) => count(one.held_out) },
          { name: t.strategy.effect, number: true, cell: (one) => <Between of={one.effect} show={(v) => number(v * 100, 1)} /> },
        ]} /> : <p class="empty"><Said>{made.classes_note}</Said></p>}
      </Section>
      <Section title={t.strategy.next}><NextExperiment of={made.next_experiment} /></Section>
    </>
  );
}

export function NextExperiment({ of }: { of: Experiment | null | undefined }) {
  const { t, count } = useSpeech();
  if (!of) return <Empty text={t.empty.experiment} />;
  return <p><b>{of.offer.offer_id}</b> – {count(of.offer.customers_per_arm)} {t.learning.perArm}, {count(of.offer.days)} {t.learning.days}. <Said>{of.reason}</Said></p>;
}

function Trail({ of, run }: { of: Detail["audit"]; run: string }) {
  const { t, named, moment } = useSpeech();
  return (
    <Section title={t.strategy.trail} lead={t.strategy.trailLead} id="trail">
      {of.broken ? <p class="problem"><Said>{of.broken}</Said></p> : (
        <Table label={t.strategy.trail} rows={of.entries} keyOf={(entry) => String(entry.seq)} empty={t.strategy.trailEmpty} columns={[
          { name: t.strategy.what, main: true, cell: (entry) => <>{entry.seq}. <span class={`result ${entry.what}`}>{named("trail", entry.what)}</span></> },
          { name: t.strategy.when2, cell: (entry) => <small class="nowrap">{moment(entry.at)}</small> },
          { name: t.strategy.who, cell: (entry) => entry.who },
          { name: t.run, cell: (entry) => entry.strategy_run === run ? <code>{entry.strategy_run}</code> : <code class="soft">{entry.strategy_run || t.none}</code> },
          { name: t.strategy.note, text: true, cell: (entry) => <small>{entry.note || t.none}</small> },
          { name: t.strategy.hash, cell: (entry) => <code title={entry.hash}>{entry.hash.slice(0, 12)}</code> },
        ]} />
      )}
    </Section>
  );
}

function Ahead({ ahead }: { ahead: Detail["ahead"] }) {
  const { t, number, percent, count } = useSpeech();
  const pieces = (u: Detail["ahead"]["demand"][number]["week"]) => !u ? t.none : u.low_80 === null || u.high_80 === null ? number(u.units) : <>{number(u.units)} <small class="range">{t.range(number(u.low_80), number(u.high_80))}</small></>;
  return (
    <>
      {ahead.demand.length > 0 && <Section title={t.strategy.ahead} lead={t.strategy.aheadLead}>
        <Table label={t.strategy.ahead} rows={ahead.demand} keyOf={(row) => row.category} columns={[
          { name: t.strategy.category, main: true, cell: (row) => <Said>{row.category}</Said> },
          { name: t.strategy.week, number: true, cell: (row) => pieces(row.week) },
          { name: t.strategy.month, number: true, cell: (row) => pieces(row.month) },
        ]} />
      </Section>}
      {ahead.warnings.length > 0 && <Section title={t.strategy.atRisk} lead={t.strategy.atRiskLead(count(ahead.warned))}>
        <Table label={t.strategy.atRisk} rows={ahead.warnings} keyOf={(row) => row.customer_id} columns={[
          { name: t.strategy.customer, main: true, cell: (row) => <code>{row.customer_id}</code> },
          { name: t.strategy.risk, number: true, cell: (row) => percent(row.p_churn_28d, 0) },
          { name: t.strategy.stake, number: true, cell: (row) => <Money value={row.value_at_stake_minor} /> },
          { name: t.strategy.why, text: true, cell: (row) => <small lang="en">{row.reason}</small> },
        ]} />
      </Section>}
    </>
  );
}
