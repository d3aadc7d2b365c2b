// The browser asks for the password; a wrong one opens nothing.
import assert from 'node:assert/strict';
import { launch, visit } from '../browser.js';

export default async function prompt() {
  const browser = await launch();
  const refused = await visit(browser, { password: null });
  assert.equal(refused.prompts.count, 1, 'the browser asks');
  assert.match(await refused.page.textContent('body'), /401 Unauthorized/);
  await refused.context.close();

  const { page, prompts, watch, context } = await visit(browser, { password: ['wrong', 'admin'] });
  await page.waitForSelector('.page[data-page=overview]');
  assert.equal(prompts.count, 2, 'the browser asks again after a wrong password');
  await page.getByRole('heading', { name: 'What runs' }).waitFor();
  watch.expect(401, '/');
  watch.check();
  await context.close();
  await browser.close();
}
