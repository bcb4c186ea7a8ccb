// @ts-check
// One group: members, lanes coloured by who reads them, positions, and what can be done to it.

import { el, put, attr, count, many, rate, duration, keyed, hue, visible, groupPath } from '../store.js';
import { Chart } from '../chart.js';
import { Lanes, flagsOf } from '../lanes.js';
import { commandBar, badge, Table, weir } from '../ui.js';
import { stateOf, trendOf, typeOf } from './groups.js';
import { ownMembers, resetCard, replayCard, deleteCard, topicsOf } from './group-changes.js';

const explain = /** @type {Record<string, string>} */ ({
  classic: 'One of the members assigns the partitions to all of them. Each partition has one reader.',
  consumer: 'The coordinator assigns the partitions. Each partition has one reader.',
  streams: 'A Kafka Streams application. The coordinator assigns its tasks, and each task reads its partitions.',
  share: 'Members read the same partitions together and acknowledge single records. The start offset is that of the first record that is not finished.',
});

/** The hue of a member, by its place in the list. @param {number} i from 1 */
const memberHue = (i) => hue([0, 8, 4, 2, 7, 1, 9, 5, 3, 6, 10, 11][(i + 11) % 12]);

/** The group that is asked for: the query has the names that a path cannot carry. @param {string} inPath */
const asked = (inPath) => new URLSearchParams(location.search).get('group') ?? inPath;

/** @type {import('../app.js').Page} */
export default {
  title: (p) => asked(p[0]),
  mount(root, [inPath], app) {
    const name = asked(inPath);
    const path = groupPath(name);
    const facts = el('p.facts');
    const numbers = el('span');
    const kind = el('p.dim');
    const problem = el('div');
    const members = el('tbody');
    const pictures = el('div');
    /** @type {Map<string, Lanes>} */
    const lanes = new Map();
    const command = commandBar(weir('groups describe', name), []);
    const chart = new Chart({ title: 'Lag', format: (n) => count(n), series: [{ name: `group/${name}/lag`, label: 'messages behind', hue: 'h8' }] });
    const pace = new Chart({ title: 'Consumed', format: (n) => rate(n), series: [{ name: `group/${name}/rate`, label: 'offsets per second', hue: 'h4' }] });
    /** @type {Table<any>} */
    const parts = new Table({ label: 'committed offsets', key: (p) => p.topic + '/' + p.partition, columns: [
      { title: 'Topic', cell: (e, p) => put(e, p.topic) }, { title: 'Partition', num: true, cell: (e, p) => put(e, p.partition) },
      { title: 'Committed offset', num: true, cell: (e, p) => put(e, p.committed < 0 ? 'none' : count(p.committed)) }, { title: 'End', num: true, cell: (e, p) => put(e, count(p.end)) },
      { title: 'Lag', num: true, cell: (e, p) => put(e, count(p.lag)) }, { title: 'Lag in time', num: true, cell: (e, p) => put(e, p.lag_ns < 0 ? '?' : duration(p.lag_ns / 1e9)) },
      { title: 'Member', cell: (e, p) => put(e, p.member || p.error || '–') },
    ] });
    const own = ownMembers(name, app, () => load());
    const reset = resetCard(name, app, () => load());
    const replay = replayCard(name, app);
    const remove = deleteCard(name, app, () => load());
    root.append(el('h1', { 'data-plain': true }, visible(name)), facts, kind, problem, el('div.two', null, el('section.card', null, chart.root), el('section.card', null, pace.root)), pictures,
      el('section.card', null, el('h2', null, 'Members'), el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'members' }, el('table.rows', null, el('thead', null, el('tr', null, ['Member', 'Client', 'Host', 'Partitions'].map((t) => el('th', { scope: 'col' }, t)))), members)), own.root),
      el('section.card', null, el('h2', null, 'Committed offsets'), parts.root), reset.root, replay.root, remove.root, command.root);

    const ends = /** @type {Map<string, [number, number]>} */ (new Map());
    let loading = false;
    const load = async () => {
      if (loading) return;
      loading = true;
      try {
        const d = await app.api(path);
        put(kind, explain[d.type] || '');
        const list = (d.members || []).map((/** @type {any} */ m, /** @type {number} */ i) => ({ ...m, hue: memberHue(i + 1), here: (d.own?.ids || []).includes(m.id) }));
        keyed(members, list, (m) => m.id, (m) => el('tr', null, el('td.clip', { title: m.id }, el('i'), visible(m.instance_id || m.id)), el('td', null, visible(m.client_id)), el('td', null, m.host), el('td')),
          (tr, m) => {
            const text = Object.entries(m.assigned || {}).filter(([, p]) => p.length).map(([t, p]) => `${t}: ${p.join(', ')}`).join('; ');
            attr(/** @type {Element} */ (tr.children[0].firstElementChild), 'class', text ? m.hue : 'idle');
            attr(tr, 'class', text ? null : 'idle');
            put(tr.children[2], m.host + (m.here ? ', this weir' : ''));
            put(tr.children[3], text || 'none: it is idle');
          });
        parts.set(d.partitions || []);
        command.set(d.command, d.requests, d.others);
        reset.root.hidden = d.type === 'share';
        reset.set(topicsOf(d));
        remove.set(d);
        replay.root.hidden = !d.own;
        own.set(d.own);
        others(d);
        problem.replaceChildren(...(d.error ? [el('p.alert', { role: 'alert' }, d.error)] : []));
      } catch (e) { problem.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
      loading = false;
    };
    /** @param {string} topic */
    const lanesOf = (topic) => {
      let l = lanes.get(topic);
      if (!l) { l = new Lanes({ topic }); l.window = 50; lanes.set(topic, l); pictures.appendChild(el('section.card', null, el('h2', null, visible(topic)), l.root)); }
      return l;
    };
    /** Lanes of topics that are none of weir's streams: as often as the group is asked. @param {any} d */
    const others = (d) => {
      const streams = new Set(Object.values(app.state?.streams || {}).map((/** @type {any} */ s) => s.topic));
      const now = Date.now();
      const topics = [...new Set((d.partitions || []).map((/** @type {any} */ p) => p.topic))].filter((t) => !streams.has(t)).slice(0, 4);
      for (const topic of topics) {
        /** @type {import('../lanes.js').Flagged} */
        const flag = { name, hue: hue(2), positions: {}, members: {}, hues: {} };
        const list = d.partitions.filter((/** @type {any} */ p) => p.topic === topic && p.end >= 0).slice(0, 32).map((/** @type {any} */ p) => {
          const k = topic + '/' + p.partition;
          const was = ends.get(k);
          ends.set(k, [now, p.end]);
          const i = (d.members || []).findIndex((/** @type {any} */ m) => m.id === p.member);
          if (p.committed >= 0) flag.positions[p.partition] = p.committed;
          if (i >= 0) { flag.members[p.partition] = `${i + 1} ${d.members[i].client_id}`; /** @type {any} */ (flag.hues)[p.partition] = memberHue(i + 1); }
          return { partition: p.partition, leader: null, start: p.low, end: p.end, rate: was && now > was[0] ? (p.end - was[1]) * 1000 / (now - was[0]) : 0 };
        });
        lanesOf(topic).update(list, [flag]);
      }
    };
    load();
    const timer = setInterval(() => { if (!document.hidden && !app.paused) load(); }, 3000);
    app.api(`/history?series=${encodeURIComponent(`group/${name}/lag`)}&series=${encodeURIComponent(`group/${name}/rate`)}`).then((h) => {
      const marks = app.log.filter((e) => e.kind !== 'info' && (!e.group || e.group === name));
      chart.set({ ...h, series: { [`group/${name}/lag`]: h.series[`group/${name}/lag`] || [] } }, marks);
      pace.set({ ...h, series: { [`group/${name}/rate`]: h.series[`group/${name}/rate`] || [] } }, marks);
    }).catch(() => {});
    let members0 = -1;
    return {
      update(state) {
        const g = state.groups[name];
        if (!g) { facts.dataset.state = ''; put(facts, 'This group does not exist any more.'); return; }
        reset.allow(g);
        if (members0 >= 0 && members0 !== g.members) load(); // who has what is told at once
        members0 = g.members;
        if (facts.dataset.state !== g.state) { facts.dataset.state = g.state; facts.replaceChildren(badge(/** @type {any} */ (stateOf(g)), g.state), ' ', numbers); }
        put(numbers, `${typeOf(g)} · ${g.protocol || 'no protocol'} · ${many(g.members, 'member')} · ${g.lag ? `lag ${count(g.lag)}, ${duration(g.lag_seconds)}, ${trendOf(g)}` : 'no lag'}` + (g.lag && g.eta_seconds ? ` · caught up in ${duration(g.eta_seconds)}` : ''));
        chart.push(state.time, { [`group/${name}/lag`]: g.lag < 0 ? null : g.lag });
        pace.push(state.time, { [`group/${name}/rate`]: g.rate });
        for (const s of Object.values(state.streams)) {
          if (!g.positions || !g.positions[s.topic]) continue;
          lanesOf(s.topic).update(s.lanes, flagsOf(state, s.topic).filter((x) => x.name === name).map((x) => ({ ...x, hues: huesOf(x.members) })));
        }
      },
      unmount() { clearInterval(timer); chart.close(); pace.close(); parts.close(); replay.close(); },
    };
  },
};

/** @param {Record<string, string>} members labels by partition: number and client @returns {Record<string, string>} */
function huesOf(members) {
  return Object.fromEntries(Object.entries(members).map(([p, label]) => [p, memberHue(Number.parseInt(label, 10) || 0)]));
}
