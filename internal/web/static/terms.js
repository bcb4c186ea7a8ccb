// @ts-check
// The terms of the glossary, explained where they stand: on hover, focus and touch, with a link to
// the station of the learning path that teaches them. Pages do nothing for it: the first occurrence
// of each term in a card or section is marked, also in what is drawn later. Texts that are not
// weir's, such as names, are in elements with data-plain.

import { el } from './store.js';

/** @typedef {{term: string, also: string[], text: string, station: number, id: string}} Term */

/** Labels: each of their words names a thing. */
const labels = 'h1, h2, h3, th, dt, label, legend, figcaption, .legend, [role=columnheader]';
/** In sentences these are words of everyday English. */
const everyday = new Set(['committed', 'counts', 'consumed', 'end', 'leads', 'low', 'position', 'positions', 'reject', 'rejects', 'sequence', 'time', 'trend', 'value', 'values', 'window', 'windows']);
/** A term is explained once in each of these, where it is first seen. What is folded or hidden is not seen with the rest. */
const parts = '.card, section, article, details, dialog, main, [hidden]';
/** Heads of columns: each explains its term by itself, and a narrow window may hide it. */
const heads = 'th[scope=col], [role=columnheader]';
/** Controls, code, what people and programs wrote, and the cells of tables that are not prose. */
const never = 'a, button, summary, pre, code, input, select, textarea, option, svg, canvas, time, .message-facts dd, .sr, .crumb, .log, .tail, .json, .hits, .lane, .when, .requests, .course .legend, [data-plain], '
  + '.doc :is(h1, h2, h3, h4, th), tr:not(:has(> th), .prose, .prose tr), td:not(.prose td)';

/** @type {Map<string, Term>} */
const known = new Map();
/** Names in labels, and in sentences; and in texts of elements, which no space divides. @type {{label: RegExp, prose: RegExp, any: RegExp}|null} */
let words = null;

/** Every name of the terms as a pattern, the longest first. @param {Term[]} terms @param {(name: string) => boolean} [wanted] */
function pattern(terms, wanted = () => true) {
  const names = terms.flatMap((t) => [t.term, ...t.also]).filter(wanted).sort((a, b) => b.length - a.length);
  return names.map((n) => n.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
}

/** Names as words of their own. @param {string} names a pattern */
const whole = (names) => new RegExp(`(?<![\\w.-])(?:${names})(?![\\w-]|\\.\\w)`, 'gi');

/** @param {string|undefined|null} name */
const termOf = (name) => known.get((name || '').trim().toLowerCase());

/** The marks that the keyboard stops at, by term, in what is seen together: one of each is enough. @type {WeakMap<Element, Map<Term|undefined, HTMLElement>>} */
const stops = new WeakMap();

/** The mark of a word. @param {string} word @param {Element} at where it stands */
function markOf(word, at) {
  const mark = el('span.term', { 'data-term': word, tabindex: '0', role: 'term' }, word);
  const page = at.closest('details, dialog, main, [hidden]') || document.body;
  const there = stops.get(page) || new Map();
  stops.set(page, there);
  if (there.get(termOf(word))?.isConnected && !at.closest(heads)) mark.tabIndex = -1; else there.set(termOf(word), mark);
  return mark;
}

/** Marks the terms of a text that are not among those seen. @param {Text} text @param {Set<Term|undefined>} seen */
function markText(text, seen) {
  if (!words) return;
  const found = [...text.data.matchAll(text.parentElement?.closest(labels) ? words.label : words.prose)];
  let [rest, from] = [text, 0];
  for (const m of found) {
    if (seen.has(termOf(m[0]))) continue;
    seen.add(termOf(m[0]));
    const word = rest.splitText(/** @type {number} */ (m.index) - from);
    rest = word.splitText(m[0].length);
    from = /** @type {number} */ (m.index) + m[0].length;
    word.replaceWith(markOf(m[0], /** @type {Element} */ (rest.parentElement)));
  }
}

/** Marks each term where it is first seen in a part of the page, and only there. @param {Element} e @param {Set<Term|undefined>} seen @param {Element|null} kept the term that is explained now */
function markFirst(e, seen, kept) {
  for (const n of [...e.childNodes]) {
    if (n instanceof Text) markText(n, seen);
    if (!(n instanceof HTMLElement) || n.matches(parts)) continue;
    if (n.matches('.term')) {
      const t = termOf(n.dataset.term);
      if (seen.has(t) && n !== kept && n !== document.activeElement) { n.replaceWith(n.textContent || ''); e.normalize(); } else seen.add(t);
    } else if (n.matches(heads)) markFirst(n, new Set(), kept);
    else if (n.matches('th button')) { // a control cannot hold another one, so it carries the explanation itself
      if (!n.dataset.term && termOf(n.textContent)) n.dataset.term = (n.textContent || '').trim();
      seen.add(termOf(n.dataset.term));
    } else if (!n.matches(never)) markFirst(n, seen, kept);
  }
}

/** @param {Element} part @param {Element|null} kept */
function markPart(part, kept) { if (!part.closest(never)) markFirst(part, new Set(), kept); } // a hidden button is a part, too

/** The parts of the page that changes may have given a term, or taken one from. @param {MutationRecord[]} records */
function touched(records) {
  /** @type {Set<Element>} */
  const list = new Set();
  const found = (/** @type {string|null} */ text) => !!text && !!words && words.any.test(text);
  for (const r of records) {
    const at = r.target instanceof Element ? r.target : r.target.parentElement;
    if (!at?.isConnected || at.closest(never)) continue;
    let yes = r.type === 'characterData' && found(r.target.textContent);
    if (r.type === 'attributes' && at.hasAttribute('hidden') !== (r.oldValue !== null)) { list.add(at); yes = true; }
    for (const n of r.removedNodes) yes ||= n instanceof Element && (n.matches('.term') || !!n.querySelector('.term'));
    for (const n of r.addedNodes) {
      if (n instanceof Element ? n.matches(never) : !(n instanceof Text)) continue;
      if (!found(n.textContent)) continue;
      yes = true;
      if (n instanceof Element) for (const x of [n, ...n.querySelectorAll(parts)]) if (x.matches(parts)) list.add(x);
    }
    const part = (r.type === 'attributes' ? at.parentElement : at)?.closest(parts);
    if (yes && part) list.add(part);
  }
  return list;
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
      if (!t) { const a = /** @type {Element} */ (e.target).closest('a'); if (within(a)) this.root.closest('dialog')?.close(); if (a || !within(e.target)) this.hide(); return; }
      clearTimeout(this.timer);
      if (t.tagName !== 'BUTTON' && /** @type {PointerEvent} */ (e).pointerType === 'touch') e.preventDefault(); // a label would move the focus to its field, and open a keyboard
      this.show(t);
    });
    document.addEventListener('keydown', (e) => {
      if (!this.of) return;
      if (e.key === 'Escape') { e.preventDefault(); this.back = this.of; const inside = within(document.activeElement); this.hide(); if (inside) this.back.focus(); this.back = null; }
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
    (t.closest('dialog') || document.body).append(this.root); // what is outside of an open dialog cannot be reached
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
 * Explains the terms in some elements, also those that come later.
 * @param {HTMLElement[]} roots @param {(path: string) => Promise<any>} api
 */
export async function explain(roots, api) {
  /** @type {Term[]} */
  let terms;
  try { ({ terms } = await api('/terms')); } catch { return; } // a page works without
  for (const t of terms) for (const name of [t.term, ...t.also]) known.set(name.toLowerCase(), t);
  const all = pattern(terms);
  words = { any: new RegExp(all, 'i'), label: whole(all), prose: whole(pattern(terms, (n) => !everyday.has(n.toLowerCase()))) };
  const card = new Card();
  const options = { childList: true, characterData: true, subtree: true, attributes: true, attributeFilter: ['hidden'], attributeOldValue: true };
  const seen = new MutationObserver((records) => {
    if (card.of && !card.of.isConnected) card.hide();
    for (const part of touched(records)) markPart(part, card.of);
    seen.takeRecords(); // what was marked just now
  });
  for (const root of roots) {
    for (const part of [root, ...root.querySelectorAll(parts)]) markPart(part, null);
    seen.observe(root, options);
  }
}
