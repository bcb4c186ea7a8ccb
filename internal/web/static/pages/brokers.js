// @ts-check
// The brokers: which partitions each leads, and what happens when one is killed.

import { el, put, attr, keyed, count, bytes, hue, clock } from '../store.js';
import { badge, commandBar, confirmTyped, toast, weir } from '../ui.js';

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Brokers',
  mount(root, _p, app) {
    /** @type {any} */
    let state = null;
    let running = 'unknown';
    const note = el('p.facts');
    const cards = el('div.cards');
    const result = el('p', { role: 'status' });
    const command = commandBar(weir('brokers', ''), ['Metadata', 'DescribeLogDirs']);
    const past = el('tbody');
    const changes = el('section.card', { hidden: true, 'aria-label': 'kills and restarts' }, el('h2', null, 'Kills and restarts, and how long producers waited'),
      el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'changes' }, el('table.rows', null, el('thead', null, el('tr', null,
        ['When', 'Broker', 'Was', 'From', 'Took', 'Longest without an acknowledgement', 'Usually', 'Stream'].map((t, i) => el(i > 3 && i < 7 ? 'th.num' : 'th', { scope: 'col' }, t)))), past)));
    const other = el('tbody.prose');
    const differences = el('details.card', { hidden: true }, el('summary', null, 'Where this engine differs from Apache Kafka'),
      el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'differences from Apache Kafka' }, el('table.rows.wordy', null, el('thead', null, el('tr', null,
        ['Behaviour', 'Apache Kafka', 'Here', 'What follows'].map((t) => el('th', { scope: 'col' }, t)))), other)));
    /** Words between backquotes are Kafka's own. */
    const words = (/** @type {string} */ text) => text.split('`').map((part, i) => i % 2 ? el('code', null, part) : part);
    /** @type {any} */
    let timer = 0;
    let closed = false;
    /** What was done, from here or a terminal, until the pause is known. */
    const measured = async () => {
      clearTimeout(timer);
      try {
        const list = (await app.api('/brokers/changes')).changes;
        if (closed) return;
        changes.hidden = !list.length;
        const time = (/** @type {any} */ c, /** @type {number} */ n) => c.measuring ? 'measuring…' : n < 0 ? 'nothing is produced here' : count(n) + ' ms';
        past.replaceChildren(...list.map((/** @type {any} */ c) => el('tr', null, el('td.nowrap', null, clock(c.time)), el('td', null, el('span.chip.' + hue(c.broker + 6), null, c.broker)), el('td', null, c.change), el('td', null, c.from), el('td.num', null, count(c.took_ms) + ' ms'),
          el(c.pause_ms > 1000 ? 'td.num.badtext' : 'td.num', null, time(c, c.pause_ms)), el('td.num', null, c.usual_ms < 0 ? '–' : `every ${count(c.usual_ms)} ms`), el('td', null, c.stream || '–'))));
        if (list.some((/** @type {any} */ c) => c.measuring)) timer = setTimeout(measured, 500);
      } catch { timer = setTimeout(measured, 2000); }
    };
    app.api('/brokers').then((answer) => {
      differences.hidden = !answer.differences.length;
      other.replaceChildren(...answer.differences.map((/** @type {any} */ d) => el('tr', null, el('th.wrap', { scope: 'row' }, words(d.behaviour)),
        [d.apache, d.embedded, d.learner].map((t) => el('td.wrap', null, words(t))))));
    }).catch(() => {});
    const act = async (/** @type {string} */ id, /** @type {string} */ verb, /** @type {boolean} */ hard = false) => {
      if (verb === 'kill' && !await confirmTyped({ title: `Kill broker ${id}${hard ? ' at once' : ''}?`, body: el('p', null, hard ? 'The process ends at once, as when a machine fails: the other brokers notice when its session ends. Restart starts it again.' : 'Its connections break, and other brokers take over its partitions. Clients go on. Restart starts it again.'), type: 'broker ' + id, action: 'Kill' })) return;
      put(result, `${verb === 'kill' ? 'killing' : 'restarting'} broker ${id}…`);
      try {
        const a = await app.api(`/brokers/${id}/${verb}`, verb === 'kill' ? { hard } : {});
        put(result, `broker ${id} was ${verb === 'kill' ? 'killed' : 'restarted'} in ${a.took_ms} ms`);
        command.set(a.command, a.requests, a.others);
        measured();
      } catch (e) { put(result, ''); toast(/** @type {Error} */ (e).message, true); }
    };
    const showConfig = async (/** @type {string} */ id, /** @type {HTMLElement} */ box) => {
      if (box.firstChild) { box.replaceChildren(); return; }
      try {
        const a = await app.api('/brokers/' + id);
        command.set(a.command, a.requests, a.others);
        box.replaceChildren(el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'configuration of broker ' + id }, el('table.rows', null, el('tbody', null, a.config.map((/** @type {any} */ c) => el('tr', null, el('th', { scope: 'row' }, c.name), el('td.wrap', null, c.sensitive ? '(hidden)' : c.value), el('td.dim', null, c.source)))))));
      } catch (e) { toast(/** @type {Error} */ (e).message, true); }
    };
    root.append(el('h1', null, 'Brokers'), note, cards, result, changes, differences, command.root);
    return {
      update(s) {
        state = s;
        put(note, [`cluster ${state.cluster.id || '?'}`, `engine: ${state.engine}`, state.note].filter(Boolean).join(' · '));
        const own = state.engine !== 'external';
        const now = Object.keys(state.cluster.brokers).filter((id) => state.cluster.brokers[id].alive).join();
        if (now !== running) measured(); // somebody may have killed or restarted one
        running = now;
        keyed(cards, Object.keys(state.cluster.brokers).sort((a, b) => Number(a) - Number(b)), (id) => id, (id) => {
          const box = el('div');
          return el('section.card.broker', { 'aria-label': 'broker ' + id },
            el('header', null, el('h2', null, 'Broker ', el('span.chip.' + hue(Number(id) + 6), null, id)), el('span'), el('span.chip')),
            el('dl', null, el('dt', null, 'Address'), el('dd'), el('dt', null, 'Leads'), el('dd'), el('dt', null, 'Log'), el('dd')), el('p.led', { 'aria-label': 'partitions of the streams that it leads' }),
            el('p.actions', null, own ? el('button.danger.change', { type: 'button', onclick: () => act(id, 'kill') }, 'Kill…') : null, state.engine === 'apache' ? el('button.danger.change', { type: 'button', title: 'SIGKILL', onclick: () => act(id, 'kill', true) }, 'Kill hard…') : null, own ? el('button.change', { type: 'button', onclick: () => act(id, 'restart') }, 'Restart') : null,
              el('button', { type: 'button', onclick: () => showConfig(id, box) }, 'Configuration')), box);
        }, (e, id) => {
          const b = state.cluster.brokers[id];
          const [head, dl, led, actions] = /** @type {HTMLElement[]} */ ([...e.children]);
          const st = b.alive ? 'alive' : 'down';
          if (head.dataset.s !== st) { head.dataset.s = st; head.children[1].replaceChildren(b.alive ? badge('ok', 'alive') : badge('bad', b.reason || 'down')); }
          put(head.children[2], b.controller ? 'controller' : '');
          const dd = dl.querySelectorAll('dd');
          put(dd[0], b.address); put(dd[1], count(b.leaders) + ' partitions'); put(dd[2], bytes(b.bytes));
          /** @type {Array<[string, number]>} */
          const lanes = Object.values(state.streams).flatMap((/** @type {any} */ st) => st.lanes.filter((/** @type {any} */ l) => l.leader === Number(id)).map((/** @type {any} */ l) => [st.topic, l.partition]));
          keyed(led, lanes, ([t, p]) => t + '/' + p, ([t, p]) => el('a.chip', { href: `/topics/${encodeURIComponent(t)}`, title: `leads partition ${p} of ${t}` }, `${t} P${p}`), () => {});
          attr(e, 'class', 'card broker' + (b.alive ? '' : ' down'));
          if (own) for (const x of actions.querySelectorAll('button')) { if (/^Kill/.test(x.textContent || '')) x.disabled = !b.alive; else if (x.textContent === 'Restart') x.disabled = b.alive; }
        });
      },
      unmount() { closed = true; clearTimeout(timer); },
    };
  },
};
