// How values are shown. Numbers are copied as E.164, money always has its currency, times are in the zone that the user chose.
import { useSyncExternalStore } from 'react';

/** Money as the API has it. */
export interface Money {
  amount: string;
  currency: string;
}

/** `0.0042 USD`: the digits of the API, never a float. */
export function money(m: Money | null | undefined): string {
  return m ? `${m.amount} ${m.currency}` : '–';
}

/** Milliseconds as people say them: `850 ms`, `12.3 s`, `4m 12s`, `2h 05m`. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const s = Math.round(ms / 1_000);
  if (s < 3_600) return `${Math.floor(s / 60)}m ${String(s % 60).padStart(2, '0')}s`;
  return `${Math.floor(s / 3_600)}h ${String(Math.floor(s / 60) % 60).padStart(2, '0')}m`;
}

/** A North American number in groups; others as they are. */
export function number(text: string | null | undefined): string {
  const m = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(text ?? '');
  return m ? `+1 ${m[1]} ${m[2]} ${m[3]}` : (text ?? '–');
}

const ZONE = 'warp-zone';
const listeners = new Set<() => void>();
/** The zone that times are shown in: the browser's own, or UTC. */
export function zone(): 'local' | 'utc' {
  return localStorage.getItem(ZONE) === 'utc' ? 'utc' : 'local';
}
export function setZone(to: 'local' | 'utc') {
  localStorage.setItem(ZONE, to);
  listeners.forEach((tell) => tell());
}
export function useZone() {
  return useSyncExternalStore((tell) => (listeners.add(tell), () => listeners.delete(tell)), zone);
}

/** A moment, RFC 3339 or milliseconds of Unix time, in that zone. */
export function moment(at: string | number | null | undefined, inZone: 'local' | 'utc' = zone()): string {
  if (at === null || at === undefined || at === '') return '–';
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return String(at);
  if (inZone === 'utc') return `${date.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
  const two = (n: number) => String(n).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** What a word of the API says to people: `no_answer` is “no answer”. */
export function words(text: string | null | undefined): string {
  return (text ?? '–').replaceAll('_', ' ');
}

/** One line of CSV (RFC 4180). A value that a spreadsheet would compute begins with an apostrophe; numbers in E.164 stay. */
export function csvLine(values: string[]): string {
  const safe = values.map((v) => {
    const harmless = /^[=+\-@\t\r]/.test(v) && !/^[+-]?[\d.]+$/.test(v) ? `'${v}` : v;
    return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  });
  return `${safe.join(',')}\r\n`;
}
