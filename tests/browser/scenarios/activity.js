// Settings change, and the audit record and the log tell of it as it happens.
import assert from 'node:assert/strict';
import { launch, turnTo, visit } from '../browser.js';

async function settings({ page, watch }) {
  await turnTo(page, 'settings');
  const field = page.getByLabel('Draining generations');
  watch.expect(400, '/v2/management/settings');
  await field.fill('99999');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText(/max_draining is 99999/).waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true', 'the message stands beside its field');
  await field.fill('16');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('The settings hold from now on.').waitFor();

  // A machine without a command for it says so in its own words.
  watch.expect(501, '/v2/management/reboot');
  await page.getByRole('button', { name: 'Reboot' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Reboot' }).click();
  await page.getByRole('alert').waitFor();
}

async function activity({ page }) {
  await turnTo(page, 'activity');
  const audit = page.getByRole('region', { name: 'Audit record' }).first();
  await audit.getByText('PUT /v2/management/settings').first().waitFor();
  await audit.getByLabel('Outcome').selectOption('Done');
  await audit.getByText(/^1 of \d+ entries$/).waitFor();
  await audit.getByLabel('Filter').fill('nothing has this');
  await audit.getByText('No entry fits.').waitFor();

  const log = page.getByRole('log');
  await log.getByText(/settings changed by admin/).waitFor();
  await page.evaluate(() => fetch('/v2/management/settings', { method: 'PUT', body: '{"max_draining": 17}' }));
  await page.waitForFunction(() => document.querySelector('.log').textContent.match(/settings changed/g).length === 2);
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download archive' }).click(),
  ]);
  assert.equal(saved.suggestedFilename(), 'logs.zip');
}

export default async function settingsAndActivity() {
  const browser = await launch();
  const visitor = await visit(browser);
  await settings(visitor);
  await activity(visitor);
  visitor.watch.check();
  await browser.close();
}
