//! Reading variables: texts, numbers, sizes, times, choices and secrets. What is wrong is remembered, so that all of it is
//! reported at once.

use crate::secret::Secret;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<String>);

impl Mistakes {
    /// Each with its variable and what was expected.
    pub fn each(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {}", if count == 1 { "setting is wrong:" } else { "settings are wrong:" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// Reads variables and remembers every mistake.
pub(super) struct Env<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl<'a> Env<'a> {
    /// Reads from `env`, which gives the value of a variable.
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { env, mistakes: Vec::new() }
    }

    /// `settings`, if nothing was wrong.
    pub(super) fn checked<T>(self, settings: T) -> Result<T, Mistakes> {
        if self.mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(self.mistakes)) }
    }

    pub(super) fn mistake(&mut self, name: &str, what: impl fmt::Display) {
        self.mistakes.push(format!("{name} {what}"));
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn first_text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// Whether one of `names` is set, itself or as a file.
    pub(super) fn is_any_set(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.text(name).is_some() || self.text(&format!("{name}_FILE")).is_some())
    }

    /// The first of `names` that is set, itself or as a file.
    pub(super) fn secret(&mut self, names: &[&str]) -> Option<Secret> {
        for name in names {
            if let Some(text) = self.text(name) {
                return Some(Secret::new(text));
            }
            let file_name = format!("{name}_FILE");
            if let Some(path) = self.text(&file_name) {
                match std::fs::read_to_string(&path) {
                    Ok(text) if !text.trim().is_empty() => return Some(Secret::new(text.trim())),
                    Ok(_) => self.mistake(&file_name, format_args!("names {path}, which is empty")),
                    Err(err) => self.mistake(&file_name, format_args!("names {path}, which cannot be read: {err}")),
                }
                // The mistake is named; a second one about the same value would confuse.
                return Some(Secret::new(""));
            }
        }
        None
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, expected: &str, default: T) -> T {
        let Some(text) = self.text(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.mistake(name, format_args!("is {text:?}; expected {expected}"));
            default
        })
    }

    pub(super) fn in_range(&mut self, name: &str, low: u32, high: u32, default: u32) -> u32 {
        let expected = format!("a whole number from {low} to {high}");
        let value = self.parsed(name, &expected, default);
        if (low..=high).contains(&value) {
            return value;
        }
        self.mistake(name, format_args!("is {value}; expected {expected}"));
        default
    }

    /// One of the named values; the first is the default.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> T {
        let default = choices[0].1;
        let Some(text) = self.text(name) else { return default };
        if let Some((_, value)) = choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(&text)) {
            return *value;
        }
        let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
        self.mistake(name, format_args!("is {text:?}; expected one of {}", names.join(", ")));
        default
    }

    pub(super) fn path(&mut self, name: &str, default: &str) -> String {
        let path = self.text(name).unwrap_or_else(|| default.to_owned());
        let usable = path.starts_with('/') && !path.contains(['?', '#', ' ']);
        if !usable || ["/healthz", "/readyz"].contains(&path.as_str()) {
            self.mistake(name, format_args!("is {path:?}; expected a path such as /webhook"));
        }
        path
    }

    pub(super) fn bytes(&mut self, name: &str, default: u64) -> u64 {
        let Some(text) = self.text(name) else { return default };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
        let unit = text[digits.len()..].trim().to_ascii_lowercase();
        let factor = match unit.as_str() {
            "" | "b" => Some(1),
            "k" | "kb" | "kib" => Some(1_u64 << 10),
            "m" | "mb" | "mib" => Some(1 << 20),
            "g" | "gb" | "gib" => Some(1 << 30),
            "t" | "tb" | "tib" => Some(1 << 40),
            _ => None,
        };
        let value = digits.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        value.unwrap_or_else(|| {
            self.mistake(name, format_args!("is {text:?}; expected a size such as 5GiB"));
            default
        })
    }

    /// A time such as `25`, `25s`, `2m` or `1h`.
    pub(super) fn seconds(&mut self, name: &str, default: Duration) -> Duration {
        let Some(text) = self.text(name) else { return default };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
        let factor = match text[digits.len()..].trim() {
            "" | "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            _ => None,
        };
        let seconds = digits.parse::<u32>().ok().zip(factor).map(|(number, factor)| u64::from(number) * factor);
        seconds.map(Duration::from_secs).unwrap_or_else(|| {
            self.mistake(name, format_args!("is {text:?}; expected a time such as 25s"));
            default
        })
    }
}
