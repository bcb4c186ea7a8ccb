// @ts-check
// The whole pipeline as one picture, for each stream: source, queue, Kafka, counters, Redis.

import { el, put, attr, keyed, count, many, rate, duration, clock, ago, hue, bytes, visible } from '../store.js';
import { Chart, sparkline, setSparkline } from '../chart.js';
import { Lanes, flagsOf } from '../lanes.js';
import { badge, teach } from '../ui.js';
import { oneLine, pickPaths } from '../json.js';

/** Events a second that go by: more could not be read. */
const tailRate = 4;
const tailRows = 8;

/** @type {import('../app.js').Page} */
export default {
  title: () => 'Overview',
  mount(root, _params, app) {
    const streams = el('div.streams');
    const log = el('ol.log');
    const logEmpty = el('p.dim', null, 'Nothing yet. Rebalances, new leaders, reconnects and gaps appear here. Try: weir brokers kill 2');
    const none = el('div');
    root.append(el('h1.sr', null, 'Overview'), none, streams, el('section.card', null, el('h2', null, 'What happened'), logEmpty, el('div.log-box', { role: 'log', 'aria-label': 'what happened', tabindex: '0' }, log)));
    /** @type {Map<string, StreamView>} */
    const views = new Map();
    /** @type {any[]} */
    let lines = [];
    return {
      update(state, entries) {
        const names = Object.keys(state.streams).sort();
        keyed(streams, names, (n) => n, (n) => { const v = new StreamView(n, app); views.set(n, v); return v.root; }, (_e, n) => views.get(n)?.update(state, app.log));
        if (names.length) none.replaceChildren();
        else if (!none.firstChild) none.appendChild(teach('No streams here', 'Start weir up: it runs two streams, and this page shows them from the socket to the counts.'));
        if (entries.length || !lines.length) {
          lines = app.log.slice(-60).reverse();
          keyed(log, lines, (e) => String(e.id), (e) => el('li.k-' + e.kind, null, el('time', null, clock(e.time)), ' ', el('b', null, e.kind), ' ', visible(e.text)), () => {});
          logEmpty.hidden = lines.length > 0;
        }
      },
      unmount() { for (const v of views.values()) v.close(); },
    };
  },
};

class StreamView {
  /** @param {string} name @param {import('../app.js').App} app */
  constructor(name, app) {
    this.name = name;
    this.app = app;
    this.source = stage('Source', 'the WebSocket or the event stream');
    this.queue = stage('Queue', 'bounded: when it is full, the socket stops');
    this.kafka = stage('Kafka', 'transactions: events and cursor together');
    this.count = stage('Counters', 'a consumer group');
    this.redis = stage('Redis', 'counts and offsets, in one step');
    this.tank = el('div.fill');
    this.queue.root.appendChild(el('div.tank', { 'aria-hidden': 'true' }, this.tank));
    this.trouble = el('p.alert', { role: 'alert', hidden: true });
    this.big = el('b.big');
    this.total = el('span.dim');
    this.state = el('span');
    this.trouble = el('p.alert', { role: 'alert', hidden: true });
    this.lanes = null;
    this.laneBox = el('div');
    this.kinds = el('tbody', { 'data-plain': true });
    this.tail = el('ol.tail', { 'aria-label': 'the last events' });
    this.tailNote = el('p.dim.tail-note');
    this.resume = el('button', { type: 'button', hidden: true, onclick: () => { this.hover = false; if (app.paused) app.pause(); this.show(); } }, 'Resume');
    const s = 'stream/' + name + '/';
    this.chart = new Chart({ title: 'Events per second', format: (n) => rate(n), series: [
      { name: s + 'rate', label: 'into Kafka', hue: 'h0' }, { name: s + 'count_rate', label: 'counted', hue: 'h4' }] });
    this.endChart = new Chart({ title: 'From socket to count', format: (n) => duration(n / 1000), series: [
      { name: s + 'end_to_end_p50', label: 'half of the events ≤', hue: 'h4' }, { name: s + 'end_to_end_p99', label: '99 % ≤', hue: 'h9' }] });
    this.lagChart = new Chart({ title: 'Lag', format: (n) => count(n), series: [{ name: s + 'lag', label: 'messages behind', hue: 'h8' }] });
    this.root = el('section.card.stream', { 'aria-label': name },
      el('header', null, el('h2', null, name === 'bluesky' ? 'Bluesky' : name === 'wikipedia' ? 'Wikipedia' : name), this.state, el('span.spacer'), this.big, this.total), this.trouble,
      this.trouble,
      el('div.pipe', null, this.source.root, arrow(), this.queue.root, arrow(), this.kafka.root, arrow(), this.count.root, arrow(), this.redis.root),
      this.laneBox,
      el('div.charts', null, this.chart.root, this.endChart.root, this.lagChart.root,
        el('div', null, el('h3', null, 'Counts by type'), el('table.counts', null, this.kinds))),
      el('h3', null, 'The last events'), this.tail, el('div.tail-foot', null, this.tailNote, this.resume));
    /** @type {EventSource|null} */
    this.events = null;
    this.skipped = 0;
    /** @type {any[]} */
    this.rows = [];
    this.topic = '';
    this.hover = false;
    this.waiting = 0;
    this.tail.addEventListener('pointerenter', () => { this.hover = true; });
    this.tail.addEventListener('pointerleave', () => { this.hover = false; this.show(); });
    /** @type {(() => void)|undefined} */
    this.hide = undefined;
    this.history = false;
    /** @type {Record<string, Array<number|null>>} */
    this.kindHistory = {};
  }

  /** @param {any} state @param {any[]} log */
  update(state, log) {
    const s = state.streams[this.name];
    if (!s) return;
    if (!this.lanes) {
      this.lanes = new Lanes({ topic: s.topic });
      this.laneBox.append(el('h3', null, 'Partitions of ', el('a', { href: '/topics/' + encodeURIComponent(s.topic) }, s.topic)), this.lanes.root);
    }
    this.follow(s.topic);
    put(this.big, rate(s.rate));
    put(this.total, count(s.total) + ' events');
    const now = state.time;
    const connected = s.state === 'connected';
    put(this.trouble, s.trouble || '');
    this.trouble.hidden = !s.trouble;
    const sig = s.state + s.last_error;
    if (this.state.dataset.sig !== sig) {
      this.state.dataset.sig = sig;
      this.state.replaceChildren(s.state === 'external' ? badge('off', 'ingested elsewhere') : connected ? badge('ok', 'connected') : badge(s.state === 'failed' ? 'bad' : 'warn', s.state), s.last_error ? el('span.dim', null, ' ', visible(s.last_error)) : '');
    }
    put(this.trouble, (s.trouble || '') + (s.trouble_since ? ` (for ${duration((now - s.trouble_since) / 1000)})` : ''));
    this.trouble.hidden = !s.trouble;
    this.source.set(s.state === 'external' ? 'elsewhere' : s.origin && s.origin !== 'live' ? 'simulated' : connected ? 'live' : s.state, [s.state === 'external' ? 'another process ingests' : s.host || '–',
      s.state === 'external' ? '' : s.reconnects ? `reconnected ${ago(s.since, now)}, ${many(s.reconnects, 'time')}` : `no reconnect; up for ${duration((now - s.since) / 1000)}`, s.last_event ? 'last event ' + ago(s.last_event, now) : '']);
    if (s.queue) {
      const level = Math.max(s.queue.bytes / Math.max(1, s.queue.max_bytes), s.queue.events / Math.max(1, s.queue.max_events));
      this.tank.style.blockSize = (level * 100).toFixed(1) + '%';
      this.queue.set(Math.round(level * 100) + ' %', [`${many(s.queue.events, 'event')}, ${bytes(s.queue.bytes)}`, s.queue.blocked_ms ? `was full for ${duration(s.queue.blocked_ms / 1000)}` : 'never full so far']);
      attr(this.queue.root, 'class', 'stage ' + (level > 0.9 ? 'hot' : ''));
    } else this.queue.set('–', ['not in this process', '']);
    this.kafka.set(rate(s.rate), [s.latency_ms ? `committed in ${duration(s.latency_ms.p50 / 1000)}, 99 % in ${duration(s.latency_ms.p99 / 1000)}` : '', oddities(s)]);
    const g = state.groups[s.group];
    this.count.set(rate(s.count_rate), [g ? `${many(g.members, 'member')}, ${g.state}` : 'no group yet', `lag ${count(s.lag)}` + (s.lag_seconds ? ', ' + duration(s.lag_seconds) : '')]);
    attr(this.count.root, 'class', 'stage ' + (s.lag > 1000 && (s.lag_seconds || 0) > 5 ? 'hot' : ''));
    this.redis.set(count(s.counted), [s.redis === 'ok' ? 'counted, exactly once' : s.redis, s.end_to_end_ms ? `from socket to count in ${duration(s.end_to_end_ms.p50 / 1000)}, 99 % in ${duration(s.end_to_end_ms.p99 / 1000)}` : '']);
    attr(this.redis.root, 'class', 'stage ' + (s.redis === 'ok' ? '' : 'hot'));
    this.lanes.update(s.lanes || [], flagsOf(state, s.topic));
    this.charts(state, s, log);
    const kinds = Object.keys(s.counts).sort((a, b) => a.localeCompare(b));
    keyed(this.kinds, kinds, (k) => k, (k) => {
      const i = kinds.indexOf(k);
      return el('tr', null, el('th', { scope: 'row' }, el('i.' + hue(i)), visible(k)), el('td.num'), el('td.num.dim'), el('td.num.dim'), el('td', null, sparkline([], hue(i), 'rate of ' + k)));
    }, (tr, k) => {
      const h = this.kindHistory[k];
      put(tr.children[1], rate(h?.at(-1)));
      put(tr.children[2], count(s.counts[k]));
      put(tr.children[3], s.counted ? (s.counts[k] / s.counted * 100).toFixed(1) + ' %' : '');
      if (h) setSparkline(/** @type {Element} */ (tr.children[4].firstElementChild), h.slice(-150));
    });
  }

  /** @param {any} state @param {any} s @param {any[]} log */
  charts(state, s, log) {
    const p = 'stream/' + this.name + '/';
    const marks = log.filter((e) => e.kind !== 'info' && (!e.stream || e.stream === this.name) && (!e.topic || e.topic === s.topic) && (!e.group || e.group === s.group));
    if (!this.history) {
      this.history = true;
      const kinds = Object.keys(s.counts).slice(0, 20);
      const names = [p + 'rate', p + 'count_rate', p + 'lag', p + 'end_to_end_p50', p + 'end_to_end_p99', ...kinds.map((k) => p + 'kind/' + k)];
      this.app.api('/history?' + names.map((n) => 'series=' + encodeURIComponent(n)).join('&')).then((h) => {
        this.chart.set({ ...h, series: pick(h.series, [p + 'rate', p + 'count_rate']) }, marks);
        this.endChart.set({ ...h, series: pick(h.series, [p + 'end_to_end_p50', p + 'end_to_end_p99']) }, marks);
        this.lagChart.set({ ...h, series: pick(h.series, [p + 'lag']) }, marks);
        for (const k of kinds) this.kindHistory[k] = h.series[p + 'kind/' + k] || [];
        if (!this.app.paused) this.update(this.app.state, this.app.log); // with what happened meanwhile
      }).catch(() => { this.history = false; });
      return;
    }
    this.chart.marks = this.endChart.marks = this.lagChart.marks = marks;
    const before = this.chart.end;
    this.chart.push(state.time, { [p + 'rate']: s.rate, [p + 'count_rate']: s.count_rate });
    this.endChart.push(state.time, { [p + 'end_to_end_p50']: s.end_to_end_ms?.p50, [p + 'end_to_end_p99']: s.end_to_end_ms?.p99 });
    this.lagChart.push(state.time, { [p + 'lag']: s.lag });
    if (this.chart.end !== before) {
      for (const k of Object.keys(s.counts)) {
        const h = this.kindHistory[k] || (this.kindHistory[k] = []);
        const was = this.lastCounts?.[k];
        if (was !== undefined && before) h.push(Math.max(0, (s.counts[k] - was) / Math.max(2, (this.chart.end - before) / 1000)));
        if (h.length > 300) h.splice(0, h.length - 300);
      }
      this.lastCounts = { ...s.counts };
    }
  }

  /** A few of the events going by, as text. @param {string} topic */
  follow(topic) {
    if (this.events || document.hidden) return;
    this.events = new EventSource(`/api/v1/topics/${encodeURIComponent(topic)}/tail?rate=${tailRate}`);
    this.events.addEventListener('message', (e) => {
      const batch = JSON.parse(e.data);
      this.skipped += batch.skipped;
      this.waiting += batch.messages.length + batch.skipped;
      for (const m of batch.messages) {
        const kind = m.headers.find((/** @type {any} */ h) => h.name === 'kind')?.value || '';
        this.rows.unshift({ partition: m.partition, offset: m.offset, kind, value: (m.value ?? '').slice(0, 4000) });
      }
      this.rows.length = Math.min(this.rows.length, tailRows);
      this.topic = topic;
      this.show();
    });
    this.events.onerror = () => { if (this.events?.readyState === EventSource.CLOSED) this.events = null; };
    if (this.hide) return;
    this.hide = () => { if (document.hidden) { this.events?.close(); this.events = null; } };
    document.addEventListener('visibilitychange', this.hide);
  }

  /** Draws the last events, but never under the pointer. */
  show() {
    const still = this.app.paused || this.hover;
    this.resume.hidden = !still;
    if (still) { put(this.tailNote, `paused · ${count(this.waiting)} new`); return; }
    this.waiting = 0;
    const topic = this.topic;
    keyed(this.tail, this.rows, (m) => m.partition + ':' + m.offset, (m) => el('li', null,
      el('a', { href: `/topics/${encodeURIComponent(topic)}/messages?partition=${m.partition}&offset=${m.offset}&from=offset&n=1` }, `${m.partition}:${m.offset}`), ' ',
      el('b', null, visible(m.kind)), ' ', gist(m.value)), () => {});
    put(this.tailNote, this.skipped ? `a sample: ${count(this.skipped)} more are not shown` : '\u00a0');
  }

  close() {
    this.events?.close();
    if (this.hide) document.removeEventListener('visibilitychange', this.hide);
    this.chart.close();
    this.endChart.close();
    this.lagChart.close();
  }
}

/** @param {Record<string, any>} o @param {string[]} names */
function pick(o, names) { return Object.fromEntries(names.map((n) => [n, o[n] || []])); }

const paths = ['commit.collection', 'commit.record.text', 'commit.rkey', 'title', 'user', 'wiki', 'comment'];

/** What an event is about, in one line; the beginning of its value where that is not known. @param {string} value */
function gist(value) {
  const p = pickPaths(value, paths);
  if (p.title !== undefined) return [el('span.dim', null, visible(p.wiki || '')), ' ', visible(oneLine(p.title, 120)), el('span.dim', null, ' · ', visible(oneLine(p.user || '', 60)), p.comment ? ' · ' : '', visible(oneLine(p.comment || '', 200)))];
  if (p['commit.collection'] !== undefined) return [el('span.dim', null, visible(p['commit.collection'].replace(/^app\.bsky\./, ''))), ' ', visible(oneLine(p['commit.record.text'] || p['commit.rkey'] || '', 200))];
  return visible(oneLine(value, 200));
}

/** @param {string} title @param {string} hint */
function stage(title, hint) {
  const value = el('b.value');
  const spans = [0, 1, 2].map(() => el('span.dim'));
  const body = el('div.stage-body', null, value, spans);
  const root = el('div.stage', { title: hint }, el('h3', null, title), body);
  return { root, body, set(/** @type {string} */ v, /** @type {string[]} */ lines) { put(value, v); spans.forEach((e, i) => put(e, lines[i] || '')); } };
}

/** What of a stream was not stored as one event each. @param {any} s */
function oddities(s) {
  const odd = [[s.duplicates, 'duplicate'], [s.too_old, 'old repeat'], [s.rejects, 'dead letter'], [s.gaps, 'gap']].filter(([n]) => n).map(([n, what]) => many(n, what));
  return odd.length ? odd.join(', ') : 'no duplicate, dead letter or gap';
}

function arrow() { return el('span.arrow', { 'aria-hidden': 'true' }, '→'); }
