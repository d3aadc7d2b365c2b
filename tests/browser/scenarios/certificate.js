// Good and bad uploads; the page survives the change of its own certificate.
import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import { given, launch, turnTo, visit } from '../browser.js';

const files = (page) => page.locator('input[type=file]');
const startAgain = (page) => page.getByRole('button', { name: 'Start again' }).click();
const install = (page) => page.getByRole('button', { name: 'Install', exact: true });

async function refusedPair({ page, watch }) {
  watch.expect(400, '/v2/security/sslcertificate');
  const { first, second } = given;
  // The certificate of one pair with the key of the other, in a file that will be edited.
  const edited = `${given.folder}/edited.key`;
  await copyFile(second.key, edited);
  await files(page).setInputFiles([edited, first.certificate]);
  const list = page.locator('.files');
  await list.getByText('edited.key').waitFor();
  assert.match(await list.textContent(), /Certificate.*Private key|Private key.*Certificate/s, 'both are named');
  const wrong = list.locator('li.wrong-file');
  await wrong.getByText(/Key and certificate do not match/).waitFor();
  assert.ok(await install(page).isDisabled(), 'a bad pair cannot be sent');

  // The same file is chosen again after it was edited, and its new content counts.
  await copyFile(first.key, edited);
  await files(page).setInputFiles([edited]);
  await page.getByText(/This can be installed/).waitFor();
  assert.equal(await wrong.count(), 0);
}

async function passphrase({ page }) {
  assert.equal(await page.getByLabel('Passphrase').count(), 0, 'asked for only when needed');
  await files(page).setInputFiles([given.encrypted.key, given.encrypted.certificate]);
  const field = page.getByLabel('Passphrase');
  await field.fill('wrong');
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText(/Wrong passphrase/).waitFor();
  await field.fill(given.passphrase);
  await page.getByRole('button', { name: 'Check' }).click();
  await page.getByText(/This can be installed/).waitFor();
}

async function expired({ page }) {
  await files(page).setInputFiles([given.expired.key, given.expired.certificate]);
  await page.locator('li.wrong-file', { hasText: 'Certificate' }).getByText(/has expired/).waitFor();
  assert.equal(await page.getByLabel('Passphrase').count(), 0, 'nothing is encrypted');
  const force = page.getByLabel('Install it although its time is over');
  await force.check();
  await page.getByText(/This can be installed/).waitFor();
  await force.uncheck();
  await page.locator('li.wrong-file').getByText(/has expired/).waitFor();
  await force.check();
  await page.getByText(/This can be installed/).waitFor();
  await startAgain(page);

  await files(page).setInputFiles([given.expired.key, given.expired.certificate]);
  await force.waitFor();
  assert.ok(!(await force.isChecked()), 'another upload is judged anew');
  await startAgain(page);
}

export default async function certificate() {
  const browser = await launch();
  const visitor = await visit(browser);
  const { page, watch, context } = visitor;
  await turnTo(page, 'certificate');
  await page.getByRole('heading', { name: 'Served certificate' }).waitFor();
  await refusedPair(visitor);

  await install(page).click();
  await page.getByText(/Certificate installed/).waitFor();
  assert.equal(await page.locator('[data-fingerprint]').textContent(), given.first.fingerprint);
  await page.getByText(/goes on by itself/).waitFor();
  await page.locator('.subject', { hasText: 'pair-a.example.test' }).waitFor();

  await passphrase(visitor);
  await startAgain(page);
  await expired(visitor);
  await page.locator('#served').locator('..').locator('..').getByRole('button', { name: 'Back to the default' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Back to the default' }).click();
  await page.getByText(/Default certificate restored/).waitFor();
  await page.getByText(/goes on by itself/).waitFor();

  await page.getByLabel('Common name').fill('box.example.test');
  await page.getByRole('button', { name: 'Make the request' }).click();
  const waiting = page.locator('.rows li', { hasText: 'box.example.test' });
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    waiting.getByRole('button', { name: 'Download' }).click(),
  ]);
  assert.equal(saved.suggestedFilename(), 'box.example.test.csr');
  await waiting.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('No request waits.').waitFor();
  watch.check();
  await context.close();
  await browser.close();
}
