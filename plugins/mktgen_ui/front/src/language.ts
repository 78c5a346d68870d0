// The language of the pages and how it writes numbers.
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { en, type Named } from "./texts.en";
import { zh } from "./texts.zh";
import type { Words } from "./types";

export type Language = "en" | "zh";
export type Texts = typeof en;
const TEXTS: Record<Language, Texts> = { en, zh };
const LOCALES: Record<Language, string> = { en: "en-GB", zh: "zh-CN" };

export interface Speech {
  language: Language;
  t: Texts;
  money: (minor: number) => string;
  count: (value: number) => string;
  number: (value: number, digits?: number) => string;
  percent: (share: number, digits?: number) => string;
  signed: (text: string, value: number) => string;
  day: (iso: string) => string;
  moment: (iso: string) => string;
  said: (words: Words | undefined) => string;
  named: (kind: Named, key: string) => string;
}

export function speech(language: Language): Speech {
  const locale = LOCALES[language], t = TEXTS[language];
  const fixed = (digits: number) => new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const minus = (text: string) => text.replace(/^-/, "−");
  const number = (value: number, digits = 0) => minus(fixed(digits).format(Object.is(Math.round(value * 10 ** digits), -0) ? 0 : value));
  const money = (minor: number) => number(minor / 100, Math.abs(minor) >= 1e6 ? 0 : 2);
  const percent = (share: number, digits = 1) =>
    minus(new Intl.NumberFormat(locale, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share));
  return {
    language, t, money, number, percent,
    count: (value) => number(value),
    signed: (text, value) => (value > 0 ? `+${text}` : text),
    day: (iso) => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone: "UTC" }).format(new Date(`${iso}T00:00:00Z`)),
    moment: (iso) => new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" }).format(new Date(iso)) + " UTC",
    said: (words) => (words ? words[language] || words["en"] || Object.values(words)[0] || "" : ""),
    named: (kind, key) => t.names[kind][key] ?? key.replaceAll("_", " "),
  };
}

export const Spoken = createContext<Speech>(speech("en"));
export const useSpeech = () => useContext(Spoken);

export function chosenLanguage(): Language {
  const kept = read("mktgen.language");
  return kept === "en" || kept === "zh" ? kept : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

// Storage may be closed to an embedded page; a choice then lasts as long as the page.
export function read(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // see read
  }
}
