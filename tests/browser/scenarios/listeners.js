// A replacement, watched: the old generation stays as long as its upload and its WebSocket do.
import assert from 'node:assert/strict';
import { answerTo, given, launch, request, turnTo, until, visit } from '../browser.js';

const WHOLE = 4 << 20;

/** An upload that stops in the middle until it is told to go on. */
function beginUpload() {
  const sent = request('/echo/upload', { method: 'POST', headers: { 'content-length': WHOLE } });
  const answer = answerTo(sent);
  sent.write(Buffer.alloc(WHOLE / 4));
  return { answer, send: (bytes) => sent.write(Buffer.alloc(bytes)), end: () => sent.end(Buffer.alloc(WHOLE / 2)) };
}

export default async function listeners() {
  const browser = await launch();
  const { page, watch } = await visit(browser);
  await turnTo(page, 'listeners');
  await page.evaluate(() => new Promise((resolve, reject) => {
    window.socket = new WebSocket(`wss://${window.location.host}/echo/ws?jwt=secret`);
    window.socket.onopen = resolve;
    window.socket.onerror = reject;
  }));
  const upload = beginUpload();
  const lane = page.getByRole('region', { name: 'https' });
  const serving = lane.locator('.generation.serving');
  await serving.getByText('1 WebSocket').waitFor();
  await serving.getByText('1.0 MB of 4.0 MB').waitFor();

  await turnTo(page, 'certificate');
  await page.locator('input[type=file]').setInputFiles([given.first.key, given.first.certificate]);
  await page.getByText(/This can be installed/).waitFor();
  await page.getByRole('button', { name: 'Install', exact: true }).click();
  await page.getByText(/goes on by itself/).waitFor();

  await turnTo(page, 'listeners');
  const draining = lane.locator('.generation.draining');
  await draining.getByText('1 WebSocket').waitFor();
  assert.match(await serving.textContent(), /Generation 2.*Serving/s);
  await draining.getByText('/echo/ws').waitFor();
  await draining.getByText(/open for \d+ s/).waitFor();
  assert.doesNotMatch(await draining.textContent(), /secret/);
  await page.getByText(/https: generation 1 drains with \d+ connection/).waitFor();

  const bar = draining.getByRole('img', { name: /Upload to \/echo\/upload/ });
  assert.match(await bar.getAttribute('aria-label'), /1\.0 MB of 4\.0 MB/);
  upload.send(WHOLE / 4);
  await draining.getByText('2.0 MB of 4.0 MB').waitFor();

  await page.locator('label', { hasText: 'Table' }).click();
  const row = page.getByRole('row', { name: /https.*Draining/ });
  await row.getByText('Upload to /echo/upload: 2.0 MB of 4.0 MB').waitFor();
  await row.getByText(/WebSocket \/echo\/ws, open for/).waitFor();
  await page.locator('label', { hasText: 'Picture' }).click();

  upload.end();
  const { status, text } = await upload.answer;
  assert.deepEqual([status, JSON.parse(text).length], [200, WHOLE], 'the upload crosses the replacement');
  await draining.getByText('/echo/upload').waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => window.socket.readyState), 1, 'the WebSocket lives');
  await page.evaluate(() => window.socket.close());
  await until('the old generation is gone', async () => await draining.count() === 0);
  await page.getByText('https: generation 1 is gone').waitFor();
  watch.check();
  await browser.close();
}
