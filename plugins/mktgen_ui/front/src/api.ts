// Asking the API.
import { useEffect, useState } from "preact/hooks";
import { base } from "./place";

export interface Asked<T> { data: T | null; error: string; status: number; loading: boolean; again: () => void }

export class Refused extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  const answer = await fetch(`${base}/api${path}`, { signal: signal ?? null, credentials: "same-origin", headers: { accept: "application/json" } });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refused(body?.error ?? answer.statusText, answer.status);
  return body as T;
}

// What a path answers; while the next answer is on its way, the last one stays.
export function useAnswer<T>(path: string | null): Asked<T> {
  const [state, set] = useState<Omit<Asked<T>, "again">>({ data: null, error: "", status: 0, loading: true });
  const [turn, again] = useState(0);
  useEffect(() => {
    if (path === null) return;
    const control = new AbortController();
    set((before) => ({ ...before, loading: true }));
    ask<T>(path, control.signal).then(
      (data) => set({ data, error: "", status: 200, loading: false }),
      (error: unknown) => {
        if (control.signal.aborted) return;
        const status = error instanceof Refused ? error.status : 0;
        set({ data: null, error: error instanceof Error ? error.message : "", status, loading: false });
      },
    );
    return () => control.abort();
  }, [path, turn]);
  return { ...state, again: () => again((count) => count + 1) };
}

export function query(values: Record<string, string | number | boolean | null | undefined>): string {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return text ? `?${text}` : "";
}
