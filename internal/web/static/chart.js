// @ts-check
// Time series on a canvas: a shared cursor, marks of what happened, gaps where
// nothing is known, and the same numbers as a table behind it.

import { el, put, clock } from './store.js';

/** @typedef {{name: string, label: string, hue: string}} Series */
/** @typedef {{time: number, kind: string, text: string}} Mark */

/** Colours by name, as canvases understand them; forgotten with the theme. @type {Map<string, string>} */
const colors = new Map();

/**
 * A custom property as a colour. What getPropertyValue returns is text like
 * light-dark(…), which a canvas cannot parse: an element has to wear it.
 * @param {string} name
 */
function color(name) {
  let c = colors.get(name);
  if (c) return c;
  const probe = document.createElement('span');
  probe.style.color = `var(--${name}, #888)`;
  document.body.appendChild(probe);
  c = getComputedStyle(probe).color;
  probe.remove();
  colors.set(name, c);
  return c;
}

/** Draws all charts in the colours of the theme. */
function repaint() {
  colors.clear();
  for (const c of charts) c.draw();
}

/** A version that comes late leaves this many steps empty: its rates are of that whole time, so the line goes on. */
const slow = 2;

/** Charts that are on the page: their cursors move together. @type {Set<Chart>} */
const charts = new Set();

export class Chart {
  /**
   * @param {{title: string, series: Series[], format: (n: number) => string, minutes?: number}} o
   */
  constructor(o) {
    this.o = o;
    /** @type {Record<string, Array<number|null>>} */
    this.values = {};
    this.end = 0;
    this.step = 2000;
    /** @type {Mark[]} */
    this.marks = [];
    /** @type {number|null} a time */
    this.cursor = null;
    this.minutes = o.minutes || 10;
    /** What the width shows, in milliseconds: the minutes, or fewer while little is known. */
    this.span = this.minutes * 60000;
    this.canvas = /** @type {HTMLCanvasElement} */ (el('canvas', { tabindex: '0', role: 'img', 'aria-label': o.title }));
    this.legend = el('div.legend');
    this.table = el('table');
    this.details = el('details.behind', null, el('summary', null, 'Table'), this.table);
    this.details.addEventListener('toggle', () => this.fillTable());
    this.root = el('figure.chart', null, el('figcaption', null, o.title), this.canvas, this.legend, this.details);
    this.canvas.addEventListener('pointermove', (e) => this.point(e.offsetX));
    this.canvas.addEventListener('pointerleave', () => share(null));
    this.canvas.addEventListener('keydown', (e) => {
      if (e.key !== 'ArrowLeft' && e.key !== 'ArrowRight') return;
      e.preventDefault();
      share((this.cursor ?? this.end) + (e.key === 'ArrowLeft' ? -this.step : this.step));
    });
    this.canvas.addEventListener('blur', () => share(null));
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
    this.spans = o.series.map((s) => {
      const v = el('b');
      this.legend.appendChild(el('span', null, el('i.' + s.hue), s.label + ' ', v));
      return v;
    });
    this.when = el('span.when');
    this.legend.appendChild(this.when);
    charts.add(this);
  }

  /** @param {{step_ms: number, end: number, series: Record<string, Array<number|null>>}} h @param {Mark[]} marks */
  set(h, marks) {
    this.step = h.step_ms;
    this.end = h.end;
    this.values = h.series;
    this.marks = marks;
    this.draw();
    if (this.details.hasAttribute('open')) this.fillTable();
  }

  /** Adds the newest values without asking the server again. @param {number} time @param {Record<string, number|null|undefined>} now */
  push(time, now) {
    const at = Math.floor(time / this.step) * this.step;
    const steps = this.end ? Math.round((at - this.end) / this.step) : 0;
    if (steps < 0) return;
    for (const s of this.o.series) {
      const v = this.values[s.name] || (this.values[s.name] = []);
      for (let i = 1; i < Math.min(steps, 1800); i++) v.push(null);
      const value = now[s.name] ?? null;
      if (steps === 0 && v.length) v[v.length - 1] = value; else v.push(value);
      if (v.length > 1800) v.splice(0, v.length - 1800);
    }
    this.end = at;
    this.draw();
  }

  close() { charts.delete(this); this.observer.disconnect(); }

  /** @param {number} x */
  point(x) {
    const w = this.canvas.clientWidth;
    share(this.end - (1 - x / w) * this.span);
  }

  /** @param {string} name @param {number} time */
  at(name, time) {
    const v = this.values[name];
    if (!v) return null;
    const i = v.length - 1 - Math.round((this.end - time) / this.step);
    return i >= 0 && i < v.length ? v[i] : null;
  }

  /** The least span of a few that shows all that is known of the last minutes. */
  known() {
    let steps = 0;
    for (const s of this.o.series) {
      const v = this.values[s.name] || [];
      const first = v.findIndex((x) => x !== null && x !== undefined);
      if (first >= 0) steps = Math.max(steps, v.length - first);
    }
    const most = this.minutes * 60000;
    for (const m of [1, 2, 5]) if (steps * this.step <= m * 60000 && m * 60000 < most) return m * 60000;
    return most;
  }

  draw() {
    const c = this.canvas;
    const w = c.clientWidth;
    const h = c.clientHeight;
    if (!w || !h) return;
    const dpr = window.devicePixelRatio || 1;
    if (c.width !== Math.round(w * dpr) || c.height !== Math.round(h * dpr)) { c.width = Math.round(w * dpr); c.height = Math.round(h * dpr); }
    const g = /** @type {CanvasRenderingContext2D} */ (c.getContext('2d'));
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, w, h);
    const span = this.span = this.known();
    const top = 6;
    const x = (/** @type {number} */ t) => w - (this.end - t) / span * w;
    let most = 0;
    const points = Math.ceil(span / this.step);
    for (const s of this.o.series) for (const v of (this.values[s.name] || []).slice(-points)) if (v !== null && v > most) most = v;
    const max = nice(most);
    const y = (/** @type {number} */ v) => h - 1 - v / max * (h - top - 1);
    g.font = '11px system-ui';
    g.strokeStyle = color('line');
    g.fillStyle = color('dim');
    g.lineWidth = 1;
    for (const [f, text] of scale(max, this.o.format)) {
      g.beginPath(); g.moveTo(0, Math.round(y(max * f)) + 0.5); g.lineTo(w, Math.round(y(max * f)) + 0.5); g.stroke();
      g.fillText(text, 4, y(max * f) + 12);
    }
    g.setLineDash([2, 3]);
    for (const m of this.marks) {
      const mx = Math.round(x(m.time)) + 0.5;
      if (mx < 0 || mx > w) continue;
      g.strokeStyle = color('mark-' + m.kind);
      g.beginPath(); g.moveTo(mx, top); g.lineTo(mx, h); g.stroke();
    }
    g.setLineDash([]);
    for (const s of this.o.series) {
      g.lineWidth = s === this.o.series[0] && this.o.series.length > 1 ? 3.5 : 1.5; // seen beneath another that is the same

      const v = this.values[s.name] || [];
      g.strokeStyle = color(s.hue);
      g.beginPath();
      let pen = false;
      let hole = 0;
      for (let i = Math.max(0, v.length - points - 1); i < v.length; i++) {
        const value = v[i];
        if (value === null || value === undefined) { if (++hole > slow) pen = false; continue; }
        hole = 0;
        const px = x(this.end - (v.length - 1 - i) * this.step);
        if (pen) g.lineTo(px, y(value)); else { g.moveTo(px, y(value)); g.lineTo(px + 1, y(value)); } // one alone is a dot
        pen = true;
      }
      g.stroke();
    }
    g.lineWidth = 1;
    const time = this.cursor ?? this.end;
    if (this.cursor !== null) {
      g.strokeStyle = color('fg');
      const cx = Math.round(x(time)) + 0.5;
      g.beginPath(); g.moveTo(cx, 0); g.lineTo(cx, h); g.stroke();
    }
    this.o.series.forEach((s, i) => {
      const v = this.at(s.name, time);
      put(this.spans[i], v === null || v === undefined ? '–' : this.o.format(v));
    });
    const near = this.cursor === null ? undefined : this.marks.find((m) => Math.abs(m.time - time) < span / 100);
    put(this.when, this.cursor === null ? '' : clock(time) + (near ? ' · ' + near.text : ''));
  }

  fillTable() {
    if (!this.details.hasAttribute('open')) return;
    this.table.replaceChildren(el('tr', null, el('th', { scope: 'col' }, 'Time'), this.o.series.map((s) => el('th.num', { scope: 'col' }, s.label))));
    for (let t = this.end; t > this.end - 30 * this.step; t -= this.step) {
      this.table.appendChild(el('tr', null, el('td', null, clock(t)), this.o.series.map((s) => {
        const v = this.at(s.name, t);
        return el('td.num', null, v === null || v === undefined ? '–' : this.o.format(v));
      })));
    }
  }
}

if (typeof window !== 'undefined') {
  window.addEventListener('themechange', repaint);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
}

/** @param {number|null} time */
function share(time) {
  for (const c of charts) { c.cursor = time; c.draw(); }
}

/** The next number up that is easy to read. @param {number} n @param {number[]} steps in a decade */
export function nice(n, steps = [1, 2, 5, 10]) {
  if (n <= 0) return 1;
  const p = 10 ** Math.floor(Math.log10(n));
  for (const f of steps) if (n <= f * p) return f * p;
  return 10 * p;
}

/**
 * The lines of an axis from 0 to max, as shares of it, with what stands at them. Half of what is counted
 * in whole numbers may read as the whole does: then there is the whole alone.
 * @param {number} max @param {(n: number) => string} format @returns {Array<[number, string]>}
 */
export function scale(max, format) {
  const [half, whole] = [format(max / 2), format(max)];
  return half === whole || Number(half) > max / 2 ? [[1, whole]] : [[0.5, half], [1, whole]];
}

/** A small line without axes, for a row. @param {Array<number|null>} values @param {string} hue @param {string} label */
export function sparkline(values, hue, label) {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('class', 'spark ' + hue);
  svg.setAttribute('viewBox', '0 0 100 20');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  const path = document.createElementNS(ns, 'path');
  path.setAttribute('vector-effect', 'non-scaling-stroke');
  svg.appendChild(path);
  setSparkline(svg, values);
  return svg;
}

/** @param {Element} svg @param {Array<number|null>} values */
export function setSparkline(svg, values) {
  const max = Math.max(1e-9, ...values.map((v) => v ?? 0));
  let d = '';
  let pen = false;
  let hole = 0;
  values.forEach((v, i) => {
    if (v === null || v === undefined) { if (++hole > slow) pen = false; return; }
    hole = 0;
    const x = values.length < 2 ? 100 : i / (values.length - 1) * 100;
    d += (pen ? 'L' : 'M') + x.toFixed(1) + ' ' + (19 - v / max * 18).toFixed(1);
    pen = true;
  });
  const path = /** @type {Element} */ (svg.firstElementChild);
  if (path.getAttribute('d') !== d) path.setAttribute('d', d);
}
