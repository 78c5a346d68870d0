// Where the pages are, and how one moves between them.
import { useEffect, useState } from "preact/hooks";

const root = document.documentElement;
export const base = root.dataset["base"] ?? "";
export const airflow = root.dataset["airflow"] ?? "";

export function here(): string {
  const path = location.pathname;
  return (path.startsWith(base) ? path.slice(base.length) : path).replace(/\/+$/, "") || "/";
}

export function to(path: string): string {
  return `${base}${path}`;
}

export function go(path: string, replace = false): void {
  history[replace ? "replaceState" : "pushState"](null, "", to(path));
  dispatchEvent(new PopStateEvent("popstate"));
  if (!replace) scrollTo(0, 0);
}

// The path and the query, anew whenever they change.
export function usePlace(): { path: string; query: URLSearchParams } {
  const [, draw] = useState(0);
  useEffect(() => {
    const moved = () => draw((count) => count + 1);
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  return { path: here(), query: new URLSearchParams(location.search) };
}

// Airflow's frame lets nothing in it open a window or leave it (sandbox without popups and top navigation), but it is of the
// same origin: a link that leads out is followed by the page around it. False where there is no such page.
function followAbove(link: HTMLAnchorElement): boolean {
  try {
    const twin = parent.document.createElement("a");
    twin.href = link.href;
    twin.target = link.target;
    twin.rel = "noreferrer";
    parent.document.body.append(twin);
    twin.click();
    twin.remove();
    return true;
  } catch {
    return false;
  }
}

// Links within the pages change the address without loading the page anew; all others are the browser's.
export function followLinks(event: MouseEvent): void {
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const link = (event.target as Element | null)?.closest?.("a");
  if (!plain || !link || event.defaultPrevented) return;
  if (link.target) {
    if (parent !== window && followAbove(link)) event.preventDefault();
    return;
  }
  const url = new URL(link.href, location.href);
  if (url.origin !== location.origin || !`${url.pathname}/`.startsWith(`${base}/`)) return;
  if (url.hash && url.pathname === location.pathname) return;
  event.preventDefault();
  go(url.pathname.slice(base.length) + url.search);
}
