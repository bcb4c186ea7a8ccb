// @ts-check
// JSON as it was sent: the text is cut into tokens and shown as a tree, and no
// number ever becomes one of JavaScript's, which hold 53 bits only.

import { el, visible } from './store.js';

/** @typedef {{t: 'open'|'close'|'key'|'string'|'atom', s: string}} Token */

const pattern = /[ \t\n\r]+|[{}[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}[\],:"]+/gy;

/**
 * @param {string} text
 * @returns {Token[]|null} null where the text is not JSON from end to end
 */
export function tokens(text) {
  /** @type {Token[]} */
  const out = [];
  /** @type {string[]} */
  const stack = [];
  let expect = 'value'; // value, key, colon, comma, end
  let first = false; // directly after an opening bracket
  pattern.lastIndex = 0;
  while (pattern.lastIndex < text.length) {
    const m = pattern.exec(text);
    if (!m) return null;
    const s = m[0];
    if (/^[ \t\n\r]/.test(s)) continue;
    const top = stack[stack.length - 1];
    const after = () => { expect = stack.length ? 'comma' : 'end'; first = false; };
    if (expect === 'end') return null;
    if (s === '{' || s === '[') {
      if (expect !== 'value') return null;
      if (stack.length >= 512) return null;
      stack.push(s); out.push({ t: 'open', s });
      expect = s === '{' ? 'key' : 'value'; first = true;
    } else if (s === '}' || s === ']') {
      if (top !== (s === '}' ? '{' : '[') || !(expect === 'comma' || first)) return null;
      stack.pop(); out.push({ t: 'close', s }); after();
    } else if (s === ',') {
      if (expect !== 'comma') return null;
      expect = top === '{' ? 'key' : 'value'; first = false;
    } else if (s === ':') {
      if (expect !== 'colon') return null;
      expect = 'value';
    } else if (s[0] === '"') {
      try { JSON.parse(s); } catch { return null; }
      if (expect === 'key') { out.push({ t: 'key', s }); expect = 'colon'; first = false; } else if (expect === 'value') { out.push({ t: 'string', s }); after(); } else return null;
    } else {
      if (expect !== 'value' || !/^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/.test(s)) return null;
      out.push({ t: 'atom', s }); after();
    }
  }
  return expect === 'end' ? out : null;
}

/** What a string literal says, for reading. @param {string} literal */
export function unquote(literal) { return /** @type {string} */ (JSON.parse(literal)); }

/**
 * The scalars at some paths of a JSON text, without making numbers of them.
 * @param {string} text @param {string[]} paths such as "commit.operation"
 * @returns {Record<string, string>} what was found; strings as they read, the rest as it is written
 */
export function pickPaths(text, paths) {
  /** @type {Record<string, string>} */
  const found = {};
  const list = tokens(text);
  if (!list) return found;
  const wanted = new Set(paths);
  /** @type {string[]} */
  const at = [];
  let key = '';
  for (const t of list) {
    if (t.t === 'key') key = unquote(t.s);
    else if (t.t === 'open') { at.push(key); key = ''; } else if (t.t === 'close') at.pop();
    else {
      const path = at.slice(1).concat(key).join('.');
      if (wanted.has(path) && !Object.hasOwn(found, path)) found[path] = t.t === 'string' ? unquote(t.s) : t.s;
    }
  }
  return found;
}

const maxNodes = 5000;

/**
 * @param {string} text
 * @returns {HTMLElement|null} null where it is no JSON, or too much of it
 */
export function tree(text) {
  const list = tokens(text);
  if (!list || list.length > maxNodes) return null;
  let i = 0;
  /** @param {HTMLElement|null} label @param {number} depth @returns {HTMLElement} */
  const node = (label, depth) => {
    const t = list[i++];
    if (t.t === 'open') {
      const children = [];
      while (list[i].t !== 'close') {
        if (t.s === '{') {
          const k = list[i++];
          children.push(node(el('span.jk', null, visible(unquote(k.s)), ': '), depth + 1));
        } else children.push(node(el('span.ji', null, children.length + ': '), depth + 1));
      }
      i++;
      const n = children.length;
      const size = t.s === '{' ? `{${n}}` : `[${n}]`;
      if (!n) return el('div.jn', null, label, t.s === '{' ? '{}' : '[]');
      return el('details.jn', { open: depth < 3 && n <= 40 }, el('summary', null, label, el('span.js', null, size)), el('div.jc', null, children));
    }
    if (t.t === 'string') return el('div.jn', null, label, el('span.jt', null, '"', visible(unquote(t.s)), '"'));
    return el('div.jn', null, label, el('span.ja', null, t.s));
  };
  const root = node(null, 0);
  root.classList.add('json');
  return root;
}

/** One line of a value for a table. @param {string} text @param {number} limit */
export function oneLine(text, limit) {
  const s = text.length > limit ? text.slice(0, limit) + '…' : text;
  return s.replace(/[\n\t]/g, ' ');
}
