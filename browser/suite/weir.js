// The program under test, and a browser to look at it with.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, existsSync, mkdirSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

const binary = process.env.WEIR_BIN ? resolve(process.env.WEIR_BIN) : '';
if (!binary || !existsSync(binary)) throw new Error('WEIR_BIN has to name the program: go build -o /tmp/weir-bin ./cmd/weir && WEIR_BIN=/tmp/weir-bin npm test');

/** Where screenshots are left, empty for nowhere. */
export const shots = process.env.WEIR_SHOTS ? resolve(process.env.WEIR_SHOTS) : '';
if (shots) mkdirSync(shots, { recursive: true });

/** The engine of `weir up` where a test does not choose: WEIR_ENGINE=apache runs a suite on Apache Kafka. */
export const engine = process.env.WEIR_ENGINE || 'embedded';
/** The number of the first broker: Apache Kafka's begin at 1. */
export const first = engine === 'apache' ? 1 : 0;

/**
 * Starts `weir up` on simulated events, with ports and data of its own; with kafka,
 * the pages of a cluster that runs already. More are flags of the command. Without data it takes the default
 * directory of its home.
 */
export async function startWeir({ rate = 300, listen = '127.0.0.1:0', data = mkdtempSync(join(tmpdir(), 'weir-browser-')), home = data, engine: on = engine, kafka = '', more = /** @type {string[]} */ ([]), patience = on === 'apache' ? 600_000 : 180_000 } = {}) {
  const args = kafka ? ['ui', '--kafka', kafka] : ['up', '--source', 'simulated', '--rate', String(rate), '--ports', '0', '--engine', on];
  // The brokers' jars are fetched once, into the cache of whoever runs this.
  const cache = on === 'apache' ? { XDG_CACHE_HOME: process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), KAFKA_HOME: process.env.KAFKA_HOME, JAVA_HOME: process.env.JAVA_HOME } : {};
  const child = spawn(binary, [...args, ...(data ? ['--data', data] : []), '--listen', listen, ...more], { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH, HOME: home, ...cache } });
  let said = '';
  const ended = new Promise((done) => { child.once('exit', done); });
  const base = await new Promise((done, fail) => {
    const timer = setTimeout(() => { child.kill('SIGTERM'); fail(new Error(`no link to the pages within ${patience} ms:\n${said}`)); }, patience);
    child.stderr.on('data', (b) => {
      said += b;
      const m = /http:\/\/[0-9.]+:\d+/.exec(said);
      if (m) { clearTimeout(timer); done(m[0]); }
    });
    child.once('exit', (code) => { clearTimeout(timer); fail(new Error(`weir ended with ${code}:\n${said}`)); });
  });
  await until('the program to be ready and counting', async () => {
    const r = await fetch(base + '/api/v1/state');
    const s = await r.json();
    if (kafka) return Object.keys(s.topics).length > 0;
    return s.streams?.bluesky?.counted > 200 && s.streams?.wikipedia?.counted > 5;
  }, patience);
  return {
    base, data, pid: child.pid,
    signal: (/** @type {NodeJS.Signals} */ s) => child.kill(s),
    /** @param {boolean} [keep] */
    async stop(keep) {
      child.kill('SIGCONT');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
      await ended;
      clearTimeout(timer);
      if (!keep && data) rmSync(data, { recursive: true, force: true });
    },
    said: () => said,
  };
}

/** Waits until a condition holds, and says which did not. */
export async function until(what, condition, within = 120_000) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    try { if (await condition()) return; } catch (e) { last = e; }
    if (Date.now() > end) throw new Error(`waited ${within} ms for ${what}` + (last ? `: ${last}` : ''));
    await new Promise((done) => { setTimeout(done, 50); });
  }
}

export function startBrowser(extra = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', ...extra],
  });
}

/** A tab that remembers what went wrong in it. */
export async function openTab(browser, base, path, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, reducedMotion: 'reduce', baseURL: base, ...options });
  const page = await context.newPage();
  /** @type {string[]} */
  const wrong = [];
  page.on('console', (m) => { if (m.type() === 'error' || m.type() === 'warning') wrong.push(`${m.type()}: ${m.text()} (${m.location().url})`); });
  page.on('pageerror', (e) => wrong.push('exception: ' + e.stack));
  page.on('dialog', (d) => { wrong.push('a dialog opened: ' + d.message()); d.dismiss(); });
  if (path) await page.goto(path);
  return { page, wrong, close: () => context.close() };
}

/** Every page, and what shows that it has what it is for. */
export const pages = [
  { name: 'overview', path: '/', ready: '.stream .lane .flag-name' },
  { name: 'topics', path: '/topics', ready: 'td >> text=bluesky-events' },
  { name: 'topic', path: '/topics/bluesky-events', ready: 'th >> text=cleanup.policy' },
  { name: 'messages', path: '/topics/bluesky-events/messages', ready: '.messages tbody tr .expand' },
  { name: 'groups', path: '/groups', ready: 'td >> text=weir-bluesky-counter' },
  { name: 'group', path: '/groups/weir-bluesky-counter', ready: '.lane .flag-name' },
  { name: 'brokers', path: '/brokers', ready: '.broker >> text=alive' },
  { name: 'produce', path: '/produce?topic=bluesky-events', ready: '.pick-lanes .chip' },
  { name: 'verify', path: '/verify', ready: 'text=Run verify' },
  { name: 'learn', path: '/learn', ready: '.station-link' },
  { name: 'station', path: '/learn/6', ready: '.members li' },
  { name: 'exercises', path: '/exercises', ready: '.lab-card' },
  { name: 'exercise', path: '/exercises/count', ready: 'text=Not checked yet' },
];
