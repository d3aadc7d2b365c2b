// Pictures of every page, wide and narrow, light and dark.
import { mkdir } from 'node:fs/promises';
import { given, launch, turnTo, visit } from '../browser.js';
import { withSpeech } from '../mocks.js';
import { PAGES } from './pages.js';

async function open(browser, width, colorScheme) {
  const { page, context } = await visit(browser, { viewport: { width, height: width > 600 ? 860 : 844 }, colorScheme });
  await withSpeech(context);
  await page.reload();
  await page.waitForSelector('.page');
  return { page, context };
}

/** A WebSocket of a generation that is replaced, so that there is something to see. */
async function makeHistory(page) {
  await page.evaluate(() => new Promise((resolve) => {
    window.sockets = [1, 2, 3].map(() => new WebSocket(`wss://${window.location.host}/echo/ws`));
    window.sockets[2].onopen = resolve;
  }));

  await turnTo(page, 'certificate');
  await page.locator('input[type=file]').setInputFiles([given.first.certificate, given.first.key]);
  await page.getByText(/This can be installed/).waitFor();
  await page.getByRole('button', { name: 'Install', exact: true }).click();
  await page.getByText(/goes on by itself/).waitFor();
}

export default async function screens() {
  const folder = given.screens;
  await mkdir(folder, { recursive: true });
  const browser = await launch();
  const first = await open(browser, 1280, 'light');
  await makeHistory(first.page);
  await first.page.screenshot({ path: `${folder}/certificate-changed.png`, fullPage: true });
  await first.page.locator('input[type=file]').setInputFiles([given.second.certificate, given.first.key]);
  await first.page.locator('.wrong-file').waitFor();
  await first.page.screenshot({ path: `${folder}/certificate-refused.png`, fullPage: true });
  for (const width of [1280, 390]) {
    for (const colorScheme of ['light', 'dark']) {
      const { page, context } = await open(browser, width, colorScheme);
      await page.waitForTimeout(6000);
      for (const name of PAGES) {
        await turnTo(page, name);
        if (name === 'batch') await page.getByRole('button', { name: 'Open' }).click();
        await page.waitForTimeout(600);
        await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
      await context.close();
    }
  }
  await browser.close();
}
