// A lost connection shows and comes back by itself; the keyboard is enough.
import assert from 'node:assert/strict';
import { launch, turnTo, visit } from '../browser.js';

export default async function connection() {
  const browser = await launch();
  const { page, watch, context } = await visit(browser);
  await page.getByRole('heading', { name: 'What runs' }).waitFor();

  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'past the navigation');
  await page.getByRole('link', { name: 'Activity' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('.page[data-page=activity]');
  assert.equal(await page.title(), 'Activity – Management Interface');

  await turnTo(page, 'access');
  watch.expect('ERR_INTERNET_DISCONNECTED', '');
  await context.setOffline(true);
  await page.getByText('The appliance does not answer').waitFor();
  await page.getByRole('button', { name: 'Make one' }).click();
  await page.getByRole('button', { name: 'Set the token' }).click();
  await page.getByText('No answer', { exact: true }).waitFor();
  await context.setOffline(false);
  await page.getByText('The appliance does not answer').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Set the token' }).click();
  await page.getByText(/Job token set/).waitFor();
  watch.check();
  await browser.close();
}
