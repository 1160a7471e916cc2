//! Is this machine, this bucket, this app ready? Each check is a small function that answers with a [`Finding`].
//!
//! Owns what is tried, when it is good enough, and the words. Leaves to the commands which checks are made and what becomes
//! of the findings: `check` makes them all, `serve` the quick ones at its start.
//!
//! Invariants: nothing that was there before is changed, in the bucket or in the spool, and what a check makes it removes
//! again; but the event WebSocket is taken from whoever has it ([`events`]). No secret gets into a finding. Every check ends by itself.

pub mod bucket;
pub mod clock;
pub mod events;
pub mod machine;
pub mod spool;
pub mod webhook;
pub mod zoom;

use crate::errors::with_sources;
use serde::Serialize;
use std::fmt;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It works, but somebody should look at it.
    Warning,
    /// Recording would not work.
    Failure,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `ffmpeg` or `bucket write`.
    pub check: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// What was found, in a line.
    pub text: String,
    /// What to change, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, text: text.into(), fix: None }
    }

    /// It works so far.
    pub fn warning(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Warning, text: text.into(), fix: Some(fix.into()) }
    }

    /// It does not work.
    pub fn failure(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Failure, text: text.into(), fix: Some(fix.into()) }
    }

    /// An error of this program, whose text ends with what to change (behind the last `; `), or else with `fix`.
    pub fn error(check: &'static str, err: &dyn std::error::Error, fix: &str) -> Self {
        let text = err.to_string();
        let (text, fix) = text.rsplit_once("; ").unwrap_or((&text, fix));
        let text = match err.source() {
            Some(source) => format!("{text}: {}", with_sources(source)),
            None => text.to_owned(),
        };
        Self::failure(check, text, fix)
    }

    /// The text, or for a failure the text and what to change.
    ///
    /// # Errors
    /// If it is a failure.
    pub fn into_result(self) -> Result<String, String> {
        match self.outcome {
            Outcome::Failure => Err(self.to_string()),
            Outcome::Ok | Outcome::Warning => Ok(self.text),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.fix.iter().try_for_each(|fix| write!(f, "; {fix}"))
    }
}

/// Bytes for people, in powers of 1000 as disks are sold.
fn human(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_split_into_what_happened_and_what_to_change() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading a failed; look at b; then change c")]
        struct Wrong(#[source] std::io::Error);
        let err = Wrong(std::io::ErrorKind::NotFound.into());
        let finding = Finding::error("spool", &err, "not used");
        assert_eq!(finding.to_string(), "reading a failed; look at b: entity not found; then change c");
        assert_eq!(finding.fix.as_deref(), Some("then change c"));
        let plain = Finding::error("spool", &std::io::Error::other("broken"), "mend it");
        assert_eq!(plain.into_result(), Err("broken; mend it".to_owned()));
    }
}
