//! The SPS and PPS of a source: remembered, since Zoom may send them only once.

use super::h264::{NalKind, nals, sps_size};
use super::image::Size;
use bytes::Bytes;
use std::collections::BTreeMap;

/// The parameter sets in force, by id.
#[derive(Debug, Default)]
pub(super) struct ParameterSets {
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
    size: Option<Size>,
}

/// What an access unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) slice: Slice,
    pub(super) sps: Sps,
    /// It brings both an SPS and a PPS.
    pub(super) self_contained: bool,
}

/// Its first slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slice {
    None,
    Idr,
    Other,
}

/// Its SPS against the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sps {
    NoneOrSame,
    /// Of other content: what follows cannot be decoded without an IDR.
    Replaced,
}

impl ParameterSets {
    /// Looks at an access unit up to its first slice and remembers its parameter sets.
    pub(super) fn look(&mut self, unit: &Bytes) -> Look {
        let mut look = Look { slice: Slice::None, sps: Sps::NoneOrSame, self_contained: false };
        let (mut sps, mut pps) = (false, false);
        for nal in nals(unit) {
            match (nal.kind(), nal.parameter_set_id()) {
                (NalKind::Idr, _) => look.slice = Slice::Idr,
                (NalKind::Slice, _) => look.slice = Slice::Other,
                (NalKind::Sps, Some(id)) => {
                    sps = true;
                    self.size = sps_size(nal.bytes);
                    let before = self.sps.insert(id, Bytes::copy_from_slice(nal.bytes));
                    if before.is_some_and(|before| before != nal.bytes) {
                        look.sps = Sps::Replaced;
                    }
                }
                (NalKind::Pps, Some(id)) => {
                    pps = true;
                    self.pps.insert(id, Bytes::copy_from_slice(nal.bytes));
                }
                _ => {}
            }
            if look.slice != Slice::None {
                break;
            }
        }
        look.self_contained = sps && pps;
        look
    }

    /// The size that the latest SPS gives.
    pub(super) fn size(&self) -> Option<Size> {
        self.size
    }

    /// An IDR with the remembered parameter sets in front; `None` if there are none yet.
    pub(super) fn complete(&self, idr: &[u8]) -> Option<Bytes> {
        if self.sps.is_empty() || self.pps.is_empty() {
            return None;
        }
        let mut whole = Vec::new();
        for set in self.sps.values().chain(self.pps.values()) {
            whole.extend_from_slice(&[0, 0, 0, 1]);
            whole.extend_from_slice(set);
        }
        whole.extend_from_slice(idr);
        Some(Bytes::from(whole))
    }
}
