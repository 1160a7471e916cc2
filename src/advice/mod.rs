//! What Zoom's numbers and notices mean to whoever runs a recorder: one sentence that says what happened and what to do.
//!
//! The same texts stand in the README's Troubleshooting; a test holds the two together. Deciding by them is left to those who
//! use them: `protocol::link` what is tried again, `recorder` what is deleted or started again.

#![deny(clippy::disallowed_methods)]

pub mod notice;
pub mod status;
pub mod stop_reason;

use std::fmt;

/// What happened, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What happened: a sentence without its end.
    pub what: &'static str,
    /// What to do; empty if there is nothing to be done.
    pub todo: &'static str,
}

impl Advice {
    pub(crate) const fn new(what: &'static str, todo: &'static str) -> Self {
        Self { what, todo }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.todo {
            "" => f.write_str(self.what),
            todo => write!(f, "{}; {todo}", self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row of a table in the README.
    fn row(name: &str, advice: &Advice) -> String {
        let todo = if advice.todo.is_empty() { "nothing" } else { advice.todo };
        format!("| {name} | {} | {todo} |", advice.what)
    }

    /// All of it, as it has to stand in the README.
    fn rows() -> Vec<String> {
        let reasons = stop_reason::ALL.iter().map(|reason| {
            let again = if reason.may_restart() { ", started again" } else { "" };
            row(&format!("{} `{}`{again}", reason.code, reason.name), &reason.advice)
        });
        let statuses = status::Kind::ALL.iter().map(|kind| row(&kind.names(), &kind.advice()));
        let notices = notice::ALL.iter().map(|(name, advice)| row(&format!("`{name}`"), advice));
        reasons.chain(statuses).chain(notices).collect()
    }

    #[test]
    fn the_readme_says_the_same() {
        let readme = include_str!("../../README.md");
        let missing: Vec<String> = rows().into_iter().filter(|row| !readme.lines().any(|line| line == row)).collect();
        assert!(missing.is_empty(), "README.md, Troubleshooting, has to have these rows:\n{}", missing.join("\n"));
    }

    #[test]
    fn every_advice_is_one_sentence() {
        let reasons = stop_reason::ALL.iter().map(|reason| reason.advice);
        let statuses = status::Kind::ALL.iter().map(|kind| kind.advice());
        for advice in reasons.chain(statuses).chain(notice::ALL.iter().map(|(_, advice)| *advice)) {
            let sentence = advice.to_string();
            assert!(!sentence.ends_with('.') && !sentence.contains(". ") && !advice.what.is_empty(), "{sentence}");
            assert!(!sentence.contains('|'), "it has to fit into a table: {sentence}");
        }
    }
}
