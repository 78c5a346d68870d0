// Everything the pages say, in English. texts.zh.ts has the same keys; what the loop wrote itself stays in its own words.
import type { Words } from "./types";

export type Named = "gates" | "status" | "metrics" | "arms" | "decided" | "sending" | "classes" | "forms" | "origins" | "standing" | "objectives" | "trail";

export const en = {
  title: "Strategies", skip: "Skip to the content", simulated: "SIMULATED", loading: "Loading",
  language: "中文", languageHint: "Switch to Chinese", themes: { auto: "Auto", light: "Light", dark: "Dark" }, themeHint: "Colours",
  menu: { strategies: "Strategies", learning: "Learning", compare: "Compare" },
  tabs: { overview: "Strategy", decisions: "Decisions", whatIf: "What if" },
  day: "Day", status: "Status", customers: "Customers", contacted: "Contacted", holdout: "Held out", gates: "Gates", expected: "Expected profit",
  realised: "Realised profit", none: "–", all: "All", retry: "Try again", older: "Older days", run: "Run", estimate: "Estimate",
  range: (low: string, high: string) => `${low} to ${high}`,
  waveOf: (day: string) => `wave of ${day}`, notYet: "window still open", notMeasured: "not measured",
  incremental: "incremental", assumed: "assumed, not incremental",
  gateCounts: (passed: number, failed: number, noted: number) => `${passed} passed, ${failed} failed, ${noted} noted`,
  notedToo: (noted: string | number) => `${noted} noted`,
  asTable: "Figures as a table", more: "Show all",
  empty: {
    strategies: "No strategy yet. Run the Dag marketing_loop for a day, or backfill a range from its Backfill tab.",
    decisions: "No decision matches. Change the filters or the search.", campaigns: "Nobody is to be contacted on this day.",
    segments: "No segments are stored for this day.", copy: "No messages were written for this day.",
    learning: "Nothing was learned yet. The Dag marketing_feedback follows every decided day.", ledger: "No wave is over yet: a wave is known when the window after its first day has passed.",
    drift: "No drift was measured on this day.", requests: "Training was not asked for before its turn.", verdicts: "No campaign's window has ended.",
    experiment: "No experiment is proposed.", compare: "Choose two days.", curves: "There is no curve for this day: it was decided before curves were made. Run step allocate for it again.",
    options: "Nothing else was possible.", events: "No past events are stored for this decision.",
  },
  errors: {
    title: "This can't be shown", 401: "You are not logged in. Log in to Airflow and load this page again.", 403: "Your role may not read the Dag marketing_loop. Ask whoever administers Airflow.",
    404: "There is nothing at this address.", 0: "The server does not answer. Is Airflow's API server running?",
  },
  list: { lead: "One plan a day: who is contacted, with what, and what it is expected to bring." },
  strategy: {
    of: (day: string) => `Strategy of ${day}`, lead: (customers: string, contacted: string, holdout: string) => `${customers} customers: ${contacted} to be contacted, ${holdout} held out to measure against.`,
    campaigns: "Campaigns", audience: "Audience", offers: "Offers", when: "Channel and time", spend: "Spend at worst", ctr: "Click rate", cvr: "Redemption rate", roi: "Return on spend", value: "Expected profit",
    redemptions: "Redemptions", refused: "refused", missing: "missing", why: "Why", whyItem: (item: string) => `Why ${item}`, budget: "Budget", budgetLead: "What the best plan would bring at each budget",
    plan: "Plan in force", price: "Price of the budget", slope: "Dashed: what one more unit of budget adds at the plan.", priceIs: (price: string) => `One more unit of budget adds ${price} of expected profit`, notBinding: "The budget does not bind: another contact is expected to bring nothing.",
    allocated: "allocated", worst: "at worst", bound: "of the upper bound reached", floor: "Least chance of any action", policyExpects: "The policy explores, so it expects", segments: "Segments",
    segmentsLead: "Each circle is a segment; its area stands for the number of customers", risk: "Chance of buying nothing in 28 days", spend84: "Spend per customer in 84 days", orders84: "Orders in 84 days", segment: "Segment",
    copy: "As customers read it", origins: "Where the words come from", brief: "Brief", drafts: "Drafts of a language model", draftsAre: (verified: string, wanted: string, fallback: string) => `${verified} of ${wanted} wordings verified, ${fallback} left to the bank`, briefParts: { objective: "Objective", audience: "Audience", insight: "What is known", offers: "Offers", items: "Items", tones: "Tone", channels: "Channels", calendar: "Calendar", measures: "What to measure", risks: "Risks" }, chanceOf: (chance: string) => `drawn with ${chance}`, messages: (count: string) => `${count} messages`, other: "the same in the other language",
    checks: "Gates", check: "Check", result: "Result", detail: "Detail", passed: "passed", failed: "FAILED", noted: "noted", launch: "On past trials", classes: "Response of customers", class: "Class",
    effect: "Best offer changes the chance to buy by, points", ahead: "Demand ahead", aheadLead: "Pieces of merchandise, with 80% intervals", category: "Category", week: "Next 7 days", month: "Next 28 days", atRisk: "Customers at risk",
    atRiskLead: (count: string) => `${count} are likely to buy nothing in the next 28 days; those with most at stake:`, stake: "At stake", customer: "Customer", source: "Where it comes from", assumptions: "What is assumed",
    lineage: "Made from", artefact: "Artefact", days: "Days", madeBy: "Made by", digest: "Digest", models: "Runs in MLflow", versions: "Versions", openRun: "This day's run in Airflow", noRun: "Airflow has no run for this day",
    approval: "Approval", trail: "Audit trail", trailLead: "Each entry holds the hash of the one before it, so that none can be changed or left out unseen", trailEmpty: "Nothing happened to this day's strategies yet.", when2: "When", who: "Who", what: "What", note: "Note", hash: "Hash", approvedBy: (who: string) => `Approved by ${who}`, rejectedBy: (who: string) => `Rejected by ${who}`, nobody: "Nobody has answered yet.", next: "Next experiment", notice: "Source", moreOffers: (count: string) => `and ${count} more`, jump: "On this page",
    replaced: "This strategy was replaced by a later run of the same day.",
  },
  decisions: {
    lead: (total: string) => `${total} decisions, one for every active customer, no contact included.`, search: "Customer or decision", searchHint: "the beginning of either id", campaign: "Campaign", segment: "Segment", contact: "Contact", contactedOnly: "contacted", notContacted: "not contacted",
    decision: "Decision", action: "Action", arm: "Arm", chance: "Chance", p: "Redemption", value: "Expected profit", cost: "Cost", explored: "explored", noContact: "no contact", page: (page: string, pages: string) => `Page ${page} of ${pages}`,
    matching: (count: string) => `${count} match`, first: "First", previous: "Previous", next: "Next", last: "Last", sortBy: (column: string) => `Sort by ${column}`, clear: "Clear",
  },
  decision: {
    title: "Why this customer, this offer", customer: "Customer", decided: "Decided", by: "What decided", options: "What was possible", action: "Action", worth: "Worth", interval: "95% interval", cost: "Cost", net: "At the day's price",
    chance: "Chance", leftOut: "left out", drawn: "drawn", message: "The message", noMessage: "No message: nothing was to be sent.", became: "What became of it", events: "Past events that mattered", day: "The day", versions: "Versions", segment: "Segment",
    response: "Response", points: "points of the chance to buy", rests: "What the worth rests on", arrives: "to arrive", rule: "rule",
  },
  whatIf: {
    lead: "Read off curves that were made with the day's plan. Move a slider: the answer is immediate.", budget: "Budget of the day", drop: "Leave out an offer", dropNone: "none", holdout: "Held out", asPlanned: "Back to the plan", expected: "Expected profit", difference: "Against the plan",
    contacts: "Contacts", spend: "Spend", price: "One more unit of budget adds", error: "Error of the measured effect", errorIs: "of the plan's", beyond: "Beyond the highest budget that was computed: what lies past it counts as nothing.",
    refused: "No interval: no response was learned", assumptions: "What this rests on", sampled: (sampled: string, all: string) => `Computed on ${sampled} of ${all} customers.`, notComputed: (count: string) => `${count} further offers have no curve of their own.`, forCustomers: (count: string) => `${count} customers`,
    nothing: "Nothing could be chosen on this day, so there is nothing to ask.",
  },
  learning: {
    lead: "What the plans promised, and what came of them.", asOf: "As known on", waves: "Profit by wave", wavesLead: "All campaigns together against those held out, 95% intervals", campaigns: "Campaigns", campaignsLead: "Each against those whom the draw left alone",
    predicted: "Predicted", realised: "Realised", wave: "Wave", campaign: "Campaign", contacts: "Contacts", controls: "Left alone", verdict: "Verdict", shortfall: "fell short", open: "still open", programme: "All campaigns", drift: "Drift of customers", driftLead: "Population stability index against the training data; above the line the customers have changed",
    feature: "Feature", psi: "PSI", threshold: "Threshold", drifted: "drifted", steady: "steady", requests: "Requests for training", asked: "Asked on", models: "Models", reasons: "Reasons", next: "Next experiment", perArm: "customers in each group", days: "days until it is known", response: "Response model", trials: "trials",
    serving: "serving", refused: "Refused by name", metric: "Metric", effects: "What campaigns did", effect: "Effect per customer", outcome: "Compared", metrics: "All measures", value: "Value", words: "Which words work", trait: "Wording", odds: "Log odds of a click", works: "works", harms: "harms", clicksOf: (clicks: string, sends: string) => `${clicks} clicks of ${sends} messages`,
  },
  compare: {
    lead: "Two days side by side.", one: "First", other: "Second", measure: "Measure", difference: "Difference", figures: "Figures", campaigns: "Campaigns", gates: "Gates that differ", versions: "Versions that differ", same: "No difference.", swap: "Swap", segments: "Segments",
    budget: "Budget", worst: "Spend at worst", shadow: "Price of the budget", floor: "Least chance of an action", candidates: "Candidate offers",
  },
  names: {
    status: { draft: "draft", evaluated: "evaluated", published: "published", approved: "approved", rejected: "rejected", stopped: "stopped", unreadable: "unreadable", replaced: "replaced" },
    gates: {}, metrics: { ctr: "click rate", cvr: "conversion rate", roi: "return on spend", uplift: "uplift", offer_response: "offer response", off_policy_value: "off-policy value", incremental_profit: "incremental profit" },
    trail: { published: "published", approved: "approved", rejected: "rejected", begun: "dispatch begun", dispatched: "dispatched", refused: "refused" }, arms: { policy: "policy", business_as_usual: "business as usual", holdout: "held out" }, decided: {}, sending: {}, classes: {}, objectives: {},
    forms: { email: "E-mail", sms: "SMS", push: "Push", banner: "On-site banner" }, origins: { template: "wording bank", model: "language model", fallback: "plain wording instead" },
    standing: { proven: "Proven", experiment: "An experiment", futile: "Nothing to explore", not_judged: "Not judged" },
  } as Record<Named, Words>,
};
