// The job token, as long as this page is open.
let token = '';

export const jobToken = () => token;

export function setJobToken(text) {
  token = text.trim();
}

/** The header that carries it. */
export const bearer = () => (token ? { authorization: `Bearer ${token}` } : {});

/**
 * How the speech services are asked: without the admin password, which the browser would forget
 * when they refuse it.
 */
export const withToken = (more = {}) => ({ ...more, headers: bearer(), credentials: 'omit' });
