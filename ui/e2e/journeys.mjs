// What people come for, from the sign-in on. Each journey has a browser context of its own and asserts what it saw.
import assert from 'node:assert/strict';
import { ask } from './ask.mjs';
import { more } from './journeys-more.mjs';

async function failedCallIsExplained({ context, url, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.getByRole('link', { name: 'Calls', exact: true }).click();
  await page.getByRole('combobox', { name: 'Outcome' }).click();
  await page.getByRole('option', { name: 'busy' }).click();
  const first = page.getByRole('table').getByRole('link').first();
  await page.waitForURL(/outcome=busy/);
  await page.getByRole('cell', { name: /busy 4/ }).first().waitFor();
  await first.click();
  const why = await page.locator('[data-why]').innerText();
  assert.match(why, /^The called party was busy \(486\)\./);
  // The link can be pasted into a ticket.
  const other = await context.newPage();
  await other.goto(page.url());
  assert.equal(await other.locator('[data-why]').innerText(), why);
  // Nothing of whom we buy from, or at what price.
  const text = await page.locator('main').innerText();
  assert.doesNotMatch(text, /vendor|alpha|beta|gamma|delta|margin|cost/i);
  assert.match(text, /Route decision/);
  const leak = await ask(page, 'GET', '/api/v1/calls?limit=1&expand=legs,route,rating');
  assert.doesNotMatch(JSON.stringify(leak.data), /vnd_|vtk_|"buy":\{/);
  void url;
}

async function aFailoverSaysWhichRouteRefused({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'admin');
  // Gamma refuses with 503, another one carries the call.
  let id;
  for (let tries = 0; tries < 60 && !id; tries += 1) {
    const calls = await ask(page, 'GET', '/api/v1/admin/calls?limit=200&outcome=answered');
    id = calls.data.find((c) => (c.route_rank ?? 0) > 1)?.id;
    if (!id) await page.waitForTimeout(500);
  }
  assert.ok(id, 'no failover');
  await page.goto(new URL(`/admin/calls/${id}`, page.url()).href);
  const why = await page.locator('[data-why]').innerText();
  assert.match(why, /Route \d carried it\. Before, route 1 (refused with 503|did not answer in time)/);
  await page.getByRole('button', { name: 'Decide again' }).click();
  await page.getByText('the same decision').waitFor();
  await page.getByText('Cost, the sum').waitFor();
}

async function aNumberIsRouted({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await page.getByRole('textbox', { name: 'To' }).fill('+442071234567');
  await page.getByRole('button', { name: 'Where would it go?' }).click();
  await page.getByText(/routes, in this order/).waitFor();
  assert.match(page.url(), /to=%2B442071234567/);
  await page.getByRole('textbox', { name: 'To' }).fill('+1900555');
  await page.getByRole('button', { name: 'Where would it go?' }).click();
  await page.getByText(/Refused: /).waitFor();
}

async function aDeckIsUploadedLookedAtPutIntoForceAndRolledBack({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'admin');
  const made = await ask(page, 'POST', '/api/v1/admin/rate-decks', { name: `Journey ${Date.now()}`, kind: 'az' });
  const id = made.data.id;
  const upload = async (rate) => {
    await page.goto(new URL(`/admin/decks/${id}`, page.url()).href);
    await page.locator('input[type=file]').setInputFiles({ name: 'prices.csv', mimeType: 'text/csv', buffer: Buffer.from(`Prefix,Rate,Increment\n44,${rate},60/60\n4420,0.02,60/60\n`) });
    await page.getByRole('button', { name: 'What would it change?' }).click();
    await page.locator('[data-report]').waitFor();
    return page.locator('[data-report]').innerText();
  };
  assert.match(await upload('0.01'), /2 prices: 2 new/);
  await page.getByRole('button', { name: 'Keep as a version' }).click();
  await page.getByRole('button', { name: 'Put into force' }).click();
  await page.locator('.w-state').filter({ hasText: /●in force/ }).waitFor();
  assert.match(await upload('0.015'), /1 dearer/);
  await page.getByRole('button', { name: 'Keep as a version' }).click();
  await page.waitForURL(/\/2$/);
  await page.getByRole('button', { name: 'Put into force' }).click();
  await page.locator('.w-state').filter({ hasText: /●in force/ }).waitFor();
  await page.goto(new URL(`/admin/decks/${id}/1`, page.url()).href);
  await page.getByRole('button', { name: 'Go back to version 1' }).click();
  await page.locator('.w-state').filter({ hasText: /●in force/ }).waitFor();
  const now = await ask(page, 'GET', `/api/v1/admin/rate-decks/${id}`);
  assert.equal(now.data.active_version, 1);
}

const HOSTILE = '<img src=x onerror="window.__xss=1"><script>window.__xss=1</script>';
async function textsOfUsersStayTexts({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'admin');
  const names = [HOSTILE, '‮مرحبا 📞‬', `javascript:window.__xss=1`];
  for (const [i, name] of names.entries()) {
    const made = await ask(page, 'POST', '/api/v1/admin/vendors', { slug: `text-${Date.now()}-${i}`, name });
    if (made.status === 422) continue;
    assert.equal(made.status, 201, JSON.stringify(made));
    await page.goto(new URL(`/admin/vendors/${made.data.id}`, page.url()).href);
    await page.getByRole('heading', { level: 1 }).waitFor();
    assert.equal(await page.getByRole('heading', { level: 1 }).textContent(), made.data.name);
    await page.goto(new URL('/admin/vendors?sort=-created_at', page.url()).href);
    await page.getByRole('table').waitFor();
    await page.getByRole('cell').filter({ hasText: made.data.name }).first().waitFor();
    assert.equal(await page.evaluate(() => window.__xss), undefined, name);
    assert.equal((await ask(page, 'DELETE', `/api/v1/admin/vendors/${made.data.id}`)).status, 200);
  }
  // In the address too.
  await page.goto(new URL(`/admin/calls?called=${encodeURIComponent(HOSTILE)}`, page.url()).href);
  await page.getByRole('alert').or(page.getByText('Nothing fits')).first().waitFor();
  assert.equal(await page.evaluate(() => window.__xss), undefined);
}

async function noPageRunsScriptsOfOthersAndNoTokenIsInReach({ context, url, signIn }) {
  const page = await context.newPage();
  const addresses = [];
  page.on('request', (r) => addresses.push(r.url()));
  await signIn(page, 'console');
  // An inline script is refused by the policy of the page.
  const ran = await page.evaluate(() => {
    const s = document.createElement('script');
    s.textContent = 'window.__inline = 1';
    document.head.append(s);
    return window.__inline;
  });
  assert.equal(ran, undefined);
  assert.equal(await page.evaluate(() => document.cookie), '');
  const foreign = addresses.filter((a) => !a.startsWith(url));
  assert.deepEqual(foreign, []);
  assert.deepEqual(addresses.filter((a) => /access_token|id_token|eyJ/.test(a)), []);
}

async function anEndedSessionLeadsToTheDoorAndBack({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.getByRole('link', { name: 'Trunks', exact: true }).click();
  await page.getByRole('table').waitFor();
  await context.clearCookies();
  await page.getByRole('link', { name: 'Numbers', exact: true }).click();
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('link', { name: 'customer-owner', exact: true }).click();
  await page.waitForURL(/\/console\/numbers/);
  await page.getByRole('table').waitFor();
}

async function troubleHasAState({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  // An API that fails, then one that answers late, then none, then an empty tenant.
  const answer = (status, body) => ({ status, contentType: 'application/json', body: JSON.stringify(body) });
  const meta = { timestamp: '2026-01-01T00:00:00.000Z', request_id: 'req_test' };
  let mode = 'broken';
  await page.route('**/api/v1/numbers?*', async (route) => {
    if (mode === 'broken') return route.fulfill(answer(500, { success: false, error: { code: 'internal', message: 'It broke.' }, meta }));
    if (mode === 'away') return route.abort();
    return route.fulfill(answer(200, { success: true, data: [], meta: { ...meta, has_more: false, next_cursor: null } }));
  });
  await page.getByRole('link', { name: 'Numbers', exact: true }).click();
  await page.getByRole('alert').getByText('req_test').waitFor();
  mode = 'empty';
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('You have no number yet.').waitFor();
  mode = 'away';
  await page.reload();
  await page.getByText('The API cannot be reached.').waitFor();
}

async function whatAnotherRouteCarriedIsNoProblem({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  const answered = (await ask(page, 'GET', '/api/v1/calls?limit=1&outcome=answered&expand=legs')).data[0];
  assert.ok(answered, 'no answered call');
  // The first route refused and the second one carried it; and one that nobody carried.
  const carried = { ...answered, route_rank: 2 };
  const failed = { ...answered, id: answered.id.replace(/.$/, (c) => (c === '0' ? '1' : '0')), outcome: 'failed', sip_code: 503, duration_ms: 0 };
  await page.route('**/api/v1/calls?*', async (route) => {
    const body = await (await route.fetch()).json();
    await route.fulfill({ contentType: 'application/json', body: JSON.stringify({ ...body, data: [carried, failed] }) });
  });
  await page.reload();
  const links = page.getByRole('region', { name: 'Newest problems' }).getByRole('link');
  await links.first().waitFor();
  assert.deepEqual(await links.evaluateAll((all) => all.map((a) => a.getAttribute('href').split('/').at(-1))), [failed.id]);
}

async function aSecretIsShownOnceAndAKeyIsRevokedByItsName({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  const name = `journey-${Date.now()}`;
  await page.getByRole('link', { name: 'API keys' }).click();
  await page.getByRole('button', { name: 'New key' }).click();
  const form = page.getByRole('dialog', { name: 'New key' });
  await form.getByRole('textbox', { name: 'Name' }).fill(name);
  const may = form.getByRole('combobox', { name: 'What it may' });
  await may.fill('calls:read');
  await may.press('Enter');
  await may.press('Tab');
  await form.getByRole('button', { name: 'Save' }).click();
  const shown = page.getByRole('dialog', { name: 'Shown once' });
  const secret = (await shown.locator('pre').innerText()).trim();
  assert.match(secret, /^wk_test_/);
  await shown.getByRole('button', { name: 'I have it' }).click();
  await page.getByRole('cell', { name }).waitFor();
  assert.doesNotMatch(await page.content(), new RegExp(secret));
  const row = page.getByRole('row').filter({ hasText: name });
  await row.getByRole('button', { name: 'Revoke' }).click();
  const sure = page.getByRole('dialog', { name: 'Revoke the key?' });
  assert.ok(await sure.getByRole('button', { name: 'Revoke' }).isDisabled());
  await sure.getByRole('textbox').fill(name);
  await sure.getByRole('button', { name: 'Revoke' }).click();
  await row.getByText('revoked').waitFor();
}

/** Name and act of each journey. */
export const journeys = [
  ['a failed call is found and explained', failedCallIsExplained],
  ['a failover says which route refused', aFailoverSaysWhichRouteRefused],
  ['a number is routed without a call', aNumberIsRouted],
  ['a deck is uploaded, looked at, put into force and rolled back', aDeckIsUploadedLookedAtPutIntoForceAndRolledBack],
  ['texts of users stay texts (T-WEB-01)', textsOfUsersStayTexts],
  ['no page runs scripts of others and no token is in reach (T-WEB-01)', noPageRunsScriptsOfOthersAndNoTokenIsInReach],
  ['an ended session leads to the door and back', anEndedSessionLeadsToTheDoorAndBack],
  ['trouble has a state', troubleHasAState],
  ['what another route carried is no problem', whatAnotherRouteCarriedIsNoProblem],
  ['a secret is shown once, a key is revoked by its name', aSecretIsShownOnceAndAKeyIsRevokedByItsName],
  ...more,
];
