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

/** The fields that an error concerns: some of `certfile`, `keyfile`, `passphrase`. */
export function concerns({ part }, files) {
  if (part === 'passphrase') return [part];
  if (!['keyfile', 'certfile', 'both'].includes(part)) return [];
  const there = files.map(({ role }) => role);
  // An error about a file that is not there stands with those that are.
  return there.includes(part) ? [part] : there;
}
