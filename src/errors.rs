//! Errors in words.

use std::error::Error;

/// How much is told of what a peer says, in characters.
const CLIP: usize = 200;

/// An error with all that it wraps, since the outermost often says little.
pub(crate) fn with_sources(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        let inner = err.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = err.source();
    }
    text
}

/// What a peer says, kept short and on one line.
pub(crate) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(CLIP).collect()
}
