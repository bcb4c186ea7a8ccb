// @ts-check
// Pieces that every page uses: tables, dialogs, the command that does the same, notes.

import { el, put, attr, keyed, clock } from './store.js';
import { sparkline, setSparkline } from './chart.js';

/**
 * @template T
 * @typedef {{title: string, num?: boolean, cell: (e: HTMLElement, item: T) => void, sort?: (item: T) => number|string, hint?: string, term?: string}} Column
 */

const rowHeight = 34;

/**
 * A table whose rows are kept by key and made only where they are seen. The order
 * is the reader's: it changes when a heading is pressed, never by itself.
 * @template T
 */
export class Table {
  /**
   * @param {{label: string, key: (item: T) => string, columns: Column<T>[], href?: (item: T) => string, empty?: () => Node}} o
   */
  constructor(o) {
    this.o = o;
    /** @type {T[]} */
    this.items = [];
    /** @type {string[]} */
    this.order = [];
    this.by = -1;
    this.down = false;
    this.buttons = o.columns.map((c, i) => el('button', { type: 'button', title: c.hint || null, 'data-term': c.term || null, onclick: () => this.sortBy(i) }, c.title));
    this.head = el('tr', null, o.columns.map((c, i) => el(c.num ? 'th.num' : 'th', { scope: 'col' }, c.sort ? this.buttons[i] : c.title)));
    this.before = el('tr.pad', { 'aria-hidden': 'true' }, el('td', { colspan: o.columns.length }));
    this.after = el('tr.pad', { 'aria-hidden': 'true' }, el('td', { colspan: o.columns.length }));
    this.body = el('tbody');
    this.table = el('table.rows', { 'aria-label': o.label }, el('thead', null, this.head), el('tbody', null, this.before), this.body, el('tbody', null, this.after));
    this.none = el('div.empty');
    this.root = el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': o.label }, this.table, this.none);
    this.root.addEventListener('scroll', () => this.draw(), { passive: true });
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.root);
  }

  close() { this.observer.disconnect(); }

  /** @param {number} i */
  sortBy(i) {
    this.down = this.by === i ? !this.down : !!this.o.columns[i].num;
    this.by = i;
    this.order = [];
    this.head.querySelectorAll('th').forEach((th, n) => { if (n === i) th.setAttribute('aria-sort', this.down ? 'descending' : 'ascending'); else th.removeAttribute('aria-sort'); });
    this.set(this.items);
  }

  /** @param {T[]} items */
  set(items) {
    const byKey = new Map(items.map((it) => [this.o.key(it), it]));
    if (!this.order.length && items.length) {
      const sort = this.by >= 0 ? this.o.columns[this.by].sort : undefined;
      const sorted = sort ? [...items].sort((a, b) => compare(sort(a), sort(b)) * (this.down ? -1 : 1)) : items;
      this.order = sorted.map(this.o.key);
    } else {
      const known = new Set(this.order);
      this.order = this.order.filter((k) => byKey.has(k)).concat([...byKey.keys()].filter((k) => !known.has(k)));
    }
    this.items = this.order.map((k) => /** @type {T} */ (byKey.get(k)));
    if (!items.length && this.o.empty) { if (!this.none.firstChild) this.none.appendChild(this.o.empty()); } else this.none.replaceChildren();
    this.table.hidden = !items.length && !!this.o.empty;
    this.draw();
  }

  draw() {
    const n = this.items.length;
    const many = n > 200;
    this.table.classList.toggle('many', many); // rows that are counted have one height
    const first = many ? Math.max(0, Math.floor(this.root.scrollTop / rowHeight) - 10) : 0;
    const last = many ? Math.min(n, first + Math.ceil((this.root.clientHeight || 600) / rowHeight) + 20) : n;
    pad(this.before, first);
    pad(this.after, n - last);
    keyed(this.body, this.items.slice(first, last), this.o.key, (item) => {
      const tr = el('tr', null, this.o.columns.map((c) => el(c.num ? 'td.num' : 'td')));
      if (this.o.href) {
        const href = this.o.href(item);
        tr.setAttribute('data-href', href);
        const cell = /** @type {HTMLElement} */ (tr.firstElementChild);
        cell.appendChild(el('a', { href }));
      }
      return tr;
    }, (tr, item) => this.o.columns.forEach((c, i) => {
      let cell = /** @type {HTMLElement} */ (tr.children[i]);
      if (i === 0 && this.o.href) cell = /** @type {HTMLElement} */ (cell.firstElementChild);
      c.cell(cell, item);
    }));
  }
}

/** @param {HTMLElement} tr @param {number} rows */
function pad(tr, rows) { tr.hidden = rows <= 0; /** @type {HTMLElement} */ (tr.firstElementChild).style.height = rows * rowHeight + 'px'; }

/** By code units: a collation costs more than the rest of a page with thousands of rows. @param {string} a @param {string} b */
export function order(a, b) { return a < b ? -1 : a > b ? 1 : 0; }

/** @param {number|string} a @param {number|string} b */
function compare(a, b) { return typeof a === 'number' && typeof b === 'number' ? a - b : order(String(a), String(b)); }

/** Small lines for the rows of a table: the server's history at first, then what goes by. */
export class Sparks {
  /** @param {import('./app.js').App} app @param {(name: string) => string} series the name that the history has it under @param {string} hue */
  constructor(app, series, hue) {
    this.app = app;
    this.series = series;
    this.hue = hue;
    /** @type {Map<string, Array<number|null>>} */
    this.values = new Map();
    this.last = 0;
    /** @type {string[]} */
    this.wanted = [];
  }

  /** Notes what is now, of those that are seen. @param {number} time @param {(name: string) => number|undefined} now */
  update(time, now) {
    if (time - this.last < 2000) return;
    this.last = time;
    for (const [n, list] of this.values) {
      const v = now(n);
      list.push(v === undefined || v < 0 ? null : v);
      if (list.length > 150) list.shift();
    }
  }

  /** @param {HTMLElement} cell @param {string} name */
  draw(cell, name) {
    if (!cell.firstChild) cell.appendChild(sparkline([], this.hue, 'the last minutes'));
    if (!this.values.has(name)) this.want(name);
    setSparkline(/** @type {Element} */ (cell.firstChild), this.values.get(name) || []);
  }

  /** Asks for the history of a row that came into sight, with others that did. @param {string} name */
  want(name) {
    this.values.set(name, []);
    if (this.values.size > 400) this.values.delete(/** @type {string} */ (this.values.keys().next().value));
    if (this.wanted.push(name) > 1) return;
    setTimeout(() => {
      const ask = this.wanted.slice(-60);
      this.wanted = [];
      this.app.api('/history?' + ask.map((n) => 'series=' + encodeURIComponent(this.series(n))).join('&'))
        .then((h) => { for (const n of ask) if (this.values.has(n)) this.values.set(n, (h.series[this.series(n)] || []).slice(-150)); }).catch(() => { /* the line begins now */ });
    }, 100);
  }
}

/** Quotes what a shell would take apart, and writes what cannot be seen as escapes. @param {string} s */
export function shellWord(s) {
  if (/^[\w.,:/+@=-]+$/.test(s)) return s;
  if (!/[\p{Cc}\p{Cf}\p{Co}\u2028\u2029]/u.test(s)) return `'${s.replaceAll("'", "'\\''")}'`;
  const escaped = s.replace(/['\\]/g, '\\$&').replace(/[\p{Cc}\p{Cf}\p{Co}\u2028\u2029]/gu, (c) => [...new TextEncoder().encode(c)].map((b) => '\\x' + b.toString(16).padStart(2, '0')).join(''));
  return `$'${escaped}'`;
}

/** The flags with which commands find this cluster, as the server says. @type {{data: string[]|null, kafka: string[]|null, redis: string[]|null}} */
const where = JSON.parse((typeof document !== 'undefined' && document.querySelector('meta[name="weir-where"]')?.getAttribute('content')) || '{"data":null,"kafka":null,"redis":null}');
/** Commands that know --data alone, and those that know --redis, too. */
const ofData = /^(lab|exercise|groups join|groups leave|brokers kill|brokers restart)\b/;
const ofRedis = /^(verify|counts|learn|groups reset|groups replay)\b/;

/** A command of weir, about one name or none; a name that begins with a dash comes last, after --. @param {string} words @param {string} name @param {...string} flags */
export function weir(words, name, ...flags) {
  flags.push(...((ofData.test(words) ? where.data : ofRedis.test(words) ? where.redis : where.kafka) || []).map(shellWord));
  if (!name) return ['weir', words, ...flags].join(' ');
  return (name.startsWith('-') ? ['weir', words, ...flags, '--', shellWord(name)] : ['weir', words, shellWord(name), ...flags]).join(' ');
}

/** A text that messages must contain, as --filter reads it: as an expression where it would be taken for something else. @param {string} text */
export function filterWord(text) {
  return /^([./]|key=|header:)/.test(text) ? '/' + text.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&') + '/' : text;
}

/** A button that copies a text. @param {() => string} text @param {string} [title] */
export const copyOf = (text, title = 'Copy the command') => el('button.copy', { type: 'button', title, onclick: async () => {
  try { await navigator.clipboard.writeText(text()); toast('Copied'); } catch { toast('The browser does not let this page copy'); }
} }, 'Copy');

/** @typedef {{tool: string, command: string}} Other a command of another program */

/**
 * The command line that does the same, to copy, the Kafka requests behind it, and the
 * command lines of other programs.
 * @param {string} command @param {string[]} [requests] @param {Other[]} [others] @param {boolean} [open] shows the other programs' at once
 */
export function commandBar(command, requests, others, open) {
  const code = el('code');
  const behind = el('span.requests');
  const list = el('div');
  const tools = el('summary');
  const more = el('details.others', { open }, tools, list);
  /** @param {string} c @param {string[]} [r] @param {Other[]} [o] */
  const set = (c, r, o) => {
    put(code, c);
    put(behind, r && r.length ? 'Kafka: ' + r.join(', ') : '');
    more.hidden = !o?.length;
    put(tools, 'The same with ' + (o || []).map((x) => x.tool).join(', '));
    keyed(list, o || [], (x) => x.tool, () => { const line = el('code'); return el('div', null, line, copyOf(() => line.textContent || '')); }, (e, x) => put(/** @type {Element} */ (e.firstElementChild), x.command));
  };
  set(command, requests, others);
  return { root: el('div', null, el('div.command', null, el('span.prompt', { 'aria-hidden': 'true' }, '$'), code, copyOf(() => code.textContent || ''), behind), more), set };
}

/** A line that goes by itself. @param {string} text @param {boolean} [bad] */
export function toast(text, bad) {
  const t = el(bad ? 'div.toast.bad' : 'div.toast', null, text);
  document.getElementById('toasts')?.appendChild(t);
  setTimeout(() => t.remove(), bad ? 12000 : 4000);
}

/**
 * Asks before something that cannot be taken back: its name has to be typed.
 * @param {{title: string, body: Node, type: string, action: string}} o
 * @returns {Promise<boolean>}
 */
export function confirmTyped(o) {
  const d = /** @type {HTMLDialogElement} */ (document.getElementById('dialog'));
  return new Promise((resolve) => {
    const go = /** @type {HTMLButtonElement} */ (el('button.danger', { type: 'submit', disabled: true, value: 'go' }, o.action));
    const input = /** @type {HTMLInputElement} */ (el('input', { autocomplete: 'off', spellcheck: 'false', 'aria-label': 'Type ' + o.type + ' to confirm', oninput: () => { go.disabled = input.value !== o.type; } }));
    const form = el('form', { method: 'dialog' }, el('h2', { id: 'dialog-title' }, o.title), o.body,
      el('label', null, el('span', null, 'Type ', el('code', null, o.type), ' to confirm'), input),
      el('div.actions', null, el('button', { type: 'button', onclick: () => d.close('') }, 'Cancel'), go));
    d.replaceChildren(form);
    d.setAttribute('aria-labelledby', 'dialog-title');
    d.returnValue = '';
    d.onclose = () => { resolve(d.returnValue === 'go'); d.replaceChildren(); };
    d.showModal();
    input.focus();
  });
}

/** Says when numbers were told that are not quite new: large and slow clusters are asked less often. @param {number} now @param {number} told */
export function asOf(now, told) { return told && now - told > 5000 ? ` · as of ${clock(told)}` : ''; }

/** A field with what it is for. A narrow window shows that when it is asked for. @param {string} name @param {HTMLElement} input with its label @param {string} about */
export function field(name, input, about) {
  if (!about) return el('div.field', null, input);
  const help = el('button.help', { type: 'button', 'aria-expanded': 'false', 'aria-label': 'What is ' + name + '?', onclick: () => attr(help, 'aria-expanded', String(help.getAttribute('aria-expanded') !== 'true')) }, '?');
  return el('div.field', null, input, help, el('p.dim', null, about));
}

/** What an empty page teaches. @param {string} title @param {string} text @param {Node} [action] */
export function teach(title, text, action) { return el('div.teach', null, el('h2', null, title), el('p', null, text), action); }

/** Text with a state's icon: colour is never the only sign. @param {'ok'|'warn'|'bad'|'off'} kind @param {string} text */
export function badge(kind, text) { return el('span.badge.' + kind, null, { ok: '●', warn: '▲', bad: '■', off: '○' }[kind] + ' ' + text); }
