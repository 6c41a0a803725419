// The browser of the tests: Debian's Chromium by playwright-core, or the one that CHROMIUM names.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const PLACES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** Where the browser is; `undefined`: there is none. */
export function browserPath() {
  return PLACES.find((path) => path && existsSync(path));
}

/** Runs `act` with a browser that has a profile of its own. */
export async function withBrowser(act) {
  const home = mkdtempSync(join(tmpdir(), 'warp-ui-'));
  const browser = await chromium.launch({
    executablePath: browserPath(), headless: true, env: { ...process.env, HOME: home },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    return await act(browser);
  } finally {
    await browser.close();
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
}
