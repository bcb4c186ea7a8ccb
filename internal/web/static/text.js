// @ts-check
// Documents, stations and instructions: the server's nodes as elements.

import { el } from './store.js';
import { copyOf } from './ui.js';

/** @typedef {{tag?: string, text?: string, href?: string, src?: string, alt?: string, id?: string, lang?: string, children?: TextNode[]}} TextNode */

const known = new Set(['p', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'ul', 'ol', 'li', 'pre', 'code', 'em', 'strong', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'blockquote', 'hr', 'br']);

/**
 * Makes elements of a document's nodes. Links and pictures go through place, which knows where
 * the document's relative addresses lead.
 * @param {TextNode[]|null|undefined} list
 * @param {(address: string) => string} [place]
 * @returns {Array<Node|string>}
 */
export function nodes(list, place = (a) => a) {
  return (list || []).map((n) => {
    const tag = n.tag || '';
    if (!tag) return n.text || '';
    if (tag === 'a') return link(place(n.href || ''), nodes(n.children, place));
    if (tag === 'img') return el('img', { src: place(n.src || ''), alt: n.alt || '', loading: 'lazy' });
    if (tag === 'pre') return block((n.text || '').replace(/\n$/, ''), n.lang);
    if (tag === 'table') return el('div.scroll', { tabindex: '0' }, el('table', null, nodes(n.children, place)));
    if (!known.has(tag)) return el('span', null, n.text, nodes(n.children, place));
    return el(tag, { id: n.id || null }, n.text, nodes(n.children, place));
  });
}

/** What to copy of a block: the commands after "$ " and the lines that continue them, else everything. @param {string} text @returns {string} */
export function commandsOf(text) {
  const commands = text.split('\n').filter((line) => /^[$>] /.test(line)).map((line) => line.slice(2));
  return text.startsWith('$ ') ? commands.join('\n') : text;
}

/** Text as it is, to copy. @param {string} text @param {string} [lang] */
function block(text, lang) {
  const pre = el('pre', { tabindex: '0', 'data-lang': lang || null }, text);
  if (text.startsWith('^C')) return pre; // a key, not a command
  return el('div.block', null, pre, copyOf(() => commandsOf(text), text.startsWith('$ ') ? 'Copy the commands' : 'Copy the text'));
}

/** A link: only to pages of this server and to the web. @param {string} href @param {any[]} children */
function link(href, children) {
  let to;
  try { to = new URL(href, location.href); } catch { return el('span', null, children); }
  if (to.protocol !== 'https:' && to.protocol !== 'http:') return el('span', null, children);
  const outside = to.origin !== location.origin;
  return el('a', { href, target: outside ? '_blank' : null, rel: outside ? 'noreferrer' : null }, children);
}
