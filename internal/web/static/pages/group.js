// @ts-check
// One group: members, lanes, positions, and a reset that shows what it would do first.

import { el, put, count, many, rate, duration, keyed } from '../store.js';
import { Chart } from '../chart.js';
import { Lanes, flagsOf } from '../lanes.js';
import { commandBar, confirmTyped, toast, badge, Table } from '../ui.js';
import { stateOf } from './groups.js';

/** @type {import('../app.js').Page} */
export default {
  title: (p) => p[0],
  mount(root, [name], app) {
    const path = '/groups/' + encodeURIComponent(name);
    const facts = el('p.facts');
    const problem = el('div');
    const members = el('tbody');
    const pictures = el('div');
    /** @type {Map<string, Lanes>} */
    const lanes = new Map();
    const command = commandBar('weir groups describe ' + name, []);
    const chart = new Chart({ title: 'Lag', format: (n) => count(n), series: [{ name: `group/${name}/lag`, label: 'messages behind', hue: 'h8' }] });
    const pace = new Chart({ title: 'Consumed', format: (n) => rate(n), series: [{ name: `group/${name}/rate`, label: 'offsets per second', hue: 'h4' }] });
    /** @type {Table<any>} */
    const parts = new Table({ label: 'positions', key: (p) => p.topic + '/' + p.partition, columns: [
      { title: 'Topic', cell: (e, p) => put(e, p.topic) }, { title: 'Partition', num: true, cell: (e, p) => put(e, p.partition) },
      { title: 'Position', num: true, cell: (e, p) => put(e, p.committed < 0 ? 'none' : count(p.committed)) }, { title: 'End', num: true, cell: (e, p) => put(e, count(p.end)) },
      { title: 'Lag', num: true, cell: (e, p) => put(e, count(p.lag)) }, { title: 'Member', cell: (e, p) => put(e, p.member || '–') },
    ] });
    const to = /** @type {HTMLInputElement} */ (el('input', { list: 'targets', value: 'earliest', 'aria-label': 'where to', size: 22, autocomplete: 'off' }));
    const plan = el('div');
    /** @type {HTMLButtonElement|null} */
    let go = null;
    /** @type {HTMLElement|null} */
    let why = null;
    const allow = (/** @type {any} */ g) => {
      if (!go || !why) return;
      go.disabled = !!g && g.members > 0;
      put(why, go.disabled ? `not while it has ${many(g.members, 'member')}: stop them first, or their commits would undo it` : '');
    };
    const preview = async () => {
      try {
        const a = await app.api(path + '/reset', { to: to.value.trim(), confirm: '' });
        const changes = a.plan.changes || [];
        plan.replaceChildren(
          commandBar(a.command, a.requests).root,
          el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'plan of the reset' }, el('table.rows', null, el('thead', null, el('tr', null, ['Topic', 'Partition', 'From', 'To', 'Moves by', 'Counts dropped'].map((t, i) => el(i ? 'th.num' : 'th', { scope: 'col' }, t)))),
            el('tbody', null, changes.map((/** @type {any} */ c) => el('tr', null, el('td', null, c.topic), el('td.num', null, c.partition), el('td.num', null, c.from < 0 ? 'none' : count(c.from)), el('td.num', null, count(c.to)), el('td.num', null, c.delta), el('td.num', null, c.tally ? count(c.tally.dropped) : '–')))))),
          el('p.actions', null, go = /** @type {HTMLButtonElement} */ (el('button.danger', { type: 'button', onclick: apply }, `Reset ${changes.length} partitions…`)), why = el('span.dim')));
        allow(app.state?.groups[name]);
      } catch (e) { plan.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
    };
    const apply = async () => {
      if (!await confirmTyped({ title: 'Reset ' + name + '?', body: el('p', null, `The group moves to ${to.value}. What it has counted from there on is counted anew.`), type: name, action: 'Reset' })) return;
      try {
        await app.api(path + '/reset', { to: to.value.trim(), confirm: name });
        toast(name + ' was reset');
        plan.replaceChildren();
        load();
      } catch (e) { toast(/** @type {Error} */ (e).message, true); }
    };
    root.append(el('h1', null, name), facts, problem, el('div.two', null, el('section.card', null, chart.root), el('section.card', null, pace.root)), pictures,
      el('section.card', null, el('h2', null, 'Members'), el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'members' }, el('table.rows', null, el('thead', null, el('tr', null, ['Member', 'Client', 'Host', 'Partitions'].map((t) => el('th', { scope: 'col' }, t)))), members))),
      el('section.card', null, el('h2', null, 'Positions'), parts.root),
      el('section.card', null, el('h2', null, 'Reset'), el('p.dim', null, 'Only while the group has no members. A preview comes first; nothing changes before its name is typed.'),
        el('div.bar-row', null, el('label', null, 'Move to ', to), el('datalist', { id: 'targets' }, ['earliest', 'latest', '-1000'].map((v) => el('option', { value: v }))), el('button', { type: 'button', onclick: preview }, 'Preview')), plan),
      command.root);
    const load = async () => {
      try {
        const d = await app.api(path);
        keyed(members, d.members || [], (m) => m.id, (m) => el('tr', null, el('td.clip', null, m.id), el('td', null, m.client_id), el('td', null, m.host), el('td')),
          (tr, m) => put(tr.children[3], Object.entries(m.assigned || {}).map(([t, p]) => `${t}: ${p.join(', ')}`).join('; ') || 'none: it stands by'));
        parts.set(d.partitions || []);
        command.set(d.command, d.requests);
        problem.replaceChildren();
      } catch (e) { problem.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (e).message)); }
    };
    load();
    const timer = setInterval(() => { if (!document.hidden && !app.paused) load(); }, 3000);
    app.api(`/history?series=${encodeURIComponent(`group/${name}/lag`)}&series=${encodeURIComponent(`group/${name}/rate`)}`).then((h) => {
      const marks = app.log.filter((e) => e.kind !== 'info' && (!e.group || e.group === name));
      chart.set({ ...h, series: { [`group/${name}/lag`]: h.series[`group/${name}/lag`] || [] } }, marks);
      pace.set({ ...h, series: { [`group/${name}/rate`]: h.series[`group/${name}/rate`] || [] } }, marks);
    }).catch(() => {});
    return {
      update(state) {
        const g = state.groups[name];
        if (!g) { put(facts, 'There is no such group now.'); return; }
        allow(g);
        const sig = JSON.stringify([g.state, g.members, g.lag, g.lag_seconds, g.eta_seconds]);
        if (facts.dataset.sig !== sig) {
          facts.dataset.sig = sig;
          facts.replaceChildren(badge(/** @type {any} */ (stateOf(g)), g.state), ` ${g.type} · ${g.protocol || 'no protocol'} · ${many(g.members, 'member')} · ${g.lag ? `lag ${count(g.lag)}, ${duration(g.lag_seconds)}` : 'no lag'}` + (g.lag && g.eta_seconds ? ` · caught up in ${duration(g.eta_seconds)}` : ''));
        }
        chart.push(state.time, { [`group/${name}/lag`]: g.lag < 0 ? null : g.lag });
        pace.push(state.time, { [`group/${name}/rate`]: g.rate });
        for (const s of Object.values(state.streams)) {
          if (!g.positions || !g.positions[s.topic]) continue;
          let l = lanes.get(s.topic);
          if (!l) { l = new Lanes({ topic: s.topic }); lanes.set(s.topic, l); pictures.appendChild(el('section.card', null, el('h2', null, s.topic), l.root)); }
          l.update(s.lanes, flagsOf(state, s.topic).filter((x) => x.name === name));
        }
      },
      unmount() { clearInterval(timer); chart.close(); pace.close(); parts.close(); },
    };
  },
};
