//! Checks what is in a bucket against the manifests, and reports what differs.
//!
//! Owns the command `verify`: which folders there are (`store::walk`), what has to be in each (`recording`), whether the
//! content of an object is what was uploaded and can be played (`content`, with `--deep`), and the words for it
//! (`report`). Only reads; what to do about a finding is left to people.
//!
//! Invariants:
//!
//! - Memory is bounded: the listing of one day, and of each recording that is being checked one manifest and, with
//!   `--deep`, two pieces of an object. Nothing is written to a disk.
//! - A manifest is text from outside: no key that it lists is asked for unless it lies in the manifest's own folder and
//!   the store has listed it there.
//! - Findings are reported in the order of the folders, however many are checked at a time.
//! - A recorder may be publishing or deleting meanwhile: a finding counts only if the folder is listed the same again.

mod content;
mod decode;
mod recording;
pub mod report;

pub use report::{Report, Summary};

use crate::config::Mistakes;
use crate::ffmpeg::{self, Ffmpeg};
use crate::output::{Folder, Template};
use crate::store::walk::{Order, Walk};
use crate::store::{self, Store};
use futures_util::{StreamExt, TryStreamExt, stream};
use recording::Checker;
use report::{Format, Printer};
use std::io;
use std::pin::pin;
use std::time::Instant;

/// How many manifests are read at a time where objects are not.
const MANIFESTS_AT_ONCE: usize = 16;
/// How many recordings are downloaded and decoded at a time, at most.
const DECODERS_AT_ONCE: usize = 8;
/// After so many recordings in a row that could not be checked, the others are not tried.
const GIVE_UP_AFTER: usize = 5;

/// Check that the recordings in the bucket are as their manifests say.
///
/// Of the settings only STORAGE_URL, KEY_TEMPLATE and the store's own credentials count. Exit status: 0 all is as the manifests say, 1
/// not all could be checked, 2 something is wrong, 64 wrong settings.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only these: 2026, 2026/11, 2026/11/20, or the folder of a recording (with the default KEY_TEMPLATE) [default: all]
    #[arg(value_name = "FOLDER")]
    pub folders: Vec<String>,
    /// Download every object, compare its SHA-256, and decode all media from beginning to end
    #[arg(long)]
    pub deep: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Why nothing, or not all, could be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage URL or the store's variables are wrong.
    #[error("STORAGE_URL cannot be used")]
    Settings(#[source] store::Error),
    /// No recording can be there.
    #[error(
        "{folder:?} is no folder of recordings: expected the folder of one, or the beginning of its path, by {template} (KEY_TEMPLATE)"
    )]
    Folder {
        /// What was asked for.
        folder: String,
        /// Where recordings are.
        template: Template,
    },
    /// `KEY_TEMPLATE` is wrong.
    #[error(transparent)]
    Template(#[from] Mistakes),
    /// The bucket cannot be listed.
    #[error("the bucket cannot be checked")]
    Store(#[source] store::Error),
    /// One recording after another could not be checked.
    #[error("{GIVE_UP_AFTER} recordings in a row could not be checked; the others were not tried")]
    GaveUp,
    /// ffmpeg is missing or lacks something.
    #[error("--deep needs ffmpeg to decode all media")]
    Ffmpeg(#[source] ffmpeg::Error),
    /// The report could not be written.
    #[error("the report cannot be written")]
    Output(#[source] io::Error),
}

impl Error {
    /// Whether the command line or a variable has to be changed.
    pub fn is_wrong_settings(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Folder { .. } | Self::Template(_))
    }
}

/// Runs the command: findings and the summary go to standard output, progress to standard error if it is a terminal.
///
/// # Errors
/// [`Error`]; findings are none.
pub async fn command(args: Args, env: &dyn Fn(&str) -> Option<String>) -> Result<Summary, Error> {
    let template = crate::config::key_template(env)?;
    let store = Store::open_existing(&crate::config::storage_url(env), env).map_err(Error::Settings)?;
    let folders = folders(&template, &store.locate(""), args.folders)?;
    let ffmpeg = Ffmpeg::new(ffmpeg::Settings::default());
    if args.deep {
        ffmpeg.check().await.map_err(Error::Ffmpeg)?;
    }
    let mut printer = Printer::new(if args.json { Format::Json } else { Format::Text });
    let summary = run(&store, &template, args.deep.then_some(ffmpeg), folders, |report| printer.report(report)).await?;
    printer.summary(&summary).map_err(Error::Output)?;
    Ok(summary)
}

/// Checks the recordings in `folders` ([`Args::folders`] in order, none in another; an empty path means all), with
/// `ffmpeg` deeply. `on_report` hears of each in the order of the folders.
///
/// # Errors
/// [`Error::Store`], [`Error::GaveUp`], [`Error::Output`]. What was reported until then holds.
async fn run(
    store: &Store,
    template: &Template,
    ffmpeg: Option<Ffmpeg>,
    folders: Vec<String>,
    mut on_report: impl FnMut(&Report) -> io::Result<()>,
) -> Result<Summary, Error> {
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let at_once = if ffmpeg.is_some() { cores.min(DECODERS_AT_ONCE) } else { MANIFESTS_AT_ONCE };
    let checker = Checker::new(store, ffmpeg);
    let found = stream::try_unfold(Walk::new(store, template, folders, Order::OldestFirst), async |mut walk| {
        let found = walk.next().await?;
        Ok::<_, store::Error>(found.map(|found| (found, walk)))
    });
    let reports = found.map_ok(|found| async { Ok(checker.check(found).await) }).try_buffered(at_once);
    let mut reports = pin!(reports);
    let (mut summary, mut unchecked) = (Summary::default(), 0);
    while let Some(report) = reports.next().await.transpose().map_err(Error::Store)? {
        summary.add(&report);
        on_report(&report).map_err(Error::Output)?;
        unchecked = if report.unchecked.is_some() { unchecked + 1 } else { 0 };
        if unchecked == GIVE_UP_AFTER {
            return Err(Error::GaveUp);
        }
    }
    summary.seconds = began.elapsed().as_secs_f64();
    Ok(summary)
}

/// What was asked for, in order and without what lies in another one.
fn folders(template: &Template, place: &str, asked: Vec<String>) -> Result<Vec<String>, Error> {
    let mut folders = Vec::new();
    for folder in asked {
        let path = Folder::meant(&folder, place);
        if path.is_empty() || template.depth_of(path).is_none_or(|depth| depth > template.depth()) {
            return Err(Error::Folder { folder, template: template.clone() });
        }
        folders.push(path.to_owned());
    }
    folders.sort();
    folders.dedup_by(|later, earlier| later == earlier || is_below(later, earlier));
    Ok(if folders.is_empty() { vec![String::new()] } else { folders })
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(asked: &[&str]) -> Result<Vec<String>, Error> {
        folders(&Template::default(), "s3://bucket/team/", asked.iter().map(|folder| (*folder).to_owned()).collect())
    }

    #[test]
    fn folders_are_taken_once_and_in_order() {
        assert_eq!(asked(&[]).unwrap(), [""]);
        assert_eq!(
            asked(&[
                "2026/12/",
                "s3://bucket/team/2026/11/20/a",
                "2026/11/20",
                "2025/01/02/b/manifest.json",
                "2026/12"
            ])
            .unwrap(),
            ["2025/01/02/b", "2026/11/20", "2026/12"]
        );
    }

    #[test]
    fn what_can_be_no_folder_is_refused() {
        for folder in ["", "/", "..", "2026/../2025", "2026/1", "2026/11/20/a/b", "s3://bucket/2026"] {
            let refused = asked(&["2026", folder]).unwrap_err();
            assert!(refused.is_wrong_settings(), "{refused}");
        }
    }
}
