// Walks both portals of a running `warp dev`: signs in, opens every page in light, dark and (where people have it with them) at 360 px,
// asks axe, takes a screenshot, and fails for each thing that the console of the browser complains of. Then the journeys of journeys.mjs.
//   node walk.mjs URL OUT_DIRECTORY [PART…]     PART: console, admin, journeys, or a part of a journey's name; all when absent
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { withBrowser } from './browser.mjs';
import { journeys } from './journeys.mjs';

const [url, out, ...parts] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
mkdirSync(out, { recursive: true });

/** Pages of a portal: the path, what shows that it is there, and whether it must fit 360 px. */
const PORTALS = {
  console: {
    person: 'customer-owner', api: '/api/v1',
    pages: [
      ['/', 'Newest calls', true], ['/calls', 'role=table', true], ['/live', 'in the air'], ['/trunks', 'role=table'], ['/numbers', 'role=table'], ['/route', 'A call to think through'], ['/billing', 'Limits'],
      ['/webhooks', 'Webhooks'], ['/events', 'Events'], ['/keys', 'role=table'], ['/users', 'role=table'], ['/audit', 'role=table'],
    ],
  },
  admin: {
    person: 'operator-admin', api: '/api/v1/admin',
    pages: [
      ['/', 'By vendor', true], ['/calls', 'role=table', true], ['/live', 'in the air'], ['/refused', 'Refused sources'], ['/route', 'A call to think through'], ['/customers', 'role=table'], ['/trunks', 'role=table'], ['/numbers', 'role=table'], ['/vendors', 'role=table'],
      ['/decks', 'role=table'], ['/partitions', 'role=table'], ['/exclusions', 'No vendor is excluded'], ['/accounts', 'role=table'], ['/ledger', 'Ledger'], ['/leases', 'Leases'],
      ['/events', 'Events'], ['/audit', 'role=table'], ['/operators', 'role=table'], ['/keys', 'role=table'],
    ],
  },
};
/** Pages of single things: the list that leads there, and what shows that the page is there. */
const DETAILS = {
  console: [['calls', 'What happened', true], ['trunks', 'For your PBX'], ['numbers', 'Where it leads']],
  admin: [['calls', 'What happened', true], ['customers', 'Billing accounts'], ['vendors', 'Calls that it brings'], ['decks', 'Versions'], ['accounts', 'Balance']],
};

const faults = [];
let views = 0;

/** Signs in by the real way: the door of the portal, the issuer, back. */
export async function signIn(page, portal, person = PORTALS[portal].person) {
  await page.goto(`${url}/${portal}/`);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('link', { name: person, exact: true }).click();
  await page.getByRole('navigation', { name: 'Pages' }).waitFor({ state: 'attached' });
}

/** Waits until what shows the page is there and nothing loads any more. */
async function settled(page, shows) {
  const place = shows.startsWith('role=') ? page.getByRole(shows.slice(5)).first() : page.getByText(shows).first();
  await place.waitFor();
  await page.waitForFunction(() => !document.querySelector('[aria-busy=true]'));
  await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => null))));
}

async function check(page, name) {
  views += 1;
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  for (const v of found.violations) faults.push(`${name}: axe ${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')} ${n.failureSummary?.split('\n')[1] ?? ''}`).join(' | ')}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 1) faults.push(`${name}: ${wide} px wider than the screen`);
  await page.screenshot({ path: join(out, `${name}.png`) });
}

async function walk(browser, portal) {
  const { pages } = PORTALS[portal];
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', bypassCSP: false });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  // The first question of who one is is answered with 401 before the sign-in: that is no fault.
  let signedIn = false;
  page.on('console', (m) => { if (signedIn && ['error', 'warning'].includes(m.type())) faults.push(`${portal} ${page.url()}: console: ${m.text()}`); });
  page.on('pageerror', (e) => faults.push(`${portal} ${page.url()}: ${e.message}`));
  page.on('response', (r) => { if (signedIn && r.status() >= 400) faults.push(`${portal} ${page.url()}: ${r.status()} of ${r.url()}`); });
  await signIn(page, portal);
  signedIn = true;
  const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie);
  if (/eyJ|wk_|warp-(customer|operator)/.test(stored)) faults.push(`${portal}: a script can read ${stored}`);
  const seen = [...pages];
  for (const [list, shows, narrow] of DETAILS[portal]) {
    await page.goto(`${url}/${portal}/${list}`);
    const link = page.getByRole('table').first().getByRole('link').first();
    await link.waitFor();
    seen.push([(await link.getAttribute('href')).replace(`/${portal}`, ''), shows, narrow]);
  }
  for (const [path, shows, narrow] of seen) {
    const name = `${portal}${path.replace(/_[0-9a-z]{26}/g, '').replaceAll('/', '-').replace(/-$/, '-home')}`;
    await page.emulateMedia({ colorScheme: 'light' });
    await page.goto(`${url}/${portal}${path}`);
    await settled(page, shows).catch((e) => faults.push(`${name}: ${e.message.split('\n')[0]}`));
    await check(page, `${name}-light`);
    await page.emulateMedia({ colorScheme: 'dark' });
    await check(page, `${name}-dark`);
    if (narrow) {
      await page.setViewportSize({ width: 360, height: 740 });
      await settled(page, shows).catch((e) => faults.push(`${name}: at 360 px: ${e.message.split('\n')[0]}`));
      await check(page, `${name}-360`);
      await page.setViewportSize({ width: 1280, height: 800 });
    }
  }
  await context.close();
}

const wanted = parts.length ? parts : ['console', 'admin', 'journeys'];
await withBrowser(async (browser) => {
  for (const portal of ['console', 'admin']) if (wanted.includes(portal)) await walk(browser, portal);
  {
    for (const [name, act] of journeys) {
      if (!wanted.some((part) => part === 'journeys' || name.includes(part))) continue;
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce' });
      context.setDefaultTimeout(30_000);
      try {
        await act({ context, url, signIn, check });
        console.log(`journey: ${name}`);
      } catch (e) {
        faults.push(`journey ${name}: ${e.stack}`);
        for (const page of context.pages()) await page.screenshot({ path: join(out, `failed-${name.replace(/\W+/g, '-')}.png`) }).catch(() => null);
      }
      await context.close();
    }
  }
});
for (const fault of faults) console.error(fault);
console.log(`${views} views, ${faults.length} faults`);
process.exit(faults.length ? 1 : 0);
