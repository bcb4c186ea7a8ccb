// @ts-check
// The documents: a list with a search, one page, and what is on it.

import { el, put } from '../store.js';
import { nodes } from '../text.js';

/** @typedef {{path: string, title: string, part: string}} Entry */

/** Where a page of the documents is. @param {string} path */
const hrefOf = (path) => (path === 'README' ? '/docs' : '/docs/' + path);

/** The list of all pages, by part. @param {Entry[]} pages @param {string} at */
function list(pages, at) {
  const parts = [...new Set(pages.map((p) => p.part))];
  return parts.map((part) => el('section', null, part ? el('h2', { 'data-plain': true }, part) : null,
    el('ul', null, pages.filter((p) => p.part === part).map((p) => el('li', null, el('a', { href: hrefOf(p.path), 'aria-current': p.path === at ? 'page' : null }, p.title))))));
}

/** The headings of a page, to go to. @param {any[]} body */
function contents(body) {
  const heads = body.filter((n) => n.tag === 'h2' && n.id);
  if (heads.length < 2) return null;
  return el('nav.on-page', { 'aria-label': 'On this page' }, el('h2', { 'data-plain': true }, 'On this page'),
    el('ul', null, heads.map((n) => el('li', null, el('a', { href: '#' + n.id }, nodes(n.children))))));
}

/** What a search found. @param {string} q @param {any[]} hits */
function results(q, hits) {
  return [el('h1', { 'data-plain': true }, hits.length ? `Found for “${q}”` : `Nothing found for “${q}”`),
    hits.length ? el('ol.hits', null, hits.map((h) => el('li', null, el('a', { href: hrefOf(h.path) + (h.id ? '#' + h.id : '') }, h.heading || h.title), h.heading ? el('span.dim', null, ' in ' + h.title) : null, el('p', null, h.excerpt))))
      : el('p', null, 'A section must contain every word. Try fewer words, or Kafka\'s own term.')];
}

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Docs',
  mount(root, [path], app) {
    const at = (path || 'README').replace(/\.md$/, '');
    const search = /** @type {HTMLInputElement} */ (el('input', { type: 'search', placeholder: 'Search ( / )', 'aria-label': 'Search the documents', maxlength: '100', value: new URLSearchParams(location.search).get('q') || '' }));
    const index = el('details.docs-list', { open: matchMedia('(min-width: 900px)').matches }, el('summary', null, 'All documents'));
    const article = el('article.doc');
    const status = el('p.sr', { role: 'status' });
    const beside = el('div.docs-beside');
    const root2 = el('div.docs', null, el('nav.docs-nav', { 'aria-label': 'Documents' }, search, index), el('div.docs-text', null, article), beside);
    root.append(status, root2);
    const failed = (/** @type {Error} */ e) => article.replaceChildren(el('p.alert', { role: 'alert' }, e.message));
    /** @type {any} */
    let page = null;
    /** @type {Entry[]} */
    let pages = [];
    let asked = 0;

    function show() {
      if (!page) return;
      const i = pages.findIndex((p) => p.path === page.path);
      const [before, after] = [pages[i - 1], pages[i + 1]];
      article.toggleAttribute('data-plain', page.path === 'reference/glossary'); // it explains its words
      article.replaceChildren(...nodes(page.body));
      if (i >= 0) article.append(el('p.docs-turn', null, before ? el('a', { href: hrefOf(before.path) }, '← ' + before.title) : el('span'), after ? el('a', { href: hrefOf(after.path) }, after.title + ' →') : null));
      const toc = contents(page.body);
      beside.replaceChildren(...(toc ? [toc] : []));
      if (location.hash) root.querySelector('#' + CSS.escape(decodeURIComponent(location.hash.slice(1))))?.scrollIntoView();
    }
    async function find() {
      const q = search.value.trim();
      const turn = ++asked;
      app.navigate(location.pathname + (q ? '?q=' + encodeURIComponent(q) : '') + (q ? '' : location.hash), true);
      if (!q) { put(status, ''); show(); return; }
      try {
        const { hits } = await app.api('/docs/search?q=' + encodeURIComponent(q));
        if (turn !== asked) return;
        put(status, hits.length === 1 ? '1 section found' : `${hits.length} sections found`);
        article.replaceChildren(...results(q, hits));
        beside.replaceChildren();
      } catch (e) { if (turn === asked) failed(/** @type {Error} */ (e)); }
    }
    search.addEventListener('input', find);
    app.api('/docs').then((a) => { pages = a.pages; index.append(...list(pages, at)); if (!search.value) show(); }).catch(failed);
    app.api('/docs/page?path=' + encodeURIComponent(at)).then((d) => { page = d; document.title = d.title + ' · weir'; if (!search.value) show(); }).catch(failed);
    if (search.value) find();
    return {};
  },
};
