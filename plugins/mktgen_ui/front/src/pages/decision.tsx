import { useAnswer } from "../api";
import { Bar } from "../charts";
import { useSpeech } from "../language";
import type { Decision, Option } from "../types";
import { Empty, Facts, Link, Money, Range, Said, Section, Shown, Table, Tag, useTitle } from "../ui";
import { Rendered } from "./copy";

export function DecisionPage({ day, id }: { day: string; id: string }) {
  const { t } = useSpeech(), answer = useAnswer<Decision>(`/strategies/${day}/decisions/${encodeURIComponent(id)}`);
  useTitle(t.decision.title);
  return (
    <>
      <header class="page-head">
        <p class="crumbs"><Link path="/">{t.menu.strategies}</Link> <span aria-hidden="true">/</span> <Link path={`/strategies/${day}`}>{day}</Link> <span aria-hidden="true">/</span> <Link path={`/strategies/${day}/decisions`}>{t.tabs.decisions}</Link></p>
        <div class="title-line"><h1>{t.decision.title}</h1>{answer.data && /simulated/i.test(answer.data.why.notice) && <Tag kind="simulated">{t.simulated}</Tag>}</div>
      </header>
      <Shown of={answer}>{(data) => <Whole data={data} />}</Shown>
    </>
  );
}

function Whole({ data }: { data: Decision }) {
  const { t, percent, named, language, number } = useSpeech(), why = data.why;
  const action = (name: string) => (name === "no_contact" ? t.decisions.noContact : name);
  return (
    <>
      <Facts rows={[
        [t.decision.customer, <code>{why.customer_id}</code>],
        [t.decision.decided, <><b>{action(why.action)}</b> {data.labels[why.action] && <small class="soft block" lang="en">{data.labels[why.action]}</small>}</>],
        [t.decisions.chance, <span class="with-bar">{percent(why.propensity)} <Bar share={why.propensity} /></span>],
        [t.decisions.arm, named("arms", why.arm)],
        [t.decision.segment, data.segment ? (language === "zh" ? data.segment.name_zh : data.segment.name_en) : t.none],
        ...(data.response ? [[t.decision.response, <>{named("classes", data.response.class)} <small class="soft block">{t.range(number(data.response.low * 100, 1), number(data.response.high * 100, 1))} {t.decision.points}</small></>] as [string, preact.ComponentChildren]] : []),
        [t.decisions.decision, <code>{why.decision_id}</code>],
      ]} />
      <Section title={t.decision.by} aside={<Tag kind="decided">{named("decided", why.decided_by)}</Tag>}>
        {why.because.map((sentence) => <p key={sentence}><Said>{sentence}</Said></p>)}
        <p class="soft"><Said>{why.draw}</Said></p>
      </Section>
      <Section title={t.decision.options}><Options options={why.options} labels={data.labels} action={action} /></Section>
      <Section title={t.decision.message}>{data.message ? <div class="messages"><Rendered message={data.message} /></div> : <Empty text={t.decision.noMessage} />}</Section>
      <Section title={t.decision.became} aside={<Tag kind={why.sending.status}>{named("sending", why.sending.status)}</Tag>}>
        <p><Said>{why.sending.detail}</Said></p>
        {why.sending.rule && <p class="soft">{t.decision.rule}: <code>{why.sending.rule}</code></p>}
        {why.sending.when && <p class="soft">{t.decision.arrives}: {why.sending.when}</p>}
      </Section>
      <Section title={t.decision.events}>{why.events.length ? <ul>{why.events.map((event) => <li key={event}><Said>{event}</Said></li>)}</ul> : <Empty text={t.empty.events} />}</Section>
      <Section title={t.decision.day}><ul class="soft">{why.day.map((note) => <li key={note}><Said>{note}</Said></li>)}</ul></Section>
      <Section title={t.decision.versions}>
        <Facts rows={Object.entries(why.versions).map(([name, value]) => [name, <code>{value}</code>])} />
        {why.notes.map((note) => <p key={note} class="soft"><Said>{note}</Said></p>)}
      </Section>
    </>
  );
}

function Options({ options, labels, action }: { options: Option[]; labels: Record<string, string>; action: (name: string) => string }) {
  const { t, percent } = useSpeech();
  const rests = [...new Set(options.filter((one) => one.campaign_id).map((one) => one.value_rests_on))];
  return (
    <>
      <Table label={t.decision.options} rows={options} keyOf={(one) => one.action} empty={t.empty.options} columns={[
        { name: t.decision.action, main: true, cell: (one) => <>{action(one.action)} {one.drawn && <Tag kind="drawn">{t.decision.drawn}</Tag>}{labels[one.action] && <small class="soft block" lang="en">{labels[one.action]}</small>}</> },
        { name: t.decision.chance, number: true, cell: (one) => one.propensity === null ? <span class="soft" title={one.excluded_because ?? ""}>{t.decision.leftOut}<small class="block" lang="en">{one.excluded_by?.replaceAll("_", " ")}</small></span> : <span class="with-bar">{percent(one.propensity)} <Bar share={one.propensity} kind={one.drawn ? "drawn" : ""} /></span> },
        { name: t.decision.worth, number: true, cell: (one) => <><Money value={one.value_minor} /> <Range low={one.low_minor} high={one.high_minor} /></> },
        { name: t.decision.cost, number: true, cell: (one) => <Money value={one.cost_minor} /> },
        { name: t.decision.net, number: true, cell: (one) => <Money value={one.net_minor} /> },
        { name: t.decisions.p, number: true, cell: (one) => one.p_redeem === null ? t.none : percent(one.p_redeem) },
      ]} />
      {rests.map((words) => <p key={words} class="soft">{t.decision.rests}: <Said>{words}</Said></p>)}
    </>
  );
}
