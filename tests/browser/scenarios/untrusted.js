// The browser does not trust the new certificate: the page says so, and does not spin for ever.
import assert from 'node:assert/strict';
import { given, launch, turnTo, visit } from '../browser.js';

export default async function untrusted() {
  const browser = await launch({ trusted: given.trusted });
  const { page, watch } = await visit(browser);
  await turnTo(page, 'certificate');
  await page.locator('input[type=file]').setInputFiles([given.first.certificate, given.first.key]);
  await page.getByText(/This can be installed/).waitFor();
  await page.getByRole('button', { name: 'Install', exact: true }).click();
  await page.getByText(/Certificate installed/).waitFor();
  assert.equal(await page.locator('[data-fingerprint]').textContent(), given.first.fingerprint);
  await page.getByText(/does not accept the new certificate yet/).waitFor();
  await page.getByText('The appliance does not answer').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Reload the page' }).first().isEnabled());
  assert.equal(await page.getByText(/waiting for the new certificate/).count(), 0);
  // The browser tells of its refusals; nothing else may be complained of.
  watch.expect('ERR_CERT', '');
  watch.check();
  await browser.close();
}
