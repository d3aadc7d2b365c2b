// With a model of several languages the pages offer them, and that the appliance finds them.
import assert from 'node:assert/strict';
import { given, launch, turnTo, visit } from '../browser.js';

/** A busy machine recognises slowly. */
const PATIENCE = 100_000;

export default async function languages() {
  const browser = await launch();
  const { page, watch } = await visit(browser);
  await turnTo(page, 'batch');
  const language = page.getByLabel('Language');
  await page.locator('option', { hasText: 'French' }).waitFor({ state: 'attached' });
  assert.equal(await language.inputValue(), 'auto');
  assert.equal(await language.locator('option').first().textContent(), 'Found by itself');
  await page.getByText('from the first minute of speech').waitFor();
  await page.getByLabel('Audio file').setInputFiles(given.foreign);
  await page.getByRole('button', { name: 'Submit' }).click();
  await page.getByRole('row').getByText('Done').waitFor({ timeout: PATIENCE });
  await page.getByRole('button', { name: 'Open job 1' }).click();
  const words = page.locator('.words');
  await words.getByRole('button').first().waitFor();
  assert.equal((await words.textContent()).trim(), '你好世界', 'without blanks');
  await turnTo(page, 'realtime');
  assert.equal(await language.inputValue(), 'en');
  assert.equal(await page.locator('option', { hasText: 'Found by itself' }).count(), 0);
  await language.selectOption('fr');
  assert.equal(await language.inputValue(), 'fr');
  watch.check();
  await browser.close();
}
