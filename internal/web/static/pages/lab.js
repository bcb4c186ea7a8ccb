// @ts-check
// One lab: its claim, its settings, what it tells while it runs, its verdict.

import { el, put, attr, stamp, duration, ago } from '../store.js';
import { commandBar, field, shellWord, toast, weir } from '../ui.js';
import { Course, Tanks, Tradeoffs, checkTable, measureTable, sentence, verdictBadge } from '../course.js';
import { nodes } from '../text.js';

/** @typedef {{name: string, about: string, kind: string, values: string[], default: string, min: string, max: string, whole: boolean, presets: Record<string, string>}} Field */

/** Nanoseconds of a duration as Go writes it, NaN for what is none. @param {string} text */
function nanoseconds(text) {
  /** @type {Record<string, number>} */
  const units = { h: 3.6e12, m: 6e10, s: 1e9, ms: 1e6, us: 1e3, 'µs': 1e3, ns: 1 };
  if (text === '0') return 0;
  if (!/^([\d.]+(h|ms|m|s|us|µs|ns))+$/.test(text)) return NaN;
  return [...text.matchAll(/([\d.]+)(h|ms|m|s|us|µs|ns)/g)].reduce((sum, m) => sum + Number(m[1]) * units[m[2]], 0);
}

/** What a preset makes of a setting that is left alone. @param {Field} f @param {string} preset */
const otherwise = (f, preset) => f.presets[preset] ?? f.default;

/** A setting of the form, with what it is now; a text that is left empty is the default, or the preset's. @param {Field} f @param {string} value @param {() => void} changed */
function input(f, value, changed) {
  const id = 'f-' + f.name;
  if (f.kind === 'switch') {
    const box = /** @type {HTMLInputElement} */ (el('input', { id, type: 'checkbox', checked: value === 'true', onchange: changed }));
    return { root: el('label.check', null, box, f.name), about: f.about, get: () => String(box.checked) };
  }
  if (f.kind === 'list') {
    const on = value.split(',');
    let touched = false; // until then the preset decides
    const boxes = f.values.map((v) => /** @type {HTMLInputElement} */ (el('input', { type: 'checkbox', value: v, checked: on.includes(v), onchange: () => { touched = true; changed(); } })));
    return { root: el('fieldset', null, el('legend', null, f.name), boxes.map((b) => el('label.check', null, b, b.value))), about: '', get: () => (touched ? boxes.filter((b) => b.checked).map((b) => b.value).join(',') : f.default),
      preset: (/** @type {string} */ p) => { if (!touched) for (const b of boxes) b.checked = otherwise(f, p).split(',').includes(b.value); } };
  }
  if (f.kind === 'choice') {
    const values = f.values.includes(f.default) ? f.values : [f.default, ...f.values];
    const s = /** @type {HTMLSelectElement} */ (el('select', { id, onchange: changed }, values.map((v) => el('option', { value: v, selected: v === value }, v || 'none'))));
    return { root: el('label', null, f.name, s), about: f.about, get: () => s.value };
  }
  const number = f.kind === 'number';
  const t = /** @type {HTMLInputElement} */ (el('input', { id, value: '', placeholder: value || 'none', maxlength: '200', autocomplete: 'off', spellcheck: 'false', oninput: () => { within(); changed(); } }));
  if (number) for (const [k, v] of [['type', 'number'], ['min', f.min], ['max', f.max], ['step', f.whole ? '1' : 'any']]) if (v) t.setAttribute(k, v);
  function within() { // a number's bounds the browser knows by itself
    const n = nanoseconds(t.value.trim());
    const outside = !number && f.max && t.value.trim() && !(n >= nanoseconds(f.min) && n <= nanoseconds(f.max));
    t.setCustomValidity(outside ? `Give a time from ${f.min} to ${f.max}, such as 500ms or 1m30s.` : '');
  }
  const about = f.max ? `${f.about} (${f.min} to ${f.max})` : f.about;
  return { root: el('label', null, f.name, t), about, get: () => t.value.trim() || f.default, preset: (/** @type {string} */ p) => { t.placeholder = otherwise(f, p) || 'none'; } };
}

/** A control that the running lab offers. @param {any} c @param {(value: string) => void} set */
function control(c, set) {
  if (c.values && c.values.length) {
    const buttons = c.values.map((/** @type {string} */ v) => el('button', { type: 'button', 'aria-pressed': String(v === c.value), onclick: () => set(v) }, v));
    return { root: el('div.control.post', { role: 'group', 'aria-label': c.label }, el('span', null, c.label), el('div.segments', null, buttons)),
      update: (/** @type {any} */ n) => buttons.forEach((/** @type {HTMLElement} */ b, /** @type {number} */ i) => attr(b, 'aria-pressed', String(c.values[i] === n.value))) };
  }
  const out = el('b.num', null, `${c.value} ${c.unit || ''}`);
  const slider = /** @type {HTMLInputElement} */ (el('input', { type: 'range', min: c.min, max: c.max, step: 1, 'aria-label': c.label, oninput: () => put(out, `${slider.value} ${c.unit || ''}`), onchange: () => set(slider.value) }));
  slider.value = c.value;
  return { root: el('label.control', null, el('span', null, c.label), slider, out),
    update: (/** @type {any} */ n) => { if (document.activeElement !== slider) { slider.value = n.value; put(out, `${n.value} ${n.unit || ''}`); } } };
}

/** Adds updates to a picture, as record.Picture does. @param {any} p @param {any[]} updates */
function add(p, updates) {
  for (const u of updates) {
    p.at = u.at;
    if (u.begin) p.case = u.begin;
    if (u.rename) for (const x of [...p.lines, ...p.marks]) if (x.case === u.rename.from) x.case = u.rename.to;
    if (u.source) p.source = u.source;
    if (u.progress) p.progress = u.progress;
    for (const x of u.points || []) {
      let l = p.lines.find((/** @type {any} */ k) => k.case === x.case && k.panel === x.panel);
      if (!l) p.lines.push(l = { case: x.case, panel: x.panel, x: [], y: [] });
      l.x.push(x.x); l.y.push(x.y);
      if (l.x.length > 1200) { l.x = l.x.filter((/** @type {number} */ _v, /** @type {number} */ i) => i % 2 === 0); l.y = l.y.filter((/** @type {number} */ _v, /** @type {number} */ i) => i % 2 === 0); }
    }
    if (u.mark) p.marks.push(u.mark);
    if (u.measure) p.measures.push(u.measure);
    if (u.check) p.checks.push(u.check);
    if (u.tradeoff) {
      const i = p.tradeoffs.findIndex((/** @type {any} */ t) => t.case === u.tradeoff.case);
      if (i < 0) p.tradeoffs.push(u.tradeoff); else p.tradeoffs[i] = u.tradeoff;
    }
    if (u.tanks) p.tanks = u.tanks;
    if (u.controls) p.controls = u.controls;
    if (u.end) p.end = u.end;
  }
}

/** The newest report of a lab, with its charts, or null. @param {any[]} reports @param {string} name @param {import('../app.js').App} app */
async function newest(reports, name, app) {
  const kept = reports.find((r) => r.lab === name && !r.error);
  if (!kept) return null;
  const { report: r } = await app.api('/labs/reports/' + encodeURIComponent(kept.name));
  const course = new Course();
  course.set(r.lines || [], r.marks || []);
  const tradeoffs = new Tradeoffs();
  tradeoffs.set(r.tradeoffs || []);
  return el('section', { 'aria-label': 'The last run' }, el('section.card.last-verdict', null, el('h2', null, verdictBadge(r.verdict)), el('p', null, r.reason),
    el('p.dim', null, `The last run, ${ago(Date.parse(r.started), Date.now())}, on ${r.engine} brokers. `, el('a', { href: '/labs/reports/' + encodeURIComponent(kept.name) }, 'The report with all figures'))), tradeoffs.root, course.root);
}

/** What there is to see before a lab has run: what its document says to watch. @param {any[]} body */
function beforehand(body) {
  const at = body.findIndex((n) => n.id === 'what-to-watch');
  const end = body.findIndex((n, i) => i > at && n.tag === 'h2');
  const watch = at < 0 ? [] : body.slice(at, end < 0 ? undefined : end);
  return el('section.card', { 'aria-label': 'Before the first run' }, el('p', null, el('b', null, 'Press Run. '), 'The charts appear here while the lab runs, and a verdict at its end.', watch.some((/** @type {any} */ n) => n.children?.[0]?.tag === 'img') ? ' The plot below is from an example run.' : ''), el('div.doc', null, nodes(watch)));
}

/** @type {import('../app.js').Page} */
export default {
  title: ([name]) => name + ' lab',
  mount(root, [name], app) {
    const course = new Course();
    const tanks = new Tanks();
    const tradeoffs = new Tradeoffs();
    const progress = el('p.progress-line', { role: 'status' });
    const source = el('p.dim');
    const verdict = el('div', { 'aria-live': 'polite' });
    const refusal = el('div'); // of settings: it goes when they change
    const controls = el('div.controls');
    const marks = el('ol.log', { tabindex: '0', 'aria-label': 'What happened' });
    const checks = el('div');
    const measures = el('div');
    const form = el('form.lab-form');
    const about = el('p.claim');
    const last = el('div.lab-last');
    const text = el('details.more.read-more', { hidden: true }, el('summary', null, 'Read more: what runs, what to watch, what to try, what it means in production'));
    const command = commandBar(weir('lab ' + name, ''));
    const did = commandBar(''); // the last change
    did.root.hidden = true;
    const run = /** @type {HTMLButtonElement} */ (el('button.primary.post', { type: 'submit' }, 'Run'));
    const stop = /** @type {HTMLButtonElement} */ (el('button.post', { type: 'button', hidden: true, onclick: () => app.api('/labs/stop', {}).catch((e) => toast(e.message, true)) }, 'Stop'));
    const happened = el('details.lab-marks', { open: true }, el('summary', null, 'What happened'), marks);
    const results = el('div.results.two-parts', null, el('section', null, el('h2', null, 'Figures'), measures), el('section', null, el('h2', null, 'Checks'), checks));
    const live = el('section', { 'aria-label': 'What happens', hidden: true }, source, tanks.root, controls, did.root, progress, tradeoffs.root, course.root, happened, results);
    root.append(el('p.crumb', null, el('a', { href: '/labs' }, 'Labs'), ' / ' + name), el('h1', null, name), about, el('div.lab-page', null, el('section.lab-side.card', { 'aria-label': 'Settings' }, form, command.root, refusal), el('div.lab-main', null, verdict, live, last)), text);
    /** @type {Array<{f: Field, i: {root: HTMLElement, about: string, get: () => string, preset?: (p: string) => void}}>} */
    let fields = [];
    const preset = () => {
      const of = (/** @type {string} */ n) => fields.find(({ f }) => f.name === n)?.i.get();
      return of('preset') ?? (of('short') === 'true' ? 'short' : '');
    };
    const settings = () => Object.fromEntries(fields.map(({ f, i }) => [f.name, i.get()]));
    const show = () => {
      for (const { i } of fields) i.preset?.(preset());
      const words = fields.filter(({ f, i }) => i.get() !== f.default).map(({ f, i }) => (f.kind === 'switch' ? '--' + f.name : `--${f.name} ${shellWord(i.get()) || "''"}`));
      command.set(weir('lab ' + name, '', ...words), undefined);
      refusal.replaceChildren();
    };
    // What is wrong must be seen.
    form.addEventListener('invalid', () => { for (const d of form.querySelectorAll('details')) d.open = true; }, true);
    form.addEventListener('submit', async (e) => {
      e.preventDefault();
      run.disabled = true;
      refusal.replaceChildren();
      try { await app.api(`/labs/${encodeURIComponent(name)}/start`, { settings: settings() }); } catch (x) { refusal.replaceChildren(el('p.alert', { role: 'alert' }, /** @type {Error} */ (x).message)); }
      run.disabled = running;
    });
    app.api('/labs').then((a) => {
      const l = a.labs.find((/** @type {any} */ x) => x.name === name);
      if (!l) { root.replaceChildren(el('p.alert', { role: 'alert' }, `There is no lab called ${name}.`)); return; }
      put(about, sentence(l.claim));
      app.api('/docs/page?path=labs/' + encodeURIComponent(name)).then(async (d) => {
        text.append(el('div.doc.columns', null, nodes(d.body.filter((/** @type {any} */ n) => n.tag !== 'h1'))));
        text.hidden = false;
        last.replaceChildren((await newest(a.reports, name, app)) || beforehand(d.body));
      }).catch((e) => last.replaceChildren(el('p.alert', { role: 'alert' }, e.message)));
      // A page begins with what can be watched in a minute.
      const begin = (/** @type {Field} */ f) => (f.name === 'preset' && f.values.includes('play') ? 'play' : f.name === 'short' && !l.fields.some((/** @type {Field} */ x) => x.name === 'preset') ? 'true' : f.default);
      fields = l.fields.filter((/** @type {Field} */ f) => f.name !== 'short' || !l.fields.some((/** @type {Field} */ x) => x.name === 'preset')).map((/** @type {Field} */ f) => ({ f, i: input(f, begin(f), show) }));
      const first = new Set(['preset', 'short', 'engine', 'slow', 'source']);
      const lay = (/** @type {any} */ x) => field(x.f.name, x.i.root, x.i.about);
      form.append(...fields.filter((x) => first.has(x.f.name)).map(lay), el('details.more', null, el('summary', null, 'More settings'), el('p.dim', null, 'A setting that you leave alone has the value of the preset, or of the short form.'), el('div.lab-form', null, fields.filter((x) => !first.has(x.f.name)).map(lay))), el('div.actions', null, run, stop));
      show();
    }).catch((e) => verdict.replaceChildren(el('p.alert', { role: 'alert' }, e.message)));

    /** @type {any} */
    let picture = null;
    let running = false;
    let shownMarks = 0;
    let shownChecks = -1;
    let shownMeasures = -1;
    /** @type {Map<string, {root: HTMLElement, update: (c: any) => void}>} */
    let offered = new Map();
    const set = (/** @type {string} */ n, /** @type {string} */ v) => app.api('/labs/set', { name: n, value: v }).then((a) => { did.set(a.command, undefined); did.root.hidden = false; }).catch((e) => toast(e.message, true));
    function draw(/** @type {any} */ c) {
      running = c.running;
      run.disabled = running;
      attr(form, 'class', running ? 'lab-form running' : 'lab-form');
      attr(stop, 'hidden', running ? null : '');
      if (c.lab !== name) {
        live.hidden = true;
        last.hidden = false;
        verdict.replaceChildren(running ? el('p.alert', null, `The lab ${c.lab} is running; two at once would disturb each other's measurements. `, el('a', { href: '/labs/' + encodeURIComponent(c.lab) }, 'Watch it')) : '');
        return;
      }
      live.hidden = false;
      last.hidden = true;
      command.set(c.command, undefined);
      tanks.root.hidden = !picture.tanks.length || !running;
      tanks.set(picture.tanks);
      tradeoffs.set(picture.tradeoffs);
      course.set(picture.lines, picture.marks);
      put(source, picture.source ? `Events: ${picture.source}` : '');
      put(progress, running ? picture.progress || 'starting…' : '');
      if (picture.controls.map((/** @type {any} */ x) => x.name).join() !== [...offered.keys()].join()) {
        offered = new Map(picture.controls.map((/** @type {any} */ x) => [x.name, control(x, (v) => set(x.name, v))]));
        controls.replaceChildren(...[...offered.values()].map((o) => o.root));
      }
      for (const x of picture.controls) offered.get(x.name)?.update(x);
      if (picture.marks.length !== shownMarks) {
        shownMarks = picture.marks.length;
        marks.replaceChildren(...picture.marks.map((/** @type {any} */ m) => el('li', null, el('time', null, m.x.toFixed(1) + ' s'), ` ${m.case}: `, el('b', null, m.text))));
        marks.scrollTop = marks.scrollHeight; // the newest are below
      }
      happened.hidden = !picture.marks.length;
      results.hidden = !running && !picture.measures.length && !picture.checks.length;
      if (picture.measures.length !== shownMeasures) { shownMeasures = picture.measures.length; measures.replaceChildren(measureTable(picture.measures)); }
      if (picture.checks.length !== shownChecks) { shownChecks = picture.checks.length; checks.replaceChildren(checkTable(picture.checks)); }
      if (running || !picture.end) { verdict.replaceChildren(); return; }
      const e = picture.end;
      if (verdict.dataset.of === picture.id) return;
      verdict.dataset.of = picture.id;
      verdict.replaceChildren(e.error ? el('p.alert', { role: 'alert' }, e.error === 'context canceled' ? 'Stopped: nothing of it is kept.' : e.error)
        : el('section.card.verdict', null, el('h2', null, verdictBadge(e.verdict)), el('p', null, e.reason), e.directory ? el('p', null, el('a', { href: '/labs/reports/' + encodeURIComponent(e.directory.split('/').pop() || '') }, 'The report with its plot')) : null));
    }
    let runs = 0;
    const events = new EventSource('/api/v1/labs/live');
    events.addEventListener('course', (e) => {
      const c = JSON.parse(e.data);
      if (c.picture) {
        picture = c.picture;
        for (const k of ['lines', 'marks', 'measures', 'checks', 'tradeoffs', 'tanks', 'controls']) picture[k] = picture[k] || [];
        picture.id = String(++runs);
        delete verdict.dataset.of;
        shownMarks = 0; shownChecks = shownMeasures = -1;
        marks.replaceChildren();
        course.root.replaceChildren(); course.panels.clear(); course.cases.length = 0;
      }
      if (!picture) return;
      for (const u of c.updates || []) if (u.rename) course.rename(u.rename.from, u.rename.to);
      add(picture, c.updates || []);
      if (!app.paused || c.picture || !c.running) draw(c);
    });
    return { unmount() { events.close(); } };
  },
};

/** A kept report. @type {import('../app.js').Page} */
export const report = {
  title: ([name]) => name,
  mount(root, [name], app) {
    root.append(el('p.crumb', null, el('a', { href: '/labs' }, 'Labs'), ' / report'), el('h1', { 'data-plain': true }, name));
    app.api('/labs/reports/' + encodeURIComponent(name)).then(({ report: r, command }) => {
      const course = new Course();
      course.set(r.lines || [], r.marks || []);
      const tradeoffs = new Tradeoffs();
      tradeoffs.set(r.tradeoffs || []);
      const plot = `/api/v1/labs/reports/${encodeURIComponent(name)}/plot.svg`;
      root.append(el('section.card.verdict', null, el('h2', null, verdictBadge(r.verdict)), el('p', null, r.reason), el('p.dim', null, `${r.lab} on ${r.engine} brokers, events: ${r.source || 'simulated'}, ${stamp(Date.parse(r.started))}, ${duration(r.seconds)}, weir ${r.version}`)),
        el('p.claim', null, sentence(r.claim)), ...(r.notes || []).map((/** @type {string} */ n) => el('p', null, n)), tradeoffs.root, course.root,
        el('div.results.two-parts', null, el('section', null, el('h2', null, 'Figures'), measureTable(r.measures || [])), el('section', null, el('h2', null, 'Checks'), checkTable(r.checks || []))), el('h2', null, 'Plot'), el('img.plot', { src: plot, alt: `Plot of ${name}` }), el('p', null, el('a', { href: plot, download: name + '.svg' }, 'Download the plot')),
        el('details.more', null, el('summary', null, 'Settings'), el('pre.raw', { tabindex: '0' }, JSON.stringify(r.settings, null, 1))), commandBar(command).root);
    }).catch((e) => root.append(el('p.alert', { role: 'alert' }, e.message)));
    return {};
  },
};
