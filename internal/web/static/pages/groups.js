// @ts-check
// All consumer groups: state, lag with its trend, and when it will have caught up.

import { el, put, count, rate, duration, groupPath } from '../store.js';
import { Table, Sparks, asOf, order, badge, teach, commandBar, weir } from '../ui.js';

/** @param {any} g */
export function stateOf(g) { return g.state === 'Stable' ? 'ok' : g.state === 'Empty' ? 'off' : g.state === 'Dead' ? 'bad' : 'warn'; }

/** A group's type, with the proposal that brought it. @param {any} g */
export function typeOf(g) { return g.type === 'consumer' ? 'consumer (KIP-848)' : g.type === 'share' ? 'share (KIP-932)' : g.type === 'streams' ? 'streams (KIP-1071)' : g.type; }

/** How the lag moves. @param {any} g */
export function trendOf(g) {
  return !g.lag ? 'caught up' : (g.lag_seconds || 0) < 3 ? '► steady' : g.trend > 0.5 ? '▲ ' + rate(g.trend) : g.trend < -0.5 ? '▼ ' + rate(-g.trend) : '► steady';
}

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Groups',
  mount(root, _p, app) {
    const sparks = new Sparks(app, (n) => `group/${n}/lag`, 'h8');
    const q = new URLSearchParams(location.search);
    const search = /** @type {HTMLInputElement} */ (el('input', { type: 'search', placeholder: 'Filter by name ( / )', 'aria-label': 'Filter groups by name', value: q.get('q') || '' }));
    const shown = el('span.dim', { role: 'status' });
    /** @type {any} */
    let state = null;
    /** @type {Table<any>} */
    const table = new Table({
      label: 'groups', key: (g) => g.name, href: (g) => groupPath(g.name),
      empty: () => teach('No group', 'Groups appear here when a consumer joins one: weir consume bluesky, or any Kafka client.'),
      columns: [
        { title: 'Group', sort: (g) => g.name, cell: (e, g) => put(e, g.name) },
        { title: 'State', term: 'State of a group', sort: (g) => g.state, cell: (e, g) => { if (e.dataset.s !== g.state + g.error) { e.dataset.s = g.state + g.error; e.replaceChildren(g.error ? badge('bad', g.error) : badge(/** @type {any} */ (stateOf(g)), g.state)); } } },
        { title: 'Type', term: 'Protocol', sort: (g) => g.type, hint: 'the protocol that assigns the partitions', cell: (e, g) => put(e, typeOf(g)) },
        { title: 'Members', num: true, sort: (g) => g.members, cell: (e, g) => put(e, g.members) },
        { title: 'Consumed', num: true, sort: (g) => g.rate, cell: (e, g) => put(e, rate(g.rate)) },
        { title: 'Lag', num: true, sort: (g) => g.lag, cell: (e, g) => put(e, count(g.lag)) },
        { title: 'Last 5 min', hint: 'the lag of the last five minutes', cell: (e, g) => sparks.draw(e, g.name) },
        { title: 'Lag in time', num: true, sort: (g) => g.lag_seconds || 0, cell: (e, g) => put(e, duration(g.lag_seconds)) },
        { title: 'Trend', num: true, hint: 'how fast the lag grows or shrinks', cell: (e, g) => put(e, trendOf(g)) },
        { title: 'Caught up in', num: true, cell: (e, g) => put(e, !g.lag ? 'now' : (g.lag_seconds || 0) < 3 ? 'keeps up' : g.eta_seconds === null || g.eta_seconds === undefined ? 'not at this pace' : duration(g.eta_seconds)) },
        { title: 'Topics', cell: (e, g) => put(e, (g.topics || []).join(', ') || '–') },
      ],
    });
    const draw = () => {
      if (!state) return;
      sparks.update(state.time, (n) => state.groups[n]?.lag);
      const all = Object.entries(state.groups).filter(([n]) => n.toLowerCase().includes(search.value.toLowerCase())).sort(([a], [b]) => order(a, b)).map(([name, g]) => ({ name, ...g }));
      put(shown, `${count(all.length)} of ${count(Object.keys(state.groups).length)}` + asOf(state.time, state.cluster.groups_time));
      table.set(all);
    };
    search.addEventListener('input', () => { history.replaceState(null, '', '/groups' + (search.value ? '?q=' + encodeURIComponent(search.value) : '')); table.order = []; draw(); });
    root.append(el('h1', null, 'Consumer groups'), el('div.bar-row', null, search, shown), table.root, commandBar(weir('groups', ''), ['ListGroups', 'DescribeGroups', 'OffsetFetch', 'ListOffsets']).root);
    return { update(s) { state = s; draw(); }, unmount() { table.close(); } };
  },
};
