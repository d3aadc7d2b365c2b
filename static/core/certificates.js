// What can be told about chosen files before the appliance has seen them.

const MARKS = { key: /-----BEGIN [A-Z ]*PRIVATE KEY-----/, certificate: /-----BEGIN [A-Z0-9 ]*(CERTIFICATE|PKCS7)-----/ };

/**
 * Reads a chosen file at once: what is sent later is what was there when it was chosen, and the
 * file may be edited and chosen again meanwhile.
 */
export async function readFile(file) {
  const content = await file.arrayBuffer();
  const text = new TextDecoder('latin1').decode(content);
  return { name: file.name, size: file.size, content, role: roleOf(file.name, text) };
}

/** The form field that a file belongs in. */
function roleOf(name, text) {
  if (MARKS.certificate.test(text)) return 'certfile';
  if (MARKS.key.test(text)) return 'keyfile';
  return /\.(key|pk8|p8)$/i.test(name) ? 'keyfile' : 'certfile';
}

/** Gives each of at most two files a field of its own. */
export function assign(files) {
  const [first, second] = files;
  if (!second || first.role !== second.role) return files;
  const other = first.role === 'certfile' ? 'keyfile' : 'certfile';
  // The one whose name tells of a key, or the second, becomes the other.
  const named = files.findIndex(({ name }) => /key|priv/i.test(name));
  const moved = named < 0 || other === 'certfile' ? 1 : named;
  return files.map((file, index) => (index === moved ? { ...file, role: other } : file));
}

/** The form that the appliance takes. */
export function formOf(files, passphrase) {
  const form = new FormData();
  for (const { role, name, content } of files) form.append(role, new Blob([content]), name);
  if (passphrase) form.append('passphrase', passphrase);
  return form;
}

/** The fields that the appliance's words are about: some of `certfile`, `keyfile`, `passphrase`. */
export function concerns(message, files) {
  const fields = new Set();
  if (/wrong passphrase|form field passphrase|passphrase is/i.test(message)) fields.add('passphrase');
  for (const field of ['certfile', 'keyfile']) {
    if (new RegExp(`\\b${field}\\b`).test(message) || message.includes(`in ${field}`)) fields.add(field);
  }
  if (/key and certificate do not match/.test(message)) ['certfile', 'keyfile'].forEach((field) => fields.add(field));
  // An error about a file that is not there stands with those that are.
  const there = files.map(({ role }) => role);
  return [...fields].filter((field) => field === 'passphrase' || there.includes(field));
}

export const asksForPassphrase = (message) => /encrypted \(password-protected\)|wrong passphrase/i.test(message);

export const isExpired = (message) => /force=true|expired/i.test(message);
