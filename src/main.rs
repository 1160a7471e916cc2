//! The commands.

mod commands;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use rtms_recorder::catalogue::Catalogue;
use rtms_recorder::config::{LogFormat, RenderConfig, RestConfig};
use rtms_recorder::ffmpeg::{self, Ffmpeg};
use rtms_recorder::ids::Product;
use rtms_recorder::output::key::CATALOGUE;
use rtms_recorder::store::Store;
use rtms_recorder::{link, render, rest, simulator, telemetry, verify};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status for wrong settings (EX_USAGE of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Exit status for a spool that is in use, and for a Zoom that has trouble (EX_TEMPFAIL).
const EXIT_LATER: u8 = 75;

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
    /// Make the files of a recording from its journal alone.
    Render {
        /// The journal: a directory with 00000001.ndjson and so on.
        journal: PathBuf,
        /// Where the files go; made if missing.
        #[arg(long)]
        out: PathBuf,
    },
    /// Finish what is in the spool, and exit: render, upload, delete what was withdrawn.
    ///
    /// No webhook is taken and no stream is joined: one that still runs ends here. It waits for a bucket that cannot be
    /// reached. Zoom's settings are not needed. Exit status: 0 the spool is empty, 1 something could not be finished, 64
    /// wrong settings, 75 a recorder is using the spool.
    Recover,
    Verify(verify::Args),
    /// Bring the page up to date that lists all recordings: index.html in the bucket.
    ///
    /// A recorder does it by itself after each recording. Of the settings only STORAGE_URL, KEY_TEMPLATE and the store's own
    /// credentials count.
    Index {
        /// Replace an index.html that was not made by rtms-recorder
        #[arg(long)]
        force: bool,
    },
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

#[tokio::main]
async fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing has installed a provider before");
    let matches = commands::help::grouped(Cli::command()).try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches)).unwrap_or_else(|err| {
        // Help and version are asked for; clap's own status for mistakes is 2.
        let status = if err.use_stderr() { EXIT_USAGE.into() } else { 0 };
        err.print().ok();
        std::process::exit(status)
    });
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => commands::serve::run().await,
        Command::Check(args) => commands::check::run(args).await,
        Command::Recover => commands::recover::run().await,
        Command::Simulate(args) => simulate(*args).await,
        Command::Render { journal, out } => render_journal(journal, out).await,
        Command::Verify(args) => verify(args).await,
        Command::Index { force } => index(force).await,
        Command::Link(args) => make_link(args).await,
        Command::Rtms(args) => control_rtms(args).await,
        Command::Completions { shell } => {
            commands::help::completions(shell, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|err| {
        eprintln!("rtms-recorder: {err:#}");
        ExitCode::FAILURE
    })
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

async fn simulate(args: simulator::Args) -> anyhow::Result<ExitCode> {
    let summary = simulator::command(args).await?;
    let let_in = summary.siege.is_some_and(|siege| !siege.wrong.is_empty());
    let failed = let_in || summary.meetings.iter().any(|meeting| meeting.error.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn render_journal(journal: PathBuf, out: PathBuf) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    let config = match RenderConfig::from_env(&env) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("rtms-recorder: {mistakes}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
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

async fn verify(args: verify::Args) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    match verify::command(args, &env).await {
        Ok(summary) => Ok(ExitCode::from(summary.exit_status())),
        Err(err) if err.is_wrong_settings() => {
            eprintln!("rtms-recorder: {:#}", anyhow::Error::from(err));
            Ok(ExitCode::from(EXIT_USAGE))
        }
        Err(err) => Err(err.into()),
    }
}

async fn index(force: bool) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    let store = match Store::open_existing(&rtms_recorder::config::storage_url(&env), &env) {
        Ok(store) => store,
        Err(err) => {
            eprintln!("rtms-recorder: STORAGE_URL {:#}", anyhow::Error::from(err));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let template = match rtms_recorder::config::key_template(&env) {
        Ok(template) => template,
        Err(mistakes) => {
            eprintln!("rtms-recorder: {mistakes}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    let place = store.locate(CATALOGUE);
    let catalogue = Catalogue::new(store, &template, None);
    let mut catalogue = if force { catalogue.replacing_foreign() } else { catalogue };
    let outcome = catalogue.rebuild().await.context("listing the recordings")?;
    let what = if outcome.written { "written" } else { "up to date" };
    println!("{place}: {what}, {} recordings", outcome.recordings);
    Ok(ExitCode::SUCCESS)
}

async fn make_link(args: link::Args) -> anyhow::Result<ExitCode> {
    telemetry::start(LogFormat::Text);
    match link::command(args, &env).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(err) if err.is_wrong_settings() => {
            eprintln!("rtms-recorder: {:#}", anyhow::Error::from(err));
            Ok(ExitCode::from(EXIT_USAGE))
        }
        Err(err) => Err(err.into()),
    }
}

async fn control_rtms(args: rest::Args) -> anyhow::Result<ExitCode> {
    if args.participant.is_some() && !matches!(args.product, Product::Meeting | Product::Webinar) {
        eprintln!("rtms-recorder: --participant is for meetings and webinars");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let config = match RestConfig::from_env(&env, args.product) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("rtms-recorder: {mistakes}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    Ok(match rest::command(args, config).await? {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(err) => {
            eprintln!("rtms-recorder: {err}");
            if err.is_retryable() { ExitCode::from(EXIT_LATER) } else { ExitCode::FAILURE }
        }
    })
}
