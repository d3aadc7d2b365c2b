//! The bearer tokens of scrapers: one a line, `#` begins a comment line.

use std::{os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context as _, anyhow, bail, ensure};
use portcullis_actors::files::read_at_most;
use zeroize::Zeroizing;

/// A shorter token could be guessed.
const SHORTEST: usize = 16;
const LONGEST: usize = 4096;
/// Larger files are no list of tokens.
const MAX_FILE: u64 = 1 << 20;

/// Reads the file. Blocks.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Zeroizing<String>>> {
    let shown = path.display();
    let unreadable = || format!("monitoring_token_file {shown} cannot be read");
    let bytes = read_at_most(path, MAX_FILE).with_context(unreadable)?;
    let bytes = bytes.ok_or(std::io::ErrorKind::NotFound).map_err(std::io::Error::from);
    let bytes = bytes.with_context(unreadable)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| anyhow!("it is not text in UTF-8"))
        .with_context(unreadable)?;
    let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode()).unwrap_or(0);
    if mode & 0o007 != 0 {
        log::warn!("monitoring_token_file {shown} can be read by everybody; chmod it to 0600");
    }
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        let number = index + 1;
        ensure!(
            (SHORTEST..=LONGEST).contains(&token.len()),
            "{shown}:{number}: the token has {} characters; {SHORTEST} to {LONGEST} are needed (openssl rand -hex 32 makes a good one)",
            token.len()
        );
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{shown}:{number}: the token has a character that is not visible ASCII");
        }
        tokens.push(Zeroizing::new(token.to_owned()));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_tokens_and_errors_name_the_line_but_not_the_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# grafana\n0123456789abcdef\n\n  fedcba9876543210  \n")
            .unwrap();
        let tokens = read(file.path()).unwrap();
        assert_eq!(tokens.len(), 2);
        assert_eq!(*tokens[1], "fedcba9876543210");
        std::fs::write(file.path(), "# one\nshort-secret\n").unwrap();
        let err = read(file.path()).unwrap_err().to_string();
        assert!(err.contains(":2: the token has 12 characters"), "{err}");
        assert!(!err.contains("short-secret"), "{err}");
    }
}
