// @ts-check
// Records by hand: the key's hash picks the lane before your eyes, and the lane that a
// record landed in lights up.

import { el, put, attr, count, many, hue } from '../store.js';
import { commandBar, shellWord, weir } from '../ui.js';
import { problem } from '../changes.js';

/** A key that is longer is not looked up while it is typed. */
const longKey = 1000;
/** So many records are asked for at once, or what is written in so many seconds. */
const atOnce = 10_000;
const seconds = 2;

/** Headers as they are typed, name=value, one a line. @param {string} text @returns {Array<[string, string]>} */
export function headersOf(text) {
  return text.split('\n').filter((l) => l.trim()).map((l) => { const i = l.indexOf('='); return i < 0 ? [l, ''] : [l.slice(0, i), l.slice(i + 1)]; });
}

/** Why a message cannot be edited as text, empty where it can. @param {any} m */
export function notText(m) {
  if (m.truncated) return 'its value is too long to be shown whole';
  if (m.key_base64 || m.value_base64) return 'its key or value is not text';
  if (m.headers.some((/** @type {any} */ h) => h.value_base64 || h.value === null || /[\n=]/.test(h.name) || h.value.includes('\n'))) return 'a header of it cannot be written as a line';
  return '';
}

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Produce',
  mount(root, _p, app) {
    const q = new URLSearchParams(location.search);
    const topic = /** @type {HTMLSelectElement} */ (el('select', { name: 'topic' }));
    const key = /** @type {HTMLInputElement} */ (el('input', { name: 'key', autocomplete: 'off', spellcheck: 'false', placeholder: 'none: any partition' }));
    const value = /** @type {HTMLTextAreaElement} */ (el('textarea', { name: 'value', rows: 8, spellcheck: 'false' }));
    value.value = '{"commit":{"operation":"create"},"text":"hello"}';
    const nothing = /** @type {HTMLInputElement} */ (el('input', { name: 'null', type: 'checkbox' }));
    const headers = /** @type {HTMLTextAreaElement} */ (el('textarea', { name: 'headers', rows: 2, placeholder: 'name=value, one a line', spellcheck: 'false' }));
    const partition = /** @type {HTMLInputElement} */ (el('input', { name: 'partition', inputmode: 'numeric', size: 4, placeholder: 'by key' }));
    const amount = /** @type {HTMLInputElement} */ (el('input', { name: 'count', type: 'number', min: 1, placeholder: 'one record, as it is' }));
    const pace = /** @type {HTMLInputElement} */ (el('input', { name: 'rate', type: 'number', min: 0, step: 'any', placeholder: 'as fast as possible' }));
    const pick = el('div.pick', { role: 'status' });
    const done = el('p.done', { role: 'status' });
    const failed = el('div');
    const go = /** @type {HTMLButtonElement} */ (el('button.primary', { type: 'submit' }, 'Write the record'));
    const end = el('button', { type: 'button', hidden: true, onclick: () => { stopped = true; } }, 'Stop');
    const command = commandBar(weir('send', 'TOPIC'), ['Metadata', 'InitProducerId', 'Produce'], [], true);
    let round = 0;
    let wanted = q.get('topic') || '';
    let stopped = false;
    let gone = false;
    /** Records by partition that were written last. @type {Map<number, number>} */
    let landed = new Map();
    /** @type {HTMLElement[]} */
    let chips = [];
    const light = () => chips.forEach((c, i) => { c.classList.toggle('landed', landed.has(i)); put(c, 'P' + i + (Number(landed.get(i)) > 1 ? ' +' + count(landed.get(i)) : '')); });

    const counted = el('p.dim');
    const draw = async () => {
      put(counted, Object.values(app.state?.streams || {}).some((x) => x.topic === topic.value)
        ? 'weir counts your record like every other one. Verify lists it separately, because it has no sequence number.' : '');
      const mine = ++round;
      value.disabled = nothing.checked;
      put(go, Number(amount.value) > 0 ? `Write ${many(Number(amount.value), 'record')}` : 'Write the record');
      if (!done.firstChild) {
        const flags = [...(key.value ? ['--key', shellWord(key.value.slice(0, longKey))] : []), ...(partition.value ? ['--partition', shellWord(partition.value)] : []), ...(nothing.checked ? ['--null'] : [])];
        command.set(weir('send', topic.value || 'TOPIC', ...flags), ['Metadata', 'InitProducerId', 'Produce'], []);
      }
      const n = app.state?.topics[topic.value]?.partitions || 0;
      if (!n) { pick.replaceChildren(); chips = []; return; }
      const template = Number(amount.value) > 0 && key.value.includes('{');
      let chosen = partition.value ? Number(partition.value) : -1;
      let why = partition.value ? 'chosen by hand' : template ? 'each record has a key of its own' : key.value.length > longKey ? 'the key is long: its partition is shown when the record is written' : 'no key: any partition, batch by batch';
      if (!partition.value && key.value && key.value.length <= longKey && !template) {
        try {
          const a = await app.api(`/topics/${encodeURIComponent(topic.value)}/partition?key=${encodeURIComponent(key.value)}`);
          chosen = a.partition;
          why = `murmur2("${key.value}") = ${a.hash}, positive ${a.hash & 0x7fffffff}, modulo ${n} = ${a.partition}`;
        } catch (e) { why = /** @type {Error} */ (e).message; }
      }
      if (mine !== round) return;
      chips = Array.from({ length: Math.min(n, 200) }, (_, i) => el('span', { class: 'chip ' + (i === chosen ? 'chosen ' + hue(i) : '') }, 'P' + i));
      pick.replaceChildren(el('div.pick-lanes', null, chips), el('span.dim', null, why));
      light();
    };
    for (const e of [topic, key, partition, nothing, amount]) e.addEventListener('input', () => { landed = new Map(); draw(); });
    topic.addEventListener('change', () => { wanted = ''; history.replaceState(null, '', '/produce?topic=' + encodeURIComponent(topic.value)); });

    const link = (/** @type {number} */ p, /** @type {number} */ o, /** @type {string} */ text) => el('a', { href: `/topics/${encodeURIComponent(topic.value)}/messages?partition=${p}&offset=${o}&from=offset&n=1` }, text);
    /** @param {any} a */
    const note = (a) => {
      for (const l of a.landed || [{ partition: a.partition, records: 1 }]) landed.set(l.partition, (landed.get(l.partition) || 0) + l.records);
      light();
      command.set(a.command, a.requests, a.others);
    };
    /** Writes generated records, as many at once as may be, until all are written or the reader stops it. @param {string} path @param {any} record @param {number} all @param {number} rate */
    async function several(path, record, all, rate) {
      const chunk = rate > 0 ? Math.max(1, Math.round(rate * seconds)) : atOnce;
      const start = Date.now();
      let sent = 0;
      /** @type {() => (string|Node)[]} */
      let written = () => ['Nothing is written.'];
      while (sent < all && !stopped && !gone) {
        const a = await app.api(path, { ...record, count: Math.min(chunk, atOnce, all - sent), first: sent + 1, rate });
        sent += a.records;
        note(a);
        const at = link(a.partition, a.offset, `offset ${count(a.offset)} of partition ${a.partition}`);
        written = () => [`${many(sent, 'record')} ${sent === 1 ? 'is' : 'are'} written, the last one at `, at];
        done.replaceChildren(...(sent < all && !stopped ? [`Writing: ${count(sent)} of ${many(all, 'record')}, the last one at `, at] : written()));
        const wait = rate > 0 && sent < all ? start + sent * 1000 / rate - Date.now() : 0;
        if (wait > 0) await new Promise((f) => { setTimeout(f, Math.min(wait, 2000)); });
      }
      if (stopped && sent < all) done.replaceChildren('Stopped. ', ...written());
    }
    const form = el('form.stack', { onsubmit: async (/** @type {Event} */ e) => {
      e.preventDefault();
      if (go.disabled) return;
      go.disabled = true;
      stopped = false;
      landed = new Map();
      failed.replaceChildren();
      const path = `/topics/${encodeURIComponent(topic.value)}/messages`;
      const n = Number(amount.value);
      try {
        const record = { key: key.value === '' ? null : key.value, value: nothing.checked ? null : value.value, headers: headersOf(headers.value), partition: partition.value === '' ? null : Number(partition.value) };
        if (n > 0) {
          done.replaceChildren();
          end.hidden = false;
          await several(path, record, n, Number(pace.value) || 0);
        } else {
          const a = await app.api(path, record);
          done.replaceChildren('Written to partition ', String(a.partition), ' at ', link(a.partition, a.offset, 'offset ' + count(a.offset)));
          note(a);
        }
      } catch (err) { failed.replaceChildren(problem(err)); }
      end.hidden = true;
      go.disabled = false;
    } },
    el('div.two-parts', null, el('div.stack', null, el('label', null, 'Topic', topic), el('label', null, 'Key', key), pick, el('label', null, 'Value', value), el('label.check', null, nothing, el('span', null, 'null value, a tombstone: a compacted topic then deletes the key'))),
    el('div.stack', null, el('label', null, 'Headers', headers), el('label', null, 'Partition', partition),
    el('details.more', null, el('summary', null, 'Many records, from a template'), el('p.dim', null, 'In key, value and headers, {n} is the number of the record, {uuid} a random UUID, {now} the time, and {choice a b c} one of the words. {{ is a brace.'),
      el('div.stack', null, el('label', null, 'How many', amount), el('label', null, 'Records per second', pace))),
    el('p.actions.change', null, go, end), failed, done)));
    const notice = el('p.unless-changes.dim', null, 'No record can be written from here now. See the top of the page.');
    const copied = el('div');
    root.append(el('h1', null, 'Produce'), counted, notice, copied, el('section.card', null, form), command.root);

    /** Fills in a message that is to be sent once more. @param {string} place partition:offset */
    async function copy(place) {
      const [p, o] = place.split(':');
      try {
        const m = await app.api(`/topics/${encodeURIComponent(wanted)}/messages/${encodeURIComponent(p)}/${encodeURIComponent(o)}`);
        const why = notText(m);
        if (why) { copied.replaceChildren(el('p.alert', { role: 'alert' }, `The message at offset ${o} of partition ${p} cannot be edited here: ${why}. “Send again”, beside the message, writes it as it is.`)); return; }
        key.value = m.key ?? '';
        value.value = m.value ?? '';
        nothing.checked = m.value === null;
        headers.value = m.headers.map((/** @type {any} */ h) => h.name + '=' + h.value).join('\n');
        copied.replaceChildren(el('p.dim', { role: 'status' }, `This is the message at offset ${o} of partition ${p}.`));
        draw();
      } catch (e) { copied.replaceChildren(problem(e)); }
    }
    if (q.get('copy')) copy(q.get('copy') || '');
    return {
      update(state) {
        const names = Object.keys(state.topics).filter((n) => !state.topics[n].internal && !n.startsWith('__') && n !== 'weir.cursors').sort();
        const sig = names.map((n) => n + ' ' + state.topics[n].partitions).join('\n');
        if (topic.dataset.sig === sig) return;
        topic.dataset.sig = sig;
        const was = wanted || topic.value;
        topic.replaceChildren(...names.map((n) => el('option', { value: n }, n)));
        if (names.includes(was)) { topic.value = was; wanted = ''; }
        attr(topic, 'aria-label', 'Topic');
        draw();
      },
      unmount() { gone = true; },
    };
  },
};
