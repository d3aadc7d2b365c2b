// The page of the real Prometheus, through the appliance: whatever it loads is there.
import assert from 'node:assert/strict';
import { given, launch, until, visit } from '../browser.js';

export default async function graph() {
  const browser = await launch();
  const { page, watch, prompts } = await visit(browser, { url: 'about:blank' });
  // Debian's popper.min.js is a module and is loaded as a script; its pages do without it.
  watch.expect('Unexpected token', 'export');
  watch.expect('require Popper', 'bootstrap');
  const answers = [];
  page.on('response', (response) => answers.push(`${response.status()} ${new URL(response.url()).pathname}`));
  await page.goto(`${given.monitoring}/graph`);
  assert.equal(prompts.count, 1, 'the appliance asks for its password, once');

  await page.locator('textarea[name=expr]').fill('up{job="portcullis"}');
  await page.locator('.execute_btn').click();
  await until('the query is answered', async () => (await page.locator('td').allInnerTexts()).some((text) => text.trim() === '1'));

  const menu = await page.locator('nav a[href^="/"]').evaluateAll((links) => links.map((link) => link.pathname));
  assert(menu.length > 5, `the menu has ${menu}`);
  for (const path of new Set(menu)) {
    await page.goto(`${given.monitoring}${path}`, { waitUntil: 'networkidle' });
  }
  const failed = answers.filter((answer) => !/^(2\d\d|30\d) /.test(answer));
  assert.deepEqual(failed, [], 'everything that the pages load is there');
  assert(answers.filter((answer) => answer.endsWith('.js')).length > 5, answers.join('\n'));
  watch.check();
  await browser.close();
}
