//! `[capture]`: messages of calls, kept as pictures, and copies of them for a collector.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use warp_capture::book::Room;
use warp_capture::hep::HepAgent;
use warp_capture::store::Shelf;
use warp_capture::{CaptureConfig, Collector, Keep, Mask};
use warp_sip_proxy::core::Transport;

use super::rules::Rule;
use super::{Listen, Size, Span};

/// `[capture]`: messages of calls for pictures (`warp ladder`), and copies of them for a collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Which calls keep their messages after their end: `failed` (also those that something cut off, and those that needed a second
    /// vendor), `all`, or `off`: then nothing is captured, no call in the air has a picture either, and no collector gets copies.
    pub calls: CaptureCalls,
    /// Of the calls that went well one in so many is kept as well; 0: none.
    pub sample: u32,
    /// Most memory for messages of calls in the air.
    pub memory: Size,
    /// How long pictures are kept.
    pub keep: Span,
    /// Most bytes of pictures on the disk; the oldest go first.
    pub limit: Size,
    /// What nobody sees in pictures: `numbers` (all but the first four and the last two digits, and secrets) or `secrets` (credentials and
    /// keys of media).
    pub mask: CaptureMask,
    /// A collector that gets each message as a HEP3 packet, such as Homer's: `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT`.
    pub hep: Option<Listen>,
    /// The number of this node at the collector.
    pub hep_id: u32,
    /// What is masked in the collector's copies.
    pub hep_mask: CaptureMask,
}

/// Which calls keep their messages, for [`Capture::calls`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureCalls {
    /// Nothing is captured at all.
    Off,
    /// Calls that did not go well.
    Failed,
    /// Every call there is.
    All,
}

/// What is masked, for [`Capture::mask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureMask {
    /// Numbers, and secrets with them.
    Numbers,
    /// Credentials and keys of media.
    Secrets,
}

impl From<CaptureMask> for Mask {
    fn from(mask: CaptureMask) -> Mask {
        match mask {
            CaptureMask::Numbers => Mask::Numbers,
            CaptureMask::Secrets => Mask::Secrets,
        }
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            calls: CaptureCalls::Failed,
            sample: 0,
            memory: Size(Room::default().bytes as u64),
            keep: Span(Duration::from_secs(7 * 86_400)),
            limit: Size(1 << 30),
            mask: CaptureMask::Numbers,
            hep: None,
            hep_id: 1,
            hep_mask: CaptureMask::Secrets,
        }
    }
}

/// What the keys of the section must be.
pub(super) const RULES: &[Rule<Capture>] = &[
    Rule::new("memory", "1MiB to 4GiB", |c| ((1 << 20)..=(4 << 30)).contains(&c.memory.0)),
    Rule::new("keep", "at least 1m", |c| c.keep.0 >= Duration::from_secs(60)),
    Rule::new("limit", "at least 32MiB", |c| c.limit.0 >= 32 << 20),
];

impl Capture {
    /// What the capture of a node is told; `None`: there is none.
    pub fn settings(&self, data_dir: &Path, node: &str) -> Option<CaptureConfig> {
        let keep = match self.calls {
            CaptureCalls::Off => return None,
            CaptureCalls::Failed => Keep::Failed,
            CaptureCalls::All => Keep::All,
        };
        let collector = self.hep.map(|hep| Collector {
            at: hep.at,
            tcp: hep.transport == Transport::Tcp,
            agent: HepAgent { id: self.hep_id, name: node.to_owned() },
        });
        Some(CaptureConfig {
            keep,
            sample: self.sample,
            room: Room { bytes: usize::try_from(self.memory.0).unwrap_or(usize::MAX), ..Room::default() },
            mask: self.mask.into(),
            shelf: Shelf { dir: data_dir.join("captures"), keep: self.keep.0, limit: self.limit.0 },
            collector,
            collector_mask: self.hep_mask.into(),
        })
    }
}
