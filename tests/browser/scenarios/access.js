// Plain HTTP off, as a second browser sees it; a new password; reset.
import assert from 'node:assert/strict';
import { answerTo, given, launch, request, turnTo, until, visit } from '../browser.js';

const inDialog = (page, name) => page.getByRole('dialog').getByRole('button', { name });

async function plainHttp(browser, page) {
  const second = await visit(browser, { url: given.http });
  await second.page.getByText('You are using this page over plain HTTP').waitFor();
  await page.getByRole('button', { name: 'Switch plain HTTP off' }).click();
  await inDialog(page, 'Switch plain HTTP off').click();
  await page.getByText('Plain HTTP is off: plain ports redirect.').waitFor();
  await second.page.goto(given.http);
  assert.ok(second.page.url().startsWith(given.https), second.page.url());
  await second.context.close();
  await page.getByRole('button', { name: 'Switch plain HTTP on' }).click();
  await inDialog(page, 'Switch plain HTTP on').click();
  await page.getByText('Plain HTTP is on.').waitFor();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
}

async function password({ page, prompts, watch }) {
  const field = page.getByLabel('New password');
  await field.fill('password1');
  await page.getByText('Very weak').waitFor();
  await page.getByText('would be guessed offline in less than a second').waitFor();
  await field.fill('ä'.repeat(37));
  await page.getByText(/74 bytes are too many/).waitFor();
  await field.fill('correct horse battery staple');
  await page.getByText('28 of 72 bytes').waitFor();
  await page.getByText('Strong').waitFor();
  await page.getByLabel('Repeat it').fill('correct horse battery staple');
  const before = prompts.count;
  prompts.password = 'correct horse battery staple';
  watch.expect(401, '/v2/');
  await page.getByRole('button', { name: 'Set the password' }).click();
  await page.getByText('The password is set.').waitFor();
  await until('the browser asks again', () => prompts.count > before);
  await page.getByText('A password of your own is set.').waitFor();
}

async function token(page) {
  await page.getByRole('button', { name: 'Make one' }).click();
  await page.getByRole('button', { name: 'Set the token' }).click();
  await page.getByText(/Job token set/).waitFor();
  await page.getByText('A token is asked for').waitFor();
  await page.getByRole('button', { name: 'Remove the token' }).click();
  await inDialog(page, 'Remove the token').click();
  await page.getByText('Job token removed.').waitFor();
  await page.getByText('No token is set').waitFor();
}

/** Somebody else guesses passwords, and shows. */
async function throttled(page) {
  await page.getByText('No address is slowed or refused now.').waitFor();
  const guess = async () => {
    const sent = request('/v2/management/host/about', { password: 'guess', localAddress: '127.0.0.7' });
    sent.end();
    return (await answerTo(sent)).status;
  };
  let status = 401;
  while (status === 401) status = await guess();
  assert.equal(status, 429);
  const row = page.getByRole('row', { name: /127\.0\.0\.7/ });
  await row.getByText(/Refused|Slowed/).waitFor();
}

async function reset({ page, prompts }) {
  await page.getByRole('button', { name: 'Reset security settings' }).click();
  const confirm = inDialog(page, 'Reset security settings');
  assert.ok(await confirm.isDisabled(), 'the word has to be typed');
  await page.getByLabel('Type reset to go on').fill('reset');
  const before = prompts.count;
  prompts.password = 'admin';
  await confirm.click();
  await page.getByText(/Security settings reset:/).waitFor();
  await until('the browser asks again', () => prompts.count > before);
  await page.getByText('The password is still the default one.').waitFor();
}

export default async function access() {
  const browser = await launch();
  const visitor = await visit(browser);
  await turnTo(visitor.page, 'access');
  await plainHttp(browser, visitor.page);
  await password(visitor);
  await token(visitor.page);
  await throttled(visitor.page);
  await reset(visitor);
  visitor.watch.check();
  await browser.close();
}
