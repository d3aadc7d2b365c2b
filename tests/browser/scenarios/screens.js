// Pictures of every page, wide and narrow, light and dark.
import { mkdir } from 'node:fs/promises';
import { given, launch, request, turnTo, visit } from '../browser.js';
import { PAGES } from './pages.js';

async function open(browser, width, colorScheme) {
  const { page, context } = await visit(browser, { viewport: { width, height: width > 600 ? 860 : 844 }, colorScheme });
  await page.waitForSelector('.page');
  return { page, context };
}

/** Jobs in three states. */
async function submitJobs(page) {
  await turnTo(page, 'batch');
  const letter = { name: 'letter.wav', mimeType: 'audio/wav', buffer: Buffer.from('Dear appliance.\n'.repeat(50)) };
  for (const [index, file] of [letter, given.sentence].entries()) {
    await page.getByLabel('Audio file').setInputFiles(file);
    await page.getByRole('button', { name: 'Submit' }).click();
    await page.getByText(`Job ${index + 1} is submitted.`).waitFor();
  }
  await page.getByRole('button', { name: 'Open job 2' }).waitFor({ timeout: 60_000 });
}

/** Somebody guesses passwords. */
async function guess() {
  for (let count = 0; count < 24; count += 1) {
    await new Promise((resolve) => {
      request('/v2/management/host/about', { password: 'guess', localAddress: '127.0.0.7' })
        .on('response', (answer) => answer.resume().on('end', resolve)).end();
    });
  }
}

/** Puts each page into a state that is worth a look. */
const PREPARATIONS = {
  async batch(page) {
    await page.getByRole('button', { name: 'Open job 2' }).click();
    await page.locator('.words').getByRole('button', { name: 'woman', exact: true }).click();
    await page.waitForFunction(() => document.querySelector('audio').currentTime > 0);
    await page.locator('audio').evaluate((element) => element.pause());
  },
  async realtime(page) {
    await page.getByLabel('Audio file').setInputFiles(given.sentence);
    await page.getByRole('button', { name: 'Begin' }).click();
    await page.waitForFunction(() => document.querySelector('.partial').textContent && document.querySelector('.words').firstChild?.data, null, { timeout: 30_000 });
  },
  access: guess,
};

/** An upload and WebSockets of a generation that is replaced, so that there is something to see. */
async function makeHistory(page) {
  const sent = request('/v2/jobs', {
    method: 'POST', headers: { 'content-length': 64 << 20, 'content-type': 'multipart/form-data; boundary=x' },
  });
  sent.write('--x\r\ncontent-disposition: form-data; name="data_file"; filename="meeting.wav"\r\n\r\n');
  sent.write(Buffer.alloc(23 << 20));
  await page.evaluate(() => new Promise((resolve) => {
    window.sockets = [1, 2, 3].map(() => new WebSocket(`wss://${window.location.host}/v2`));
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
  await submitJobs(first.page);
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
        await PREPARATIONS[name]?.(page);
        await page.waitForTimeout(600);
        await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png`, fullPage: true });
      }
      await context.close();
    }
  }
  await browser.close();
}
