// Takes the screenshots of the documents, from the running program, in both themes:
//
//   go build -o /tmp/weir-bin ./cmd/weir && cd browser && npm ci && WEIR_BIN=/tmp/weir-bin npm run shots
//
// The picture of an exercise shows a report, so python3 needs interop/clients/requirements.txt.
// Look at the pictures before you commit them. Names after "shots --" take only these.

import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startBrowser, startWeir, openTab } from './suite/weir.js';

/** A picture: the page, what has to be on it first, what to open, and how long to wait then. */
const pictures = [
  { name: 'overview', path: '/', ready: '.stream .lane .flag-name', settle: 20_000 },
  { name: 'messages', path: '/topics/bluesky-events/messages', ready: '.messages tbody tr .expand', open: '.messages tbody tr:nth-child(2) .expand', settle: 1000 },
  { name: 'group', path: '/groups/weir-bluesky-counter', ready: '.lane .flag-name', settle: 2000 },
  { name: 'learn', path: '/learn', ready: 'main h1', settle: 2000 },
  { name: 'station', path: '/learn/1', ready: 'main h1', settle: 2000 },
  { name: 'exercise', path: '/exercises/survive', ready: 'main h1', settle: 2000 },
];

const to = fileURLToPath(new URL('../docs/screenshots/', import.meta.url));
mkdirSync(to, { recursive: true });
const wanted = process.argv.slice(2);
// In the default directory of a home of its own, so that no command on a page needs --data.
const home = mkdtempSync(join(tmpdir(), 'weir-shots-'));
const weir = await startWeir({ rate: 800, home, data: '' });
const browser = await startBrowser();
try {
  if (wanted.length === 0 || wanted.includes('exercise')) {
    const cwd = fileURLToPath(new URL('../interop/clients/', import.meta.url));
    await promisify(execFile)(resolve(String(process.env.WEIR_BIN)), ['exercise', 'check', 'survive', '--', 'python3', 'first_consumer.py'], { cwd, env: { PATH: process.env.PATH, HOME: home } });
  }
  for (const theme of /** @type {Array<'light'|'dark'>} */ (['light', 'dark'])) {
    for (const p of pictures) {
      if (wanted.length > 0 && !wanted.includes(p.name)) continue;
      const tab = await openTab(browser, weir.base, p.path, { viewport: { width: 1440, height: 900 }, colorScheme: theme });
      await tab.page.waitForSelector(p.ready);
      if (p.open) await tab.page.click(p.open);
      await tab.page.waitForTimeout(p.settle);
      await tab.page.screenshot({ path: `${to}${p.name}-${theme}.png` });
      if (tab.wrong.length > 0) throw new Error(`${p.path}: ${tab.wrong.join('\n')}`);
      await tab.close();
    }
  }
} finally {
  await browser.close();
  await weir.stop();
  rmSync(home, { recursive: true, force: true });
}
