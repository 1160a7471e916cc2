//! What is not counted as it happens, but looked up when somebody asks.

use crate::recorder::{Recorder, Stage};
use crate::telemetry::metrics;

/// The metrics as text. Looks at files.
pub(super) fn collect(recorder: &Recorder) -> String {
    let metrics = metrics();
    let statuses = recorder.statuses();
    for stage in Stage::ALL {
        let count = statuses.iter().filter(|status| status.state == stage).count();
        metrics.streams.get_or_create(&[("state", stage.as_str())]).set(count as i64);
    }
    let machine = recorder.machine(&statuses);
    metrics.journal_backlog.set(machine.journal_backlog_ms as f64 / 1000.0);
    metrics.render_backlog.set(machine.render_backlog_ms as f64 / 1000.0);
    metrics.upload_backlog.set(machine.upload_backlog_bytes.cast_signed());
    metrics.spool_free.set(machine.spool_free_bytes.cast_signed());
    metrics.bucket_up.set(i64::from(recorder.bucket_trouble().is_none()));
    metrics.encode()
}
