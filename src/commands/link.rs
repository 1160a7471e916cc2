//! `link`: makes a link to a file in the bucket.

use super::{env, wrong_settings};
use rtms_recorder::config::LogFormat;
use rtms_recorder::{link, telemetry};
use std::process::ExitCode;

pub(crate) async fn run(args: link::Args) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    match link::command(args, &env).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(err) if err.is_wrong_settings() => Err(wrong_settings(err)),
        Err(err) => Err(err.into()),
    }
}
