// @ts-check
// All topics: rates and lag in the row, never stale.

import { el, put, count, rate, bytes, ago, duration } from '../store.js';
import { Table, Sparks, asOf, order, badge, teach, commandBar, weir } from '../ui.js';
import { createCard } from './topic-changes.js';

/** What keeps a topic's log from reaching further back. @param {any} t */
function limit({ limit: { by, value } }) {
  switch (by) {
    case 'nothing': return 'nothing yet';
    case 'retention.ms': return `${by}, ${duration(value / 1000)}`;
    case 'retention.bytes': return `${by}, ${bytes(value)} a partition`;
    case 'cleanup.policy': return `${by}, compact`;
    case 'log-size': return `--log-size, ${bytes(value)}`;
    case 'somebody': return 'deleted records';
  }
  return '–';
}

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Topics',
  mount(root, _p, app) {
    const sparks = new Sparks(app, (n) => `topic/${n}/rate`, 'h0');
    const q = new URLSearchParams(location.search);
    const search = /** @type {HTMLInputElement} */ (el('input', { type: 'search', placeholder: 'Filter by name ( / )', 'aria-label': 'Filter topics by name', value: q.get('q') || '' }));
    const internal = /** @type {HTMLInputElement} */ (el('input', { type: 'checkbox' }));
    internal.checked = q.has('internal');
    const shown = el('span.dim', { role: 'status' });
    /** @type {any} */
    let state = null;
    /** @type {Table<any>} */
    const table = new Table({
      label: 'topics', key: (t) => t.name, href: (t) => '/topics/' + encodeURIComponent(t.name),
      empty: () => teach('No topic', 'No topic matches, or none exists yet: weir up creates bluesky-events and wikipedia-edits, and you can create one.'),
      columns: [
        { title: 'Topic', sort: (t) => t.name, cell: (e, t) => put(e, t.name) },
        { title: 'Rate', num: true, sort: (t) => t.rate, hint: 'offsets per second, including transaction markers', cell: (e, t) => put(e, rate(t.rate)) },
        { title: 'Last 5 min', hint: 'the rate of the last five minutes', cell: (e, t) => sparks.draw(e, t.name) },
        { title: 'Messages', num: true, sort: (t) => t.messages, hint: 'retained offsets, including transaction markers', cell: (e, t) => put(e, count(t.messages)) },
        { title: 'Size', num: true, sort: (t) => t.bytes, cell: (e, t) => put(e, bytes(t.bytes)) },
        { title: 'Partitions', num: true, sort: (t) => t.partitions, cell: (e, t) => put(e, count(t.partitions)) },
        { title: 'Replicas', num: true, sort: (t) => t.replicas, cell: (e, t) => put(e, t.under_replicated ? `${t.replicas}, ${t.under_replicated} under-replicated` : t.replicas) },
        { title: 'First record', num: true, sort: (t) => t.oldest, hint: 'the age of the oldest record that is kept', cell: (e, t) => put(e, t.oldest ? ago(t.oldest, state.time) : '–') },
        { title: 'Limited by', sort: (t) => limit(t), hint: 'what keeps the log from reaching further back: settings of the topic, or weir up --log-size for all topics together', cell: (e, t) => put(e, t.oldest ? limit(t) : '–') },
        { title: 'Last record', num: true, sort: (t) => t.last, hint: 'when the last record was seen to arrive', cell: (e, t) => put(e, t.last ? ago(t.last, state.time) : '–') },
        { title: 'Groups', sort: (t) => t.groups.length, cell: (e, t) => put(e, t.groups.length ? t.groups.slice(0, 3).join(', ') + (t.groups.length > 3 ? ` and ${t.groups.length - 3} more` : '') : '–') },
        { title: 'Lag', num: true, sort: (t) => t.lag, cell: (e, t) => put(e, t.groups.length ? count(t.lag) : '–') },
        { title: 'State', cell: (e, t) => { const s = t.error || (t.under_replicated ? `${t.under_replicated} under-replicated` : ''); if (e.dataset.s !== s || !e.firstChild) { e.dataset.s = s; e.replaceChildren(t.error ? badge('bad', s) : s ? badge('warn', s) : badge('ok', 'ok')); } } },
      ],
    });
    const draw = () => {
      if (!state) return;
      sparks.update(state.time, (n) => state.topics[n]?.rate);
      const want = search.value.toLowerCase();
      const all = Object.entries(state.topics).filter(([n, t]) => n.toLowerCase().includes(want) && (internal.checked || !t.internal && !n.startsWith('__')));
      put(shown, `${count(all.length)} of ${count(Object.keys(state.topics).length)}` + asOf(state.time, state.cluster.topics_time));
      table.set(all.sort(([a], [b]) => order(a, b)).map(([name, t]) => ({ name, ...t })));
      for (const tr of table.body.children) tr.classList.toggle('lit', made.has(tr.getAttribute('data-href') || ''));
    };
    const input = () => {
      const u = new URLSearchParams();
      if (search.value) u.set('q', search.value);
      if (internal.checked) u.set('internal', '1');
      history.replaceState(null, '', '/topics' + (u.size ? '?' + u : ''));
      table.order = [];
      draw();
    };
    /** The topics that were created here: their rows light up. @type {Set<string>} */
    const made = new Set();
    const create = createCard(app, (name) => { made.add('/topics/' + encodeURIComponent(name)); draw(); });
    search.addEventListener('input', input);
    internal.addEventListener('change', input);
    root.append(el('h1', null, 'Topics'), el('div.bar-row', null, search, el('label.check', null, internal, 'internal topics'), shown, el('button.change', { type: 'button', onclick: () => create.open() }, 'Create a topic')), create.root, table.root, commandBar(weir('topics', ''), ['Metadata', 'ListOffsets']).root);
    return { update(s) { state = s; draw(); }, unmount() { table.close(); } };
  },
};
