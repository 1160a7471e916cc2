//! File operations where they may block.

use crate::events::NotTaken;

/// Runs `work` on a thread that may block.
///
/// # Errors
/// Its own, or that it panicked.
pub(super) async fn blocking<T: Send + 'static, E: Into<anyhow::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, NotTaken> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|err| NotTaken(format!("{:#}", err.into()))),
        Err(err) => Err(NotTaken(err.to_string())),
    }
}
