// The head of every page about one day.
import type { ComponentChildren } from "preact";
import { useSpeech } from "../language";
import { Link, useTitle } from "../ui";

export function DayHead({ day, tab, children }: { day: string; tab: "overview" | "decisions" | "whatIf"; children?: ComponentChildren }) {
  const { t, day: shown } = useSpeech();
  useTitle(`${t.strategy.of(day)} – ${t.tabs[tab]}`);
  return (
    <header class="page-head">
      <p class="crumbs"><Link path="/">{t.menu.strategies}</Link> <span aria-hidden="true">/</span> {day}</p>
      <div class="title-line"><h1>{t.strategy.of(shown(day))}</h1>{children}</div>
      <nav class="tabs" aria-label={t.strategy.of(day)}>
        <Link path={`/strategies/${day}`} current={tab === "overview"}>{t.tabs.overview}</Link>
        <Link path={`/strategies/${day}/decisions`} current={tab === "decisions"}>{t.tabs.decisions}</Link>
        <Link path={`/strategies/${day}/what-if`} current={tab === "whatIf"}>{t.tabs.whatIf}</Link>
      </nav>
    </header>
  );
}
