// @ts-check
// The picture of a station: drawn from the learner's own cluster, and always current.

import { el, put, count, hue, keyed } from './store.js';
import { Lanes } from './lanes.js';
import { Tanks } from './course.js';
import { tree } from './json.js';

/** @typedef {{partition: number, leader: number, replicas: number[], isr: number[], start: number, end: number, committed: number|null, member: string}} PicturePartition */
/** @typedef {{kind: string, topic: string, group: string, partitions: PicturePartition[], members: Array<{id: string, client_id: string, partitions: number[]}>, note: string, message: any}} PictureData */

const about = {
  lanes: 'A bar is what a partition holds. A flag is the committed offset of the group; the distance to the right end is its lag.',
  alone: 'A bar is a partition. The number at its right is the end offset.',
  members: 'Each member has a colour. A partition has the colour of the member that reads it.',
  replicas: 'Each column is a broker. The leader takes writes; a replica that is not in sync is missing from the ISR.',
  message: 'This record is in your cluster now.',
  queue: 'The queue of your own stream: what has arrived and is not yet in Kafka.',
};

export class Picture {
  constructor() {
    this.body = el('div');
    this.caption = el('figcaption.dim');
    this.root = el('figure.picture', { hidden: true }, this.body, this.caption);
    this.kind = '';
    this.topic = '';
    /** @type {Lanes|null} */
    this.lanes = null;
    /** @type {Tanks|null} */
    this.tanks = null;
    this.note = el('p');
    this.list = el('ul.members');
    this.rows = el('tbody');
    this.heads = el('tr');
    /** @type {string} */
    this.shown = '';
  }

  /** @param {PictureData} p @param {any} state the live state, or null */
  set(p, state) {
    const none = p.kind === 'none' || !p.kind;
    this.root.hidden = none && !p.note;
    if (none) {
      this.kind = this.topic = '';
      this.lanes = this.tanks = null;
      this.body.replaceChildren();
      put(this.caption, p.note || '');
      return;
    }
    if (p.kind !== this.kind || p.topic !== this.topic) this.begin(p);
    const parts = p.partitions || [];
    const members = p.members || [];
    put(this.caption, (p.topic && p.kind !== 'queue' ? `${p.topic}${p.group && p.kind !== 'message' && p.kind !== 'replicas' ? ', group ' + p.group : ''}. ` : '') + (/** @type {Record<string, string>} */ (about)[p.kind === 'lanes' && !p.group ? 'alone' : p.kind] || ''));
    if (this.lanes) {
      const order = new Map(members.map((m, i) => [m.id, i]));
      const flag = { name: p.group, hue: hue(2), positions: /** @type {Record<string, number>} */ ({}), members: /** @type {Record<string, string>} */ ({}), hues: /** @type {Record<string, string>|undefined} */ (p.kind === 'members' ? {} : undefined) };
      for (const x of parts) {
        if (x.committed !== null) flag.positions[x.partition] = x.committed;
        const i = order.get(x.member);
        if (i === undefined) continue;
        flag.members[x.partition] = String(i + 1);
        if (flag.hues) flag.hues[x.partition] = hue(i);
      }
      this.lanes.update(parts.map((x) => ({ partition: x.partition, leader: x.leader, start: x.start, end: x.end, rate: 0 })), p.group ? [flag] : []);
    }
    if (p.kind === 'members') this.members(members);
    if (p.kind === 'replicas') this.replicas(parts);
    if (p.kind === 'message') this.message(p.message);
    if (p.kind === 'queue') this.queue(p.topic, state);
  }

  /** @param {PictureData} p */
  begin(p) {
    this.kind = p.kind;
    this.topic = p.topic;
    this.shown = '';
    this.lanes = p.kind === 'lanes' || p.kind === 'members' ? new Lanes({ topic: p.topic }) : null;
    if (this.lanes) this.lanes.window = 0; // it grows at once to what is needed, so that five records can be seen
    this.tanks = p.kind === 'queue' ? new Tanks() : null;
    if (p.kind === 'replicas') this.body.replaceChildren(el('div.scroll', { tabindex: '0', role: 'region', 'aria-label': 'replicas of ' + p.topic }, el('table.rows.replicas', null, el('thead', null, this.heads), this.rows)));
    else if (p.kind === 'members') this.body.replaceChildren(/** @type {Lanes} */ (this.lanes).root, this.list);
    else if (this.lanes) this.body.replaceChildren(this.lanes.root);
    else if (this.tanks) this.body.replaceChildren(this.tanks.root, this.note);
    else this.body.replaceChildren();
  }

  /** @param {PictureData['members']} list */
  members(list) {
    keyed(this.list, list.map((m, i) => ({ ...m, i })), (m) => m.id, () => el('li', null, el('i.swatch'), el('span')), (e, m) => {
      /** @type {Element} */ (e.firstElementChild).className = 'swatch ' + hue(m.i);
      put(/** @type {Element} */ (e.lastElementChild), `${m.i + 1}: ${m.client_id || m.id} ${m.partitions?.length ? 'reads partition ' + m.partitions.join(', ') : 'has no partition'}`);
    });
  }

  /** @param {PicturePartition[]} parts */
  replicas(parts) {
    const brokers = [...new Set(parts.flatMap((p) => p.replicas || []))].sort((a, b) => a - b);
    const sig = JSON.stringify([brokers, parts.map((p) => [p.partition, p.leader, p.replicas, p.isr])]);
    if (sig === this.shown) return;
    this.shown = sig;
    this.heads.replaceChildren(el('th', { scope: 'col' }, 'Partition'), ...brokers.map((b) => el('th', { scope: 'col' }, 'broker ' + b)));
    this.rows.replaceChildren(...parts.map((p) => el('tr', null, el('th', { scope: 'row' }, 'P' + p.partition), brokers.map((b) => {
      const has = (p.replicas || []).includes(b);
      const sync = (p.isr || []).includes(b);
      return el('td', null, !has ? '' : p.leader === b ? el('span.badge.ok', null, '★ leader') : sync ? el('span.badge.ok', null, '● in sync') : el('span.badge.bad', null, '■ not in sync'));
    }))));
  }

  /** @param {any} m */
  message(m) {
    const sig = m ? `${m.topic}/${m.partition}/${m.offset}` : '';
    if (!m || sig === this.shown) return;
    this.shown = sig;
    const key = m.key ?? (m.key_base64 ? 'bytes, in Base64: ' + m.key_base64 : null);
    this.body.replaceChildren(el('dl.message-facts', null,
      el('dt', null, 'topic'), el('dd', null, m.topic), el('dt', null, 'partition'), el('dd', null, String(m.partition)), el('dt', null, 'offset'), el('dd', null, count(m.offset)),
      el('dt', null, 'time'), el('dd', null, m.time || m.timestamp || 'none'), el('dt', null, 'key'), el('dd', null, key === null ? 'none' : key),
      (m.headers || []).flatMap((/** @type {any} */ h) => [el('dt', null, 'header ' + h.name), el('dd', null, h.value ?? 'bytes')])),
    el('h3', null, 'value'), m.value === null ? el('p.dim', null, 'none, or bytes that are not text') : value(m.value),
    el('p', null, el('a', { href: `/topics/${encodeURIComponent(m.topic)}/messages?partition=${m.partition}&offset=${m.offset}&from=offset&n=1` }, 'Open it on the page Messages')));
  }

  /** @param {string} topic @param {any} state */
  queue(topic, state) {
    const s = Object.values(state?.streams || {}).find((x) => x.topic === topic);
    const q = s?.queue;
    if (!q) { put(this.note, 'The queue of this stream is in another process.'); /** @type {Tanks} */ (this.tanks).set([]); return; }
    put(this.note, '');
    /** @type {Tanks} */ (this.tanks).set([
      { name: 'queue', level: q.events, capacity: q.max_events, bytes: q.bytes, max_bytes: q.max_bytes, unit: 'events', in: s.rate || 0, out: s.rate || 0, lost: 0 },
    ]);
  }
}

/** A value as a tree where it is JSON. @param {string} text */
function value(text) {
  return tree(text) || el('pre.raw', { tabindex: '0' }, text);
}
