// Every page, light and dark: accessible, quiet, without foreign requests, and small.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { given, launch, turnTo, visit } from '../browser.js';

export const PAGES = ['overview', 'listeners', 'certificate', 'access', 'batch', 'realtime', 'activity', 'settings', 'api'];
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function violationsOn(page) {
  // Past the page's policy, as the tool is no part of it.
  const session = await page.context().newCDPSession(page);
  await session.send('Runtime.evaluate', { expression: axe });
  const found = await page.evaluate(async () => (await window.axe.run(document)).violations);
  return found.filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('\n')}`);
}

/** Bytes of everything that was fetched for the pages, as they came over the wire. */
async function weigh(page) {
  const sizes = await page.evaluate(() => performance.getEntriesByType('resource')
    .filter(({ name }) => name.includes('/interface/')).map(({ name, encodedBodySize }) => [name, encodedBodySize]));
  return [...new Map(sizes).values()].reduce((sum, size) => sum + size, 0);
}

async function firstPaint(page) {
  await page.reload();
  await page.getByRole('heading', { name: 'What runs' }).waitFor();
  return page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
}

export default async function pages() {
  const browser = await launch();
  const { page, watch } = await visit(browser);
  await page.getByRole('link', { name: 'Batch' }).waitFor();
  // Something to look at: a job and its words.
  await turnTo(page, 'batch');
  await page.getByLabel('Audio file').setInputFiles(given.sentence);
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByRole('button', { name: 'Open job 1' }).waitFor({ timeout: 60_000 });
  const found = {};
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    for (const name of PAGES) {
      await turnTo(page, name);
      if (name === 'batch') {
        await page.getByRole('button', { name: 'Open job 1' }).click();
        await page.locator('.words button').first().waitFor();
      }
      await page.waitForFunction((loading) => ![...document.querySelectorAll('.page [role=status]')]
        .some(({ textContent }) => textContent === loading), 'Loading …');
      const violations = await violationsOn(page);
      if (violations.length) found[`${name}, ${colorScheme}`] = violations;
    }
  }
  assert.deepEqual(found, {}, 'axe-core finds something');
  const bytes = await weigh(page);
  assert.ok(bytes > 50_000 && bytes < 200_000, `${bytes} bytes`);
  await turnTo(page, 'overview');
  const paint = await firstPaint(page);
  console.log(`${bytes} bytes, first paint after ${Math.round(paint)} ms`);
  // Generous: other tests share the machine.
  assert.ok(paint < 2000, `first paint after ${paint} ms`);
  watch.check();
  await browser.close();
}
