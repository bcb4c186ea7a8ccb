// @ts-check
// The labs, and the reports that are kept: to read, and to hold against each other.

import { ago, el, put, stamp } from '../store.js';
import { commandBar, teach, weir } from '../ui.js';
import { verdictBadge, figure, sentence } from '../course.js';

/** A lab to choose: what it shows, and how the last run ended. @param {any} l @param {any} last its newest report, or undefined @param {boolean} running */
function card(l, last, running) {
  const href = '/labs/' + encodeURIComponent(l.name);
  return el('article.card.lab-card', null, el('h2', null, el('a', { href }, l.name), running ? el('span.chip', null, 'running') : null),
    el('p', null, sentence(l.claim)),
    last ? el('a.lab-shot', { href: '/labs/reports/' + encodeURIComponent(last.name), 'aria-label': `The last report of ${l.name}` }, el('img', { src: `/api/v1/labs/reports/${encodeURIComponent(last.name)}/plot.svg`, alt: '', loading: 'lazy' }))
      : el('a.lab-shot', { href, 'aria-label': `Open ${l.name}` }, el('img', { src: `/docs/screenshots/lab-${encodeURIComponent(l.name)}.svg`, alt: '', loading: 'lazy' })),
    el('p.actions', null, last ? verdictBadge(last.verdict) : null, last ? el('span.dim', null, ago(Date.parse(last.started), Date.now())) : el('span.dim', null, 'not run yet: an example'), el('span.spacer'), el('a.button', { href }, 'Open')));
}

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Labs',
  mount(root, _p, app) {
    const cards = el('div.cards');
    const kept = el('div');
    /** @type {string[]} */
    const chosen = [];
    const compare = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', disabled: true, onclick: () => app.navigate(`/labs/compare?a=${encodeURIComponent(chosen[0])}&b=${encodeURIComponent(chosen[1])}`) }, 'Compare two'));
    const running = el('p', { role: 'status' });
    root.append(el('h1', null, 'Labs'), el('p.dim', null, 'A lab runs the real pipeline beside this one, measures it, and says whether its claim holds. Choose one.'),
      running, cards, el('h2', null, 'Reports'), el('p.actions', null, compare, el('span.dim', null, 'choose two reports of the same lab')), kept, commandBar(weir('lab list', '')).root);
    app.api('/labs').then((a) => {
      if (!a.labs.length) { cards.replaceChildren(teach('No labs here', 'Labs run where weir keeps its own data: start it with weir up, or run weir lab on a terminal.')); return; }
      put(running, a.running ? `${a.running} is running` : '');
      cards.replaceChildren(...a.labs.map((/** @type {any} */ l) => card(l, a.reports.find((/** @type {any} */ r) => r.lab === l.name && !r.error), l.name === a.running)));
      if (!a.reports.length) { kept.replaceChildren(teach('No reports yet', 'Run a lab. Its report appears here, with a plot and a verdict.')); return; }
      kept.replaceChildren(el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'Reports' }, el('table.rows', null,
        el('thead', null, el('tr', null, ['', 'Report', 'Lab', 'Verdict', 'When'].map((h) => el('th', { scope: 'col' }, h || el('span.sr', null, 'Compare'))))),
        el('tbody', null, a.reports.map((/** @type {any} */ r) => el('tr', null,
          el('td', null, el('input', { type: 'checkbox', disabled: !!r.error, 'aria-label': 'Compare ' + r.name, onchange: (/** @type {Event} */ e) => {
            if (/** @type {HTMLInputElement} */ (e.target).checked) chosen.push(r.name); else chosen.splice(chosen.indexOf(r.name), 1);
            compare.disabled = chosen.length !== 2;
          } })),
          el('td', null, r.error ? r.name : el('a', { href: '/labs/reports/' + encodeURIComponent(r.name) }, r.name)), el('td', null, r.lab),
          el('td', null, r.error ? 'cannot be read' : verdictBadge(r.verdict)), el('td.nowrap', null, r.error ? '' : stamp(Date.parse(r.started)))))))));
    }).catch((e) => cards.replaceChildren(el('p.alert', { role: 'alert' }, e.message)));
    return {};
  },
};

/** Two reports side by side. @type {import('../app.js').Page} */
export const comparison = {
  title: () => 'Compare reports',
  mount(root, _p, app) {
    const q = new URLSearchParams(location.search);
    const a = q.get('a') || '';
    const b = q.get('b') || '';
    const body = el('div');
    root.append(el('h1', null, 'Two reports'), el('dl.narrow', null, el('dt', null, 'A'), el('dd', null, el('a', { href: '/labs/reports/' + encodeURIComponent(a) }, a)), el('dt', null, 'B'), el('dd', null, el('a', { href: '/labs/reports/' + encodeURIComponent(b) }, b))), body);
    app.api(`/labs/compare?a=${encodeURIComponent(a)}&b=${encodeURIComponent(b)}`).then((c) => {
      const alone = (/** @type {string} */ k) => [...new Set(c.differences.map((/** @type {any} */ d) => d.case))].filter((x) => c.differences.every((/** @type {any} */ d) => d.case !== x || d[k] === null));
      const [onlyB, onlyA] = [alone('a'), alone('b')];
      body.append(...(c.settings || []).map((/** @type {string} */ s) => el('p.dim', null, 'differs: ' + s)),
        ...[['A', onlyA], ['B', onlyB]].filter(([, cases]) => cases.length).map(([of, cases]) => el('p.dim', null, `only in ${of}: ${/** @type {string[]} */ (cases).join(', ')}`)),
        el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'Differences' }, el('table.rows', null,
          el('thead', null, el('tr', null, el('th', { scope: 'col' }, 'Case'), el('th', { scope: 'col' }, 'Measured'), ['A', 'B', 'B/A'].map((h) => el('th.num', { scope: 'col' }, h)))),
          el('tbody', null, el('tr', null, el('td'), el('th', { scope: 'row' }, 'verdict'), c.verdicts.map((/** @type {string} */ v) => el('td.num', null, verdictBadge(v))), el('td')),
            c.differences.filter((/** @type {any} */ d) => !onlyA.includes(d.case) && !onlyB.includes(d.case)).map((/** @type {any} */ d) => el('tr', null, el('td', null, d.case), el('th', { scope: 'row' }, d.name), [d.a, d.b].map((v) => el('td.num', null, v === null ? '–' : figure(v, d.unit))),
              el('td.num', null, d.a && d.b !== null ? (d.b / d.a).toFixed(2) : '')))))), commandBar(c.command).root);
    }).catch((e) => body.replaceChildren(el('p.alert', { role: 'alert' }, e.message)));
    return {};
  },
};
