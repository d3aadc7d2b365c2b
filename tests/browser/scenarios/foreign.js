// A page of another site uses the password that the browser remembers, and gets nowhere.
import assert from 'node:assert/strict';
import http from 'node:http';
import { given, launch, turnTo, until, visit } from '../browser.js';

/** What such a page tries: forms and scripts, which a browser sends without asking anybody. */
const trap = (target) => `<!doctype html><title>Prizes</title>
<form id="plain" method="post" enctype="text/plain" target="frame" action="${target}v2/security/insecureports">
  <input name='{"enable_insecure_ports": false, "x": "' value='"}'></form>
<form id="file" method="post" enctype="multipart/form-data" target="frame" action="${target}v2/security/sslcertificate">
  <input name="keyfile" value="x"><input name="certfile" value="x"></form>
<iframe name="frame"></iframe>
<script>
  const post = (path, body, more) => fetch('${target}' + path, { method: 'POST', mode: 'no-cors', credentials: 'include', body, ...more });
  post('v2/security/adminpassword', '{"password": "stolen"}').catch(() => {});
  post('v2/security/jobtoken', '{"user_token": "stolen"}', { referrerPolicy: 'no-referrer' }).catch(() => {});
  post('v2/security/insecureports', '{"enable_insecure_ports": false}', { mode: 'cors', headers: { 'content-type': 'application/json' } })
    .then(() => { document.title = 'Read'; }, () => {});
  plain.submit();
  setTimeout(() => file.submit(), 500);
</script>`;

export default async function foreign() {
  const site = http.createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(trap(given.https)));
  await new Promise((resolve) => { site.listen(0, '127.0.0.1', resolve); });
  const browser = await launch();
  const { page, watch, context } = await visit(browser);
  await page.getByRole('heading', { name: 'What runs' }).waitFor();

  // `localhost` is another site than `127.0.0.1`.
  const attempts = [];
  context.on('response', (response) => {
    const method = response.request().method();
    if (method !== 'GET' && response.url().startsWith(given.https)) {
      attempts.push({ method, path: new URL(response.url()).pathname, status: response.status(), allowed: response.headers()['access-control-allow-origin'] });
    }
  });
  const other = await context.newPage();
  await other.goto(`http://localhost:${site.address().port}/`);
  const refused = (path) => attempts.some((one) => one.method === 'POST' && one.path === `/v2/security/${path}`);
  for (const path of ['adminpassword', 'jobtoken', 'insecureports', 'sslcertificate']) {
    await until(`${path} was tried`, () => refused(path));
  }
  const posts = attempts.filter(({ method }) => method === 'POST');
  assert.deepEqual(posts.filter(({ status }) => status !== 403), [], 'every one is refused');
  assert.deepEqual(attempts.filter(({ allowed }) => allowed !== undefined), [], 'no other site may read');
  assert.equal(await other.title(), 'Prizes');
  await other.close();

  // Nothing has changed, and the interface itself may.
  await turnTo(page, 'access');
  await page.getByText('On: plain ports serve').waitFor();
  await page.getByText('The password is still the default one.').waitFor();
  await page.getByText('No token is set').waitFor();
  await page.getByRole('button', { name: 'Switch plain HTTP off' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Switch plain HTTP off' }).click();
  await page.getByText('Plain HTTP is off: plain ports redirect.').waitFor();
  watch.check();
  await browser.close();
  site.close();
}
