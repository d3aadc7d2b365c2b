//! Compiles the patterns that clients ask for: not on a worker, and not many at once.

use std::time::Duration;

use actix_web::rt::task::spawn_blocking;
use portcullis_speech::transcript::{Replacements, RuleError, Rules};
use tokio::{sync::Semaphore, time::timeout};

/// Configurations whose patterns are compiled at once.
static COMPILING: Semaphore = Semaphore::const_new(2);
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there are no replacements.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("too many patterns are being compiled; try again later")]
    Busy,
}

/// Compiles `rules`, on a thread that may block if it is work. Dropping the future gives its turn
/// to the next.
///
/// # Errors
/// A pattern is too large or none, or the turn did not come in time.
pub(crate) async fn compile(rules: Rules) -> Result<Replacements, Error> {
    if !rules.have_patterns() {
        return Ok(rules.compile()?);
    }
    let turn = timeout(PATIENCE, COMPILING.acquire()).await;
    let turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)?;
    // The turn ends with the work, whoever has gone meanwhile.
    let work = spawn_blocking(move || (rules.compile(), turn));
    let (compiled, _turn) = work.await.map_err(|_| Error::Busy)?;
    Ok(compiled?)
}
