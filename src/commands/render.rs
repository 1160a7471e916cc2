//! `render`: makes the files of a recording from its journal alone.

use super::{env, wrong_settings};
use anyhow::Context;
use rtms_recorder::config::{LogFormat, RenderConfig};
use rtms_recorder::ffmpeg::{self, Ffmpeg};
use rtms_recorder::{render, telemetry};
use std::path::PathBuf;
use std::process::ExitCode;

/// Make the files of a recording from its journal alone.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The journal: a directory with 00000001.ndjson and so on.
    journal: PathBuf,
    /// Where the files go; made if missing.
    #[arg(long)]
    out: PathBuf,
}

pub(crate) async fn run(Args { journal, out }: Args) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    let config = RenderConfig::from_env(&env).map_err(wrong_settings)?;
    let ffmpeg = Ffmpeg::new(ffmpeg::Settings::default());
    let manifest = render::render_journal(&render::Settings::from(&config), &ffmpeg, &journal, &out)
        .await
        .with_context(|| format!("rendering {}", journal.display()))?;
    println!("{} ms in {}", manifest.duration_ms, out.display());
    for object in &manifest.objects {
        println!("  {:>12}  {}", object.size_bytes, object.name);
    }
    Ok(ExitCode::SUCCESS)
}
