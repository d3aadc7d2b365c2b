// Three jobs after each other: a long recording, the same once more, and a call on two channels, on
// the right one "Had he married a more amiable woman …" two seconds later than on the left one.
import assert from 'node:assert/strict';
import { given, launch, turnTo, until, visit } from '../browser.js';

/** A busy machine recognises slowly. */
const PATIENCE = 90_000;

const rowOf = (page, id) => page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: id, exact: true }) });

async function submit(page, file, id) {
  await page.getByLabel('Audio file').setInputFiles(file);
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByText(`Job ${id} is submitted.`).waitFor();
}

async function submitCall(page) {
  const apart = page.getByLabel('Two speakers, each on a channel of its own');
  const left = page.getByLabel('Speaker on the left channel');
  assert.equal(await left.count(), 0, 'nobody is asked for names that are not needed');
  await apart.check();
  assert.equal(await page.getByLabel('Speaker on the right channel').inputValue(), 'Caller');
  await left.fill('Dr. Who');
  assert.equal(await left.evaluate((field) => field.validity.patternMismatch), true);
  await left.fill('Anna');
  await submit(page, given.call, '3');
}

async function watch(page) {
  const bar = rowOf(page, '1').getByRole('progressbar', { name: 'Progress' });
  await rowOf(page, '2').getByText('Next in the queue').waitFor();
  await rowOf(page, '3').getByText('Place 2 in the queue').waitFor();
  await rowOf(page, '3').getByText('Waiting', { exact: true }).waitFor();
  await rowOf(page, '1').getByText(/^\d+ %, about (\d+ min )?\d+ s left$|^\d+ %, about \d+ min left$/).waitFor({ timeout: PATIENCE });
  const share = async () => Number(await bar.getAttribute('aria-valuenow'));
  const seen = await share();
  assert.ok(seen > 0 && seen < 100, `${seen}`);
  await until('the bar grows', async () => await share() > seen, PATIENCE);
  assert.match(await bar.getAttribute('aria-valuetext'), /^\d+ %/);
  assert.equal(await bar.getAttribute('aria-valuemax'), '100');
}

/** A job that goes lets the others move up. */
async function remove(page, id) {
  await rowOf(page, id).getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText(`Job ${id} is deleted.`).waitFor();
}

async function read(page) {
  await page.getByRole('button', { name: 'Open job 3' }).click({ timeout: PATIENCE });
  const words = page.locator('.words');
  await words.getByRole('button').first().waitFor();
  assert.deepEqual(await words.locator('.speaker').allTextContents(), ['Anna', 'Caller']);
  for (const turn of await words.locator('p').allTextContents()) {
    assert.match(turn, /^(Anna|Caller) ?Had he married a more amiable woman.*respectable than he was/is);
  }
  await page.waitForFunction(() => document.querySelector('audio')?.duration > 8);
  const [hear] = await words.locator('p').nth(1).getByRole('button', { name: 'amiable' }).all();
  await hear.click();
  await page.waitForFunction(() => document.querySelector('.spoken')?.textContent === 'amiable');
  const at = await page.locator('audio').evaluate((audio) => {
    audio.pause();
    return audio.currentTime;
  });
  assert.ok(at > 3, `the word is heard where the right channel says it, not at ${at} s`);
}

export default async function jobs() {
  const browser = await launch();
  const { page, watch: watched } = await visit(browser);
  await turnTo(page, 'batch');
  await page.getByText('There are no jobs.').waitFor();
  await submit(page, given.long, '1');
  await submit(page, given.long, '2');
  await submitCall(page);
  await watch(page);
  await remove(page, '2');
  await rowOf(page, '3').getByText('Next in the queue').waitFor();
  await remove(page, '1');
  await read(page);
  watched.check();
  await browser.close();
}
