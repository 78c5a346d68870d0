// What a strategy was made from: artefacts, models in MLflow, tasks in Airflow.
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "../api";
import { useSpeech } from "../language";
import { airflow } from "../place";
import type { Detail, Models, Node, Origin } from "../types";
import { Facts, Said, Section, Table } from "../ui";

const DAG = "marketing_loop";

// Airflow's run of a day, by its own interface and with the reader's own rights; "" where it has none.
function useRun(day: string): string | null {
  const [run, set] = useState<string | null>(null);
  useEffect(() => {
    if (!airflow) return;
    const control = new AbortController();
    const path = `${airflow}api/v2/dags/${DAG}/dagRuns?partition_key_pattern=${day}&order_by=-run_after&limit=1`;
    fetch(path, { credentials: "same-origin", signal: control.signal })
      .then((answer) => (answer.ok ? answer.json() : { dag_runs: [] }))
      .then((body: { dag_runs: { dag_run_id: string }[] }) => set(body.dag_runs[0]?.dag_run_id ?? ""))
      .catch(() => undefined);
    return () => control.abort();
  }, [day]);
  return run;
}

export function Lineage({ data }: { data: Detail }) {
  const { t, named } = useSpeech(), run = useRun(data.day), made = data.strategy;
  const root = `${airflow}dags/${DAG}/runs/${encodeURIComponent(run ?? "")}`;
  const task = (step: string | undefined) => step && run && <a href={`${root}/tasks/${encodeURIComponent(step)}`} target="_top">{step}</a>;
  return (
    <Section title={t.strategy.source} id="source">
      <Facts rows={[
        [t.strategy.notice, <>{made.source} <small class="soft block" lang="en">{made.source_notice}</small></>],
        [t.run, <><code>{data.run}</code>{data.published && <small class="soft block">{named("status", "published")}: <code>{data.published}</code></small>}</>],
        ...(airflow ? [["Airflow", run ? <a href={root} target="_top">{t.strategy.openRun}</a> : <span class="soft">{run === "" ? t.strategy.noRun : t.loading}</span>] as [string, preact.ComponentChildren]] : []),
      ]} />
      <h3>{t.strategy.lineage}</h3>
      <Table label={t.strategy.lineage} rows={data.lineage.parents} keyOf={(row) => row.artefact} columns={[
        { name: t.strategy.artefact, main: true, cell: (row) => row.of.length === 1 && row.of[0] ? <Back artefact={row.artefact} node={row.of[0]} /> : <code>{row.artefact}</code> },
        { name: t.strategy.days, cell: (row) => days(row.of) },
        { name: t.strategy.madeBy, cell: (row) => task(row.of[0]?.partition === data.day ? data.steps[row.artefact] : undefined) || data.steps[row.artefact] || t.none },
        { name: t.run, cell: (row) => <code>{row.of.at(-1)?.run}</code> },
        { name: t.strategy.digest, cell: (row) => <code title={row.of.at(-1)?.digest}>{row.of.at(-1)?.digest.slice(0, 12)}</code> },
      ]} />
      <ModelRows day={data.day} />
      <h3>{t.strategy.versions}</h3>
      <Facts rows={Object.entries(made.versions).map(([name, value]) => [name, <code>{value}</code>])} />
      <h3>{t.strategy.assumptions}</h3>
      <ul class="soft">{made.assumptions.map((one) => <li key={one}><Said>{one}</Said></li>)}</ul>
    </Section>
  );
}

function days(of: Node[]): string {
  const first = of[0]?.partition ?? "", last = of.at(-1)?.partition ?? "";
  return first === last ? first : `${first} … ${last} (${of.length})`;
}

// One step further back, asked for when it is opened.
function Back({ artefact, node }: { artefact: string; node: Node }) {
  const [open, set] = useState(false);
  const answer = useAnswer<Origin>(open ? `/artefacts/${artefact}/${node.partition}/${node.run}` : null);
  return (
    <details onToggle={(event) => set(event.currentTarget.open)}>
      <summary><code>{artefact}</code></summary>
      {answer.data && <ul class="plain tree">{answer.data.parents.map((parent) => <li key={parent.artefact}>{parent.of.length === 1 && parent.of[0] ? <Back artefact={parent.artefact} node={parent.of[0]} /> : <code>{parent.artefact}</code>} <small class="soft">{days(parent.of)}</small></li>)}</ul>}
      {answer.error && <small class="bad">{answer.error}</small>}
    </details>
  );
}

function ModelRows({ day }: { day: string }) {
  const { t } = useSpeech(), answer = useAnswer<Models>(`/strategies/${day}/models`);
  if (!answer.data) return null;
  return (
    <>
      <h3>{t.strategy.models}</h3>
      {answer.data.runs.length ? <Table label={t.strategy.models} rows={answer.data.runs} keyOf={(row) => row.url} columns={[
        { name: t.run, main: true, cell: (row) => <a href={row.url} target="_blank" rel="noreferrer">{row.name}</a> },
        { name: t.strategy.versions, cell: (row) => row.versions.map((one) => <span key={one.url} class="block"><a href={one.url} target="_blank" rel="noreferrer">{one.name} {one.version}</a> {one.aliases.map((alias) => <span key={alias} class="tag">{alias}</span>)}</span>) },
      ]} /> : <p class="empty"><Said>{answer.data.note || t.none}</Said> {answer.data.artefacts.map((one) => <code key={one.run} class="block">{one.artefact} {one.partition} {one.run}</code>)}</p>}
    </>
  );
}
