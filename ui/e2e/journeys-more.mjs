// Further journeys: webhooks with a receiver of their own, roles, prices, money, trunks.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { ask } from './ask.mjs';

/** A receiver of webhooks on this machine: answers as it is told, keeps what came. */
function receiver() {
  const came = [];
  const state = { status: 500 };
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => { body += part; });
    request.on('end', () => {
      came.push({ body, signature: request.headers['warp-signature'] });
      response.writeHead(state.status).end('<b>told</b>');
    });
  });
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done({ came, state, url: `http://127.0.0.1:${server.address().port}/hook`, close: () => server.close() })));
}

async function aWebhookIsMadeTestedFailsAndIsReplayed({ context, signIn, check }) {
  const hook = await receiver();
  try {
    const page = await context.newPage();
    await signIn(page, 'console');
    const name = `journey-${Date.now()}`;
    await page.getByRole('link', { name: 'Webhooks', exact: true }).click();
    await page.getByRole('button', { name: 'New webhook' }).click();
    const form = page.getByRole('dialog', { name: 'New webhook' });
    await form.getByRole('textbox', { name: 'Name' }).fill(name);
    await form.getByRole('textbox', { name: 'URL' }).fill(hook.url);
    const events = form.getByRole('combobox', { name: 'Events' });
    await events.fill('key.created');
    await events.press('Enter');
    await events.press('Tab');
    await check(page, 'console-webhooks-form');
    await form.getByRole('button', { name: 'Save' }).click();
    const shown = page.getByRole('dialog', { name: 'Shown once' });
    assert.match(await shown.locator('pre').innerText(), /^whsec_|^[A-Za-z0-9_-]{20,}/);
    await check(page, 'console-secret');
    await shown.getByRole('button', { name: 'I have it' }).click();
    await page.getByRole('link', { name }).click();
    await page.getByRole('button', { name: 'Send a test event' }).click();
    // The receiver breaks: the delivery waits for its next try, with the answer that came.
    await page.getByRole('table', { name: 'Deliveries' }).getByRole('link').first().click();
    await page.getByText('HTTP 500').waitFor();
    await page.getByText('<b>told</b>').waitFor();
    await check(page, 'console-delivery');
    // It is mended, and the delivery sent again.
    hook.state.status = 200;
    const before = hook.came.length;
    await page.getByRole('button', { name: 'Send again' }).click();
    for (let tries = 0; tries < 60 && hook.came.length === before; tries += 1) await page.waitForTimeout(250);
    assert.ok(hook.came.length > before, 'nothing came again');
    assert.match(hook.came.at(-1).signature, /^t=\d+,v1=[0-9a-f]{64}/);
    await page.reload();
    await page.getByText('delivered').waitFor();
    await page.getByRole('link', { name: 'open it' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    const sure = page.getByRole('dialog', { name: 'Delete the webhook?' });
    await sure.getByRole('textbox').fill(name);
    await sure.getByRole('button', { name: 'Delete' }).click();
    await page.waitForURL(/\/console\/webhooks$/);
  } finally {
    hook.close();
  }
}

async function aReaderSeesNoButtonThatChanges({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console', 'customer-read_only');
  const session = await ask(page, 'GET', '/api/v1/session');
  assert.ok(!session.data.permissions.some((p) => p.endsWith(':write')));
  const menu = page.getByRole('navigation', { name: 'Pages' });
  await page.getByRole('link', { name: 'Trunks', exact: true }).click();
  await page.getByRole('table').getByRole('link').first().click();
  await page.getByText('For your PBX').waitFor();
  assert.equal(await page.getByRole('button', { name: /^(New|Add|Change|Delete|Remove)/ }).count(), 0);
  // What he may not read is not in the menu, and each entry of the menu is allowed.
  const seen = await menu.getByRole('link').allInnerTexts();
  assert.ok(seen.includes('Calls') && !(seen.includes('API keys') && !session.data.permissions.includes('keys:read')), seen.join());
}

async function aDearerDeckPricesTheNextCallAnewAndGoesBack({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'admin');
  const decks = await ask(page, 'GET', '/api/v1/admin/rate-decks?limit=200');
  const deck = decks.data.find((d) => d.name === 'Retail A-Z');
  const before = deck.active_version;
  const price = async () => {
    await page.goto(new URL('/admin/route', page.url()).href);
    await page.getByRole('combobox', { name: 'Trunk' }).waitFor();
    await page.getByRole('textbox', { name: 'To' }).fill('+442071234567');
    await page.getByRole('button', { name: 'Where would it go?' }).click();
    return (await page.getByText(/ USD a minute, /).innerText()).split(' ')[0];
  };
  const old = await price();
  await page.goto(new URL(`/admin/decks/${deck.id}`, page.url()).href);
  await page.locator('input[type=file]').setInputFiles({ name: 'dearer.csv', mimeType: 'text/csv', buffer: Buffer.from('Prefix,Rate,Increment\n442071234,0.7654,60/60\n') });
  await page.getByRole('combobox', { name: 'It is' }).click();
  await page.getByRole('option', { name: 'changes to the list' }).click();
  await page.getByRole('button', { name: 'What would it change?' }).click();
  await page.locator('[data-report]').waitFor();
  await page.getByRole('button', { name: 'Keep as a version' }).click();
  await page.getByRole('button', { name: 'Put into force' }).click();
  const inForce = page.locator('.w-state').filter({ hasText: /●in force/ });
  await inForce.waitFor();
  const soon = async (wanted) => {
    for (let tries = 0; tries < 20; tries += 1) if ((await price()) === wanted) return;
    assert.equal(await price(), wanted);
  };
  await soon('0.7654');
  await page.goto(new URL(`/admin/decks/${deck.id}/${before}`, page.url()).href);
  await page.getByRole('button', { name: `Go back to version ${before}` }).click();
  await inForce.waitFor();
  await soon(old);
}

async function moneyIsToppedUpAndTheTopUpReversed({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'admin');
  await page.getByRole('link', { name: 'Accounts', exact: true }).click();
  await page.getByRole('table').getByRole('link').first().click();
  await page.getByRole('button', { name: 'Top up' }).click();
  const form = page.getByRole('dialog', { name: /^Top up/ });
  await form.getByRole('textbox', { name: 'Amount' }).fill('12.3400');
  await form.getByRole('textbox', { name: 'Why' }).fill('journey');
  await form.getByRole('button', { name: 'Top up' }).click();
  const row = page.getByRole('row').filter({ hasText: 'top up' }).first();
  await row.getByText('12.34 USD').waitFor();
  await row.getByRole('button', { name: 'Reverse' }).click();
  const back = page.getByRole('dialog', { name: /^Reverse/ });
  await back.getByRole('textbox', { name: 'Why' }).fill('journey back');
  await back.getByRole('button', { name: 'Reverse' }).click();
  await page.getByRole('row').filter({ hasText: 'reversal' }).first().waitFor();
}

async function aTrunkIsMadeAndTheApiRefusesAtTheField({ context, signIn, check }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.getByRole('link', { name: 'Trunks', exact: true }).click();
  await page.getByRole('button', { name: 'New trunk' }).click();
  const form = page.getByRole('dialog', { name: 'New trunk' });
  const name = `journey-${Date.now()}`;
  await form.getByRole('textbox', { name: 'Name' }).fill(name);
  await form.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { name, level: 1 }).waitFor();
  const addresses = page.getByRole('region', { name: 'Addresses that may call', exact: true });
  await addresses.getByRole('button', { name: 'Add' }).click();
  const add = page.getByRole('dialog', { name: 'Add an address' });
  await add.getByRole('textbox', { name: 'Address or network' }).fill('not an address');
  await add.getByRole('button', { name: 'Save' }).click();
  await add.getByRole('alert').waitFor();
  await check(page, 'console-form-refused');
  await add.getByRole('textbox', { name: 'Address or network' }).fill(`127.9.${Math.floor(Date.now() / 256) % 256}.${Date.now() % 256}`);
  await add.getByRole('button', { name: 'Save' }).click();
  await addresses.getByRole('button', { name: /^Remove 127\.9/ }).click();
  await addresses.getByRole('button', { name: /^Remove/ }).waitFor({ state: 'detached' });
  await page.getByRole('combobox', { name: 'PBX' }).click();
  await page.getByRole('option', { name: 'FreeSWITCH' }).click();
  await page.getByText(`<gateway name="${name}">`).waitFor();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  const sure = page.getByRole('dialog', { name: 'Delete the trunk?' });
  await sure.getByRole('textbox').fill(name);
  await sure.getByRole('button', { name: 'Delete' }).click();
  await page.waitForURL(/\/console\/trunks$/);
}

async function keysAreEnoughToFindACall({ context, signIn, check }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.keyboard.press('g');
  await page.keyboard.press('c');
  await page.getByRole('heading', { name: 'Calls', level: 1 }).waitFor();
  await page.getByRole('table').getByRole('link').first().waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.locator('[data-why]').waitFor();
  const id = page.url().split('/').at(-1);
  await page.keyboard.press('Control+k');
  await page.getByRole('textbox', { name: 'Page, id or number' }).fill('+12025550100');
  await check(page, 'console-palette');
  await page.keyboard.press('Enter');
  await page.waitForURL(/called=%2B12025550100/);
  await page.keyboard.press('Control+k');
  await page.getByRole('textbox', { name: 'Page, id or number' }).fill(id);
  await page.keyboard.press('Enter');
  await page.locator('[data-why]').waitFor();
}

async function aListIsSavedAsCsvWithItsFilter({ context, signIn }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.goto(new URL('/console/calls?outcome=answered', page.url()).href);
  await page.getByRole('table').getByRole('link').first().waitFor();
  const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'CSV' }).click()]);
  const parts = [];
  for await (const part of await saved.createReadStream()) parts.push(part);
  const lines = Buffer.concat(parts).toString('utf8').trim().split('\r\n');
  assert.match(lines[0], /^Set up,Direction,Caller,Called,Outcome/);
  assert.ok(lines.length > 1 && lines.slice(1).every((l) => l.includes('answered')), lines[1]);
}

/** From the list of calls in the air: of those that are answered one is hung up, and its record says by whom. */
async function aLiveCallIsHungUp({ context, signIn, check }) {
  for (const [portal, api, word] of [['console', '/api/v1', 'customer'], ['admin', '/api/v1/admin', 'operator']]) {
    const page = await (await context.browser().newContext({ viewport: { width: 1500, height: 900 }, reducedMotion: 'reduce' })).newPage();
    page.setDefaultTimeout(30_000);
    await signIn(page, portal);
    await page.getByRole('link', { name: 'Live calls', exact: true }).click();
    let ended = null;
    // Calls of the demo world last for seconds: one may end by itself while its reason is typed.
    for (let tries = 0; tries < 20 && !ended; tries += 1) {
      const [hungUp] = await Promise.all([
        page.waitForResponse((r) => r.url().endsWith('/hang-up')),
        (async () => {
          await page.getByRole('region', { name: 'Calls in the air' }).getByRole('button', { name: 'Hang up' }).first().click();
          const form = page.getByRole('dialog', { name: 'Hang up this call?' });
          await form.getByRole('textbox', { name: 'Why' }).fill('a journey');
          if (tries === 0) await check(page, `${portal}-hang-up`);
          await form.getByRole('button', { name: 'Hang up' }).click();
        })(),
      ]);
      if (hungUp.status() === 200) ended = (await hungUp.json()).data;
      else await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    }
    assert.equal(ended?.internal_code, word);
    let call = null;
    for (let tries = 0; tries < 60 && !call; tries += 1) {
      const seen = await ask(page, 'GET', `${api}/calls/${ended.id}`);
      if (seen.status === 200) call = seen.data;
      else await page.waitForTimeout(250);
    }
    assert.equal(call?.internal_code, word);
    if (portal === 'console') assert.doesNotMatch(await page.locator('main').innerText(), /vendor|alpha|beta|gamma|delta|cost so far/i);
    await page.context().close();
  }
}

/** From a call's page to the message that says why, and to what differs from the one before. */
async function aFailedCallIsReadInItsMessages({ context, signIn, check }) {
  const page = await context.newPage();
  await signIn(page, 'console');
  await page.goto(new URL('/console/calls?outcome=busy', page.url()).href);
  await page.getByRole('table').getByRole('link').first().click();
  await page.locator('[data-why]').waitFor();
  await page.getByRole('button', { name: 'Draw the messages' }).click();
  const ladder = page.getByRole('region', { name: 'Ladder' });
  await ladder.waitFor();
  // Its own side only: two lanes.
  assert.equal(await ladder.locator('.w-lane').count(), 2);
  await check(page, 'console-ladder');
  await ladder.getByRole('button', { name: /486 / }).first().click();
  const message = page.getByRole('dialog', { name: /486/ });
  assert.match(await message.innerText(), /^SIP\/2\.0 486 /m);
  await message.getByRole('button', { name: 'What differs from the one before?' }).click();
  await message.getByText('+ SIP/2.0 486', { exact: false }).waitFor();
  await check(page, 'console-message');
  await page.keyboard.press('Escape');
  await page.getByRole('switch', { name: 'As a table' }).click();
  await page.getByRole('region', { name: 'Messages', exact: true }).getByRole('table').getByText('INVITE SDP').first().waitFor();
  await check(page, 'console-ladder-table');
}

export const more = [
  ['a live call is hung up', aLiveCallIsHungUp],
  ['a failed call is read in its messages', aFailedCallIsReadInItsMessages],
  ['a webhook is made, tested, fails and is replayed', aWebhookIsMadeTestedFailsAndIsReplayed],
  ['a reader sees no button that changes', aReaderSeesNoButtonThatChanges],
  ['a dearer deck prices the next call anew, and goes back', aDearerDeckPricesTheNextCallAnewAndGoesBack],
  ['money is topped up and the top-up reversed', moneyIsToppedUpAndTheTopUpReversed],
  ['a trunk is made, and the API refuses at the field', aTrunkIsMadeAndTheApiRefusesAtTheField],
  ['keys are enough to find a call', keysAreEnoughToFindACall],
  ['a list is saved as CSV with its filter', aListIsSavedAsCsvWithItsFilter],
];
