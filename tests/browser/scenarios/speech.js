// Batch and realtime, against answers in the documented shapes.
import assert from 'node:assert/strict';
import { launch, turnTo, visit } from '../browser.js';
import { silence, withSpeech } from '../mocks.js';

const sound = { name: 'new.wav', mimeType: 'audio/wav', buffer: silence() };

async function batch(page) {
  await turnTo(page, 'batch');
  await page.getByLabel('Audio file').setInputFiles(sound);
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText('Job 3 is submitted.').waitFor();
  const row = page.getByRole('row', { name: /new\.wav/ });
  await row.getByRole('button', { name: 'Open' }).click();
  const words = page.locator('.words');
  await words.waitFor();
  assert.equal((await words.textContent()).trim(), 'Welcome to the appliance.');
  await page.waitForFunction(() => !document.querySelector('.words button').disabled);
  await words.getByRole('button', { name: 'to', exact: true }).click();
  await page.locator('.words .spoken').waitFor();
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Download srt' }).click(),
  ]);
  assert.equal(saved.suggestedFilename(), 'job-3.srt');
  await row.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('Job 3 is deleted.').waitFor();
}

async function realtime(page) {
  await turnTo(page, 'realtime');
  await page.getByLabel('Audio file').setInputFiles(sound);
  await page.getByRole('button', { name: 'Begin' }).click();
  await page.getByText('Finished.').waitFor();
  assert.equal((await page.locator('.words').textContent()).trim(), 'Welcome to the appliance.');
  assert.match(await page.getByRole('region', { name: 'Latency' }).textContent(), /First words after\d+ ms/);
}

export default async function speech() {
  const browser = await launch();
  const { page, watch, context } = await visit(browser);
  await withSpeech(context);
  await page.reload();
  await page.getByRole('link', { name: 'Batch' }).waitFor();
  await batch(page);
  await realtime(page);
  watch.check();
  await browser.close();
}
