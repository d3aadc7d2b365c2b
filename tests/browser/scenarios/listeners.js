// A replacement, watched: the old generation stays as long as its WebSocket does.
import assert from 'node:assert/strict';
import { given, launch, turnTo, until, visit } from '../browser.js';

export default async function listeners() {
  const browser = await launch();
  const { page, watch } = await visit(browser);
  await turnTo(page, 'listeners');
  await page.evaluate(() => new Promise((resolve, reject) => {
    window.socket = new WebSocket(`wss://${window.location.host}/echo/ws`);
    window.socket.onopen = resolve;
    window.socket.onerror = reject;
  }));
  const lane = page.getByRole('region', { name: 'https' });
  await lane.locator('.generation.serving').getByText('1 WebSocket').waitFor();

  await turnTo(page, 'certificate');
  await page.locator('input[type=file]').setInputFiles([given.first.key, given.first.certificate]);
  await page.getByText(/This can be installed/).waitFor();
  await page.getByRole('button', { name: 'Install', exact: true }).click();
  await page.getByText(/goes on by itself/).waitFor();

  await turnTo(page, 'listeners');
  const draining = lane.locator('.generation.draining');
  await draining.getByText('1 WebSocket').waitFor();
  assert.match(await lane.locator('.generation.serving').textContent(), /Generation 2.*Serving/s);
  await page.getByText(/https: generation 1 drains with \d+ connection/).waitFor();
  await page.locator('label', { hasText: 'Table' }).click();
  const row = page.getByRole('row', { name: /https.*Draining/ });
  assert.match(await row.textContent(), /https/);
  await page.locator('label', { hasText: 'Picture' }).click();

  assert.equal(await page.evaluate(() => window.socket.readyState), 1, 'the WebSocket lives');
  await page.evaluate(() => window.socket.close());
  await until('the old generation is gone', async () => await draining.count() === 0);
  watch.check();
  await browser.close();
}
