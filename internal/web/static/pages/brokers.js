// @ts-check
// The brokers: who leads what, and what happens when one dies.

import { el, put, attr, keyed, count, bytes, hue } from '../store.js';
import { badge, commandBar, confirmTyped, toast } from '../ui.js';

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Brokers',
  mount(root, _p, app) {
    const note = el('p.facts');
    const cards = el('div.cards');
    const result = el('p', { role: 'status' });
    const command = commandBar('weir brokers', ['Metadata', 'DescribeLogDirs']);
    const act = async (/** @type {string} */ id, /** @type {string} */ verb) => {
      if (verb === 'kill' && !await confirmTyped({ title: `Kill broker ${id}?`, body: el('p', null, 'Its connections break and its partitions move to the others. Clients go on. Restart brings it back.'), type: 'broker ' + id, action: 'Kill' })) return;
      put(result, `${verb === 'kill' ? 'killing' : 'restarting'} broker ${id}…`);
      try {
        const a = await app.api(`/brokers/${id}/${verb}`, {});
        put(result, `broker ${id} was ${verb === 'kill' ? 'killed' : 'restarted'} in ${a.took_ms} ms`);
        command.set(a.command, a.requests);
      } catch (e) { put(result, ''); toast(/** @type {Error} */ (e).message, true); }
    };
    const showConfig = async (/** @type {string} */ id, /** @type {HTMLElement} */ box) => {
      if (box.firstChild) { box.replaceChildren(); return; }
      try {
        const a = await app.api('/brokers/' + id);
        box.replaceChildren(el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'configuration of broker ' + id }, el('table.rows', null, el('tbody', null, a.config.map((/** @type {any} */ c) => el('tr', null, el('th', { scope: 'row' }, c.name), el('td.wrap', null, c.sensitive ? '(hidden)' : c.value), el('td.dim', null, c.source)))))));
      } catch (e) { toast(/** @type {Error} */ (e).message, true); }
    };
    root.append(el('h1', null, 'Brokers'), note, cards, result, command.root);
    return {
      update(state) {
        put(note, [`cluster ${state.cluster.id || '?'}`, `engine: ${state.engine}`, state.note].filter(Boolean).join(' · '));
        const own = state.engine !== 'external';
        keyed(cards, Object.keys(state.cluster.brokers).sort((a, b) => Number(a) - Number(b)), (id) => id, (id) => {
          const box = el('div');
          return el('section.card.broker', { 'aria-label': 'broker ' + id },
            el('header', null, el('h2', null, 'Broker ', el('span.chip.' + hue(Number(id) + 6), null, id)), el('span'), el('span.chip')),
            el('dl', null, el('dt', null, 'Address'), el('dd'), el('dt', null, 'Leads'), el('dd'), el('dt', null, 'Log'), el('dd')),
            el('p.actions', null, own ? el('button.danger', { type: 'button', onclick: () => act(id, 'kill') }, 'Kill…') : null, own ? el('button', { type: 'button', onclick: () => act(id, 'restart') }, 'Restart') : null,
              el('button', { type: 'button', onclick: () => showConfig(id, box) }, 'Configuration')), box);
        }, (e, id) => {
          const b = state.cluster.brokers[id];
          const [head, dl, actions] = /** @type {HTMLElement[]} */ ([...e.children]);
          const st = b.alive ? 'alive' : 'down';
          if (head.dataset.s !== st) { head.dataset.s = st; head.children[1].replaceChildren(b.alive ? badge('ok', 'alive') : badge('bad', b.reason || 'down')); }
          put(head.children[2], b.controller ? 'controller' : '');
          const dd = dl.querySelectorAll('dd');
          put(dd[0], b.address); put(dd[1], count(b.leaders) + ' partitions'); put(dd[2], bytes(b.bytes));
          attr(e, 'class', 'card broker' + (b.alive ? '' : ' down'));
          if (own) { /** @type {HTMLButtonElement} */ (actions.children[0]).disabled = !b.alive; /** @type {HTMLButtonElement} */ (actions.children[1]).disabled = b.alive; }
        });
      },
    };
  },
};
