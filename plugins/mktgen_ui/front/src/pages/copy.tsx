// Messages as their channels show them.
import { useSpeech } from "../language";
import type { Campaign, Detail, Message } from "../types";
import { Empty, Facts } from "../ui";

export function Copy({ copy, campaigns }: { copy: Detail["copy"]; campaigns: Campaign[] }) {
  const { t, count, percent, named, said } = useSpeech();
  if (!copy || !copy.examples.length) return <Empty text={t.empty.copy} />;
  const total = Object.values(copy.origins).reduce((sum, one) => sum + one, 0) || 1;
  const name = (id: string) => said(campaigns.find((one) => one.campaign_id === id)?.name) || id;
  return (
    <>
      <Facts rows={[[t.strategy.origins, <>{Object.entries(copy.origins).map(([origin, number]) => <span key={origin} class="block">{named("origins", origin)}: {count(number)} <small class="soft">{percent(number / total)}</small></span>)}</>]]} />
      <div class="messages">
        {copy.examples.map((message) => (
          <figure key={message.campaign_id + message.form + message.language}>
            <Rendered message={message} />
            <figcaption class="soft">{name(message.campaign_id)} · {named("forms", message.form)} · {t.strategy.messages(count(message.messages ?? 0))}</figcaption>
            <Others campaign={campaigns.find((one) => one.campaign_id === message.campaign_id)} message={message} />
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
