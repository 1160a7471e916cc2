//! File operations where they may block.

use crate::events::NotTaken;
use std::fmt::Display;

/// Runs `work` on a thread that may block.
///
/// # Errors
/// Its own, or that it panicked.
pub(super) async fn blocking<T: Send + 'static, E: Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, NotTaken> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|err| NotTaken(err.to_string())),
        Err(err) => Err(NotTaken(err.to_string())),
    }
}
