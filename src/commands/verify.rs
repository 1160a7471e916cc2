//! `verify`: is everything there that the manifests say?

use super::{env, wrong_settings};
use rtms_recorder::config::LogFormat;
use rtms_recorder::{telemetry, verify};
use std::process::ExitCode;

pub(crate) async fn run(args: verify::Args) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    match verify::command(args, &env).await {
        Ok(summary) => Ok(ExitCode::from(summary.exit_status())),
        Err(err) if err.is_wrong_settings() => Err(wrong_settings(err)),
        Err(err) => Err(err.into()),
    }
}
