//! The command line.

mod commands;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rtms_recorder::{link, memory, rest, simulator, verify};
use std::process::ExitCode;

/// Records Zoom Realtime Media Streams into files in your own bucket.
///
/// Without a command it serves.
#[derive(Parser)]
#[command(version = rtms_recorder::VERSION)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Take webhooks, record the streams that they announce, and publish the files.
    Serve,
    Check(commands::check::Args),
    /// Be Zoom: play a meeting at a recorder.
    ///
    /// The recorder has to allow the sockets: start it with ZOOM_ALLOWED_HOSTS=127.0.0.1 and the same client id, client
    /// secret and Secret Token. A TIME is 90, 90s or 1.5m; a SPAN is two of them: 10..15.
    Simulate(Box<simulator::Args>),
    Render(commands::render::Args),
    /// Finish what is in the spool, and exit: render, upload, delete what was withdrawn.
    ///
    /// No webhook is taken and no stream is joined: one that still runs ends here. It waits for a bucket that cannot be
    /// reached. Zoom's settings are not needed. Exit status: 0 the spool is empty, 1 something could not be finished, 64
    /// wrong settings, 75 a recorder is using the spool.
    Recover,
    Verify(verify::Args),
    Index(commands::index::Args),
    Link(link::Args),
    /// Start, stop, pause or resume a stream by Zoom's REST API.
    ///
    /// Settings come from environment variables: ZOOM_CLIENT_ID names the app; ZOOM_ACCOUNT_ID, ZOOM_REST_CLIENT_ID and
    /// ZOOM_REST_CLIENT_SECRET say with what to ask; the README lists them. Zoom answers before anything has happened; its
    /// events tell the rest. Exit status: 0 Zoom will do it, 1 Zoom refuses, 75 Zoom cannot be reached or has trouble, 64
    /// wrong settings.
    Rtms(rest::Args),
    /// Print what makes a shell complete this command line.
    ///
    /// For bash: source <(rtms-recorder completions bash). For others see the shell's manual.
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    memory::keep_two_pools();
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing has installed a provider before");
    let matches = commands::help::grouped(Cli::command()).try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|err| {
        // Help and version are asked for; clap's own status for mistakes is 2.
        let status = if err.use_stderr() { commands::EXIT_USAGE.into() } else { 0 };
        err.print().ok();
        std::process::exit(status)
    });
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => commands::serve::run().await,
        Command::Check(args) => commands::check::run(args).await,
        Command::Recover => commands::recover::run().await,
        Command::Simulate(args) => commands::simulate::run(*args).await,
        Command::Render(args) => commands::render::run(args).await,
        Command::Verify(args) => commands::verify::run(args).await,
        Command::Index(args) => commands::index::run(args).await,
        Command::Link(args) => commands::link::run(args).await,
        Command::Rtms(args) => commands::rtms::run(args).await,
        Command::Completions { shell } => {
            commands::help::completions(shell, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|err| {
        eprintln!("rtms-recorder: {err:#}");
        commands::exit_status(&err)
    })
}
