// @ts-check
// Messages: newest over all partitions by time, oldest, offset, time, live; a
// filter that says how much it looked at; paging that loses nothing.

import { el, put, count } from '../store.js';
import { commandBar, teach, shellWord, weir, filterWord } from '../ui.js';
import { messageRow, gapText } from '../message.js';
import { parseTime, fieldTime, instant, zone } from '../time.js';

const fields = ['from', 'n', 'partition', 'offset', 'time', 'text', 'key', 'header', 'path', 'isolation'];
const maxRows = 500;
/** A live tail adds at most so many rows at once, and so often: more can be read by nobody. */
const burst = 12;
const pace = 500; // ms

/** @type {import('../app.js').Page} */
export default {
  title: (p) => 'Messages of ' + p[0],
  mount(root, [name], app) {
    const base = '/topics/' + encodeURIComponent(name);
    const q = new URLSearchParams(location.search);
    /** @type {Record<string, any>} */
    const f = {};
    const input = (/** @type {string} */ id, /** @type {string} */ label, /** @type {any} */ props) => {
      f[id] = el('input', { name: id, value: q.get(id) || '', autocomplete: 'off', spellcheck: 'false', ...props });
      return el('label', null, el('span', null, label), f[id]);
    };
    const select = (/** @type {string} */ id, /** @type {string} */ label, /** @type {string[][]} */ options) => {
      f[id] = el('select', { name: id }, options.map(([v, t]) => el('option', { value: v }, t)));
      f[id].value = q.get(id) || options[0][0];
      return el('label', null, el('span', null, label), f[id]);
    };
    const live = el('button', { type: 'button', 'aria-pressed': 'false', onclick: () => setLive(!tail) }, 'Live tail');
    const download = /** @type {HTMLAnchorElement} */ (el('a.button', { download: '' }, 'Download'));
    const form = /** @type {HTMLFormElement} */ (el('form.filters', { onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); setLive(false); go(false); } },
      select('from', 'From', [['newest', 'newest'], ['oldest', 'oldest'], ['offset', 'an offset'], ['time', 'a time']]),
      input('offset', 'Offset', { inputmode: 'numeric', size: 9 }), input('time', `Time, ${zone()}`, { placeholder: '2026-01-31 12:00:00 or 10m', title: `A date and time in ${zone()} as the list shows it, RFC 3339 such as 2026-01-31T12:00:00Z, a time of day, or how long ago: 10m, 2h, 3d`, size: 24 }),
      input('partition', 'Partition', { inputmode: 'numeric', size: 4 }),
      input('text', 'Text ( / )', { type: 'search', placeholder: 'in key, value or headers' }), input('key', 'Key', {}), input('header', 'Header', { placeholder: 'kind=create', size: 14 }),
      input('path', 'JSON path', { placeholder: '.commit.operation=delete' }),
      input('n', 'How many', { inputmode: 'numeric', size: 4, placeholder: '50' }),
      select('isolation', 'Isolation', [['committed', 'read committed'], ['uncommitted', 'read uncommitted']]),
      el('div.actions', null, el('button.primary', { type: 'submit' }, 'Read'), live, download)));
    const fit = () => { f.offset.parentElement.hidden = f.from.value !== 'offset'; f.time.parentElement.hidden = f.from.value !== 'time'; };
    f.from.addEventListener('input', fit);
    fit();
    settle();
    const progress = el('p.dim', { role: 'status' });
    const more = el('button.more', { type: 'button', hidden: true, onclick: () => go(true) }, 'More');
    const resume = el('button', { type: 'button', hidden: true, onclick: () => { box.scrollTop = 0; hover = false; if (app.paused) app.pause(); flush(true); } }, 'Resume');
    const rows = el('tbody');
    const box = el('div.scroll.messages', { tabindex: '0', role: 'region', 'aria-label': 'messages' },
      el('table.rows', null, el('colgroup', null, ['expand', 'partition', 'offset', 'time', 'key', 'value', 'headers'].map((c) => el('col.c-' + c))), el('thead', null, el('tr', null, ['', 'Partition', 'Offset', 'Time', 'Key', 'Value', 'Headers'].map((t) => t ? el(t === 'Offset' || t === 'Partition' ? 'th.num' : 'th', { scope: 'col', title: t === 'Time' ? `in ${zone()}` : null }, t, t === 'Time' ? el('small', null, ' ' + zone()) : null) : el('td')))), rows));
    const command = commandBar(weir('messages', name), ['ListOffsets', 'Fetch']);
    const none = el('div');
    root.append(el('h1', null, el('a', { href: base }, name), ' messages'), form, el('div.bar-row.progress', null, progress, resume), box, none, more, command.root);

    let cursor = '';
    let scanned = 0;
    let matched = 0;
    let round = 0;
    /** @type {EventSource|null} */
    let tail = null;
    let hover = false;
    /** @type {any[]} */
    let held = [];
    let skipped = 0;
    let came = 0; // since rows were added last
    let drawn = 0; // when that was
    let stopped = false;
    box.addEventListener('pointerenter', () => { hover = true; });
    box.addEventListener('pointerleave', () => { hover = false; flush(); });
    box.addEventListener('scroll', () => { if (box.scrollTop <= 60) flush(); }, { passive: true });

    /** Writes the time of the field as the list shows times: what was 10 minutes ago stays that instant. */
    function settle() {
      const ms = parseTime(f.time.value, Date.now());
      if (ms !== null) f.time.value = fieldTime(ms);
      return ms;
    }

    function query() {
      const u = new URLSearchParams();
      for (const k of fields) {
        const v = f[k].value.trim();
        if (v && !(k === 'from' && v === 'newest') && !(k === 'isolation' && v === 'committed')) u.set(k, v);
      }
      if (u.get('from') !== 'offset') u.delete('offset');
      if (u.get('from') !== 'time') u.delete('time');
      else {
        const ms = settle();
        if (ms !== null) u.set('time', instant(ms));
      }
      return u;
    }

    /** The command that follows the same. @param {URLSearchParams} u */
    function followCommand(u) {
      const filters = [filterWord(u.get('text') || ''), u.has('key') ? 'key=' + u.get('key') : null, u.has('header') ? 'header:' + u.get('header') : null, u.get('path')];
      return weir('messages', name, '--follow', ...(u.get('isolation') ? ['--uncommitted'] : []), ...(u.get('partition') ? ['--partition', shellWord(u.get('partition') || '')] : []),
        ...filters.filter((x) => x).map((x) => '--filter ' + shellWord(x || '')));
    }

    async function go(/** @type {boolean} */ on) {
      const mine = ++round;
      const u = query();
      if (f.from.value === 'time' && settle() === null) {
        none.replaceChildren(el('p.alert', { role: 'alert' }, `“${f.time.value}” is not a time. Write a date and time in ${zone()} such as 2026-01-31 12:00:00, RFC 3339 such as 2026-01-31T12:00:00Z, a time of day such as 15:04, or how long ago: 10m, 2h, 3d.`));
        rows.replaceChildren(); put(progress, ''); more.hidden = true;
        return;
      }
      if (!on) {
        history.replaceState(null, '', base + '/messages' + (u.size ? '?' + u : ''));
        rows.replaceChildren(); none.replaceChildren();
        cursor = ''; scanned = matched = 0;
      }
      download.href = '/api/v1' + base + '/messages.jsonl?' + u;
      if (cursor) u.set('cursor', cursor);
      put(progress, 'reading…');
      try {
        const a = await app.api(base + '/messages?' + u);
        if (mine !== round) return;
        scanned += a.scanned; matched += a.messages.length;
        cursor = a.cursor;
        const added = list(a.messages);
        rows.append(...added.flatMap((r, i) => withGap(r.row, a.messages[i])));
        put(progress, `scanned ${count(scanned)}, matched ${count(matched)}` + (a.done ? '' : cursor ? ', and there is more' : ': the search ended there; narrow it, or read from a time'));
        put(more, f.from.value === 'newest' ? 'Older' : 'More');
        more.hidden = !cursor || a.done;
        command.set(a.command, a.requests, a.others);
        if (!on && f.n.value === '1') openOne(added[0], a.messages[0]);
        if (a.unread) none.replaceChildren(el('p.alert', { role: 'alert' }, `Some partitions are left out: ${a.unread.join('; ')}`));
        else if (!rows.firstChild) none.replaceChildren(teach('No messages', scanned ? 'No scanned message matches. Change the filter, or continue with More.' : 'The topic holds no messages there.'));
      } catch (e) { if (mine === round) { put(progress, ''); none.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); more.hidden = true; } }
    }

    function setLive(/** @type {boolean} */ on) {
      tail?.close();
      tail = null;
      resume.hidden = true;
      live.setAttribute('aria-pressed', String(on));
      if (!on) return;
      rows.replaceChildren(); none.replaceChildren(); more.hidden = true;
      skipped = came = 0; held = []; stopped = false; matched = 0; round++;
      const u = query();
      u.delete('from'); u.delete('n');
      history.replaceState(null, '', base + '/messages?live=1' + (u.size ? '&' + u : ''));
      command.set(followCommand(u), ['Metadata', 'ListOffsets', 'Fetch']);
      put(progress, 'waiting for new messages…');
      tail = new EventSource('/api/v1' + base + '/tail?' + u);
      tail.addEventListener('message', (e) => { const b = JSON.parse(e.data); skipped += b.skipped; held.push(...b.messages); came += b.messages.length + b.skipped; if (held.length > maxRows) { skipped += held.length - maxRows; held = held.slice(-maxRows); } flush(); });
      tail.addEventListener('error', (e) => { const d = /** @type {any} */ (e).data; if (d) put(progress, JSON.parse(d).error); else if (tail?.readyState === EventSource.CLOSED) put(progress, 'the tail ended: press Live tail again'); });
    }

    /** @param {boolean} [now] */
    function flush(now) {
      if (!tail) return;
      const still = hover || app.paused || box.scrollTop > 60;
      resume.hidden = !still;
      if (still) { stopped = true; put(progress, `paused · ${count(came)} new`); return; }
      if (!now && !stopped && Date.now() - drawn < pace) return;
      drawn = Date.now();
      // What came while it was paused is all shown; what goes by live is a sample.
      const most = stopped ? maxRows : burst;
      stopped = false;
      if (held.length > most) { skipped += held.length - most; held = held.slice(-most); }
      matched += held.length;
      rows.prepend(...list(held.reverse()).map((r) => r.row));
      held = [];
      came = 0;
      while (rows.childElementCount > maxRows) rows.lastElementChild?.remove();
      put(progress, `live · ${count(matched)} shown` + (skipped ? ` · a sample: ${count(skipped)} more are not shown` : ''));
    }

    /** The rows of messages, in their order. @param {any[]} messages */
    function list(messages) { return messages.map((m) => messageRow(m, { base, uncommitted: f.isolation.value === 'uncommitted', api: app.api })); }

    /** A row with the offsets before it that hold no message, where one partition is shown. @param {HTMLElement} row @param {any} m */
    function withGap(row, m) {
      if (!m.gap || !/^\d+$/.test(f.partition.value.trim()) && app.state?.topics[name]?.partitions !== 1) return [row];
      const gap = el('tr.gap', null, el('td'), el('td', { colspan: 6 }, gapText(m.gap)));
      return f.from.value === 'newest' ? [row, gap] : [gap, row];
    }

    /** Opens the message that this address names, and brings it into sight. @param {{row: HTMLElement, toggle: () => void}} one @param {any} m */
    function openOne(one, m) {
      if (!m || f.from.value !== 'offset' || f.offset.value !== String(m.offset)) return;
      one.toggle();
      one.row.scrollIntoView({ block: 'start' });
    }

    if (q.has('live')) setLive(true); else go(false);
    return { update() { if (tail && held.length) flush(); }, unmount() { tail?.close(); round++; } };
  },
};
