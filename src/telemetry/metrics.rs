//! What is counted, for Prometheus and its like.
//!
//! Counters belong to the process, as logs do: a stage counts where a thing happens. Gauges are set by whoever serves
//! [`Metrics::encode`], just before. No label holds an id; all have few values.

use crate::protocol::link::Cause;
use crate::protocol::message::Medium;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One label.
pub type Label = [(&'static str, &'static str); 1];

/// One label whose values are not ours.
type Named = [(&'static str, String); 1];

type Counters = Family<Label, Counter>;
type Seconds = Counter<f64, AtomicU64>;
type Level = Gauge<f64, AtomicU64>;

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    packets: [Counter; Medium::ALL.len()],
    packet_bytes: [Counter; Medium::ALL.len()],
    /// By `state`; set before encoding.
    pub streams: Family<Label, Gauge>,
    /// Age of the oldest message that is not in its file; set before encoding.
    pub journal_backlog: Level,
    /// Age of the oldest closed chunk that is not rendered; set before encoding.
    pub render_backlog: Level,
    /// Of finished files that are not in the bucket; set before encoding.
    pub upload_backlog: Gauge,
    /// For the spool; set before encoding.
    pub spool_free: Gauge,
    /// Whether the bucket answered the last time: 1 or 0; set before encoding.
    pub bucket_up: Gauge,
    /// Bytes of messages that the disk did not take.
    pub dropped_bytes: Counter,
    /// Children that failed and whose step was done again.
    pub ffmpeg_restarts: Counter,
    /// Bytes of objects that were stored and verified.
    pub uploaded_bytes: Counter,
    gaps: Family<Label, Seconds>,
    reconnects: Counters,
    uploads: Counters,
    webhooks: Family<Named, Counter>,
    webhook_seconds: Histogram,
    keep_alives: Family<Named, Histogram, fn() -> Histogram>,
    ends: Family<Named, Counter>,
}

/// The metrics of this process.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("recorder");
        let r = &mut registry;
        let packets = Counters::default();
        r.register("packets", "Messages with media that Zoom sent", packets.clone());
        let bytes = Counters::default();
        r.register_with_unit("packets", "Their size as they came", Unit::Bytes, bytes.clone());
        let of = |family: &Counters| Medium::ALL.map(|m| family.get_or_create(&[("medium", m.as_str())]).clone());
        let (packets, packet_bytes) = (of(&packets), of(&bytes));

        macro_rules! register {
            ($name:literal, $help:literal $(, $unit:expr)?) => {{
                let metric = Default::default();
                register!(@ metric, $name, $help $(, $unit)?)
            }};
            (@ $metric:ident, $name:literal, $help:literal) => {{
                r.register($name, $help, Clone::clone(&$metric));
                $metric
            }};
            (@ $metric:ident, $name:literal, $help:literal, $unit:expr) => {{
                r.register_with_unit($name, $help, $unit, Clone::clone(&$metric));
                $metric
            }};
        }
        // Zoom waits 3 s for an answer.
        let webhook_seconds = Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]);
        r.register_with_unit("webhook", "Time to answer a webhook", Unit::Seconds, webhook_seconds.clone());
        let keep_alives: Family<_, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new([0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 1.0]));
        let help = "Time of a ping to Zoom's servers there and back, by the region in their names";
        r.register_with_unit("keep_alive", help, Unit::Seconds, keep_alives.clone());
        let metrics = Self {
            keep_alives,
            packets,
            packet_bytes,
            webhook_seconds,
            streams: register!("streams", "Recordings by what is being done with them"),
            journal_backlog: register!(
                "journal_backlog",
                "Age of the oldest message that waits for the disk",
                Unit::Seconds
            ),
            render_backlog: register!(
                "render_backlog",
                "Age of the oldest chunk that waits to be rendered",
                Unit::Seconds
            ),
            upload_backlog: register!("upload_backlog", "Size of finished files that wait to be uploaded", Unit::Bytes),
            spool_free: register!("spool_free", "Room that is left for the spool", Unit::Bytes),
            bucket_up: register!("bucket_up", "Whether the bucket answered the last time that it was asked"),
            dropped_bytes: register!(
                "journal_dropped",
                "Messages lost because the disk did not take them",
                Unit::Bytes
            ),
            ffmpeg_restarts: register!("ffmpeg_restarts", "Steps done again because an ffmpeg failed"),
            uploaded_bytes: register!("uploaded", "Size of the objects that were stored and verified", Unit::Bytes),
            gaps: register!("gaps", "Time without media in recordings that were published, by cause", Unit::Seconds),
            reconnects: register!("reconnects", "Connections lost that had been up, by cause"),
            uploads: register!("uploads", "Attempts at storing an object, by result"),
            webhooks: register!("webhooks", "Webhooks by the status that they were answered with"),
            ends: register!("stream_ends", "Streams that ended, by stop reason"),
            registry,
        };
        metrics.begin();
        metrics
    }

    /// Series that an alert may be on are there from the start: of one that begins with its first event, Prometheus sees no
    /// increase.
    fn begin(&self) {
        let begin = |family: &Counters, label, values: &[&'static str]| {
            values.iter().for_each(|value| drop(family.get_or_create(&[(label, *value)])));
        };
        begin(&self.uploads, "result", &["stored", "failed"]);
        begin(&self.reconnects, "cause", &Cause::ALL.map(Cause::as_str));
        for cause in ["not_sent", "paused", "connection", "no_key_frame", "disk"] {
            drop(self.gaps.get_or_create(&[("cause", cause)]));
        }
        for status in ["200", "400", "401", "503"] {
            drop(self.webhooks.get_or_create(&[("status", status.to_owned())]));
        }
    }

    /// A packet came.
    pub fn packet(&self, medium: Medium, bytes: usize) {
        let index = medium as usize;
        self.packets[index].inc();
        self.packet_bytes[index].inc_by(bytes as u64);
    }

    /// A connection was lost that had been up.
    pub fn reconnect(&self, cause: &'static str) {
        self.reconnects.get_or_create(&[("cause", cause)]).inc();
    }

    /// A recording was published that lacks so much.
    pub fn gap(&self, cause: &'static str, ms: i64) {
        self.gaps.get_or_create(&[("cause", cause)]).inc_by(ms.max(0) as f64 / 1000.0);
    }

    /// An attempt at storing an object ended: `stored` or `failed`.
    pub fn upload(&self, result: &'static str) {
        self.uploads.get_or_create(&[("result", result)]).inc();
    }

    /// A webhook was answered.
    pub fn webhook(&self, status: u16, took: Duration) {
        self.webhooks.get_or_create(&[("status", status.to_string())]).inc();
        self.webhook_seconds.observe(took.as_secs_f64());
    }

    /// A keep-alive's ping was answered by a server of this region.
    pub fn keep_alive(&self, region: &str, took: Duration) {
        self.keep_alives.get_or_create(&[("region", region.to_owned())]).observe(took.as_secs_f64());
    }

    /// A stream ended.
    pub fn stream_end(&self, reason: &str) {
        self.ends.get_or_create(&[("reason", reason.to_ascii_lowercase())]).inc();
    }

    /// All of it, as [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_units_are_those_of_prometheus() {
        let metrics = Metrics::new();
        assert!(metrics.encode().contains("recorder_uploads_total{result=\"failed\"} 0\n"), "there from the start");
        metrics.packet(Medium::Share, 100);
        metrics.gap("connection", 1500);
        metrics.reconnect("closed");
        metrics.webhook(200, Duration::from_millis(7));
        metrics.stream_end("MEETING_ENDED");
        metrics.keep_alive("iad", Duration::from_millis(30));
        metrics.spool_free.set(5);
        let text = metrics.encode();
        for line in [
            "recorder_packets_total{medium=\"share\"} 1",
            "recorder_packets_bytes_total{medium=\"share\"} 100",
            "recorder_gaps_seconds_total{cause=\"connection\"} 1.5",
            "recorder_reconnects_total{cause=\"closed\"} 1",
            "recorder_webhooks_total{status=\"200\"} 1",
            "recorder_webhook_seconds_bucket{le=\"0.01\"} 1",
            "recorder_stream_ends_total{reason=\"meeting_ended\"} 1",
            "recorder_keep_alive_seconds_bucket{le=\"0.05\",region=\"iad\"} 1",
            "recorder_spool_free_bytes 5",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn each_medium_has_its_place() {
        for (index, medium) in Medium::ALL.into_iter().enumerate() {
            assert_eq!(medium as usize, index);
        }
    }
}
