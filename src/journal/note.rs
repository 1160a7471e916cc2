//! What the recorder itself writes into the journal: `{"note":"connected","conn":"audio",...}`.

use serde::{Deserialize, Serialize};

/// One note. Times are those of the line that carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// A connection is up: its handshake was accepted.
    Connected {
        /// Which one.
        conn: String,
        /// The how-manieth attempt it was, counted from 1 over the whole stream.
        run: u32,
        /// The host that it leads to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// A connection that was up is gone.
    Lost {
        /// Which one.
        conn: String,
        /// The run that ended.
        run: u32,
        /// What was seen of it.
        because: String,
    },
    /// An attempt to connect did not succeed.
    Refused {
        /// Which one.
        conn: String,
        /// The run that was tried.
        run: u32,
        /// What came back.
        because: String,
        /// Whether it is tried again.
        #[serde(default)]
        for_good: bool,
    },
    /// The stream is over.
    Ended {
        /// How we know: `event`, `state`, `unreachable`; `down` if the recorder was not there to see it, `shutdown` if it was
        /// told not to wait for it, `operator` if somebody stopped this recording.
        source: String,
        /// Zoom's stop reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<i64>,
    },
    /// Messages could not be written: the disk did not take them.
    Dropped {
        /// How many.
        messages: u64,
        /// How large they were.
        bytes: u64,
        /// When the first one was received, in Unix ms.
        from_ms: i64,
        /// When the last one was received, in Unix ms.
        to_ms: i64,
    },
    /// The recorder was started again while the stream ran.
    Resumed,
}

impl Note {
    /// The note as a journal's `m`.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("notes hold nothing that JSON cannot")
    }
}
