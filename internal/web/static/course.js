// @ts-check
// What an experiment tells: lines over the seconds of its cases with marks, tanks of
// its stages, figures and checks. The same for one that runs and for a kept report.

import { el, put, attr, count, bytes, rate, hue } from './store.js';
import { badge } from './ui.js';
import { nice } from './chart.js';

/** @typedef {{case: string, panel: string, x: number[], y: number[]}} Line */
/** @typedef {{case: string, x: number, text: string}} Mark */
/** @typedef {{name: string, level: number, capacity: number, unit: string, in: number, out: number, lost: number, note?: string, bytes?: number, max_bytes?: number}} Tank */

const ns = 'http://www.w3.org/2000/svg';

/** @param {string} tag @param {Record<string, string|number>} props */
function svg(tag, props) {
  const e = document.createElementNS(ns, tag);
  for (const [k, v] of Object.entries(props)) e.setAttribute(k, String(v));
  return e;
}

/** A figure as people read it. @param {number} v */
export function short(v) {
  const a = Math.abs(v);
  if (a >= 10000) return count(v);
  if (a >= 100 || Number.isInteger(v)) return String(Math.round(v));
  return v.toFixed(a >= 10 ? 1 : 2);
}

/** What is counted, and needs no unit beside its name. */
const counted = ['events', 'partitions', 'requests', 'commits'];

/** A figure with its unit. @param {number} v @param {string} unit */
export function figure(v, unit) {
  if (unit === 'bytes') return bytes(v);
  if (counted.includes(unit)) return count(v);
  if (unit === 'events/s') return rate(v);
  if (unit === 'ms' && v >= 1000) return `${short(v / 1000)} s`;
  return `${short(v)} ${unit}`;
}

/** All panels of an experiment, one chart each. */
export class Course {
  constructor() {
    this.root = el('div.courses');
    /** @type {Map<string, Panel>} */
    this.panels = new Map();
    /** @type {string[]} */
    this.cases = [];
  }

  /** A case that has another name keeps its colour. @param {string} from @param {string} to */
  rename(from, to) { this.cases = this.cases.map((c) => (c === from ? to : c)); }

  /** @param {Line[]} lines @param {Mark[]} marks */
  set(lines, marks) {
    for (const l of lines) if (!this.cases.includes(l.case)) this.cases.push(l.case);
    let most = 1;
    for (const l of lines) if (l.x.length) most = Math.max(most, l.x[l.x.length - 1]);
    for (const name of new Set(lines.map((l) => l.panel))) {
      let p = this.panels.get(name);
      if (!p) { p = new Panel(name); this.panels.set(name, p); this.root.appendChild(p.root); }
      p.set(lines.filter((l) => l.panel === name), marks, this.cases, most);
    }
  }
}

class Panel {
  /** @param {string} title */
  constructor(title) {
    this.svg = svg('svg', { viewBox: '0 0 1000 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': title });
    this.max = el('span.course-max');
    this.end = el('span.course-end');
    this.legend = el('div.legend');
    this.table = el('table');
    this.details = el('details.behind', null, el('summary', null, 'Table'), this.table);
    this.details.addEventListener('toggle', () => this.fill());
    this.root = el('figure.chart.course', null, el('figcaption', null, title), el('div.course-box', null, this.svg, this.max, this.end), this.legend, this.details);
    /** @type {Line[]} */
    this.lines = [];
  }

  /** @param {Line[]} lines @param {Mark[]} marks @param {string[]} cases @param {number} end */
  set(lines, marks, cases, end) {
    this.lines = lines;
    let most = 0;
    for (const l of lines) for (const v of l.y) if (v > most) most = v;
    const top = nice(most, [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]); // nothing else stands at the axis
    const x = (/** @type {number} */ v) => (v / end * 1000).toFixed(1);
    const parts = [];
    for (const f of [0.5, 1]) parts.push(svg('line', { x1: 0, x2: 1000, y1: 100 - 96 * f, y2: 100 - 96 * f, class: 'grid', 'vector-effect': 'non-scaling-stroke' }));
    for (const m of marks) {
      const line = svg('line', { x1: x(m.x), x2: x(m.x), y1: 0, y2: 100, class: 'mark ' + hue(Math.max(0, cases.indexOf(m.case))), 'vector-effect': 'non-scaling-stroke' });
      line.appendChild(svg('title', {})).textContent = `${m.x.toFixed(1)} s, ${m.case}: ${m.text}`;
      parts.push(line);
    }
    for (const l of lines) {
      parts.push(svg('polyline', { points: l.x.map((v, i) => x(v) + ',' + (100 - l.y[i] / top * 96).toFixed(1)).join(' '), class: hue(cases.indexOf(l.case)), 'vector-effect': 'non-scaling-stroke' }));
    }
    this.svg.replaceChildren(...parts);
    put(this.max, short(top));
    put(this.end, `${end.toFixed(0)} s`);
    this.legend.replaceChildren(...lines.map((l) => el('span', null, el('i.' + hue(cases.indexOf(l.case))), l.case + ' ', el('b', null, l.y.length ? short(l.y[l.y.length - 1]) : '–'))));
    this.fill();
  }

  fill() {
    if (!this.details.hasAttribute('open')) return;
    const rows = [];
    for (const l of this.lines) {
      const step = Math.max(1, Math.floor(l.x.length / 15));
      for (let i = 0; i < l.x.length; i += step) rows.push(el('tr', null, el('td', null, l.case), el('td.num', null, l.x[i].toFixed(1)), el('td.num', null, short(l.y[i]))));
    }
    this.table.replaceChildren(el('tr', null, el('th', { scope: 'col' }, 'Case'), el('th.num', { scope: 'col' }, 'Seconds'), el('th.num', { scope: 'col' }, 'Value')), ...rows);
  }
}

/** @typedef {{case: string, x: number, y: number, chosen?: boolean}} Tradeoff */

/** Whether no other setting is better at one and no worse at the other. @param {Tradeoff} t @param {Tradeoff[]} all */
export function onFront(t, all) {
  return !all.some((o) => o.x <= t.x && o.y <= t.y && (o.x < t.x || o.y < t.y));
}

/** Where a logarithmic axis has its lines. @param {number} from @param {number} to */
export function decades(from, to) {
  const out = [];
  for (let p = 10 ** Math.floor(Math.log10(from)); p <= to; p *= 10) for (const f of [1, 2, 5]) if (f * p >= from && f * p <= to) out.push(Number((f * p).toPrecision(1)));
  return out;
}

/** About how large a name beside a dot is, in pixels. */
const [nameHigh, letter] = [15, 6.1];

/**
 * Where names go beside their dots: to the right or to the left, as little above or below as possible, on top
 * of nothing; where there is no room, there is no name.
 * @param {Array<{x: number, y: number, text: string}>} dots in pixels from the left and from below @param {number} wide
 */
export function spread(dots, wide) {
  const taken = dots.map((d) => [d.x - 5, d.x + 5, d.y - 5, d.y + 5]);
  return dots.map((d) => {
    const long = d.text.length * letter;
    for (const up of [0, nameHigh, -nameHigh, 2 * nameHigh, -2 * nameHigh]) {
      for (const left of [false, true]) {
        const from = left ? d.x - 8 - long : d.x + 8;
        const box = [from, from + long, d.y + up - nameHigh / 2, d.y + up + nameHigh / 2];
        if (box[0] < 0 || box[1] > wide || taken.some((t) => t[0] < box[1] && box[0] < t[1] && t[2] < box[3] && box[2] < t[3])) continue;
        taken.push(box);
        return { left, up, none: false };
      }
    }
    return { left: false, up: 0, none: true };
  });
}

/** Settings between two costs: a dot for each, the front on which nobody is beaten, a ring around the chosen one. */
export class Tradeoffs {
  constructor() {
    this.svg = svg('svg', { viewBox: '0 0 1000 100', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'CPU by latency of each setting' });
    this.names = el('div.dots', { 'aria-hidden': 'true' });
    this.max = el('span.course-max');
    this.ticks = el('div.dots-ticks', { 'aria-hidden': 'true' });
    this.table = el('table');
    this.root = el('figure.chart.course.tradeoffs', { hidden: true }, el('figcaption', null, 'CPU per event (upwards) by latency p99 (to the right): less of both is better'),
      el('div.course-box', null, this.svg, this.names, this.max), this.ticks, el('p.dim.dots-key', null, el('i.front'), 'no setting is better at both', el('i.behind-front'), 'beaten by another one', el('i.chosen'), 'chosen'),
      el('details.behind', null, el('summary', null, 'Table'), this.table));
  }

  /** @param {Tradeoff[]} all */
  set(all) {
    this.root.hidden = !all.length;
    if (!all.length) return;
    // Lingers differ by factors, and so does what comes of them: each decade of latency is as wide as another.
    const [first, last, top] = [Math.min(...all.map((t) => t.x)) * 0.7, Math.max(...all.map((t) => t.x)) * 1.5, nice(Math.max(...all.map((t) => t.y)), [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10])];
    const x = (/** @type {number} */ v) => Math.log(Math.max(v, 1e-3) / first) / Math.log(last / first) * 100;
    const y = (/** @type {number} */ v) => v / top * 92;
    const sorted = [...all].sort((a, b) => a.x - b.x || b.y - a.y);
    const front = sorted.filter((t) => onFront(t, all));
    const parts = [0.5, 1].map((f) => svg('line', { x1: 0, x2: 1000, y1: 100 - 92 * f, y2: 100 - 92 * f, class: 'grid', 'vector-effect': 'non-scaling-stroke' }));
    const ticks = decades(first, last);
    parts.push(...ticks.map((v) => svg('line', { x1: x(v) * 10, x2: x(v) * 10, y1: 0, y2: 100, class: 'grid', 'vector-effect': 'non-scaling-stroke' })));
    this.ticks.replaceChildren(...ticks.map((v) => { const t = el('span', null, `${v} ms`); t.style.insetInlineStart = x(v) + '%'; return t; }));
    parts.push(svg('polyline', { points: front.map((t) => (x(t.x) * 10).toFixed(1) + ',' + (100 - y(t.y)).toFixed(1)).join(' '), class: 'front-line h0', 'vector-effect': 'non-scaling-stroke' }));
    this.svg.replaceChildren(...parts);
    const [wide, high] = [this.names.clientWidth || 900, this.names.clientHeight || 300];
    const places = spread(sorted.map((t) => ({ x: x(t.x) / 100 * wide, y: y(t.y) / 100 * high, text: t.case })), wide);
    this.names.replaceChildren(...sorted.map((t, i) => {
      const dot = el('span.dot' + (front.includes(t) ? '.front' : '') + (t.chosen ? '.chosen' : '') + (places[i].left ? '.left' : ''), { title: `${t.case}: ${short(t.x)} ms, ${short(t.y)} µs` }, el('i'), el('b', null, t.case));
      dot.style.insetInlineStart = x(t.x) + '%';
      dot.style.insetBlockEnd = y(t.y) + '%';
      const b = /** @type {HTMLElement} */ (dot.lastElementChild);
      b.style.insetBlockEnd = places[i].up - nameHigh / 2 + 'px';
      b.hidden = places[i].none;
      return dot;
    }));
    put(this.max, short(top) + ' µs');
    this.table.replaceChildren(el('tr', null, el('th', { scope: 'col' }, 'Setting'), el('th.num', { scope: 'col' }, 'p99, ms'), el('th.num', { scope: 'col' }, 'CPU, µs')),
      ...sorted.map((t) => el('tr', null, el('td', null, t.case + (t.chosen ? ' (chosen)' : '')), el('td.num', null, short(t.x)), el('td.num', null, short(t.y)))));
  }
}

const stageNames = { upstream: 'Upstream', socket: 'Socket', queue: 'Queue', disk: 'Disk', producer: 'Producer', kafka: 'Kafka', consumer: 'Consumer', redis: 'Redis' };

/** The stages of a pipeline, side by side, each as full as it is. */
export class Tanks {
  constructor() {
    this.root = el('ol.tanks', { 'aria-label': 'Stages, from upstream to Redis' });
    /** @type {Map<string, {root: HTMLElement, fill: HTMLElement, level: HTMLElement, flow: HTMLElement, rates: HTMLElement, note: HTMLElement, most: number}>} */
    this.stages = new Map();
  }

  /** @param {Tank[]} tanks */
  set(tanks) {
    if (tanks.some((t) => !this.stages.has(t.name)) || tanks.length !== this.stages.size) {
      const old = this.stages;
      this.stages = new Map(tanks.map((t) => [t.name, old.get(t.name) || this.make(t)]));
      this.root.replaceChildren(...[...this.stages.values()].map((s) => s.root));
    }
    for (const t of tanks) {
      const s = this.stages.get(t.name);
      if (!s) continue;
      s.most = Math.max(s.most, t.level);
      const share = Math.min(1, Math.max(t.level / (t.capacity || s.most || 1), t.max_bytes ? (t.bytes || 0) / t.max_bytes : 0));
      s.fill.style.blockSize = (t.name === 'redis' ? 100 : share * 100).toFixed(1) + '%';
      const full = t.capacity > 0 && share > 0.9;
      attr(s.root, 'class', 'stage-tank' + (full ? ' full' : t.lost > 0 ? ' losing' : ''));
      put(s.level, figure(t.level, t.unit) + (t.capacity > 0 ? ' of ' + figure(t.capacity, t.unit) : '') + (t.max_bytes ? `, ${bytes(t.bytes || 0)} of ${bytes(t.max_bytes)}` : ''));
      put(s.rates, t.name === 'redis' ? `${rate(t.in)} in` : `${rate(t.in)} in · ${rate(t.out)} out`);
      put(s.note, [full ? 'full' : '', t.lost > 0 ? count(t.lost) + ' lost here' : '', t.note || ''].filter(Boolean).join(' · '));
      attr(s.flow, 'class', 'flow' + (t.out > 0 ? ' on' : ''));
      s.flow.style.animationDuration = Math.max(0.25, Math.min(3, 400 / Math.max(1, t.out))).toFixed(2) + 's';
    }
  }

  /** @param {Tank} t */
  make(t) {
    const fill = el('div.fill');
    const level = el('b');
    const flow = el('span.flow', { 'aria-hidden': 'true' });
    const rates = el('span.dim');
    const note = el('span.note');
    const name = /** @type {Record<string, string>} */ (stageNames)[t.name] || t.name;
    return { root: el('li.stage-tank', null, el('h3', null, name), el('div.vessel', { 'aria-hidden': 'true' }, fill), el('div.stage-text', null, level, rates, note), flow), fill, level, flow, rates, note, most: 0 };
  }
}

/** @typedef {{case: string, name: string, value: number, unit: string}} Measure */

/** Figures: a table for each kind of case, which is told by its first figure. @param {Measure[]} measures */
export function measureTable(measures) {
  if (!measures.length) return el('p.dim', null, 'Figures come when a case has ended.');
  /** @type {Map<string, string>} */
  const first = new Map();
  /** @type {Map<string, Measure[]>} */
  const kinds = new Map();
  for (const m of measures) {
    if (!first.has(m.case)) first.set(m.case, m.name);
    const kind = /** @type {string} */ (first.get(m.case));
    kinds.set(kind, [...(kinds.get(kind) || []), m]);
  }
  return el('div.figures', null, [...kinds.values()].map(figures));
}

/** One table: a column for each case, or for each figure where there are more cases. @param {Measure[]} measures */
function figures(measures) {
  const cases = [...new Set(measures.map((m) => m.case))];
  const names = [...new Set(measures.map((m) => m.name))];
  const at = new Map(measures.map((m) => [m.case + '\0' + m.name, m]));
  const turned = cases.length > names.length;
  const [rows, columns] = turned ? [cases, names] : [names, cases];
  const cell = (/** @type {string} */ r, /** @type {string} */ c) => { const m = at.get(turned ? r + '\0' + c : c + '\0' + r); return el('td.num', null, m ? figure(m.value, m.unit) : '–'); };
  return el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'Figures' }, el('table.rows', null,
    el('thead', null, el('tr', null, el('th', { scope: 'col' }, turned ? 'Case' : 'Measured'), columns.map((c) => el('th.num', { scope: 'col' }, c)))),
    el('tbody', null, rows.map((r) => el('tr', null, el('th', { scope: 'row' }, r), columns.map((c) => cell(r, c)))))));
}

/** @param {string} v a verdict */
export function verdictBadge(v) { return badge(v === 'holds' ? 'ok' : v === 'does not hold' ? 'bad' : 'warn', v || 'no verdict'); }

/** Checks, those that do not hold first seen by their sign. @param {Array<{case: string, claim: string, want: string, got: string, verdict: string}>} checks */
export function checkTable(checks) {
  if (!checks.length) return el('p.dim', null, 'Checks are made when a case has ended.');
  return el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'Checks' }, el('table.rows.checks', null,
    el('thead', null, el('tr', null, ['Verdict', 'Case', 'Claim', 'Expected', 'Measured'].map((h) => el('th', { scope: 'col' }, h)))),
    el('tbody.prose', null, checks.map((c) => el('tr', null, el('td', null, verdictBadge(c.verdict)), el('td', null, c.case), el('td', null, c.claim), el('td', null, c.want), el('td', null, c.got))))));
}

/** The first sentence of a claim: what a page shows before its text. @param {string} claim */
export function sentence(claim) { return (/^.*?[.;](?=\s|$)/s.exec(claim)?.[0] || claim).replace(/;$/, '.'); }
