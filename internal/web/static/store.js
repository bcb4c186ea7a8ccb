// @ts-check
// What pages are made of: elements without HTML strings, redrawing what changed,
// and the merge patches that keep the live state current.

/**
 * Makes an element. Strings become text nodes, never HTML, and characters in them
 * that hide or turn text around are seen.
 * @param {string} tag element name, with classes after dots: "td.num"
 * @param {Record<string, any>|null} [props] attributes; on… are listeners; null and false leave one out
 * @param {...(Node|string|number|null|undefined|false|Array<any>)} children
 * @returns {HTMLElement}
 */
export function el(tag, props, ...children) {
  const [name, ...classes] = tag.split('.');
  const e = document.createElement(name);
  if (classes.length) e.className = classes.join(' ');
  for (const [k, v] of Object.entries(props || {})) {
    if (v === null || v === undefined || v === false) continue;
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k === 'value') /** @type {any} */ (e).value = v;
    else e.setAttribute(k, v === true ? '' : String(v));
  }
  append(e, children);
  return e;
}

/** @param {Node} e @param {any[]} children */
function append(e, children) {
  for (const c of children) {
    if (c === null || c === undefined || c === false) continue;
    if (Array.isArray(c)) append(e, c);
    else if (c instanceof Node) e.appendChild(c);
    else if (hides.test(String(c))) append(e, visible(String(c)));
    else e.appendChild(document.createTextNode(String(c)));
  }
}

/** Sets an element's text where it differs: an unchanged cell costs no layout. @param {Node} e @param {any} text */
export function put(e, text) {
  const s = String(text);
  if (e instanceof Element && hides.test(s)) e.replaceChildren(...visible(s));
  else if (e.textContent !== s && !around(e, s)) e.textContent = s;
}

/** Changes the texts around the explained terms of an element, so that one with the focus stays. @param {Node} e @param {string} s */
function around(e, s) {
  const list = [...e.childNodes];
  if (list.length < 3 || list.some((n, i) => (i % 2 ? !(n instanceof Element && n.matches('.term')) : !(n instanceof Text)))) return false;
  const texts = [];
  for (let i = 1; i < list.length; i += 2) {
    const term = list[i].textContent || '';
    const at = s.indexOf(term);
    if (at < 0) return false;
    texts.push(s.slice(0, at));
    s = s.slice(at + term.length);
  }
  [...texts, s].forEach((t, i) => { const n = /** @type {Text} */ (list[2 * i]); if (n.data !== t) n.data = t; });
  return true;
}

/** Sets or removes an attribute where it differs. @param {Element} e @param {string} name @param {string|null} value */
export function attr(e, name, value) {
  if (value === null) { if (e.hasAttribute(name)) e.removeAttribute(name); } else if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

/**
 * Keeps the children of parent in step with a list: makes, updates, moves and
 * removes by key, so that what a reader points at or has focused stays.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} make
 * @param {(e: HTMLElement, item: T) => void} update
 */
export function keyed(parent, items, key, make, update) {
  /** @type {Map<string, HTMLElement>} */
  const have = /** @type {any} */ (parent).keyed || (/** @type {any} */ (parent).keyed = new Map());
  const wanted = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    wanted.add(k);
    let e = have.get(k);
    if (!e) { e = make(item); have.set(k, e); }
    update(e, item);
    if (e === at) at = at.nextElementSibling;
    else parent.insertBefore(e, at);
  }
  for (const [k, e] of have) if (!wanted.has(k)) { e.remove(); have.delete(k); }
}

/** Applies an RFC 7396 merge patch in place and returns the result. @param {any} target @param {any} patch @returns {any} */
export function mergePatch(target, patch) {
  if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
  if (target === null || typeof target !== 'object' || Array.isArray(target)) target = {};
  for (const [k, v] of Object.entries(patch)) {
    if (v === null) delete target[k];
    else Object.defineProperty(target, k, { value: mergePatch(Object.hasOwn(target, k) ? target[k] : undefined, v), writable: true, enumerable: true, configurable: true });
  }
  return target;
}

// --- Numbers and times as they are shown: fixed width, the same everywhere.

/** @param {number|null|undefined} n */
export function count(n) { return n === null || n === undefined || n < 0 ? '?' : Math.round(n).toLocaleString('en-US'); }

/** A number with its noun. @param {number|null|undefined} n @param {string} noun */
export function many(n, noun) { return count(n) + ' ' + noun + (n === 1 ? '' : 's'); }

/** @param {number|null|undefined} n */
export function rate(n) {
  if (n === null || n === undefined) return '?';
  return (n >= 100 || n === 0 ? Math.round(n).toLocaleString('en-US') : n.toFixed(1)) + '/s';
}

/** @param {number|null|undefined} n */
export function bytes(n) {
  if (n === null || n === undefined || n < 0) return '?';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let u = 0;
  while (n >= 1000 && u < units.length - 1) { n /= 1000; u++; }
  return (u === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + ' ' + units[u];
}

/** @param {number|null|undefined} s seconds */
export function duration(s) {
  if (s === null || s === undefined) return '?';
  if (s < 0.0005) return '0 s';
  if (s < 1) return Math.round(s * 1000) + ' ms';
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 120) return Math.round(s) + ' s';
  if (s < 7200) return Math.round(s / 60) + ' min';
  if (s < 172800) return Math.round(s / 3600) + ' h';
  return Math.round(s / 86400) + ' d';
}

/** @param {number} ms Unix milliseconds */
export function clock(ms) { return ms ? new Date(ms).toTimeString().slice(0, 8) : '–'; }

/** @param {number} ms Unix milliseconds */
export function stamp(ms) {
  const d = new Date(ms);
  if (Number.isNaN(d.getTime())) return String(ms);
  return new Date(ms - d.getTimezoneOffset() * 60000).toISOString().replace('T', ' ').replace('Z', '');
}

/** How long ago, for a time that is at most now. @param {number} ms @param {number} now */
export function ago(ms, now) { return !ms ? 'never' : now - ms < 2000 ? 'just now' : duration((now - ms) / 1000) + ' ago'; }

/** A hue per partition, broker or group, the same on every page. @param {number} i */
export function hue(i) { return 'h' + (((i % 12) + 12) % 12); }

/**
 * Where a group is, as a page and in the API. Browsers resolve . and .. in a path,
 * however they are written, so these names go into the query.
 * @param {string} name @param {string} [rest] what follows in the path
 */
export function groupPath(name, rest = '') {
  return /^\.{0,2}$/.test(name) ? `/groups/_${rest}?group=${name}` : '/groups/' + encodeURIComponent(name) + rest;
}

// Control, format and private characters, but those that emoji, scripts and lines are made with.
const hides = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}\u2028\u2029]/u;
const invisible = new RegExp(hides, 'gu');

/**
 * Shows characters that hide or turn text around as what they are. ZWJ and ZWNJ
 * stay: emoji and several scripts are made with them.
 * @param {string} s @returns {Array<HTMLElement|string>}
 */
export function visible(s) {
  /** @type {Array<HTMLElement|string>} */
  const out = [];
  let from = 0;
  for (const m of s.matchAll(invisible)) {
    const at = /** @type {number} */ (m.index);
    if (at > from) out.push(s.slice(from, at));
    const code = m[0].codePointAt(0) || 0;
    out.push(el('span.ctl', { title: 'a character that is not seen' }, 'U+' + code.toString(16).toUpperCase().padStart(4, '0')));
    from = at + m[0].length;
  }
  if (from < s.length) out.push(s.slice(from));
  return out;
}
