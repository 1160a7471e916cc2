//! `index`: brings the page up to date that lists all recordings.

use super::{env, wrong_settings, wrong_storage};
use anyhow::Context;
use rtms_recorder::catalogue::Catalogue;
use rtms_recorder::config::{self, LogFormat};
use rtms_recorder::output::key::CATALOGUE;
use rtms_recorder::store::Store;
use rtms_recorder::telemetry;
use std::process::ExitCode;

/// Bring the page up to date that lists all recordings: index.html in the bucket.
///
/// A recorder does it by itself after each recording. Of the settings only STORAGE_URL, KEY_TEMPLATE and the store's own
/// credentials count.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace an index.html that was not made by rtms-recorder
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    let store = Store::open_existing(&config::storage_url(&env), &env).map_err(wrong_storage)?;
    let template = config::key_template(&env).map_err(wrong_settings)?;
    let place = store.locate(CATALOGUE);
    let catalogue = Catalogue::new(store, &template, None);
    let mut catalogue = if args.force { catalogue.replacing_foreign() } else { catalogue };
    let outcome = catalogue.rebuild().await.context("listing the recordings")?;
    let what = if outcome.written { "written" } else { "up to date" };
    println!("{place}: {what}, {} recordings", outcome.recordings);
    Ok(ExitCode::SUCCESS)
}
