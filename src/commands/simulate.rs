//! `simulate`: is Zoom.

use rtms_recorder::simulator;
use std::process::ExitCode;

pub(crate) async fn run(args: simulator::Args) -> anyhow::Result<ExitCode> {
    let summary = simulator::command(args).await?;
    let let_in = summary.siege.is_some_and(|siege| !siege.wrong.is_empty());
    let failed = let_in || summary.meetings.iter().any(|meeting| meeting.error.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
