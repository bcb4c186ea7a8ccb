// @ts-check
// Times as people read and write them: pages show local time and take the same
// back; addresses, requests and commands carry an instant that means one thing.

import { stamp } from './store.js';

/** The time zone that the pages show times in, such as Europe/Berlin. */
export function zone() { return Intl.DateTimeFormat().resolvedOptions().timeZone || 'local time'; }

/** The zone's distance from UTC at a time, such as UTC+02:00. @param {number} ms */
export function offset(ms) {
  const m = -new Date(ms).getTimezoneOffset();
  const two = (/** @type {number} */ n) => String(n).padStart(2, '0');
  return m === 0 ? 'UTC' : `UTC${m < 0 ? '-' : '+'}${two(Math.floor(Math.abs(m) / 60))}:${two(Math.abs(m) % 60)}`;
}

const full = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|[+-]\d\d:\d\d)?)?$/i;
const ofDay = /^(\d{1,2}):(\d\d)(?::(\d\d))?$/;
const units = /** @type {Record<string, number>} */ ({ ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 });

/**
 * Reads a time: what stamp() shows (local), RFC 3339, a time of day (today, or
 * yesterday where today's is still to come), how long ago (10m, 1h30m, 2d), or Unix
 * milliseconds. weir messages --since takes all but the last.
 * @param {string} text @param {number} now @returns {number|null} Unix milliseconds, null where it is no time
 */
export function parseTime(text, now) {
  text = text.trim();
  if (/^-?\d{9,15}$/.test(text)) return Number(text);
  if (/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    let ago = 0;
    for (const m of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) ago += Number(m[1]) * units[m[2]];
    return Math.round(now - ago);
  }
  const clock = ofDay.exec(text);
  if (clock) {
    const [h, min, s] = clock.slice(1).map((x) => Number(x || 0));
    if (h > 23 || min > 59 || s > 59) return null;
    const d = new Date(now);
    d.setHours(h, min, s, 0);
    if (d.getTime() > now) d.setDate(d.getDate() - 1);
    return d.getTime();
  }
  const m = full.exec(text);
  if (!m) return null;
  const [y, mon, day, h, min, s] = m.slice(1, 7).map((x) => Number(x || 0));
  const milli = Math.floor(Number('0.' + (m[7] || 0)) * 1000 + 1e-6);
  // The parts in UTC show a day that does not exist, such as February 31.
  const utc = new Date(Date.UTC(y, mon - 1, day, h, min, s, milli));
  if (utc.getUTCMonth() !== mon - 1 || utc.getUTCDate() !== day || h > 23 || min > 59 || s > 59) return null;
  if (!m[8]) return new Date(y, mon - 1, day, h, min, s, milli).getTime();
  if (/z/i.test(m[8])) return utc.getTime();
  const [zh, zm] = m[8].slice(1).split(':').map(Number);
  return zh > 23 || zm > 59 ? null : utc.getTime() - (m[8][0] === '-' ? -1 : 1) * (zh * 60 + zm) * 60_000;
}

/** An instant as addresses, requests and commands carry it. @param {number} ms */
export function instant(ms) { return new Date(ms).toISOString(); }

/**
 * A time as a field shows it: local, or RFC 3339 in the hour that a clock change
 * makes ambiguous.
 * @param {number} ms
 */
export function fieldTime(ms) { return parseTime(stamp(ms), ms) === ms ? stamp(ms).replace(/\.000$/, '') : instant(ms); }
