//! The command line of `rtms-recorder simulate`.

use super::script::{self, Cut, Size, Span};
use super::{
    Binary, Credentials, Duplicates, Error, IdKey, Progress, Quirks, Rest, Script, Settings, Summary, Webhooks,
};
use crate::ids::{Product, parse_product};
use crate::protocol::message::Medium;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Be Zoom: play a scripted or a recorded meeting at a recorder, and say what was sent.
///
/// Times in the script are seconds of media time since the stream's start (10..15, 1m..90s); durations read 30s, 2.5,
/// 500ms, 5m or 1h. The recorder must allow plain ws:// to this machine (ZOOM_ALLOWED_HOSTS=127.0.0.1).
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The recorder's webhook
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000/webhook")]
    pub to: String,
    /// The app's client id
    #[arg(long, env = "ZOOM_CLIENT_ID", value_name = "ID")]
    pub client_id: String,
    /// The app's client secret, which signs handshakes
    #[arg(long, env = "ZOOM_CLIENT_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub client_secret: String,
    /// The app's Secret Token, which signs webhooks
    #[arg(long, env = "ZOOM_SECRET_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub secret_token: String,
    /// Where the sockets listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Address to give to the recorder instead, for use behind a TLS proxy (wss://zoom.example.test)
    #[arg(long, value_name = "URL")]
    pub advertise: Option<String>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,

    /// How long the meeting is [default: 30s, or the journal's length]
    #[arg(long, value_name = "TIME", value_parser = script::parse_duration, help_heading = "The meeting")]
    pub length: Option<Duration>,
    /// Times faster than real time
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = "The meeting")]
    pub speed: f64,
    /// Meetings at once
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "The meeting")]
    pub meetings: usize,
    /// Time between their starts
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = script::parse_duration, help_heading = "The meeting")]
    pub stagger: Duration,
    /// Replay a recorded journal instead of generated media (of the script only cuts, failover, interruptions and
    /// webhooks apply)
    #[arg(long, value_name = "DIR", help_heading = "The meeting")]
    pub journal: Option<PathBuf>,
    /// Product whose events and ids are used: meeting, webinar, session, contact_center, phone
    #[arg(long, default_value = "meeting", value_parser = parse_product, help_heading = "The meeting")]
    pub product: Product,
    /// Key under which handshakes have to give the id
    #[arg(long, value_enum, default_value_t, help_heading = "The meeting")]
    pub id_key: IdKey,
    /// Behave as the test server that Zoom published in 2025: unsigned webhooks, ws://0.0.0.0, no media handshakes
    #[arg(long, help_heading = "The meeting")]
    pub mock: bool,
    /// Media that the app has scopes for
    #[arg(long, value_name = "MEDIUM,...", value_delimiter = ',', value_parser = script::parse_medium,
        default_value = "audio,video,share,transcript,chat", help_heading = "The meeting")]
    pub media: Vec<Medium>,
    /// Size of the camera pictures
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = script::parse_size, help_heading = "The meeting")]
    pub size: Size,
    /// Pictures per second
    #[arg(long, value_name = "N", default_value_t = 25, help_heading = "The meeting")]
    pub fps: u32,
    /// Bit rate of the camera pictures, kbit/s
    #[arg(long, value_name = "KBIT", default_value_t = 1500, help_heading = "The meeting")]
    pub bitrate: u32,
    /// Reason given at the end (6: meeting ended, 8: consent revoked)
    #[arg(long, value_name = "N", default_value_t = 6, help_heading = "The meeting")]
    pub stop_reason: i64,

    /// Answer REST calls there (127.0.0.1:3100); a stream that is started by one is a new stream of its meeting
    #[arg(long, value_name = "ADDR", help_heading = "REST")]
    pub rest: Option<SocketAddr>,
    /// Answer the first calls with these in turn: 401, 429, 500, 2308, 2310, 3000, 3001, 4711, 202
    /// for a promise that is not kept, or 200 for no failure
    #[arg(long, value_name = "N,...", value_delimiter = ',', requires = "rest", help_heading = "REST")]
    pub rest_fail: Vec<u16>,
    /// How long a token is good
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = script::parse_duration, help_heading = "REST")]
    pub rest_token_life: Duration,
    /// How long a meeting goes on after its stream has ended, unless with reason 6
    #[arg(long, value_name = "TIME", default_value = "30", value_parser = script::parse_duration, help_heading = "REST")]
    pub rest_wait: Duration,

    /// Nobody's camera is on; repeatable
    #[arg(long, value_name = "SPAN", value_parser = script::parse_span, help_heading = "The script")]
    pub camera_off: Vec<Span>,
    /// No sound packets; repeatable
    #[arg(long, value_name = "SPAN", value_parser = script::parse_span, help_heading = "The script")]
    pub silence: Vec<Span>,
    /// Paused by a user; repeatable
    #[arg(long, value_name = "SPAN", value_parser = script::parse_span, help_heading = "The script")]
    pub pause: Vec<Span>,
    /// A screen is shared; repeatable
    #[arg(long, value_name = "SPAN", value_parser = script::parse_span, help_heading = "The script")]
    pub share: Vec<Span>,
    /// Close a socket: audio, video, share, transcript, chat, all (media) or signaling; repeatable
    #[arg(long, value_name = "SOCKET@TIME", value_parser = script::parse_cut, help_heading = "The script")]
    pub cut: Vec<Cut>,
    /// Cut without a close frame
    #[arg(long, help_heading = "The script")]
    pub cut_silently: bool,
    /// The server dies and the stream moves to another address; repeatable
    #[arg(long, value_name = "TIME", value_parser = script::parse_ms, help_heading = "The script")]
    pub failover: Vec<i64>,
    /// The interrupted event is posted and the open sockets go mute; repeatable
    #[arg(long, value_name = "TIME", value_parser = script::parse_ms, help_heading = "The script")]
    pub interrupted: Vec<i64>,
    /// Pictures change their size; repeatable
    #[arg(long, value_name = "TIME:WxH", value_parser = script::parse_size_change, help_heading = "The script")]
    pub size_change: Vec<(i64, Size)>,

    /// Put the ids into payload.object
    #[arg(long, help_heading = "Webhooks")]
    pub nested: bool,
    /// Use the other names of events that are in circulation (phone.call_rtms_started, meeting.rtms.started, ...)
    #[arg(long, help_heading = "Webhooks")]
    pub other_names: bool,
    /// Ask endpoint.url_validation first
    #[arg(long, help_heading = "Webhooks")]
    pub validate: bool,
    /// Post every webhook so much later
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = script::parse_duration, help_heading = "Webhooks")]
    pub webhook_delay: Duration,
    /// Deliver the started event so many more times
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Webhooks")]
    pub duplicate_webhooks: usize,
    /// Deliver the started event once more after the end
    #[arg(long, help_heading = "Webhooks")]
    pub late_start_webhook: bool,
    /// Deliver the stopped event before the started one
    #[arg(long, help_heading = "Webhooks")]
    pub stop_before_start: bool,
    /// Time before the first retry; the second comes after 4 and the third after 12 times as long
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = script::parse_duration, help_heading = "Webhooks")]
    pub webhook_retry: Duration,

    /// What becomes of a second connection for the same thing
    #[arg(long, value_enum, default_value_t, help_heading = "Behaviour")]
    pub duplicates: Duplicates,
    /// Send JSON in binary frames
    #[arg(long, value_enum, default_value_t, help_heading = "Behaviour")]
    pub binary: Binary,
    /// Pause after which a keep-alive is sent (not scaled by --speed)
    #[arg(long, value_name = "TIME", default_value = "10", value_parser = script::parse_duration, help_heading = "Behaviour")]
    pub keepalive: Duration,
    /// Send keep-alives on busy sockets too
    #[arg(long, help_heading = "Behaviour")]
    pub keepalive_always: bool,
    /// How long a lost socket is waited for [default: 60s for signaling, 65s for media, divided by --speed]
    #[arg(long, value_name = "TIME", value_parser = script::parse_duration, help_heading = "Behaviour")]
    pub reconnect_window: Option<Duration>,

    /// Keep-alives carry no timestamp
    #[arg(long, help_heading = "Quirks")]
    pub keepalive_without_timestamp: bool,
    /// Numbers are sent as strings
    #[arg(long, help_heading = "Quirks")]
    pub numbers_as_strings: bool,
    /// Messages of unknown type in between
    #[arg(long, help_heading = "Quirks")]
    pub unknown_messages: bool,
    /// Frames that are not JSON in between
    #[arg(long, help_heading = "Quirks")]
    pub garbage: bool,
    /// Slashes are written as \/
    #[arg(long, help_heading = "Quirks")]
    pub escaped_slashes: bool,
    /// JSON is spread over lines
    #[arg(long, help_heading = "Quirks")]
    pub pretty: bool,
    /// SPS and PPS only with the first key frame of a connection
    #[arg(long, help_heading = "Quirks")]
    pub headers_once: bool,
    /// Pictures start in the middle of a GOP
    #[arg(long, help_heading = "Quirks")]
    pub mid_gop: bool,
    /// The sampling clock is so many millionths fast
    #[arg(long, value_name = "PPM", default_value_t = 0.0, allow_negative_numbers = true, help_heading = "Quirks")]
    pub clock_ppm: f64,
    /// Timestamps are off by up to so many ms
    #[arg(long, value_name = "MS", default_value_t = 0, help_heading = "Quirks")]
    pub jitter: u16,
}

impl Args {
    /// The settings of a run.
    pub fn settings(&self) -> Settings {
        let args = self.clone();
        Settings {
            credentials: Credentials {
                client_id: args.client_id,
                client_secret: args.client_secret,
                secret_token: args.secret_token,
            },
            webhooks: Webhooks {
                to: args.to,
                nested: args.nested,
                other_names: args.other_names,
                validate: args.validate,
                delay: args.webhook_delay,
                duplicates: args.duplicate_webhooks,
                late_start: args.late_start_webhook,
                stop_before_start: args.stop_before_start,
                retry_after: args.webhook_retry,
            },
            listen: args.listen,
            advertise: args.advertise,
            product: args.product,
            id_key: args.id_key,
            mock: args.mock,
            length: args.length,
            speed: args.speed,
            meetings: args.meetings,
            stagger: args.stagger,
            media: args.media,
            size: args.size,
            fps: args.fps,
            kbit_per_s: args.bitrate,
            journal: args.journal,
            script: Script {
                camera_off: args.camera_off,
                silence: args.silence,
                pause: args.pause,
                share: args.share,
                cuts: args.cut,
                cut_silently: args.cut_silently,
                failover_ms: args.failover,
                interrupted_ms: args.interrupted,
                size_changes: args.size_change,
            },
            stop_reason: args.stop_reason,
            rest: args.rest.map(|listen| Rest {
                listen,
                failures: args.rest_fail,
                token_life: args.rest_token_life,
                wait: args.rest_wait,
            }),
            // The test server knows no duplicates.
            duplicates: if args.mock { Duplicates::Kick } else { args.duplicates },
            binary: args.binary,
            keepalive: args.keepalive,
            keepalive_always: args.keepalive_always,
            reconnect_window: args.reconnect_window,
            quirks: Quirks {
                keepalive_without_timestamp: args.keepalive_without_timestamp,
                numbers_as_strings: args.numbers_as_strings,
                unknown_messages: args.unknown_messages,
                garbage: args.garbage,
                escaped_slashes: args.escaped_slashes,
                pretty: args.pretty,
                headers_once: args.headers_once,
                mid_gop: args.mid_gop,
                clock_ppm: args.clock_ppm,
                jitter_ms: args.jitter.into(),
            },
        }
    }
}

/// Runs the `simulate` command: shows progress on stderr and prints the summary to stdout.
///
/// # Errors
/// As [`super::run`].
pub async fn command(args: Args) -> Result<Summary, Error> {
    let summary = super::run(args.settings(), Progress::auto()).await?;
    if args.json {
        let json = serde_json::to_string_pretty(&summary).expect("a summary has string keys only");
        println!("{json}");
    } else {
        println!("{}", summary.to_string().trim_end());
    }
    Ok(summary)
}
