//! `check`: is this machine, this bucket, this app ready?

use super::{EXIT_USAGE, env, raise_open_files, wrong_storage};
use rtms_recorder::check::spool::Expected;
use rtms_recorder::check::{Finding, Outcome, bucket, clock, events, machine, spool, webhook, zoom};
use rtms_recorder::config::{self, Config, RestConfig};
use rtms_recorder::ffmpeg::{self, Ffmpeg};
use rtms_recorder::store::Store;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// Is this machine, this bucket, this app ready to record? Says what to change if not.
///
/// Run it as the user that records, with the same environment; it may run beside a recorder. Of the bucket it tries a few
/// objects below rtms-recorder-check/, which it deletes again. The event WebSocket is opened for a moment, unless a recorder
/// has this spool: Zoom closes the connection of whoever else has the subscription. Exit status: 0 ready (there may be
/// warnings), 1 not ready, 64 wrong settings.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The webhook's address as entered in the Zoom app; it is asked as Zoom asks, so the recorder has to be running
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// Open the event WebSocket even if a recorder has this spool: it loses its connection for a moment, and events with it
    #[arg(long)]
    event_socket: bool,
    /// How many meetings there may be at a time: is the spool large enough?
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    meetings: Option<u32>,
    /// How long the longest of them is, in hours [default: 1]
    #[arg(long, value_name = "H", value_parser = hours, requires = "meetings")]
    hours: Option<f64>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn hours(text: &str) -> Result<f64, String> {
    let hours = text.parse().ok().filter(|hours: &f64| *hours > 0.0 && *hours <= 1000.0);
    hours.ok_or_else(|| "expected a number of hours such as 1.5".to_owned())
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // A longer limit is no use to this process, but what the recorder will have is to be told.
    raise_open_files();
    let mut report = Report { json: args.json, ..Report::default() };
    let store = Store::open(&config::storage_url(&env), &env).map_err(wrong_storage);
    let config = settings(&mut report, store.as_ref().err());
    let expected = args.meetings.map(|meetings| Expected { meetings, hours: args.hours.unwrap_or(1.0) });

    let ffmpeg = Ffmpeg::new(ffmpeg::Settings::default());
    let mut found = machine::ffmpeg(&ffmpeg).await;
    if found.outcome != Outcome::Failure {
        found = machine::ffmpeg_trial(&ffmpeg).await.unwrap_or(found);
    }
    report.add(found);
    report.add(machine::open_files(expected));
    if let Some(config) = &config {
        let dir = std::path::absolute(&config.spool_dir)?;
        spool::all(&dir, config.spool_min_free, expected).into_iter().for_each(|finding| report.add(finding));
    }
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(rtms_recorder::USER_AGENT)
        .build()?;
    let mut clock_of = config.as_ref().map(|config| config.rest.oauth_url.clone());
    if let Ok(store) = store {
        bucket::all(&store).await.into_iter().for_each(|finding| report.add(finding));
        clock_of = store.origin().await.or(clock_of);
    }
    if let Some(url) = clock_of {
        report.add(clock::against(&http, &url).await);
    }
    if let Some(config) = &config {
        for asked in credentials(config) {
            if let Some(finding) = zoom::credentials(&asked).await {
                report.add(finding);
            }
        }
        if let Some(door) = &config.events {
            let owner = spool::owner(&std::path::absolute(&config.spool_dir)?);
            let alone = config.apps.iter().all(|(_, app)| app.secret_token.is_none());
            report.add(events::opens(door.clone(), owner.as_deref(), args.event_socket, alone).await);
        }
        if let Some(url) = &args.public_url {
            for token in config.apps.iter().filter_map(|(_, app)| app.secret_token.as_ref()) {
                report.add(webhook::answers(&http, url, token).await);
            }
        }
    }
    Ok(report.end())
}

/// What a token is asked with: for the REST API, and for each General app that has not asked yet.
fn credentials(config: &Config) -> Vec<RestConfig> {
    let rest = &config.rest;
    let mut all = vec![rest.clone()];
    let mut known: Vec<_> = rest.credentials.iter().collect();
    // In a trial without an app there is nothing to ask with.
    for (_, app) in config.apps.iter().filter(|_| rest.credentials.is_some()) {
        if let Some(own) = app.general.as_ref().filter(|own| !known.contains(own)) {
            known.push(own);
            // The account is that of the app for REST.
            let mut asked = rest.clone();
            (asked.account_id, asked.credentials) = (None, Some(own.clone()));
            all.push(asked);
        }
    }
    all
}

/// The settings. What can be looked at in spite of mistakes is.
fn settings(report: &mut Report, storage: Option<&anyhow::Error>) -> Option<Config> {
    let config = Config::from_env(&env);
    if let Err(mistakes) = &config {
        mistakes.each().iter().for_each(|mistake| report.wrong_setting(mistake));
    }
    if let Some(err) = storage {
        report.wrong_setting(&err.to_string());
    }
    match config {
        Ok(config) => {
            if storage.is_none() {
                report.add(Finding::ok("settings", "all are there and can be used"));
            }
            Some(config)
        }
        Err(_) => {
            // A machine can be looked at before there is an app.
            Config::for_recovery(&env).ok()
        }
    }
}

/// Prints findings as they come.
#[derive(Default)]
struct Report {
    json: bool,
    failures: usize,
    warnings: usize,
    wrong_settings: bool,
}

impl Report {
    fn wrong_setting(&mut self, mistake: &str) {
        self.wrong_settings = true;
        self.add(Finding::failure("settings", mistake, "the README says more under \"Environment\""));
    }

    fn add(&mut self, finding: Finding) {
        let word = match finding.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warning",
            Outcome::Failure => "FAILED",
        };
        self.failures += usize::from(finding.outcome == Outcome::Failure);
        self.warnings += usize::from(finding.outcome == Outcome::Warning);
        if self.json {
            let mut line = json!({"type": "check"});
            if let (Some(line), Ok(serde_json::Value::Object(of))) =
                (line.as_object_mut(), serde_json::to_value(&finding))
            {
                line.extend(of);
            }
            println!("{line}");
        } else {
            println!("{word:<8} {:<17} {finding}", finding.check);
        }
    }

    fn end(self) -> ExitCode {
        let ready = self.failures == 0;
        if self.json {
            println!(
                "{}",
                json!({
                    "type": "summary", "ready": ready, "failures": self.failures, "warnings": self.warnings,
                    "version": rtms_recorder::VERSION,
                })
            );
        } else if ready {
            println!("Ready to record. Warnings: {}.", self.warnings);
        } else {
            println!("Not ready. Failed: {}, warnings: {}.", self.failures, self.warnings);
        }
        match (self.wrong_settings, ready) {
            (true, _) => ExitCode::from(EXIT_USAGE),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => ExitCode::FAILURE,
        }
    }
}
