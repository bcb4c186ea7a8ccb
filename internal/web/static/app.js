// @ts-check
// The router, the one live connection, and what is common to all pages.

import { el, put, attr, mergePatch, clock } from './store.js';
import { toast } from './ui.js';
import overview from './pages/overview.js';
import topics from './pages/topics.js';
import topic from './pages/topic.js';
import messages from './pages/messages.js';
import groups from './pages/groups.js';
import group from './pages/group.js';
import brokers from './pages/brokers.js';
import produce from './pages/produce.js';
import verify from './pages/verify.js';
import labs, { comparison } from './pages/labs.js';
import lab, { report } from './pages/lab.js';
import docs from './pages/docs.js';
import learn, { station } from './pages/learn.js';
import exercises, { exercise } from './pages/exercises.js';
import { explain } from './terms.js';

/**
 * @typedef {{
 *   state: any, log: any[], paused: boolean,
 *   api: (path: string, body?: any) => Promise<any>,
 *   navigate: (url: string, replace?: boolean) => void, pause: () => void,
 * }} App
 * @typedef {{update?: (state: any, entries: any[]) => void, unmount?: () => void}} Mounted
 * @typedef {{title: (params: string[]) => string, mount: (root: HTMLElement, params: string[], app: App) => Mounted}} Page
 */

/** @type {Array<[RegExp, Page]>} */
const routes = [
  [/^\/$/, overview], [/^\/topics$/, topics], [/^\/topics\/([^/]+)\/messages$/, messages], [/^\/topics\/([^/]+)$/, topic],
  [/^\/groups$/, groups], [/^\/groups\/([^/]+)$/, group], [/^\/brokers$/, brokers], [/^\/produce$/, produce], [/^\/verify$/, verify],
  [/^\/labs$/, labs], [/^\/labs\/compare$/, comparison], [/^\/labs\/reports\/([^/]+)$/, report], [/^\/labs\/([^/]+)$/, lab],
  [/^\/learn$/, learn], [/^\/learn\/([^/]+)$/, station], [/^\/exercises$/, exercises], [/^\/exercises\/([^/]+)$/, exercise],
  [/^\/docs$/, docs], [/^\/docs\/(.+)$/, docs],
];
const tabs = [['/', 'Overview'], ['/topics', 'Topics'], ['/groups', 'Groups'], ['/brokers', 'Brokers'], ['/produce', 'Produce'], ['/verify', 'Verify'], ['/learn', 'Learn'], ['/labs', 'Labs'], ['/exercises', 'Exercises'], ['/docs', 'Docs']];

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const main = byId('main');

/** @type {App} */
const app = {
  state: null, log: [], paused: false,
  async api(path, body) {
    if (body !== undefined && looks(path, body)) throw new Error('Nothing was changed: you chose to look only. Choose “Allow changes” at the top of the page first.');
    const r = await fetch('/api/v1' + path, body === undefined ? {} : { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    let answer;
    try { answer = await r.json(); } catch { throw new Error(`weir's answer cannot be read (HTTP ${r.status})`); }
    if (!r.ok) throw new Error(answer.error || `HTTP ${r.status}`);
    return answer;
  },
  navigate(url, replace) {
    if (replace) { history.replaceState(null, '', url); shown = location.pathname + location.search; }
    else { history.pushState(null, '', url); show(); }
  },
  pause,
};

// --- Whether changes can be made from here.

const allowed = 'weir-changes'; // for this tab, as long as it is open
/** What the reader of another cluster's pages has chosen: yes, no, or nothing yet. */
let choice = '';
try { choice = sessionStorage.getItem(allowed) || ''; } catch { /* the page asks again */ }

/** Whether the brokers are none that weir knows: weir ui --kafka. */
const external = () => !!app.state && app.state.mode !== 'simulated' && app.state.mode !== 'live';

/** Whether a request would change a cluster that the reader only looks at. A plan changes nothing. @param {string} path @param {any} body */
function looks(path, body) {
  return external() && choice !== 'yes' && /^\/(topics|groups|brokers)\b/.test(path) && body?.confirm !== '';
}

/** @param {string} c */
function choose(c) {
  choice = c;
  try { sessionStorage.setItem(allowed, c); } catch { /* as above */ }
  changes();
}

/** Shows the controls that can work, and asks once about a cluster that is not weir's own. */
function changes() {
  const s = app.state;
  const theirs = external() && !s.read_only;
  document.body.classList.toggle('read-only', s.read_only);
  document.body.classList.toggle('look-only', theirs && choice !== 'yes');
  const only = byId('only');
  only.hidden = !s.read_only;
  put(only, s.read_only ? 'read-only' : '');
  attr(only, 'title', 'This weir was started with --read-only and refuses every change.');
  const box = byId('allow');
  box.hidden = !theirs || choice === 'yes';
  box.classList.toggle('small', choice === 'no');
  if (box.hidden || box.dataset.choice === choice) return;
  box.dataset.choice = choice;
  box.replaceChildren(el('span', null, choice === 'no' ? 'You look at this cluster only.' : 'This cluster was not started by weir. What you change here changes for everybody who uses it.'),
    el('button', { type: 'button', onclick: () => choose('yes') }, 'Allow changes'), ...(choice === 'no' ? [] : [el('button', { type: 'button', onclick: () => choose('no') }, 'Only look')]));
}

/** @type {Mounted} */
let page = {};
/** The path and query of the page that is shown. */
let shown = '';

function show() {
  page.unmount?.();
  page = {};
  shown = location.pathname + location.search;
  main.replaceChildren();
  const path = location.pathname.replace(/(.)\/$/, '$1');
  for (const a of byId('nav').children) attr(a, 'aria-current', (a.getAttribute('href') === '/' ? path === '/' : path.startsWith(a.getAttribute('href') || '')) ? 'page' : null);
  for (const [re, p] of routes) {
    const m = re.exec(path);
    if (!m) continue;
    const params = m.slice(1).map((s) => { try { return decodeURIComponent(s); } catch { return s; } });
    document.title = p.title(params) + ' · weir';
    page = p.mount(main, params, app);
    if (app.state) page.update?.(app.state, []);
    window.scrollTo(0, 0);
    return;
  }
  document.title = 'Not found · weir';
  main.appendChild(el('div.teach', null, el('h1', null, 'There is no such page'), el('p', null, 'Choose one above.')));
}

document.addEventListener('click', (e) => {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = /** @type {Element} */ (e.target).closest?.('a');
  if (!a || a.origin !== location.origin || a.hasAttribute('download') || a.target || a.pathname.startsWith('/api/') || a.classList.contains('skip')) return;
  e.preventDefault();
  if (a.hash && a.pathname + a.search === shown) history.pushState(null, '', a.href);
  else app.navigate(a.pathname + a.search + a.hash);
  main.focus({ preventScroll: true });
  jump();
});
window.addEventListener('popstate', () => { if (location.pathname + location.search !== shown) show(); else jump(); });

/** Goes to the heading that the address names, on the page that is shown. */
function jump() {
  if (location.hash) main.querySelector('#' + CSS.escape(decodeURIComponent(location.hash.slice(1))))?.scrollIntoView();
}

// --- The live connection.

/** @type {EventSource|null} */
let source = null;
let lastHeard = 0;
/** @type {any[]} */
let fresh = [];
let dirty = false;

function connect() {
  source?.close();
  if (document.hidden) return;
  source = new EventSource('/api/v1/live');
  source.addEventListener('snapshot', (e) => { app.state = plain(JSON.parse(e.data)); heard(); });
  source.addEventListener('patch', (e) => { if (app.state) app.state = mergePatch(app.state, JSON.parse(e.data)); heard(); });
  source.addEventListener('alive', heard);
  source.addEventListener('log', (e) => {
    const entry = JSON.parse(e.data);
    app.log.push(entry);
    if (app.log.length > 500) app.log.splice(0, app.log.length - 500);
    fresh.push(entry);
    schedule();
  });
  source.onerror = () => { if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(connect, 2000); } };
}

/** Names are anybody's: a group that is called constructor is no function. @param {any} state */
function plain(state) {
  for (const k of ['topics', 'groups', 'streams']) if (state[k]) Object.setPrototypeOf(state[k], null);
  return state;
}

function heard() { lastHeard = Date.now(); schedule(); }

function schedule() {
  if (dirty) return;
  dirty = true;
  requestAnimationFrame(() => {
    dirty = false;
    status();
    if (app.paused || !app.state) return;
    const entries = fresh;
    fresh = [];
    page.update?.(app.state, entries);
  });
}

/** Old numbers never look live. */
function status() {
  const age = Date.now() - lastHeard;
  const stale = lastHeard > 0 && age > 4000;
  document.body.classList.toggle('stale', stale);
  const f = byId('fresh');
  if (!lastHeard) put(f, 'connecting…');
  else if (stale) put(f, `no answer since ${clock(lastHeard)}`);
  else if (app.paused) put(f, `paused at ${clock(app.state.time)}`);
  else put(f, 'live');
  attr(f, 'class', stale ? 'bad' : app.paused ? 'warn' : 'ok');
  if (!app.state) return;
  changes();
  const s = app.state;
  const problem = byId('problem');
  put(problem, s.cluster.error || '');
  problem.hidden = !s.cluster.error;
  const mode = byId('mode');
  put(mode, s.mode === 'simulated' ? 'SIMULATED' : s.mode === 'live' ? 'live events' : 'external cluster');
  attr(mode, 'class', 'chip ' + (s.mode === 'simulated' ? 'sim' : ''));
  attr(mode, 'title', `${s.version}; engine: ${s.engine}. ${s.note || ''}`);
}
setInterval(status, 1000);

document.addEventListener('visibilitychange', () => {
  if (document.hidden) { source?.close(); source = null; } else connect();
});

// --- Keys, theme, pause.

function pause() {
  app.paused = !app.paused;
  byId('pause').setAttribute('aria-pressed', String(app.paused));
  put(byId('pause'), app.paused ? 'Resume' : 'Pause');
  schedule();
}
byId('pause').addEventListener('click', pause);

function setTheme(/** @type {string} */ t) {
  document.documentElement.style.colorScheme = t === 'auto' ? 'light dark' : t;
  document.documentElement.dataset.theme = t;
  try { localStorage.setItem('weir-theme', t); } catch { /* a private window keeps nothing */ }
  window.dispatchEvent(new Event('themechange'));
}
let theme = 'auto';
try { theme = localStorage.getItem('weir-theme') || 'auto'; } catch { /* as above */ }
setTheme(theme);
byId('theme').addEventListener('click', () => {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const now = document.documentElement.dataset.theme === 'auto' ? (dark ? 'dark' : 'light') : document.documentElement.dataset.theme;
  setTheme(now === 'dark' ? 'light' : 'dark');
});

/** Moves the focus between rows: to the first link or button of each. @param {number} by */
function step(by) {
  const rows = /** @type {HTMLElement[]} */ ([...main.querySelectorAll('.rows tbody tr')].map((tr) => tr.querySelector('a, button')).filter((x) => x && x.checkVisibility()));
  if (!rows.length) return false;
  const at = rows.findIndex((x) => x.closest('tr')?.contains(document.activeElement));
  const to = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + by))];
  to.focus();
  return true;
}

document.addEventListener('keydown', (e) => {
  const t = /** @type {HTMLElement} */ (e.target);
  if (e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(t.tagName) || byId('dialog').hasAttribute('open')) return;
  if (e.key === 'j' || e.key === 'k') { if (step(e.key === 'j' ? 1 : -1)) e.preventDefault(); return; }
  if (e.key === '/') { const f = /** @type {HTMLElement|null} */ (main.querySelector('input[type=search]')); if (f) { f.focus(); e.preventDefault(); } }
  if (e.key === ' ' && !/^(A|BUTTON|SUMMARY|CANVAS)$/.test(t.tagName)) { pause(); e.preventDefault(); }
  if (e.key === '?') toast('/ filter · j and k rows · Enter open · space pause · 1 to 9 pages');
  const n = Number(e.key);
  const tab = n >= 1 && byId('nav').children[n - 1];
  if (tab) app.navigate(tab.getAttribute('href') || '/');
});

for (const [href, text] of tabs) byId('nav').appendChild(el('a', { href }, text));
// Learn comes first until the first station is done.
app.api('/learn').then((a) => { if (!a.stations.some((/** @type {any} */ s) => s.done)) byId('nav').prepend(/** @type {Node} */ (byId('nav').querySelector('[href="/learn"]'))); }).catch(() => { /* it stays where it is */ });
fetch('/api/v1/log?limit=200').then((r) => r.json()).then((l) => {
  const ids = new Set(app.log.map((e) => e.id));
  app.log = l.entries.filter((/** @type {any} */ e) => !ids.has(e.id)).concat(app.log);
  fresh = [];
  fresh = app.log.slice();
  schedule();
}).catch(() => { /* the live connection says what is wrong */ });
explain([main, byId('dialog')], app.api);
connect();
show();
