//! The command `link`: the page of a recording in a private bucket, with links that work without credentials for a time.
//!
//! It reads the recording's manifest and texts, signs a link to each object, and composes the same page as `render` does. Nothing in
//! the bucket is changed. Whoever has the page can see and hear all of the recording until the links expire.

use crate::clock;
use crate::media::Timestamp;
use crate::output::manifest::StoredObject;
use crate::output::page::{self, File, Sources};
use crate::output::{Folder, Manifest, Object};
use crate::store::{self, Store};
use bytes::Bytes;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Make a page that plays a recording from a private bucket, by signed links.
///
/// It is one file, to be sent to whoever may see the recording, or to be put anywhere. Whoever has it can see all of the recording until the
/// links expire. Of the settings only STORAGE_URL and the store's own credentials count. In a local directory nothing is signed: the page
/// works on this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The recording: 2026/11/20/093000Z-85746065432-01234567, as the log says it, with or without the storage URL
    pub folder: String,
    /// How long the links work: 30m, 12h, 7d. S3 and Google Cloud Storage allow 7 days at most
    #[arg(long, default_value = "7d", value_parser = span)]
    pub expires: Duration,
    /// Where the page goes; to standard output without it
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The storage URL or the store's variables are wrong.
    #[error("STORAGE_URL cannot be used")]
    Settings(#[source] store::Error),
    /// No recording can be there.
    #[error("{0:?} cannot be the folder of a recording: expected one such as the log line `published` says")]
    Folder(String),
    /// The store signs no links of this length.
    #[error(
        "--expires is longer than the {0} days for which signed links of this store can work; say --expires {0}d or less"
    )]
    TooLong(u64),
    /// There is no manifest.
    #[error("there is no recording in {0}: expected a folder such as the log line `published` says, below STORAGE_URL")]
    Nothing(String),
    /// The store fails.
    #[error("the recording cannot be read")]
    Store(#[from] store::Error),
    /// The manifest or a text cannot be read.
    #[error("{what} cannot be read")]
    Json {
        /// The object.
        what: String,
        #[source]
        #[allow(missing_docs, reason = "the source says it")]
        source: serde_json::Error,
    },
    /// The recording was deleted.
    #[error("this recording was deleted: {0}")]
    Deleted(String),
    /// The page cannot be written.
    #[error("writing {0} failed")]
    Output(String, #[source] io::Error),
}

impl Error {
    /// Whether the command line or a variable has to be changed.
    pub fn is_wrong_settings(&self) -> bool {
        matches!(self, Self::Settings(_) | Self::Folder(_) | Self::TooLong(_))
    }
}

/// Runs the command. Remarks go to standard error.
///
/// # Errors
/// [`Error`].
pub async fn command(args: Args, env: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
    let store = Store::open_existing(&crate::config::storage_url(env), env).map_err(Error::Settings)?;
    let folder = folder(&args.folder, &store.locate(""))?;
    if let Some(longest) = store.longest_link().filter(|longest| args.expires > *longest) {
        return Err(Error::TooLong(longest.as_secs() / (24 * 3600)));
    }
    let page = page(&store, &folder, args.expires).await?;
    if store.is_local() {
        eprintln!("rtms-recorder: a local directory has no signed links: the page refers to files of this machine");
    } else if is_temporary(&store, env) {
        eprintln!("rtms-recorder: the links are signed with temporary credentials, and stop working when those expire");
    }
    match &args.out {
        Some(path) => tokio::fs::write(path, page).await.map_err(|err| Error::Output(path.display().to_string(), err)),
        None => {
            let written = io::Write::write_all(&mut io::stdout().lock(), &page);
            written.map_err(|err| Error::Output("to standard output".to_owned(), err))
        }
    }
}

/// Whether credentials of S3 are not those of a user.
fn is_temporary(store: &Store, env: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_set = |name| env(name).is_some_and(|value| !value.trim().is_empty());
    store.describe().starts_with("s3:") && (is_set("AWS_SESSION_TOKEN") || !is_set("AWS_ACCESS_KEY_ID"))
}

/// The folder that was meant.
fn folder(asked: &str, place: &str) -> Result<String, Error> {
    let folder =
        Folder::try_from(Folder::meant(asked, place).to_owned()).map_err(|_| Error::Folder(asked.to_owned()))?;
    Ok(folder.into())
}

/// Composes the page.
async fn page(store: &Store, folder: &str, expires: Duration) -> Result<Vec<u8>, Error> {
    let key = |name: &str| format!("{folder}/{name}");
    let json = store.get(&key(&Object::Manifest.name())).await.map_err(|err| match err.is_not_found() {
        true => Error::Nothing(store.locate(folder)),
        false => err.into(),
    })?;
    let broken = |what: &str| {
        let what = what.to_owned();
        |source| Error::Json { what, source }
    };
    let manifest = Manifest::from_json(&json).map_err(broken("manifest.json"))?;
    if let Some(deleted) = manifest.deleted {
        return Err(Error::Deleted(deleted.because));
    }
    let until = Timestamp(clock::unix_ms().saturating_add(expires.as_millis() as i64));
    let (mut files, mut origins) = (Vec::new(), Vec::new());
    // A manifest is text from outside: no key but those in its own folder is signed.
    let own = manifest.objects.iter().filter(|object| object.key == key(&object.name));
    let own = own.filter(|object| object.name != Object::Index.name());
    let itself = StoredObject {
        name: Object::Manifest.name(),
        key: key(&Object::Manifest.name()),
        size_bytes: json.len() as u64,
        sha256: String::new(),
        content_type: String::new(),
        duration_ms: None,
        codec: None,
    };
    let mut root = None;
    for object in own.chain([&itself]) {
        let link = store.link(&object.key, expires).await?;
        if store.is_local() {
            root = link.as_str().strip_suffix(&object.key).map(str::to_owned).or(root);
        }
        let origin = link.origin();
        if origin.is_tuple() && !origins.contains(&origin.ascii_serialization()) {
            origins.push(origin.ascii_serialization());
        }
        files.push(File::at(link.into(), object));
    }
    let mut texts: [Option<Bytes>; 3] = [None, None, None];
    for (text, object) in texts.iter_mut().zip([Object::Timeline, Object::TranscriptJson, Object::ChatJson]) {
        if manifest.object(&object).is_some() {
            *text = Some(store.get(&key(&object.name())).await?);
        }
    }
    let [timeline, transcript, chat] = &texts;
    let sources = Sources {
        manifest: &manifest,
        files: &files,
        timeline: timeline.as_deref(),
        transcript: transcript.as_deref(),
        chat: chat.as_deref(),
        root: root.as_deref(),
        signed: (!store.is_local()).then_some((until, &origins)),
    };
    page::compose(&sources).map_err(broken("a text of the recording"))
}

/// `30m`, `12h`, `7d`: seconds with `s` or without.
fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => 0,
    };
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    // More than a year is a slip.
    let seconds = seconds.filter(|seconds| (1..=366 * 24 * 3600).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "expected a time such as 30m, 12h or 7d, up to 366d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_as_logs_and_people_write_it() {
        let plain = "2026/11/20/093000Z-85746065432-01234567";
        for asked in [
            plain,
            &format!("/{plain}/"),
            &format!("{plain}/index.html"),
            &format!("{plain}/manifest.json"),
            &format!("s3://bucket/team/{plain}"),
        ] {
            assert_eq!(folder(asked, "s3://bucket/team/").unwrap(), plain, "{asked}");
        }
        for asked in ["", "/", "2026/11/20/..", "s3://other/2026/11/20/a", "2026//20/a"] {
            assert!(folder(asked, "s3://bucket/team/").is_err(), "{asked}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("90", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "0", "-1d", "7w", "d", "400d", "99999999999999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
