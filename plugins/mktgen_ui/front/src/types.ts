// What the API answers with. Money is in minor units.
export type Words = Record<string, string>;
export interface Interval { value: number; low: number; high: number; method: string }
export interface Refusal { metric: string; missing: string[]; reason: string }
export interface Gate { name: string; passed: boolean | null; detail: string }
export interface Expected { value: number; low: number | null; high: number | null; incremental: boolean }
export interface Realised { wave: string; value: number | null; low: number | null; high: number | null; reason: string }
export interface Counts { passed: number; failed: number; noted: number }

export interface ListRow {
  day: string; status: string; note?: string; customers?: number; contacted?: number; holdout?: number; gates?: Counts;
  expected?: Expected | null; realised?: Realised | null; simulated?: boolean; stopped_by?: string[];
}
export interface Listing { rows: ListRow[]; next: string | null; total: number }

export interface Campaign {
  campaign_id: string; name: Words; objective: string; audience: Words; customers: number; holdout_customers: number;
  segment_ids: string[]; offers: { offer_id: string; label: string; customers: number }[]; items: string[]; channel: string;
  send_at_local: string; budget_minor: number; worst_case_cost_minor: number; expected_redemptions: Interval | null;
  expected_redemption_rate: Interval | null; expected_value_minor: Interval | null; reasons: string[];
  copy_example: Words; why_examples: { customer_id: string; item_id: string; item: string; reasons: string[] }[];
}
export interface Allocation {
  budget_minor: number; usual_budget_minor: number; worst_case_cost_minor: number; expected_cost_minor: number;
  expected_value_minor: number; allocated_cost_minor: number; value_minor: number; bound_minor: number; gap_share: number;
  shadow_price: number; propensity_floor: number; no_contact_floor: number; contacts: number; candidates: number;
}
export interface Experiment {
  offer: { offer_id: string; campaign_id: string; eligible: number; customers_per_arm: number; days: number };
  reason: string; detectable_minor: number; power: number;
}
export interface StrategyDocument {
  partition: string; status: string; source: string; source_notice: string; assumptions: string[]; customers: number;
  contacted: number; holdout: number; segments: Record<string, number>; campaigns: Campaign[]; allocation: Allocation;
  versions: Words; classes: { name: string; meaning: string; customers: number; contacted: number; held_out: number; effect: Interval }[];
  classes_note: string; next_experiment: Experiment | null;
  evaluation: { gates: Gate[]; refused: Refusal[]; stopped: boolean; reasons: string[] } | null;
  launch: { standing: string; reason: string; value: Interval | null } | null;
}
export interface Segment {
  segment_id: string; name_en: string; name_zh: string; description_en: string; description_zh: string; customers: number;
  orders_84d: number; net_minor_84d: number; recency_days: number; p_churn_28d: number;
}
export interface Message {
  campaign_id: string; form: string; language: string; subject: string; body: string; origin: string; messages?: number;
}
export interface Brief {
  campaign_id: string; language: string; title: string; objective: string; audience: string[]; insight: string[]; offers: string[];
  items: string[]; tones: string[]; channels: string[]; calendar: string[]; measures: string[]; risks: string[];
  variants: { segment_id: string; form: string; tone: string; wording_id: string; origin: string; chance: number; subject: string; body: string }[];
}
export interface Drafts { engine: string; reason: string; model: string; tally: { wanted: number; verified: number; fallback_share: number } }
export interface Wordings {
  learned: boolean; reason: string; sends: number; clicks: number; click_rate: Interval | null;
  traits: { trait: string; meaning: string; log_odds: Interval; works: boolean; harms: boolean }[];
}
export interface Units { units: number; low_80: number | null; high_80: number | null }
export interface Node { partition: string; run: string; digest: string }
export interface Origin {
  artefact: string; partition: string; run: string; digest: string; rows: number; step: string; code: string; commit: string;
  parents: { artefact: string; of: Node[] }[];
}
export interface AuditEntry { seq: number; at: string; what: string; who: string; strategy_run: string; note: string; previous: string; hash: string }
export interface Detail {
  day: string; run: string; status: string; published: string | null;
  approval: { approved: boolean; responder: string; note: string } | null; simulated: boolean; incremental: boolean;
  expected: Expected | null; realised: Realised | null; gates: Counts; strategy: StrategyDocument; segments: Segment[];
  copy: { origins: Record<string, number>; examples: Message[]; briefs: Brief[]; drafts: Drafts | null } | null;
  ahead: {
    totals: (Units & { horizon_days: number; method: string })[];
    demand: { category: string; week: Units | null; month: Units }[];
    warnings: { customer_id: string; p_churn_28d: number; value_at_stake_minor: number; reason: string }[]; warned: number;
  };
  curves: boolean; audit: { entries: AuditEntry[]; broken: string }; lineage: Origin; steps: Words; decisions_run: string; runs: string[];
}
export interface Models {
  artefacts: { artefact: string; partition: string; run: string }[];
  runs: { name: string; kind: string; url: string; versions: { name: string; version: string; aliases: string[]; url: string }[] }[];
  note: string;
}
export interface DecisionRow {
  decision_id: string; customer_id: string; segment_id: string; action: string; campaign_id: string | null; arm: string;
  propensity: number; explored: boolean; p_redeem: number | null; expected_value_minor: number; cost_minor: number;
}
export interface DecisionPage { run: string; total: number; matching: number; offset: number; limit: number; rows: DecisionRow[] }
export interface Option {
  action: string; campaign_id: string | null; value_minor: number; low_minor: number | null; high_minor: number | null;
  value_rests_on: string; p_redeem: number | null; cost_minor: number; net_minor: number; propensity: number | null;
  drawn: boolean; excluded_by: string | null; excluded_because: string | null;
}
export interface Decision {
  why: {
    decision_id: string; partition: string; customer_id: string; source: string; notice: string; arm: string; action: string;
    propensity: number; explored: boolean; options: Option[]; decided_by: string; because: string[]; draw: string;
    day: string[]; events: string[]; sending: { status: string; rule: string; when: string; detail: string };
    versions: Words; notes: string[];
  };
  message: Message | null; segment: Segment | null;
  response: { class: string; base_conversion: number; effect: number; low: number; high: number } | null; labels: Words;
}
export interface Point { budget_minor: number; value_minor: number; cost_minor: number; contacts: number; price: number; value: Interval | null }
export interface Curves {
  partition: string; budget_minor: number; holdout_share: number; usual_share: number; customers: number; sampled: number;
  refused: Refusal | null; points: Point[]; without: { offer_id: string; campaign_id: string; customers: number }[];
  not_computed: number; assumptions: string[];
}
export interface Answer {
  budget_minor: number; without: string; holdout_share: number; value_minor: number; value: Interval | null;
  difference_minor: number; difference: Interval | null; cost_minor: number; contacts: number; price: number;
  error_ratio: number; beyond: boolean;
}
export interface LedgerRow {
  campaign_id: string; wave: string; contacts: number; controls: number; predicted_minor: number;
  predicted_low_minor: number | null; predicted_high_minor: number | null; realised_minor: number | null;
  realised_low_minor: number | null; realised_high_minor: number | null; ratio: number | null; matured: boolean;
  shortfall: boolean; incremental: boolean; reason: string;
}
export interface Learning {
  day: string | null; days: string[]; ledger?: LedgerRow[]; drift?: { feature: string; psi: number; threshold: number; drifted: boolean }[];
  report?: { metrics: Record<string, number>; refused: Refusal[]; notes: string[] } | null;
  words?: Wordings | null;
  requests?: { partition: string; reasons: string[]; models: string[] }[];
  verdicts?: { partition: string; campaign_id: string; arm: string; outcome: string; verdict: string; effect: Interval | null; reasons: string[] }[];
  response?: { usable: boolean; reason: string; trials: number; actions: string[]; gates: Gate[] } | null;
  serving?: { serving: string | null; reason: string } | null; next_experiment?: Experiment | null;
}
export interface Comparison { one: Detail; other: Detail }
