// Messages as their channels show them.
import { useSpeech } from "../language";
import { useState } from "preact/hooks";
import type { Brief, Campaign, Detail, Message, Segment } from "../types";
import { Empty, Facts, Said } from "../ui";

export function Copy({ copy, campaigns, segments }: { copy: Detail["copy"]; campaigns: Campaign[]; segments: Segment[] }) {
  const { t, count, percent, named, said } = useSpeech();
  if (!copy || !copy.examples.length) return <Empty text={t.empty.copy} />;
  const total = Object.values(copy.origins).reduce((sum, one) => sum + one, 0) || 1;
  const name = (id: string) => said(campaigns.find((one) => one.campaign_id === id)?.name) || id;
  return (
    <>
      <Facts rows={[[t.strategy.origins, <>{Object.entries(copy.origins).map(([origin, number]) => <span key={origin} class="block">{named("origins", origin)}: {count(number)} <small class="soft">{percent(number / total)}</small></span>)}</>],
        ...(copy.drafts ? [[t.strategy.drafts, copy.drafts.model ? <>{t.strategy.draftsAre(count(copy.drafts.tally.verified), count(copy.drafts.tally.wanted), percent(copy.drafts.tally.fallback_share))}<small class="soft block">{copy.drafts.model}</small></> : <small><Said>{copy.drafts.reason}</Said></small>] as [string, preact.ComponentChildren]] : [])]} />
      {copy.briefs.length > 0 && <Briefs briefs={copy.briefs} campaigns={campaigns} segments={segments} />}
      {copy.briefs.length === 0 && <div class="messages">
        {copy.examples.map((message) => (
          <figure key={message.campaign_id + message.form + message.language}>
            <Rendered message={message} />
            <figcaption class="soft">{name(message.campaign_id)} · {named("forms", message.form)} · {t.strategy.messages(count(message.messages ?? 0))}</figcaption>
            <Others campaign={campaigns.find((one) => one.campaign_id === message.campaign_id)} message={message} />
          </figure>
        ))}
      </div>}
    </>
  );
}

const PARTS = ["audience", "insight", "offers", "items", "tones", "channels", "calendar", "measures", "risks"] as const;

// A campaign's brief, and what one of its segments reads in each form.
function Briefs({ briefs, campaigns, segments }: { briefs: Brief[]; campaigns: Campaign[]; segments: Segment[] }) {
  const { t, language, said, named, percent } = useSpeech(), own = briefs.filter((one) => one.language === language);
  const known = own.length ? own : briefs.filter((one) => one.language === briefs[0]?.language);
  const [campaign, choose] = useState(""), [segment, pick] = useState("");
  const brief = known.find((one) => one.campaign_id === campaign) ?? known[0];
  if (!brief) return null;
  const told = [...new Set(brief.variants.map((one) => one.segment_id))], here = told.includes(segment) ? segment : (told[0] ?? "");
  const name = (id: string) => { const found = segments.find((one) => one.segment_id === id); return found ? (language === "zh" ? found.name_zh : found.name_en) : id; };
  return (
    <>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <label><span>{t.learning.campaign}</span><select aria-label={t.learning.campaign} value={brief.campaign_id} onChange={(event) => choose(event.currentTarget.value)}>{known.map((one) => <option key={one.campaign_id} value={one.campaign_id}>{said(campaigns.find((c) => c.campaign_id === one.campaign_id)?.name) || one.title}</option>)}</select></label>
        <label><span>{t.strategy.segment}</span><select aria-label={t.strategy.segment} value={here} onChange={(event) => pick(event.currentTarget.value)}>{told.map((id) => <option key={id} value={id}>{name(id)}</option>)}</select></label>
      </form>
      <details class="brief" lang={brief.language === "zh" ? "zh-CN" : brief.language}><summary>{t.strategy.brief}: {brief.title}</summary>
        <p>{brief.objective}</p>
        {PARTS.filter((part) => brief[part].length).map((part) => <div key={part}><h3>{t.strategy.briefParts[part]}</h3><ul>{brief[part].map((line) => <li key={line}>{line}</li>)}</ul></div>)}
      </details>
      <div class="messages">
        {brief.variants.filter((one) => one.segment_id === here).map((one) => (
          <figure key={one.form}>
            <Rendered message={{ ...one, campaign_id: brief.campaign_id, language: brief.language }} />
            <figcaption class="soft">{named("forms", one.form)} · {one.tone} · {named("origins", one.origin)} · {t.strategy.chanceOf(percent(one.chance))}</figcaption>
          </figure>
        ))}
      </div>
    </>
  );
}

// The document keeps one example in each language, as "subject — body".
function Others({ campaign, message }: { campaign: Campaign | undefined; message: Message }) {
  const { t } = useSpeech();
  const others = Object.entries(campaign?.copy_example ?? {}).filter(([language]) => language !== message.language);
  if (!others.length) return null;
  return (
    <details><summary>{t.strategy.other}</summary>
      {others.map(([language, text]) => {
        const [subject = "", ...body] = text.split(" — ");
        return <Rendered key={language} message={{ ...message, language, subject, body: body.join(" — ") }} />;
      })}
    </details>
  );
}

export function Rendered({ message }: { message: Message }) {
  const language = message.language === "zh" ? "zh-CN" : message.language;
  if (message.form === "sms") return <div class="phone" lang={language}><div class="bubble-sms">{message.body}</div></div>;
  if (message.form === "push") return <div class="phone" lang={language}><div class="push"><b>{message.subject}</b><p>{message.body}</p></div></div>;
  if (message.form === "banner") return <div class="banner" lang={language}><b>{message.subject}</b><p>{message.body}</p></div>;
  return <div class="mail" lang={language}><div class="mail-head"><i aria-hidden="true" /><b>{message.subject}</b></div><div class="mail-body">{message.body}</div></div>;
}
