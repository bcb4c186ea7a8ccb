// @ts-check
// The picture that carries everything: a lane for each partition, the records it
// retains as a bar, the groups' positions as flags on it. The gap is the lag.

import { el, put, attr, keyed, count, rate, hue, visible, groupPath } from './store.js';

/** @typedef {{partition: number, leader: number|null, start: number, end: number, rate: number}} Lane */
/** @typedef {{name: string, hue: string, positions: Record<string, number>, members: Record<string, string>, hues?: Record<string, string>, finished?: boolean}} Flagged */

/** So many lanes are drawn at first, and more by as many. */
const some = 64;

export class Lanes {
  /** @param {{topic: string, navigate?: (url: string) => void}} o */
  constructor(o) {
    this.o = o;
    this.body = el('div.lanes', { role: 'rowgroup' });
    const head = el('div.lane-head', { role: 'row' }, ['', 'leader', 'the retained offsets; a flag shows a group\'s committed offset and lag', 'end', 'rate'].map((t, i) => el(i > 2 ? 'span.num' : 'span', { role: 'columnheader' }, t || 'lane')));
    this.table = el('div', { role: 'table', 'aria-label': 'partitions of ' + o.topic }, el('div', { role: 'rowgroup' }, head), this.body);
    this.legend = el('p.flag-legend');
    this.more = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', hidden: true, onclick: () => { this.most += some; } }));
    this.root = el('div', null, this.table, this.more, this.legend);
    /** How many lanes are drawn: each costs, twice a second. */
    this.most = some;
    /** How many offsets the width of a lane shows: the newest, so that a lag can be seen. */
    this.window = 1000;
  }

  /** @param {Lane[]} lanes @param {Flagged[]} groups */
  update(lanes, groups) {
    let lag = 0;
    let fastest = 0;
    for (const l of lanes) {
      fastest = Math.max(fastest, l.rate);
      for (const g of groups) if (!g.finished) { const p = g.positions[l.partition]; if (p !== undefined) lag = Math.max(lag, l.end - p); }
    }
    // The window grows at once with a lag and shrinks slowly, so that the picture does not jump.
    const want = Math.max(50, fastest * 10, lag * 1.3);
    this.window = want > this.window ? want : Math.max(want, this.window * 0.97);
    this.names(groups);
    this.more.hidden = lanes.length <= this.most;
    put(this.more, `${count(lanes.length - this.most)} more of ${count(lanes.length)} partitions`);
    keyed(this.body, lanes.slice(0, this.most), (l) => String(l.partition), (l) => this.make(l), (e, l) => this.lane(e, l, groups));
  }

  /** @param {Flagged[]} groups */
  names(groups) {
    const sig = groups.map((g) => g.name).join('\n');
    if (this.legend.dataset.sig === sig) return;
    this.legend.dataset.sig = sig;
    this.legend.replaceChildren(...groups.map((g) => el('span', null, el('i.' + g.hue), el('a', { href: groupPath(g.name) }, visible(g.name)))));
  }

  /** @param {Lane} l */
  make(l) {
    return el('div.lane', { role: 'row' },
      el('a.lane-id', { role: 'rowheader', href: `/topics/${encodeURIComponent(this.o.topic)}/messages?partition=${l.partition}` }, 'P' + l.partition),
      el('span.leader', { role: 'cell' }),
      el('div.track', { role: 'cell' }, el('div.bar'), el('div.flags')),
      el('span.num.lane-end', { role: 'cell' }),
      el('span.num.lane-rate', { role: 'cell' }));
  }

  /** @param {HTMLElement} e @param {Lane} l @param {Flagged[]} groups */
  lane(e, l, groups) {
    const [, leader, track, end, r] = /** @type {HTMLElement[]} */ ([...e.children]);
    put(leader, l.leader === null ? '' : l.leader < 0 ? 'no leader' : 'broker ' + l.leader);
    // Without a leader to name the cell stays, so that the grid keeps its columns.
    attr(leader, 'class', l.leader === null ? 'leader' : 'leader chip ' + ( l.leader < 0 ? 'bad' : hue(l.leader + 6)));
    put(end, count(l.end));
    attr(end, 'title', 'high watermark: the offset that the next record gets');
    put(r, rate(l.rate));
    const left = l.end - this.window;
    const bar = /** @type {HTMLElement} */ (track.firstElementChild);
    const from = Math.max(0, (l.start - left) / this.window);
    bar.style.insetInlineStart = (Math.min(1, from) * 100).toFixed(2) + '%';
    const coloured = groups.length === 1 && groups[0].hues;
    attr(track, 'class', 'track' + (coloured ? ' by ' + (coloured[l.partition] || '') : ''));
    const shown = groups.filter((g) => g.positions[l.partition] !== undefined);
    keyed(/** @type {Element} */ (track.lastElementChild), shown, (g) => g.name,
      (g) => el('span.flag', null, el('span.flag-name', null, g.name)),
      (f, g) => {
        const position = g.positions[l.partition];
        const lag = Math.max(0, l.end - position);
        const at = Math.max(0, Math.min(1, (position - left) / this.window));
        f.style.insetInlineStart = (at * 100).toFixed(2) + '%';
        attr(f, 'class', 'flag ' + (g.hues?.[l.partition] || g.hue) + (g.members[l.partition] ? '' : ' nobody'));
        const member = g.members[l.partition];
        put(/** @type {Node} */ (f.firstElementChild), (member ? member.split(' ')[0] : '·') + (lag ? ' −' + count(lag) : ''));
        attr(f, 'title', `${g.name} at ${count(position)}, ${count(lag)} behind; ${member ? 'read by member ' + member : 'no member reads it'}`);
      });
  }
}

/** The groups of a topic as flags. @param {any} state @param {string} topic @returns {Flagged[]} */
export function flagsOf(state, topic) {
  return Object.keys(state.groups).sort().filter((name) => state.groups[name].positions && state.groups[name].positions[topic]).map((name, i) => ({
    name, hue: hue(i + 2), positions: state.groups[name].positions[topic], members: (state.groups[name].assignments || {})[topic] || {},
    // A replay that has ended stays where it stopped: its flag must not stretch the lanes.
    finished: name.endsWith('.replay') && state.groups[name].members === 0,
  }));
}
