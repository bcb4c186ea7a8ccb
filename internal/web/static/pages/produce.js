// @ts-check
// A record by hand: the key's hash picks the lane before your eyes.

import { el, put, attr, count, hue } from '../store.js';
import { commandBar, toast, shellWord } from '../ui.js';

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Produce',
  mount(root, _p, app) {
    const q = new URLSearchParams(location.search);
    const topic = /** @type {HTMLSelectElement} */ (el('select', { name: 'topic' }));
    const key = /** @type {HTMLInputElement} */ (el('input', { name: 'key', autocomplete: 'off', spellcheck: 'false', placeholder: 'none: any partition' }));
    const value = /** @type {HTMLTextAreaElement} */ (el('textarea', { name: 'value', rows: 8, spellcheck: 'false' }));
    value.value = '{"commit":{"operation":"create"},"text":"hello"}';
    const headers = /** @type {HTMLTextAreaElement} */ (el('textarea', { name: 'headers', rows: 2, placeholder: 'name=value, one a line', spellcheck: 'false' }));
    const partition = /** @type {HTMLInputElement} */ (el('input', { name: 'partition', inputmode: 'numeric', size: 4, placeholder: 'by key' }));
    const pick = el('div.pick', { role: 'status' });
    const done = el('p.done', { role: 'status' });
    const command = commandBar('kcat -P -b BROKER -t TOPIC', ['Metadata', 'InitProducerId', 'Produce']);
    let round = 0;
    let wanted = q.get('topic') || '';
    const address = () => Object.values(app.state?.cluster.brokers || {}).find((b) => b.alive)?.address || 'BROKER';
    const draw = async () => {
      const mine = ++round;
      if (!done.firstChild) command.set(`kcat -P -b ${address()} -t ${shellWord(topic.value)}` + (partition.value ? ' -p ' + shellWord(partition.value) : '') + (key.value ? ' -k ' + shellWord(key.value) : ''), ['Metadata', 'InitProducerId', 'Produce']);
      const n = app.state?.topics[topic.value]?.partitions || 0;
      if (!n) { pick.replaceChildren(); return; }
      let chosen = partition.value ? Number(partition.value) : -1;
      let why = partition.value ? 'chosen by hand' : 'no key: any partition, batch by batch';
      if (!partition.value && key.value) {
        try {
          const a = await app.api(`/topics/${encodeURIComponent(topic.value)}/partition?key=${encodeURIComponent(key.value)}`);
          chosen = a.partition;
          why = `murmur2("${key.value}") = ${a.hash}, positive ${a.hash & 0x7fffffff}, modulo ${n} = ${a.partition}`;
        } catch (e) { why = /** @type {Error} */ (e).message; }
      }
      if (mine !== round) return;
      pick.replaceChildren(el('div.pick-lanes', null, Array.from({ length: n }, (_, i) => el('span.chip', { class: 'chip ' + (i === chosen ? 'chosen ' + hue(i) : '') }, 'P' + i))), el('span.dim', null, why));
    };
    for (const e of [topic, key, partition]) e.addEventListener('input', draw);
    topic.addEventListener('change', () => history.replaceState(null, '', '/produce?topic=' + encodeURIComponent(topic.value)));
    const form = el('form.stack', { onsubmit: async (/** @type {Event} */ e) => {
      e.preventDefault();
      const hs = headers.value.split('\n').filter((l) => l.trim()).map((l) => { const i = l.indexOf('='); return i < 0 ? [l, ''] : [l.slice(0, i), l.slice(i + 1)]; });
      try {
        const a = await app.api(`/topics/${encodeURIComponent(topic.value)}/messages`, { key: key.value === '' ? null : key.value, value: value.value, headers: hs, partition: partition.value === '' ? null : Number(partition.value) });
        done.replaceChildren('Written to partition ', String(a.partition), ' at ', el('a', { href: `/topics/${encodeURIComponent(topic.value)}/messages?partition=${a.partition}&offset=${a.offset}&from=offset&n=1` }, 'offset ' + count(a.offset)));
        command.set(a.command, a.requests);
      } catch (err) { toast(/** @type {Error} */ (err).message, true); }
    } },
    el('label', null, 'Topic', topic), el('label', null, 'Key', key), pick, el('label', null, 'Value', value), el('label', null, 'Headers', headers), el('label', null, 'Partition', partition),
    el('p.actions', null, el('button.primary', { type: 'submit' }, 'Write the record')), done);
    root.append(el('h1', null, 'Produce'), el('p.dim', null, 'weir counts your record like any other. weir verify lists it separately, because it has no sequence number.'), el('section.card.narrow', null, form), command.root);
    return {
      update(state) {
        const names = Object.keys(state.topics).filter((n) => !state.topics[n].internal && !n.startsWith('__') && n !== 'weir.cursors').sort();
        const sig = names.join('\n');
        if (topic.dataset.sig === sig) return;
        topic.dataset.sig = sig;
        const was = wanted || topic.value;
        topic.replaceChildren(...names.map((n) => el('option', { value: n }, n)));
        if (names.includes(was)) topic.value = was;
        wanted = '';
        attr(topic, 'aria-label', 'Topic');
        draw();
      },
    };
  },
};
