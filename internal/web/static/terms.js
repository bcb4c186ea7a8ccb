// @ts-check
// The terms of the glossary, explained where they stand: in headings, labels and table heads,
// on hover, focus and touch, with a link to the station of the learning path that teaches them.

import { el } from './store.js';

/** @typedef {{term: string, also: string[], text: string, station: number, id: string}} Term */

/** Where terms are looked for. The head of a row is data; it has to name its term by itself. */
const places = 'h2, h3, th:not([scope=row]), dt, label, legend, figcaption, [role=columnheader]';
/** Texts with words of their own: documents explain their terms. */
const texts = 'a, pre, code, .doc, .prose, .log, .claim, [data-plain]';
/** So many terms of one label are explained. */
const most = 3;

/** @type {Map<string, Term>} */
const known = new Map();
/** @type {RegExp|null} */
let words = null;

/** A text that is explained, for places that are not searched. @param {string} name @param {string} [text] */
export function term(name, text = name) { return el('span.term', { 'data-term': name, tabindex: '0', role: 'term' }, text); }

/** The pattern that finds every name of the terms in a label, the longest first. @param {Term[]} terms */
export function pattern(terms) {
  const names = terms.flatMap((t) => [t.term, ...t.also]).sort((a, b) => b.length - a.length);
  return new RegExp('(?<![\\w.-])(?:' + names.map((n) => n.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|') + ')(?![\\w-]|\\.\\w)', 'gi');
}

/** Marks the terms of a label. @param {Element} e */
function mark(e) {
  if (!words || e.closest(texts)) return;
  let left = most - e.querySelectorAll('[data-term]').length;
  const walk = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const found = [];
  for (let n = walk.nextNode(); n; n = walk.nextNode()) found.push(/** @type {Text} */ (n));
  for (const text of found) {
    const parent = /** @type {Element} */ (text.parentElement);
    if (parent.closest(`${texts}, select, textarea, option, .num b, [data-term]`)) continue;
    const button = parent.closest('button');
    if (button) { // a control is no place for another one: it carries the explanation itself
      if (known.has((button.textContent || '').trim().toLowerCase())) button.dataset.term = (button.textContent || '').trim();
      continue;
    }
    let rest = text;
    for (const m of [...text.data.matchAll(words)]) {
      if (left-- <= 0) return;
      const at = rest.data.indexOf(m[0]);
      const word = rest.splitText(at);
      rest = word.splitText(m[0].length);
      word.replaceWith(term(m[0]));
    }
  }
}

/** @param {Element} e */
function markAll(e) {
  if (e.matches(places)) mark(e);
  else if (e.closest(places)) mark(/** @type {Element} */ (e.closest(places)));
  for (const x of e.querySelectorAll(places)) mark(x);
}

/** The one card that explains. */
class Card {
  constructor() {
    this.root = el('div.term-card', { id: 'term-card', role: 'tooltip', popover: 'manual' });
    this.root.hidden = true;
    document.body.appendChild(this.root);
    /** @type {HTMLElement|null} */
    this.of = null;
    /** @type {HTMLElement|null} */
    this.back = null;
    this.timer = 0;
    const trigger = (/** @type {Event} */ e) => /** @type {HTMLElement|null} */ (/** @type {Element} */ (e.target).closest?.('[data-term]') || null);
    const within = (/** @type {EventTarget|null} */ t) => t instanceof Node && this.root.contains(t);
    document.addEventListener('pointerover', (e) => {
      if (e.pointerType === 'touch') return;
      const t = trigger(e);
      clearTimeout(this.timer);
      if (t && t !== this.of) this.timer = window.setTimeout(() => this.show(t), 250);
      else if (!t && this.of && !within(e.target) && document.activeElement !== this.of && !within(document.activeElement)) this.timer = window.setTimeout(() => this.hide(), 300);
    });
    document.addEventListener('focusin', (e) => {
      const t = trigger(e);
      if (t && t === this.back) return; // Escape closed the card there
      if (t?.matches(':focus-visible')) this.show(t); else if (!t && !within(e.target)) this.hide();
    });
    document.addEventListener('click', (e) => {
      const t = trigger(e);
      if (!t) { if (!within(e.target) || /** @type {Element} */ (e.target).closest('a')) this.hide(); return; }
      clearTimeout(this.timer);
      if (t.tagName !== 'BUTTON' && /** @type {PointerEvent} */ (e).pointerType === 'touch') e.preventDefault(); // a label would move the focus to its field, and open a keyboard
      this.show(t);
    });
    document.addEventListener('keydown', (e) => {
      if (!this.of) return;
      if (e.key === 'Escape') { this.back = this.of; const inside = within(document.activeElement); this.hide(); if (inside) this.back.focus(); this.back = null; }
      if (e.key === 'Enter' && e.target === this.of && this.of.tagName !== 'BUTTON') { this.root.querySelector('a')?.focus(); e.preventDefault(); }
    });
    for (const gone of ['scroll', 'resize']) window.addEventListener(gone, () => { if (this.of) this.place(); }, { passive: true, capture: true });
  }

  /** @param {HTMLElement} t */
  show(t) {
    const x = known.get((t.dataset.term || '').toLowerCase());
    if (!x) return;
    this.hide();
    this.of = t;
    this.root.replaceChildren(el('b', null, x.term), el('p', null, x.text),
      el('p.term-links', null, x.station ? el('a', { href: '/learn/' + x.station }, `Learn it: station ${x.station}`) : null, el('a', { href: '/docs/reference/glossary#' + x.id }, 'Glossary')));
    t.setAttribute('aria-describedby', 'term-card');
    this.root.hidden = false;
    this.root.showPopover?.();
    this.place();
  }

  hide() {
    clearTimeout(this.timer);
    if (!this.of) return;
    this.of.removeAttribute('aria-describedby');
    this.of = null;
    this.root.hidePopover?.();
    this.root.hidden = true;
  }

  /** Below the term, or above it where there is more room. */
  place() {
    const of = /** @type {HTMLElement} */ (this.of);
    const at = of.getBoundingClientRect();
    if (!of.isConnected || !at.width || at.bottom < 0 || at.top > innerHeight) { this.hide(); return; }
    const { offsetWidth: w, offsetHeight: h } = this.root;
    this.root.style.left = Math.max(8, Math.min(at.left, innerWidth - w - 8)) + 'px';
    this.root.style.top = (at.bottom + h + 8 < innerHeight || at.top < h ? at.bottom + 4 : at.top - h - 4) + 'px';
  }
}

/**
 * Explains the terms in an element, also those that come later.
 * @param {HTMLElement} root @param {(path: string) => Promise<any>} api
 */
export async function explain(root, api) {
  /** @type {Term[]} */
  let terms;
  try { ({ terms } = await api('/terms')); } catch { return; } // a page works without
  for (const t of terms) for (const name of [t.term, ...t.also]) known.set(name.toLowerCase(), t);
  words = pattern(terms);
  new Card();
  const seen = new MutationObserver((records) => {
    for (const r of records) {
      for (const n of r.addedNodes) {
        if (n instanceof Element) markAll(n);
        else if (n instanceof Text && r.target instanceof Element && r.target.closest(places)) mark(/** @type {Element} */ (r.target.closest(places)));
      }
    }
    seen.takeRecords(); // what was marked just now
  });
  seen.observe(root, { childList: true, subtree: true });
  markAll(root);
  seen.takeRecords();
}
