//! Findings, and how they are said: to people a line for each folder, to machines a JSON object for each.

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;

/// What was found in the folder of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The folder, relative to the storage URL.
    pub folder: String,
    /// What is wrong.
    pub problems: Vec<Finding>,
    /// What is worth knowing, but not wrong.
    pub notes: Vec<Finding>,
    /// Why it could not be checked, or not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
    /// How many objects were found as the manifest lists them, the manifest included.
    pub objects: u64,
    /// The size of these.
    pub size_bytes: u64,
}

/// Something that is not as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// The object's name in the folder, or its key if it is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A sentence, without the object.
    pub text: String,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was asked for, and there is nothing.
    Nothing,
    /// There are objects but no manifest.
    Unfinished,
    /// The manifest cannot be read.
    Manifest,
    /// The manifest lists what is not in its folder, or twice.
    Key,
    /// An object is not there.
    Missing,
    /// An object has another size.
    Size,
    /// An object has another SHA-256.
    Sha256,
    /// It cannot be decoded, or parsed.
    Undecodable,
    /// It plays for another time.
    Duration,
    /// Objects that should have been deleted.
    Leftover,
    /// An object that the manifest does not list.
    Unlisted,
}

impl Finding {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, object: None, text: text.into() }
    }

    pub(super) fn of(object: &str, kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, object: Some(object.to_owned()), text: text.into() }
    }

    fn sentence(&self) -> String {
        match &self.object {
            Some(object) => format!("{object} {}.", self.text),
            None => format!("{}.", self.text),
        }
    }
}

impl Report {
    fn is_silent(&self) -> bool {
        self.problems.is_empty() && self.notes.is_empty() && self.unchecked.is_none()
    }

    fn line(&self) -> String {
        let mut line = format!("{}:", self.folder);
        for problem in &self.problems {
            line.push(' ');
            line.push_str(&problem.sentence());
        }
        for note in &self.notes {
            line.push_str(" Note: ");
            line.push_str(&note.sentence());
        }
        if let Some(why) = &self.unchecked {
            line.push_str(&format!(" Not checked: {why}."));
        }
        // Names come from outside, and a terminal obeys control characters.
        line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
    }
}

/// What came of it all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Folders that were looked at.
    pub recordings: u64,
    /// Objects that are as their manifests say, manifests included.
    pub objects: u64,
    /// The size of these.
    pub size_bytes: u64,
    /// What is wrong.
    pub problems: u64,
    /// What is not wrong.
    pub notes: u64,
    /// Recordings that could not be checked.
    pub unchecked: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    pub(super) fn add(&mut self, report: &Report) {
        let nothing = report.problems.iter().any(|problem| problem.kind == Kind::Nothing);
        self.recordings += u64::from(!nothing);
        self.objects += report.objects;
        self.size_bytes += report.size_bytes;
        self.problems += report.problems.len() as u64;
        self.notes += report.notes.len() as u64;
        self.unchecked += u64::from(report.unchecked.is_some());
    }

    /// The exit status of the command: 0 all is well, 1 something could not be checked, 2 something is wrong.
    pub fn exit_status(&self) -> u8 {
        match (self.problems, self.unchecked) {
            (0, 0) => 0,
            (0, _) => 1,
            _ => 2,
        }
    }

    fn line(&self) -> String {
        let counted = |count: u64, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let mut line = format!(
            "{}, {}, {}, {}",
            counted(self.recordings, "recording"),
            counted(self.objects, "object"),
            counted(self.size_bytes, "byte"),
            counted(self.problems, "problem")
        );
        if self.unchecked > 0 {
            line.push_str(&format!(", {} not checked", self.unchecked));
        }
        format!("{line}, {:.1} s", self.seconds)
    }
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

/// Writes findings to standard output, and progress to standard error if that is a terminal.
pub(super) struct Printer {
    format: Format,
    /// Draws nothing elsewhere.
    progress: ProgressBar,
    so_far: Summary,
}

impl Printer {
    pub(super) fn new(format: Format) -> Self {
        let progress = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            progress.set_style(style);
        }
        progress.enable_steady_tick(Duration::from_millis(200));
        Self { format, progress, so_far: Summary::default() }
    }

    pub(super) fn report(&mut self, report: &Report) -> io::Result<()> {
        self.so_far.add(report);
        let Summary { recordings, size_bytes, problems, .. } = self.so_far;
        let size = HumanBytes(size_bytes);
        self.progress
            .set_message(format!("{recordings} recordings, {size}, {problems} problems; at {}", report.folder));
        if report.is_silent() {
            return Ok(());
        }
        let line = match self.format {
            Format::Text => report.line(),
            Format::Json => json("recording", report)?,
        };
        self.print(&line)
    }

    pub(super) fn summary(&self, summary: &Summary) -> io::Result<()> {
        self.progress.finish_and_clear();
        let line = match self.format {
            Format::Text => summary.line(),
            Format::Json => json("summary", summary)?,
        };
        self.print(&line)
    }

    fn print(&self, line: &str) -> io::Result<()> {
        self.progress.suspend(|| writeln!(io::stdout(), "{line}"))
    }
}

impl Drop for Printer {
    /// An error that follows gets a line of its own.
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}

fn json(kind: &str, content: &impl Serialize) -> io::Result<String> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        #[serde(rename = "type")]
        kind: &'a str,
        #[serde(flatten)]
        content: &'a T,
    }
    Ok(serde_json::to_string(&Line { kind, content })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_line_whatever_its_objects_are_called() {
        let report = Report {
            folder: "2026/11/20/a".into(),
            problems: vec![
                Finding::of("audio.m4a", Kind::Missing, "is missing"),
                Finding::new(Kind::Manifest, "The manifest is of another kind"),
            ],
            notes: vec![Finding::of("x\n\u{1b}[31m", Kind::Unlisted, "is not in the manifest")],
            unchecked: Some("no answer".into()),
            ..Report::default()
        };
        assert_eq!(
            report.line(),
            "2026/11/20/a: audio.m4a is missing. The manifest is of another kind. Note: x\u{fffd}\u{fffd}[31m is not in \
             the manifest. Not checked: no answer."
        );
    }

    #[test]
    fn what_is_wrong_goes_before_what_is_not_known() {
        let mut summary = Summary { recordings: 2, objects: 1, ..Summary::default() };
        assert_eq!(
            (summary.exit_status(), summary.line().as_str()),
            (0, "2 recordings, 1 object, 0 bytes, 0 problems, 0.0 s")
        );
        summary.unchecked = 1;
        assert_eq!(summary.exit_status(), 1);
        summary.problems = 1;
        assert_eq!(summary.exit_status(), 2);
        assert_eq!(summary.line(), "2 recordings, 1 object, 0 bytes, 1 problem, 1 not checked, 0.0 s");
    }
}
