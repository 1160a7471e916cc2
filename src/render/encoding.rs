//! A run of pictures on its way through an encoder, and what becomes of those that it cannot decode.

use super::Error;
use crate::container::flv;
use crate::container::matroska::{self, TrackSettings, Writer};
use crate::ffmpeg::{self, Child, Ffmpeg, Output, args};
use crate::media::Pts;
use crate::timeline::Span;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// How long an encoder may take to end after its input has.
const GRACE: Duration = Duration::from_secs(60);

/// A run of pictures of one codec and size.
pub(super) struct Encoding {
    track: TrackSettings,
    /// `None` once it has given up.
    child: Option<Child>,
    input: Writer,
    output: flv::Reader,
    /// The frames that the encoder has been given and has not returned: when each is shown, and for how long.
    waiting: VecDeque<(Pts, i64)>,
}

/// What has come out of an encoder, in order.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) pictures: Vec<(flv::Picture, i64)>,
    /// The times of pictures that could not be decoded.
    pub(super) undecodable: Vec<Span>,
}

impl Encoding {
    pub(super) fn start(ffmpeg: &Ffmpeg, track: TrackSettings, canvas: args::Canvas) -> Result<Self, Error> {
        let child = ffmpeg.spawn("encoding pictures", &args::encode(track.codec, canvas), Output::Collect)?;
        Ok(Self {
            track,
            child: Some(child),
            input: Writer::new(track),
            output: flv::Reader::default(),
            waiting: VecDeque::new(),
        })
    }

    /// Whether a picture of this kind can be the next one.
    pub(super) fn takes(&self, track: TrackSettings, is_key: bool) -> bool {
        self.track == track && (self.child.is_some() || !is_key)
    }

    /// Gives the encoder a picture; returns what it has put out meanwhile.
    pub(super) async fn push(
        &mut self,
        pts: Pts,
        is_key: bool,
        duration_ms: i64,
        data: &[u8],
    ) -> Result<Encoded, Error> {
        let mut bytes = Vec::with_capacity(data.len() + 64);
        if self.input.last().is_none() {
            self.input.header(&mut bytes);
        }
        self.input.write(&matroska::Frame { pts, is_key, duration_ms: None, data }, &mut bytes)?;
        self.waiting.push_back((pts, duration_ms));
        let output = match &mut self.child {
            Some(child) => child.write(&bytes).await.map(|()| child.take_output()),
            None => Ok(Bytes::new()),
        };
        self.settle(output)
    }

    /// Ends the run.
    pub(super) async fn finish(mut self) -> Result<Encoded, Error> {
        let rest = match self.child.take() {
            Some(child) => child.finish(GRACE).await,
            None => Ok(Bytes::new()),
        };
        let mut encoded = self.settle(rest)?;
        encoded.undecodable.extend(self.waiting.drain(..).map(span));
        Ok(encoded)
    }

    /// An encoder that refuses what it is given would refuse it the next time, too: the pictures count as undecodable, and
    /// the rest of the recording does not suffer.
    fn settle(&mut self, output: Result<Bytes, ffmpeg::Error>) -> Result<Encoded, Error> {
        let mut encoded = Encoded::default();
        match output {
            Ok(bytes) => self.take(&bytes, &mut encoded)?,
            Err(err @ ffmpeg::Error::Exited { .. }) if !err.is_retryable() => {
                tracing::debug!(err = %err, pictures = self.waiting.len(), "pictures cannot be decoded");
                self.child = None;
            }
            Err(err) => return Err(err.into()),
        }
        if self.child.is_none() {
            encoded.undecodable.extend(self.waiting.drain(..).map(span));
        }
        Ok(encoded)
    }

    fn take(&mut self, output: &[u8], encoded: &mut Encoded) -> Result<(), Error> {
        self.output.push(output);
        while let Some(picture) = self.output.next_picture()? {
            let duration_ms = loop {
                match self.waiting.pop_front() {
                    Some((pts, duration_ms)) if pts == picture.pts => break duration_ms,
                    Some(frame) if frame.0 < picture.pts => encoded.undecodable.push(span(frame)),
                    _ => return Err(Error::Encoder("the encoder returned a picture that it was not given")),
                }
            };
            encoded.pictures.push((picture, duration_ms));
        }
        Ok(())
    }
}

fn span((pts, duration_ms): (Pts, i64)) -> Span {
    Span::new(pts, Pts(pts.0.saturating_add(duration_ms)))
}
