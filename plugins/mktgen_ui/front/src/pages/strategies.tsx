import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "../api";
import { useSpeech } from "../language";
import type { Listing, ListRow } from "../types";
import { Empty, ExpectedProfit, Gates, Link, RealisedProfit, Shown, Simulated, Status, Table, useTitle } from "../ui";

export function StrategiesPage() {
  const { t } = useSpeech();
  const [before, older] = useState(""), [rows, gather] = useState<ListRow[]>([]);
  const answer = useAnswer<Listing>(`/strategies${before ? `?before=${before}` : ""}`);
  useTitle(t.title);
  useEffect(() => {
    const data = answer.data;
    if (data) gather((known) => [...known, ...data.rows.filter((row) => !known.some((one) => one.day === row.day))]);
  }, [answer.data]);
  return (
    <>
      <header class="page-head"><h1>{t.title}</h1><p class="soft">{t.list.lead}</p></header>
      <Shown of={answer}>
        {(data) => rows.length || data.rows.length ? (
          <>
            <Days rows={rows.length ? rows : data.rows} />
            {data.next && <p class="after"><button type="button" onClick={() => older(rows.at(-1)?.day ?? "")}>{t.older}</button></p>}
          </>
        ) : <Empty text={t.empty.strategies} />}
      </Shown>
    </>
  );
}

function Days({ rows }: { rows: ListRow[] }) {
  const { t, count, day } = useSpeech();
  return (
    <Table label={t.title} rows={rows} keyOf={(row) => row.day} columns={[
      { name: t.day, main: true, cell: (row) => <><Link path={`/strategies/${row.day}`}>{day(row.day)}</Link> <small class="soft iso">{row.day}</small></> },
      { name: t.status, cell: (row) => <span class="tags"><Status of={row.status} /> <Simulated shown={row.simulated} />{row.note && <small class="soft" lang="en">{row.note}</small>}{row.stopped_by?.map((reason) => <small key={reason} class="bad" lang="en">{reason}</small>)}</span> },
      { name: t.gates, cell: (row) => <Gates counts={row.gates} /> },
      { name: t.customers, number: true, cell: (row) => row.customers === undefined ? t.none : count(row.customers) },
      { name: t.contacted, number: true, cell: (row) => row.contacted === undefined ? t.none : count(row.contacted) },
      { name: t.holdout, number: true, cell: (row) => row.holdout === undefined ? t.none : count(row.holdout) },
      { name: t.expected, number: true, cell: (row) => <ExpectedProfit of={row.expected} /> },
      { name: t.realised, number: true, cell: (row) => row.status === "unreadable" ? t.none : <RealisedProfit of={row.realised} /> },
    ]} />
  );
}
