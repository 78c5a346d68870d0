// Charts as inline SVG, drawn at the width they have. Each has its figures in a table beside it.
import type { ComponentChildren } from "preact";
import { useSpeech } from "./language";
import type { Interval, Point, Segment } from "./types";
import { useWidth } from "./ui";

interface Scale { at: (value: number) => number; ticks: number[] }

function nice(span: number, wanted: number): number {
  const rough = span / Math.max(wanted, 1), power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 2.5, 5, 10].find((step) => step * power >= rough) ?? 10) * power;
}

// Values low to high onto pixels from to to; ticks at round values, the ends are round values too where `round` says so.
export function scale(low: number, high: number, from: number, to: number, wanted: number, round = true): Scale {
  const span = high - low || Math.abs(high) || 1, step = nice(span, wanted);
  const first = round ? Math.floor(low / step) * step : low, last = round ? Math.ceil((low === high ? low + span : high) / step) * step : high;
  const ticks: number[] = [];
  for (let tick = Math.ceil(first / step - 1e-9) * step; tick <= last + step * 1e-9; tick += step) ticks.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
  return { at: (value) => from + ((value - first) / (last - first || 1)) * (to - from), ticks };
}

function short(value: number, language: string): string {
  return new Intl.NumberFormat(language === "zh" ? "zh-CN" : "en-GB", { notation: Math.abs(value) >= 10_000 ? "compact" : "standard", maximumFractionDigits: 1 }).format(value).replace("-", "−");
}

function Frame({ width, height, label, children }: { width: number; height: number; label: string; children: ComponentChildren }) {
  return <svg class="chart" width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={label}>{children}</svg>;
}

const AXIS = { left: 62, right: 26, top: 28, bottom: 44 };

// Budget against profit: the curve, its 95% band, the plan, and a point that is asked about.
export function BudgetCurve({ points: all, plan, asked, label }: { points: Point[]; plan: number; asked?: { budget: number; value: number; interval: Interval | null } | undefined; label: string }) {
  const { t, language, money } = useSpeech(), [ref, width] = useWidth(280), height = 300;
  const points = rising(all, Math.max(plan * 1.5, asked?.budget ?? 0));
  const bands = points.map((p) => p.value), banded = bands.every((b) => b !== null);
  const values = [0, ...points.map((p) => p.value_minor), ...bands.flatMap((b) => (b ? [b.low, b.high] : [])), ...(asked ? [asked.value] : [])];
  const x = scale(0, Math.max(...points.map((p) => p.budget_minor)) / 100, AXIS.left, width - AXIS.right, width < 480 ? 4 : 8, false);
  const y = scale(Math.min(...values) / 100, Math.max(...values) / 100, height - AXIS.bottom, AXIS.top, 5);
  const px = (budget: number) => x.at(budget / 100), py = (value: number) => y.at(value / 100);
  const here = points.find((p) => p.budget_minor === plan), first = points[0];
  const line = points.map((p) => `${px(p.budget_minor)},${py(p.value_minor)}`).join(" ");
  const band = banded && first ? [...points.map((p, i) => `${px(p.budget_minor)},${py(bands[i]?.high ?? 0)}`), ...points.map((p, i) => `${px(p.budget_minor)},${py(bands[i]?.low ?? 0)}`).reverse()].join(" ") : "";
  const left = here ? px(here.budget_minor) > width * 0.6 : false;
  return (
    <div ref={ref} class="chart-box">
      <Frame width={width} height={height} label={label}>
        {y.ticks.map((tick) => <g key={tick}><line class={tick === 0 ? "axis" : "grid"} x1={AXIS.left} x2={width - AXIS.right} y1={y.at(tick)} y2={y.at(tick)} /><text class="tick" x={AXIS.left - 8} y={y.at(tick) + 4} text-anchor="end">{short(tick, language)}</text></g>)}
        {x.ticks.map((tick) => <text key={tick} class="tick" x={x.at(tick)} y={height - AXIS.bottom + 18} text-anchor="middle">{short(tick, language)}</text>)}
        <text class="axis-name" x={AXIS.left} y={13}>{t.expected}</text>
        <text class="axis-name" x={width - AXIS.right} y={height - 6} text-anchor="end">{t.whatIf.budget}</text>
        {band && <polygon class="band" points={band} />}
        <polyline class="line" points={line} />
        {here && <Slope at={here} px={px} py={py} top={AXIS.top} end={width - AXIS.right} />}
        {here && <g><line class="guide" x1={px(here.budget_minor)} x2={px(here.budget_minor)} y1={py(here.value_minor)} y2={y.at(0)} /><circle class="dot" cx={px(here.budget_minor)} cy={py(here.value_minor)} r={5} /><text class="label" x={px(here.budget_minor) + (left ? -10 : 10)} y={py(here.value_minor) + 20} text-anchor={left ? "end" : "start"}>{t.strategy.plan}: {money(here.value_minor)}</text></g>}
        {asked && <g><circle class="dot-asked" cx={px(Math.min(asked.budget, points.at(-1)?.budget_minor ?? 0))} cy={py(asked.value)} r={6} />{asked.interval && <line class="whisker" x1={px(asked.budget)} x2={px(asked.budget)} y1={py(asked.interval.low)} y2={py(asked.interval.high)} />}</g>}
      </Frame>
    </div>
  );
}

// The part of a curve that says something: up to one point past where it stops rising, and at least up to `least`.
function rising(points: Point[], least: number): Point[] {
  const top = points.at(-1)?.value_minor ?? 0;
  const end = points.findIndex((point) => point.value_minor >= top * 0.999 && point.budget_minor >= least);
  return end < 0 ? points : points.slice(0, end + 2);
}

// The price of the budget: the slope at the plan.
function Slope({ at, px, py, top, end }: { at: Point; px: (v: number) => number; py: (v: number) => number; top: number; end: number }) {
  if (at.price <= 0 || at.budget_minor === 0) return null;
  const x = (reach: number) => px(at.budget_minor + reach), y = (reach: number) => py(at.value_minor + reach * at.price);
  let reach = at.budget_minor * 0.35;
  while (x(reach) > end || y(reach) < top) reach *= 0.9;
  return <line class="slope" x1={x(-reach)} y1={y(-reach)} x2={x(reach)} y2={y(reach)} />;
}

// Segments by churn risk and spend; numbers stand for the rows of the table below.
export function SegmentMap({ segments, label }: { segments: Segment[]; label: string }) {
  const { t, language, percent } = useSpeech(), [ref, width] = useWidth(280), height = 320;
  const largest = Math.max(...segments.map((s) => s.customers), 1), most = Math.min(width / 11, 40);
  const risks = segments.map((s) => s.p_churn_28d), spends = segments.map((s) => s.net_minor_84d / 100);
  const x = scale(Math.max(0, Math.min(...risks) - 0.05), Math.min(1, Math.max(...risks) + 0.05), AXIS.left + most, width - AXIS.right - most / 2, width < 480 ? 4 : 6);
  const y = scale(0, Math.max(...spends) * 1.12, height - AXIS.bottom - most / 2, AXIS.top, 5);
  const placed = segments.map((s, index) => ({ s, index, cx: x.at(s.p_churn_28d), cy: y.at(s.net_minor_84d / 100), r: Math.max(most * Math.sqrt(s.customers / largest), 6) }));
  return (
    <div ref={ref} class="chart-box">
      <Frame width={width} height={height} label={label}>
        {y.ticks.map((tick) => <g key={tick}><line class={tick === 0 ? "axis" : "grid"} x1={AXIS.left} x2={width - AXIS.right} y1={y.at(tick)} y2={y.at(tick)} /><text class="tick" x={AXIS.left - 8} y={y.at(tick) + 4} text-anchor="end">{short(tick, language)}</text></g>)}
        {x.ticks.map((tick) => <text key={tick} class="tick" x={x.at(tick)} y={height - AXIS.bottom + 18} text-anchor="middle">{percent(tick, 0)}</text>)}
        <text class="axis-name" x={AXIS.left} y={13}>{t.strategy.spend84}</text>
        <text class="axis-name" x={width - AXIS.right} y={height - 6} text-anchor="end">{t.strategy.risk}</text>
        {[...placed].sort((a, b) => b.r - a.r).map(({ s, index, cx, cy, r }) => <circle key={s.segment_id} class={`bubble hue-${index % 8}`} cx={cx} cy={cy} r={r}><title>{`${index + 1}: ${language === "zh" ? s.name_zh : s.name_en}`}</title></circle>)}
        {placed.map(({ s, index, cx, cy, r }) => {
          // Circles may lie over one another; their numbers then stand side by side.
          const before = placed.filter((other) => other.index < index && Math.hypot(other.cx - cx, other.cy - cy) < 12).length;
          return <text key={s.segment_id} class="bubble-text" x={(r < 12 ? cx + r + 8 : cx) + before * 13} y={r < 12 ? cy - r : cy + 4} text-anchor="middle">{index + 1}</text>;
        })}
      </Frame>
    </div>
  );
}

export interface Pair { key: string; name: string; predicted: { value: number; low: number | null; high: number | null }; realised: { value: number; low: number | null; high: number | null } | null; bad: boolean }

// Predicted beside realised, each with its interval, one row a campaign or wave.
export function Pairs({ rows, label }: { rows: Pair[]; label: string }) {
  const { t, language } = useSpeech(), [ref, width] = useWidth(280), step = 46, top = 34;
  const height = top + rows.length * step + 30, names = width < 560 ? 0 : 150;
  const all = rows.flatMap((row) => [row.predicted, row.realised]).filter((v) => v !== null).flatMap((v) => [v.value, v.low ?? v.value, v.high ?? v.value]);
  const x = scale(Math.min(0, ...all) / 100, Math.max(0, ...all) / 100, names + 16, width - 24, width < 480 ? 3 : 6);
  const bar = (v: { value: number; low: number | null; high: number | null }, y: number, kind: string) => (
    <g>{v.low !== null && v.high !== null && <line class={`whisker ${kind}`} x1={x.at(v.low / 100)} x2={x.at(v.high / 100)} y1={y} y2={y} />}<circle class={`mark ${kind}`} cx={x.at(v.value / 100)} cy={y} r={5} /></g>
  );
  return (
    <div ref={ref} class="chart-box">
      <Frame width={width} height={height} label={label}>
        <g><circle class="mark predicted" cx={names + 22} cy={12} r={5} /><text class="tick" x={names + 32} y={16}>{t.learning.predicted}</text><circle class="mark realised" cx={names + 132} cy={12} r={5} /><text class="tick" x={names + 142} y={16}>{t.learning.realised}</text></g>
        {x.ticks.map((tick) => <g key={tick}><line class={tick === 0 ? "axis" : "grid"} x1={x.at(tick)} x2={x.at(tick)} y1={top - 6} y2={height - 26} /><text class="tick" x={x.at(tick)} y={height - 8} text-anchor="middle">{short(tick, language)}</text></g>)}
        {rows.map((row, index) => {
          const y = top + index * step + step / 2;
          return <g key={row.key}><text class={row.bad ? "label bad" : "label"} x={names ? names : 16} y={names ? y + 4 : y - 14} text-anchor={names ? "end" : "start"}>{row.name}</text>{bar(row.predicted, y - 5, "predicted")}{row.realised && bar(row.realised, y + 7, "realised")}</g>;
        })}
      </Frame>
    </div>
  );
}

// A share as a bar; the number stands beside it.
export function Bar({ share, kind = "" }: { share: number; kind?: string }) {
  const width = Math.max(0, Math.min(share, 1)) * 64;
  return <svg class={`bar ${kind}`} width={64} height={8} aria-hidden="true"><rect class="bar-back" width={64} height={8} rx={4} /><rect class="bar-fill" width={width} height={8} rx={Math.min(4, width / 2)} /></svg>;
}
