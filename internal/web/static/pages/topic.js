// @ts-check
// One topic: its lanes, consumers, partitions and configuration.

import { el, put, count, many, rate, bytes, stamp, keyed, groupPath } from '../store.js';
import { activitySection } from '../activity.js';
import { Chart } from '../chart.js';
import { Lanes, flagsOf } from '../lanes.js';
import { Table, badge, commandBar, teach, weir } from '../ui.js';
import { settingsCard } from '../settings.js';
import { topicChanges } from './topic-changes.js';

/** @type {import('../app.js').Page} */
export default {
  title: (p) => p[0],
  mount(root, [name], app) {
    const path = '/topics/' + encodeURIComponent(name);
    const facts = el('p.facts');
    const lanes = new Lanes({ topic: name });
    const chart = new Chart({ title: 'Offsets per second', format: (n) => rate(n), series: [{ name: `topic/${name}/rate`, label: 'written', hue: 'h1' }] });
    const command = commandBar(weir('topics', name), []);
    const activity = activitySection(app, name);
    const groups = el('tbody');
    const problem = el('div');
    const lacking = el('p', { role: 'status', hidden: true });
    /** @type {Table<any>} */
    const parts = new Table({ label: 'partitions', key: (p) => String(p.partition), columns: [
      { title: 'Partition', num: true, cell: (e, p) => put(e, p.partition) },
      { title: 'Leader', num: true, cell: (e, p) => put(e, p.leader < 0 ? 'none' : p.leader) },
      { title: 'Replicas', cell: (e, p) => put(e, p.replicas.join(', ')) },
      { title: 'In sync (ISR)', cell: (e, p) => put(e, p.isr.join(', ')) },
      { title: 'Low', num: true, hint: 'the first offset retained', cell: (e, p) => put(e, count(p.low)) },
      { title: 'Last stable', num: true, hint: 'below it no transaction is open', cell: (e, p) => put(e, count(p.stable)) },
      { title: 'High watermark', num: true, cell: (e, p) => put(e, count(Math.max(p.high, p.stable))) },
    ] });
    const settings = settingsCard(path, app, () => load());
    const changes = topicChanges(name, app, () => load());
    root.append(
      el('h1', { 'data-plain': true }, name), facts, lacking, problem,
      el('p.actions', null, el('a.button', { href: path + '/messages' }, 'Messages'), el('a.button', { href: path + '/messages?live=1' }, 'Live tail'), el('a.button.change', { href: '/produce?topic=' + encodeURIComponent(name) }, 'Produce')),
      el('section.card', null, el('h2', null, 'Partitions'), lanes.root, el('p.dim', null, 'A flag is a group\'s committed offset, and the distance to the right end is its lag. The bar is what the log retains.')),
      el('section.card', null, chart.root),
      el('section.card', null, el('h2', null, 'Consumers'), el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'consumers' }, el('table.rows', null, el('thead', null, el('tr', null, ['Group', 'State', 'Members', 'Lag'].map((t, i) => el(i > 1 ? 'th.num' : 'th', { scope: 'col' }, t)))), groups))),
      el('section.card', null, el('h2', null, 'Replicas and offsets'), parts.root),
      activity.root,
      settings.root, changes.root,
      command.root);
    const load = async () => {
      try {
        const d = await app.api(path + '?groups=none');
        parts.set(d.partition_list || []);
        settings.set(d.config || []);
        changes.set(d.partitions, d.protected || '');
        command.set(d.command, d.requests, d.others);
        problem.replaceChildren(...(d.warnings || []).map((/** @type {string} */ w) => el('p.alert', null, w)));
        last = d.last_record;
        lacking.replaceChildren(...(d.offline ? [badge('bad', many(d.offline, 'partition') + ' without a leader')] : []), ...(d.under_replicated ? [badge('warn', many(d.under_replicated, 'partition') + ' under-replicated')] : []));
        lacking.hidden = !lacking.firstChild;
      } catch (e) { problem.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
    };
    /** @type {string|undefined} */
    let last;
    load();
    let looks = 0;
    const timer = setInterval(() => {
      if (document.hidden || app.paused) return;
      load();
      if (++looks % 6 === 0) activity.refresh();
    }, 5000);
    app.api('/history?series=' + encodeURIComponent(`topic/${name}/rate`)).then((h) => chart.set(h, app.log.filter((e) => e.kind !== 'info'))).catch(() => {});
    return {
      update(state) {
        const t = state.topics[name];
        if (!t) { put(facts, 'This topic does not exist any more.'); return; }
        put(facts, `${count(t.messages)} messages retained · ${rate(t.rate)} · ${bytes(t.bytes)} · ${many(t.partitions, 'partition')} · ${many(t.replicas, 'replica')}` + (last ? ` · last record ${stamp(new Date(last).getTime())}` : '') + (state.note ? ` · ${state.note}` : ''));
        chart.push(state.time, { [`topic/${name}/rate`]: t.rate });
        const flags = flagsOf(state, name);
        const s = Object.values(state.streams).find((x) => x.topic === name);
        if (s) lanes.update(s.lanes, flags);
        else if (parts.items.length) lanes.update(parts.items.map((p) => ({ partition: p.partition, leader: p.leader, start: p.low, end: p.high, rate: t.rate / parts.items.length })), flags);
        keyed(groups, t.groups, (g) => g, (g) => el('tr', null, el('td', null, el('a', { href: groupPath(g) }, g)), el('td'), el('td.num'), el('td.num')), (tr, g) => {
          const x = state.groups[g];
          const st = x ? x.state : '?';
          if (tr.dataset.s !== st) { tr.dataset.s = st; tr.children[1].replaceChildren(badge(st === 'Stable' ? 'ok' : st === 'Empty' ? 'off' : 'warn', st)); }
          put(tr.children[2], x ? x.members : '?');
          put(tr.children[3], x ? count(x.lag) : '?');
        });
        if (!t.groups.length && !groups.firstChild) groups.appendChild(el('tr.prose', null, el('td', { colspan: 4 }, teach('No group reads this topic', 'Consumer groups that read it appear here, and their flags above.'))));
      },
      unmount() { clearInterval(timer); chart.close(); parts.close(); },
    };
  },
};
