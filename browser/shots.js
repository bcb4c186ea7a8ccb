// Takes the screenshots of the documents, from the running program, in both themes:
//
//   go build -o /tmp/weir-bin ./cmd/weir && cd browser && npm ci && WEIR_BIN=/tmp/weir-bin npm run shots
//
// Look at them before you commit them.

import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startBrowser, startWeir, openTab } from './suite/weir.js';

/** A picture: the page, and what has to be on it first. */
const pictures = [
  { name: 'overview', path: '/', ready: '.stream .lane .flag-name', settle: 20_000 },
  { name: 'messages', path: '/topics/bluesky-events/messages', ready: '.messages tbody tr .expand', settle: 500 },
  { name: 'group', path: '/groups/weir-bluesky-counter', ready: '.lane .flag-name', settle: 2000 },
  { name: 'learn', path: '/learn', ready: 'main h1', settle: 2000 },
  { name: 'station', path: '/learn/1', ready: 'main h1', settle: 2000 },
  { name: 'exercise', path: '/exercises/survive', ready: 'main h1', settle: 500 },
];

const to = fileURLToPath(new URL('../docs/screenshots/', import.meta.url));
mkdirSync(to, { recursive: true });
const wanted = process.argv.slice(2);
const weir = await startWeir({ rate: 800 });
const browser = await startBrowser();
try {
  for (const theme of /** @type {Array<'light'|'dark'>} */ (['light', 'dark'])) {
    for (const p of pictures) {
      if (wanted.length > 0 && !wanted.includes(p.name)) continue;
      const tab = await openTab(browser, weir.base, p.path, { viewport: { width: 1440, height: 900 }, colorScheme: theme });
      await tab.page.waitForSelector(p.ready);
      await tab.page.waitForTimeout(p.settle);
      await tab.page.screenshot({ path: `${to}${p.name}-${theme}.png` });
      if (tab.wrong.length > 0) throw new Error(`${p.path}: ${tab.wrong.join('\n')}`);
      await tab.close();
    }
  }
} finally {
  await browser.close();
  await weir.stop();
}
