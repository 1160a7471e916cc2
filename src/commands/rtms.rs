//! `rtms`: asks Zoom to start, stop, pause or resume a stream.

use super::{EXIT_FAILURE, EXIT_LATER, Failure, env, wrong_settings};
use rtms_recorder::config::RestConfig;
use rtms_recorder::ids::Product;
use rtms_recorder::rest;
use std::process::ExitCode;

pub(crate) async fn run(args: rest::Args) -> anyhow::Result<ExitCode> {
    if args.participant.is_some() && !matches!(args.product, Product::Meeting | Product::Webinar) {
        return Err(wrong_settings(anyhow::anyhow!("--participant is for meetings and webinars")));
    }
    let config = RestConfig::from_env(&env, args.product).map_err(wrong_settings)?;
    let done = rest::command(args, config).await?.map_err(|err| {
        let status = if err.is_retryable() { EXIT_LATER } else { EXIT_FAILURE };
        Failure::new(status, err)
    })?;
    println!("{done}");
    Ok(ExitCode::SUCCESS)
}
