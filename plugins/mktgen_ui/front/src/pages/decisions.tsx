import { useEffect, useState } from "preact/hooks";
import { query, useAnswer } from "../api";
import { Bar } from "../charts";
import { useSpeech } from "../language";
import { go, usePlace } from "../place";
import type { DecisionPage as Page, DecisionRow, Detail } from "../types";
import { type Column, Empty, Link, Money, short, Shown, Simulated, Table, Tag } from "../ui";
import { DayHead } from "./head";

const LIMIT = 50;

export function DecisionsPage({ day }: { day: string }) {
  const { t, count } = useSpeech(), { query: wanted } = usePlace();
  const at = (name: string) => wanted.get(name) ?? "";
  const strategy = useAnswer<Detail>(`/strategies/${day}`);
  const offset = Math.max(Number.parseInt(at("offset"), 10) || 0, 0);
  const filters = { search: at("search"), campaign: at("campaign"), segment: at("segment"), contacted: at("contacted"), sort: at("sort"), descending: at("descending") };
  const answer = useAnswer<Page>(`/strategies/${day}/decisions${query({ ...filters, run: at("run"), offset, limit: LIMIT })}`);
  const change = (values: Record<string, string | number>) => go(`/strategies/${day}/decisions${query({ ...filters, run: at("run"), offset: 0, ...values })}`, true);
  return (
    <>
      <DayHead day={day} tab="decisions"><Simulated shown={strategy.data?.simulated} /></DayHead>
      {answer.data && <p class="lead">{t.decisions.lead(count(answer.data.total))}</p>}
      <Filters data={strategy.data} filters={filters} change={change} />
      <Shown of={answer} missing={t.empty.decisions}>
        {(page) => page.rows.length ? (
          <>
            <Rows day={day} page={page} filters={filters} change={change} segments={strategy.data?.segments ?? []} />
            <Pager page={page} move={(next) => change({ offset: next, run: page.run })} />
          </>
        ) : <Empty text={t.empty.decisions} />}
      </Shown>
    </>
  );
}

type Filter = Record<"search" | "campaign" | "segment" | "contacted" | "sort" | "descending", string>;
type Change = (values: Record<string, string | number>) => void;

function Filters({ data, filters, change }: { data: Detail | null; filters: Filter; change: Change }) {
  const { t, said, language } = useSpeech(), [text, type] = useState(filters.search);
  useEffect(() => type(filters.search), [filters.search]);
  const changed = (name: string) => (event: Event) => change({ [name]: (event.currentTarget as HTMLSelectElement).value });
  return (
    <form class="filters" role="search" onSubmit={(event) => { event.preventDefault(); change({ search: text.trim() }); }}>
      <label class="wide"><span>{t.decisions.search}</span><input type="search" aria-label={t.decisions.search} value={text} maxLength={128} placeholder={t.decisions.searchHint} onInput={(event) => type(event.currentTarget.value)} onChange={() => change({ search: text.trim() })} /></label>
      <label><span>{t.decisions.campaign}</span><select aria-label={t.decisions.campaign} value={filters.campaign} onChange={changed("campaign")}><option value="">{t.all}</option>{data?.strategy.campaigns.map((one) => <option key={one.campaign_id} value={one.campaign_id}>{said(one.name) || one.campaign_id}</option>)}</select></label>
      <label><span>{t.decisions.segment}</span><select aria-label={t.decisions.segment} value={filters.segment} onChange={changed("segment")}><option value="">{t.all}</option>{data?.segments.map((one) => <option key={one.segment_id} value={one.segment_id}>{language === "zh" ? one.name_zh : one.name_en}</option>)}</select></label>
      <label><span>{t.decisions.contact}</span><select aria-label={t.decisions.contact} value={filters.contacted} onChange={changed("contacted")}><option value="">{t.all}</option><option value="true">{t.decisions.contactedOnly}</option><option value="false">{t.decisions.notContacted}</option></select></label>
      <button type="button" class="quiet" onClick={() => change({ search: "", campaign: "", segment: "", contacted: "", sort: "", descending: "" })}>{t.decisions.clear}</button>
    </form>
  );
}

function Rows({ day, page, filters, change, segments }: { day: string; page: Page; filters: Filter; change: Change; segments: Detail["segments"] }) {
  const { t, percent, named, language } = useSpeech();
  const segment = (id: string) => { const found = segments.find((one) => one.segment_id === id); return found ? (language === "zh" ? found.name_zh : found.name_en) : id; };
  const sorted = (name: string, column: string): Pick<Column<DecisionRow>, "head" | "sort"> => {
    const on = filters.sort === column, down = filters.descending === "true";
    return {
      sort: on ? (down ? "descending" : "ascending") : "none",
      head: <button type="button" class="sorter" title={t.decisions.sortBy(name)} onClick={() => change({ sort: column, descending: on && down ? "" : "true" })}>{name} <span aria-hidden="true">{on ? (down ? "↓" : "↑") : "↕"}</span></button>,
    };
  };
  return (
    <Table label={t.tabs.decisions} rows={page.rows} keyOf={(row) => row.decision_id} columns={[
      { name: t.decision.customer, main: true, ...sorted(t.decision.customer, "customer_id"), cell: (row) => <Link path={`/strategies/${day}/decisions/${encodeURIComponent(row.decision_id)}`}>{short(row.customer_id)}</Link> },
      { name: t.decisions.segment, cell: (row) => <small class="min">{segment(row.segment_id)}</small> },
      { name: t.decisions.action, cell: (row) => <>{row.action === "no_contact" ? <span class="soft nowrap">{t.decisions.noContact}</span> : <b class="nowrap">{row.action}</b>}{row.explored && <> <Tag kind="explored">{t.decisions.explored}</Tag></>}</> },
      { name: t.decisions.arm, cell: (row) => <small>{named("arms", row.arm)}</small> },
      { name: t.decisions.chance, number: true, ...sorted(t.decisions.chance, "propensity"), cell: (row) => <span class="with-bar">{percent(row.propensity)} <Bar share={row.propensity} /></span> },
      { name: t.decisions.p, number: true, ...sorted(t.decisions.p, "p_redeem"), cell: (row) => row.p_redeem === null ? t.none : percent(row.p_redeem) },
      { name: t.decisions.value, number: true, ...sorted(t.decisions.value, "expected_value_minor"), cell: (row) => row.action === "no_contact" ? t.none : <Money value={row.expected_value_minor} /> },
      { name: t.decisions.cost, number: true, ...sorted(t.decisions.cost, "cost_minor"), cell: (row) => row.action === "no_contact" ? t.none : <Money value={row.cost_minor} /> },
    ]} />
  );
}

function Pager({ page, move }: { page: Page; move: (offset: number) => void }) {
  const { t, count } = useSpeech();
  const pages = Math.max(Math.ceil(page.matching / page.limit), 1), here = Math.floor(page.offset / page.limit) + 1;
  const button = (name: string, to: number) => <button type="button" disabled={to === here || to < 1 || to > pages} onClick={() => move((to - 1) * page.limit)}>{name}</button>;
  return (
    <nav class="pager" aria-label={t.decisions.page(count(here), count(pages))}>
      {button(t.decisions.first, 1)}{button(t.decisions.previous, here - 1)}
      <span>{t.decisions.page(count(here), count(pages))} <small class="soft">{t.decisions.matching(count(page.matching))}</small></span>
      {button(t.decisions.next, here + 1)}{button(t.decisions.last, pages)}
    </nav>
  );
}
