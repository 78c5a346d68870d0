// The few parts that all pages are made of.
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Asked } from "./api";
import { useSpeech } from "./language";
import { to } from "./place";
import type { Counts, Expected, Interval, Realised } from "./types";

type Children = { children?: ComponentChildren };

export function Link({ path, children, current }: Children & { path: string; current?: boolean }) {
  return <a href={to(path)} aria-current={current ? "page" : undefined}>{children}</a>;
}

export function Section({ title, lead, children, id, aside }: Children & { title: string; lead?: string | undefined; id?: string; aside?: ComponentChildren }) {
  return (
    <section class="section" id={id}>
      <header class="section-head"><h2>{title}</h2>{aside}</header>
      {lead && <p class="soft lead">{lead}</p>}
      {children}
    </section>
  );
}

export function Tag({ kind, children }: Children & { kind: string }) {
  return <span class={`tag tag-${kind}`}>{children}</span>;
}

export function Simulated({ shown }: { shown: boolean | undefined }) {
  const { t } = useSpeech();
  return shown ? <Tag kind="simulated">{t.simulated}</Tag> : null;
}

export function Status({ of }: { of: string }) {
  const { named } = useSpeech();
  return <Tag kind={of}>{named("status", of)}</Tag>;
}

export function Gates({ counts }: { counts: Counts | undefined }) {
  const { t } = useSpeech();
  if (!counts) return <>{t.none}</>;
  const words = t.gateCounts(counts.passed, counts.failed, counts.noted);
  return (
    <span class="gates" title={words}>
      <span class="sr">{words}</span>
      <span aria-hidden="true"><b class="good">✓ {counts.passed}</b>{counts.failed > 0 && <b class="bad"> ✗ {counts.failed}</b>} <small class="soft">{t.notedToo(counts.noted)}</small></span>
    </span>
  );
}

export function Money({ value, signed }: { value: number | null | undefined; signed?: boolean }) {
  const speech = useSpeech();
  if (value === null || value === undefined) return <>{speech.t.none}</>;
  const text = speech.money(value);
  return <span class={value < 0 ? "negative" : undefined}>{signed ? speech.signed(text, value) : text}</span>;
}

export function Range({ low, high }: { low: number | null | undefined; high: number | null | undefined }) {
  const { money, t } = useSpeech();
  return low === null || low === undefined || high === null || high === undefined ? null : <small class="range">{t.range(money(low), money(high))}</small>;
}

export function ExpectedProfit({ of }: { of: Expected | null | undefined }) {
  const { t } = useSpeech();
  if (!of) return <>{t.none}</>;
  return <span class="figure"><Money value={of.value} /> <Range low={of.low} high={of.high} /><small class="soft">{of.incremental ? t.incremental : t.assumed}</small></span>;
}

export function RealisedProfit({ of }: { of: Realised | null | undefined }) {
  const { t, day } = useSpeech();
  if (!of) return <small class="soft">{t.notYet}</small>;
  if (of.value === null) return <small class="soft" title={of.reason}>{t.notMeasured}</small>;
  return <span class="figure" title={of.reason}><Money value={of.value} /> <Range low={of.low} high={of.high} /><small class="soft">{t.waveOf(day(of.wave))}</small></span>;
}

export function Between({ of, show }: { of: Interval | null; show: (value: number) => string }) {
  const { t } = useSpeech();
  return of ? <>{show(of.value)} <small class="range">{t.range(show(of.low), show(of.high))}</small></> : <>{t.none}</>;
}

export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  return <dl class="facts">{rows.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>;
}

// main: names the row. text: long words, which on a narrow screen get a line of their own.
export interface Column<R> { name: string; cell: (row: R) => ComponentChildren; number?: boolean; text?: boolean; head?: ComponentChildren; sort?: "ascending" | "descending" | "none"; main?: boolean }

export function Table<R>({ columns, rows, label, keyOf, empty }: { columns: Column<R>[]; rows: R[]; label: string; keyOf: (row: R) => string; empty?: string }) {
  if (!rows.length && empty) return <Empty text={empty} />;
  return (
    <div class={columns.some((c) => c.text) ? "scroll stacked" : "scroll"} tabIndex={0} role="region" aria-label={label}>
      <table>
        <caption class="sr">{label}</caption>
        <thead><tr>{columns.map((c) => <th key={c.name} scope="col" class={c.number ? "n" : undefined} aria-sort={c.sort}>{c.head ?? c.name}</th>)}</tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((c) => c.main ? <th key={c.name} scope="row">{c.cell(row)}</th> : <td key={c.name} class={c.number ? "n" : c.text ? "text" : undefined}>{c.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Empty({ text }: { text: string }) {
  return <p class="empty">{text}</p>;
}

export function Loading() {
  const { t } = useSpeech();
  return <div class="loading" role="status"><span class="sr">{t.loading}</span><i /><i /><i /></div>;
}

// What was asked for, or why it can't be shown.
export function Shown<T>({ of, children, missing }: { of: Asked<T>; children: (data: T) => ComponentChildren; missing?: string }) {
  const { t } = useSpeech();
  if (of.data !== null) return <div aria-busy={of.loading}>{children(of.data)}</div>;
  if (of.loading) return <Loading />;
  if (of.status === 404 && missing) return <Empty text={missing} />;
  const known = (t.errors as unknown as Record<number, string>)[of.status];
  return (
    <div class="problem" role="alert">
      <h2>{t.errors.title}</h2>
      <p>{known ?? of.error}</p>
      {known && of.error && of.status === 404 && <p class="soft" lang="en">{of.error}</p>}
      <button type="button" onClick={of.again}>{t.retry}</button>
    </div>
  );
}

// Capabilities that a refused metric would need, in words.
export function wanting(missing: string[]): string {
  return missing.map((one) => one.replace(/^has_/, "").replaceAll("_", " ")).join(", ");
}

// Text that the loop wrote, in English.
export function Said({ children }: Children) {
  return <span lang="en">{children}</span>;
}

export function useWidth(least: number): [RefObject<HTMLDivElement | null>, number] {
  const ref = useRef<HTMLDivElement>(null), [width, set] = useState(least);
  useEffect(() => {
    const box = ref.current;
    if (!box) return;
    const watch = new ResizeObserver(() => set(Math.max(Math.floor(box.clientWidth), least)));
    watch.observe(box);
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}

export function short(id: string, length = 12): ComponentChildren {
  return id.length > length + 2 ? <code title={id}>{id.slice(0, length)}…</code> : <code>{id}</code>;
}

export function useTitle(text: string): void {
  useEffect(() => {
    document.title = text;
  }, [text]);
}
