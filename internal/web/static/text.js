// @ts-check
// Documents, stations and instructions: the server's nodes as elements.

import { el } from './store.js';

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
    if (tag === 'pre') return el('pre', { tabindex: '0', 'data-lang': n.lang || null }, (n.text || '').replace(/\n$/, ''));
    if (tag === 'table') return el('div.scroll', { tabindex: '0' }, el('table', null, nodes(n.children, place)));
    if (!known.has(tag)) return el('span', null, n.text, nodes(n.children, place));
    return el(tag, { id: n.id || null }, n.text, nodes(n.children, place));
  });
}

/** A link: only to pages of this server and to the web. @param {string} href @param {any[]} children */
function link(href, children) {
  let to;
  try { to = new URL(href, location.href); } catch { return el('span', null, children); }
  if (to.protocol !== 'https:' && to.protocol !== 'http:') return el('span', null, children);
  const outside = to.origin !== location.origin;
  return el('a', { href, target: outside ? '_blank' : null, rel: outside ? 'noreferrer' : null }, children);
}
