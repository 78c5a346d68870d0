import { query, useAnswer } from "../api";
import { type Pair, Pairs } from "../charts";
import { useSpeech } from "../language";
import { go, usePlace } from "../place";
import type { Learning, LedgerRow } from "../types";
import { Between, Empty, Facts, Money, Range, Said, Section, Shown, Table, Tag, useTitle, wanting } from "../ui";
import { GateRows, NextExperiment } from "./strategy";

export function LearningPage() {
  const { t, day: shown } = useSpeech(), { query: wanted } = usePlace(), day = wanted.get("day") ?? "";
  const answer = useAnswer<Learning>(`/learning${query({ day })}`);
  useTitle(t.menu.learning);
  return (
    <>
      <header class="page-head"><div class="title-line"><h1>{t.menu.learning}</h1>
        {answer.data?.day && <label class="inline"><span>{t.learning.asOf}</span> <select aria-label={t.learning.asOf} value={answer.data.day} onChange={(event) => go(`/learning?day=${event.currentTarget.value}`, true)}>{[...new Set([answer.data.day, ...answer.data.days])].sort().reverse().map((one) => <option key={one} value={one}>{shown(one)}</option>)}</select></label>}
      </div><p class="soft">{t.learning.lead}</p></header>
      <Shown of={answer}>{(data) => data.day ? <Whole data={data} /> : <Empty text={t.empty.learning} />}</Shown>
    </>
  );
}

function Whole({ data }: { data: Learning }) {
  const { t } = useSpeech(), ledger = data.ledger ?? [];
  return (
    <>
      <Section title={t.learning.waves} lead={t.learning.wavesLead}><Ledger rows={ledger.filter((row) => row.campaign_id === "")} /></Section>
      <Section title={t.learning.campaigns} lead={t.learning.campaignsLead}><Ledger rows={ledger.filter((row) => row.campaign_id !== "")} /></Section>
      <Response data={data} />
      <Words words={data.words} />
      <Section title={t.learning.requests}>
        <Table label={t.learning.requests} rows={data.requests ?? []} keyOf={(row) => row.partition} empty={t.empty.requests} columns={[
          { name: t.learning.asked, main: true, cell: (row) => row.partition },
          { name: t.learning.models, cell: (row) => row.models.join(", ") },
          { name: t.learning.reasons, text: true, cell: (row) => <ul class="plain">{row.reasons.map((reason) => <li key={reason}><Said>{reason}</Said></li>)}</ul> },
        ]} />
      </Section>
      <Section title={t.learning.next}><NextExperiment of={data.next_experiment} /></Section>
      <Section title={t.learning.effects}>
        <Table label={t.learning.effects} rows={data.verdicts ?? []} keyOf={(row) => `${row.partition} ${row.campaign_id} ${row.arm} ${row.outcome}`} empty={t.empty.verdicts} columns={[
          { name: t.day, main: true, cell: (row) => row.partition },
          { name: t.learning.campaign, cell: (row) => <span class="nowrap">{row.campaign_id || t.learning.programme}</span> },
          { name: t.learning.effect, number: true, cell: (row) => row.effect ? <><Money value={row.effect.value} /> <Range low={row.effect.low} high={row.effect.high} /></> : <span class="refused">{t.strategy.refused}</span> },
          { name: t.learning.outcome, cell: (row) => <small lang="en">{row.outcome}</small> },
          { name: t.learning.reasons, text: true, cell: (row) => <small lang="en">{row.reasons.join("; ")}</small> },
        ]} />
      </Section>
      <Drift data={data} />
      <Measures data={data} />
    </>
  );
}

function pair(row: LedgerRow, name: string): Pair {
  const { realised_minor: realised } = row;
  return {
    key: `${row.campaign_id} ${row.wave}`, name, bad: row.shortfall,
    predicted: { value: row.predicted_minor, low: row.predicted_low_minor, high: row.predicted_high_minor },
    realised: realised === null ? null : { value: realised, low: row.realised_low_minor, high: row.realised_high_minor },
  };
}

function Ledger({ rows }: { rows: LedgerRow[] }) {
  const { t, day, count } = useSpeech();
  if (!rows.length) return <Empty text={t.empty.ledger} />;
  const sorted = [...rows].sort((a, b) => a.wave.localeCompare(b.wave) || a.campaign_id.localeCompare(b.campaign_id));
  const several = new Set(rows.map((row) => row.wave)).size > 1;
  const name = (row: LedgerRow) => [row.campaign_id, (several || !row.campaign_id) && day(row.wave)].filter(Boolean).join(" · ");
  return (
    <>
      <figure><Pairs rows={sorted.slice(-16).map((row) => pair(row, name(row)))} label={`${t.learning.predicted}, ${t.learning.realised}`} /></figure>
      <details><summary>{t.asTable}</summary>
        <Table label={t.learning.waves} rows={sorted} keyOf={(row) => `${row.campaign_id} ${row.wave}`} columns={[
          { name: t.learning.wave, main: true, cell: (row) => <>{row.campaign_id && `${row.campaign_id} · `}{day(row.wave)}</> },
          { name: t.learning.contacts, number: true, cell: (row) => count(row.contacts) },
          { name: t.learning.controls, number: true, cell: (row) => count(row.controls) },
          { name: t.learning.predicted, number: true, cell: (row) => <><Money value={row.predicted_minor} /> <Range low={row.predicted_low_minor} high={row.predicted_high_minor} /> <small class="soft block">{row.incremental ? t.incremental : t.assumed}</small></> },
          { name: t.learning.realised, number: true, cell: (row) => row.realised_minor === null ? t.notMeasured : <><Money value={row.realised_minor} /> <Range low={row.realised_low_minor} high={row.realised_high_minor} /></> },
          { name: t.learning.verdict, text: true, cell: (row) => <small>{row.shortfall && <b class="bad">{t.learning.shortfall} </b>}{!row.matured && <Tag kind="noted">{t.learning.open}</Tag>} <Said>{row.reason}</Said></small> },
        ]} />
      </details>
    </>
  );
}

function Response({ data }: { data: Learning }) {
  const { t, count } = useSpeech(), response = data.response;
  if (!response) return null;
  return (
    <Section title={t.learning.response} aside={<Tag kind={response.usable ? "passed" : "noted"}>{response.usable ? t.strategy.passed : t.strategy.noted}</Tag>}>
      <p>{count(response.trials)} {t.learning.trials}. <Said>{response.reason}</Said></p>
      {data.serving && <p class="soft">{t.learning.serving}: {data.serving.serving ?? t.none}. <Said>{data.serving.reason}</Said></p>}
      {response.gates.length > 0 && <details><summary>{t.strategy.checks}</summary><GateRows gates={response.gates} refused={[]} label={t.learning.response} /></details>}
    </Section>
  );
}

function Words({ words }: { words: Learning["words"] }) {
  const { t, count, number, percent } = useSpeech();
  if (!words) return null;
  const rows = [...words.traits].sort((a, b) => b.log_odds.value - a.log_odds.value);
  return (
    <Section title={t.learning.words}>
      <p>{words.click_rate && <><Between of={words.click_rate} show={(v) => percent(v)} />, </>}{t.learning.clicksOf(count(words.clicks), count(words.sends))}. <Said>{words.reason}</Said></p>
      {rows.length > 0 && <Table label={t.learning.words} rows={rows} keyOf={(row) => row.trait} columns={[
        { name: t.learning.trait, main: true, cell: (row) => <Said>{row.meaning}</Said> },
        { name: t.learning.odds, number: true, cell: (row) => <Between of={row.log_odds} show={(v) => number(v, 2)} /> },
        { name: t.learning.verdict, cell: (row) => row.works ? <b class="good">{t.learning.works}</b> : row.harms ? <b class="bad">{t.learning.harms}</b> : t.none },
      ]} />}
    </Section>
  );
}

function Drift({ data }: { data: Learning }) {
  const { t, number } = useSpeech(), rows = [...(data.drift ?? [])].sort((a, b) => b.psi - a.psi);
  const most = Math.max(...rows.map((row) => Math.max(row.psi, row.threshold)), 0.01);
  return (
    <Section title={t.learning.drift} lead={t.learning.driftLead}>
      {rows.length ? <ol class="bars">{rows.slice(0, 12).map((row) => (
        <li key={row.feature}><span class="bar-name">{row.feature.replaceAll("_", " ")}</span>
          <svg class="bar-line" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="bar-back" width="100" height="10" /><rect class={row.drifted ? "bar-fill bad" : "bar-fill"} width={(row.psi / most) * 100} height="10" /><line class="limit" x1={(row.threshold / most) * 100} x2={(row.threshold / most) * 100} y1="0" y2="10" /></svg>
          <span class="n">{number(row.psi, 4)}</span><span class={row.drifted ? "bad" : "soft"}>{row.drifted ? t.learning.drifted : t.learning.steady}</span></li>
      ))}</ol> : <Empty text={t.empty.drift} />}
    </Section>
  );
}

function Measures({ data }: { data: Learning }) {
  const { t, number, named } = useSpeech(), report = data.report;
  if (!report) return null;
  const bare = Object.entries(report.metrics).filter(([name]) => !/_(low|high)$/.test(name));
  return (
    <>
      {report.refused.length > 0 && <Section title={t.learning.refused}><Facts rows={report.refused.map((one) => [named("metrics", one.metric), <small><Said>{one.reason}</Said> <span class="soft block">{t.strategy.missing}: <Said>{wanting(one.missing)}</Said></span></small>])} /></Section>}
      <Section title={t.learning.metrics}>
        <details><summary>{t.more}</summary>
          <Table label={t.learning.metrics} rows={bare} keyOf={([name]) => name} columns={[
            { name: t.learning.metric, main: true, cell: ([name]) => <code>{name}</code> },
            { name: t.learning.value, number: true, cell: ([name, value]) => {
              const low = report.metrics[`${name}_low`], high = report.metrics[`${name}_high`];
              return low !== undefined && high !== undefined ? <Between of={{ value, low, high, method: "" }} show={(v) => number(v, 4)} /> : number(value, Number.isInteger(value) ? 0 : 4);
            } },
          ]} />
          <ul class="soft">{report.notes.map((note) => <li key={note}><Said>{note}</Said></li>)}</ul>
        </details>
      </Section>
    </>
  );
}
