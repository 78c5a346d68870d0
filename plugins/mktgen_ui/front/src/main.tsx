// The pages: which one is shown, and what all of them share.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { chosenLanguage, keep, read, speech, Spoken, type Language } from "./language";
import { ComparePage } from "./pages/compare";
import { DecisionPage } from "./pages/decision";
import { DecisionsPage } from "./pages/decisions";
import { LearningPage } from "./pages/learning";
import { StrategiesPage } from "./pages/strategies";
import { StrategyPage } from "./pages/strategy";
import { WhatIfPage } from "./pages/whatif";
import { followLinks, usePlace } from "./place";
import "./style.css";
import { Empty, Link } from "./ui";

type Theme = "auto" | "light" | "dark";
const THEMES: Theme[] = ["auto", "light", "dark"];
const root = document.documentElement;

function page(path: string): { area: string; body: preact.ComponentChildren } {
  const [area = "", day = "", part = "", id = ""] = path.split("/").slice(1);
  if (area === "learning") return { area, body: <LearningPage /> };
  if (area === "compare") return { area, body: <ComparePage /> };
  if (area !== "strategies" || !day) return { area: "strategies", body: <StrategiesPage /> };
  if (part === "decisions" && id) return { area, body: <DecisionPage key={id} day={day} id={decodeURIComponent(id)} /> };
  if (part === "decisions") return { area, body: <DecisionsPage key={day} day={day} /> };
  if (part === "what-if") return { area, body: <WhatIfPage key={day} day={day} /> };
  return { area, body: part ? <Empty text="404" /> : <StrategyPage key={day} day={day} /> };
}

function App() {
  const [language, speak] = useState<Language>(chosenLanguage);
  const [theme, paint] = useState<Theme>(() => THEMES.find((one) => one === read("mktgen.theme")) ?? "auto");
  const { path } = usePlace(), shown = page(path), words = speech(language), { t } = words;
  useEffect(() => {
    root.lang = language === "zh" ? "zh-CN" : "en";
    keep("mktgen.language", language);
  }, [language]);
  useEffect(() => {
    root.dataset["theme"] = theme;
    keep("mktgen.theme", theme);
  }, [theme]);
  return (
    <Spoken.Provider value={words}>
      <div onClick={followLinks}>
        <a class="skip" href="#content">{t.skip}</a>
        <header class="top">
          <nav aria-label={t.title}>
            {(["strategies", "learning", "compare"] as const).map((name) => (
              <Link key={name} path={name === "strategies" ? "/" : `/${name}`} current={shown.area === name}>{t.menu[name]}</Link>
            ))}
          </nav>
          <div class="choices">
            <button type="button" class="quiet" aria-label={`${t.themeHint}: ${t.themes[theme]}`} onClick={() => paint(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "auto")}>
              <span aria-hidden="true">{theme === "auto" ? "◐" : theme === "light" ? "○" : "●"}</span> <span class="word">{t.themes[theme]}</span>
            </button>
            <button type="button" class="quiet" aria-label={t.languageHint} onClick={() => speak(language === "en" ? "zh" : "en")}>{t.language}</button>
          </div>
        </header>
        <main id="content" tabIndex={-1}>{shown.body}</main>
      </div>
    </Spoken.Provider>
  );
}

const place = document.getElementById("app");
if (place) render(<App />, place);
