//! The learnt peer of a port whose party is behind a NAT: a state machine fed with packets (T-RTP-01 to T-RTP-04).
//!
//! | state | who is let in, and gets the media | how it ends |
//! | --- | --- | --- |
//! | nobody | the first allowed address that speaks | it becomes the candidate |
//! | a candidate | the candidate only | [`LOCK_RUN`] in sequence: its own lock it, another's displace it |
//! | locked | the locked peer only | the same IP and SSRC go on with the sequence after [`MOVE_SILENCE`], not on hold |
//! | locked, and its SDP was said again | the locked peer only | its own next run closes it; another's run, with the peer silent for [`QUIET`], moves it |
//! | SDP that moves the media | nobody | |
//!
//! Allowed is what the rule lists, in every state: no run and no silence lets a third address in. Packets count once and in
//! any order: a run is whole when [`LOCK_RUN`] numbers in a row of one SSRC have come, doubled or swapped as they may be.

use std::net::SocketAddr;
use std::time::Duration;

use crate::rule::LearnPolicy;

/// Packets in sequence of one SSRC from one source that lock a learnt address (T-RTP-04).
pub const LOCK_RUN: u8 = 5;
/// A locked peer that is silent for so long may be followed to another port of its address.
pub const MOVE_SILENCE: Duration = Duration::from_secs(2);
/// A locked peer that is silent for so long is no longer the only source that its socket hears: well before it may move.
pub const OPEN_SILENCE: Duration = Duration::from_secs(1);
/// A peer that has not been heard for so long is silent: longer than any packet time in use. What fits between two packets of
/// a speaking peer earns nothing.
pub const QUIET: Duration = Duration::from_millis(100);
/// Numbers that may be missing over a silence (one minute of 20 ms packets).
const CONTINUES: u16 = 3_000;

/// The address that a port's party speaks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearntPeer {
    /// The address and port that packets come from and go to.
    pub address: SocketAddr,
    /// Its SSRC (0 for raw media).
    pub ssrc: u32,
    /// False for a candidate: what is learnt may still be displaced.
    pub locked: bool,
}

/// Same address and port; flow label and scope of IPv6 do not matter.
#[inline]
pub(crate) fn same(a: SocketAddr, b: SocketAddr) -> bool {
    match (a, b) {
        (SocketAddr::V4(a), SocketAddr::V4(b)) => a == b,
        (SocketAddr::V6(a), SocketAddr::V6(b)) => a.port() == b.port() && a.ip() == b.ip(),
        _ => false,
    }
}

/// What a run goes by. `sequence` is `None` for media without numbers: there every packet counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) source: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) sequence: Option<u16>,
}

/// Packets of one SSRC from one source.
#[derive(Clone, Copy, Debug)]
struct Run {
    source: SocketAddr,
    ssrc: u32,
    highest: u16,
    /// Bit i: `highest - i` has come.
    seen: u32,
    unnumbered: u8,
}

impl Run {
    fn new(h: Heard) -> Self {
        let mut run = Self { source: h.source, ssrc: h.ssrc, highest: 0, seen: 0, unnumbered: 0 };
        run.begin(h);
        run
    }

    fn begin(&mut self, h: Heard) {
        self.ssrc = h.ssrc;
        match h.sequence {
            Some(n) => (self.highest, self.seen) = (n, 1),
            None => self.unnumbered = 1,
        }
    }

    fn add(&mut self, h: Heard) {
        let Some(n) = h.sequence else {
            self.unnumbered = self.unnumbered.saturating_add(1);
            return;
        };
        let ahead = n.wrapping_sub(self.highest);
        let behind = ahead.wrapping_neg();
        if h.ssrc != self.ssrc || self.seen == 0 {
            self.begin(h);
        } else if ahead < 32 {
            self.seen = self.seen.wrapping_shl(u32::from(ahead)) | 1;
            self.highest = n;
        } else if behind < 32 {
            self.seen |= 1u32.wrapping_shl(u32::from(behind));
        } else {
            self.begin(h);
        }
    }

    /// Five in a row are there.
    fn is_whole(self) -> bool {
        let s = self.seen;
        let five = s & (s >> 1) & (s >> 2) & (s >> 3) & (s >> 4);
        five != 0 || self.unnumbered >= LOCK_RUN
    }
}

/// What the rule knows of its peer when somebody else speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incumbent {
    pub(crate) address: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) highest: u16,
    /// Since its last packet.
    pub(crate) silent_for: Duration,
}

/// What is known of a peer's address, and what has spoken for another one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Learner {
    pub(crate) locked: bool,
    /// The same SDP was said again: the lock must be earned anew, by whomever.
    pub(crate) open: bool,
    own: Option<Run>,
    challenger: Option<Run>,
    /// RTCP ports: the locked peer of the RTP port beside it.
    pub(crate) companion: Option<LearntPeer>,
}

impl Learner {
    /// Nothing more to be learnt from the peer's packets.
    pub(crate) fn is_settled(&self) -> bool {
        self.locked && !self.open
    }

    /// New SDP that does not move the media.
    pub(crate) fn reopen(&mut self) {
        if self.locked {
            self.open = true;
            self.own = None;
            self.challenger = None;
        }
    }

    /// A packet of the peer (of the first allowed speaker when there was none). True when that locks it.
    pub(crate) fn heard_peer(&mut self, h: Heard) -> bool {
        match &mut self.own {
            Some(run) if same(run.source, h.source) => run.add(h),
            own => *own = Some(Run::new(h)),
        }
        if self.open {
            // It is not silent.
            self.challenger = None;
        }
        let whole = self.own.is_some_and(Run::is_whole);
        if whole {
            self.lock();
        }
        whole
    }

    /// A packet of another allowed address. True when it is the peer from now on, and locked.
    pub(crate) fn heard_other(&mut self, h: Heard, policy: &LearnPolicy, peer: Incumbent) -> bool {
        if self.is_settled() {
            let ahead = h.sequence.map_or(0, |n| n.wrapping_sub(peer.highest));
            let goes_on = h.source.ip() == peer.address.ip()
                && h.ssrc == peer.ssrc
                && (1..=CONTINUES).contains(&ahead)
                && peer.silent_for >= MOVE_SILENCE
                && !policy.on_hold;
            if !goes_on {
                return false;
            }
        }
        match &mut self.challenger {
            Some(run) if same(run.source, h.source) => run.add(h),
            challenger => *challenger = Some(Run::new(h)),
        }
        let silent = !self.locked || peer.silent_for >= QUIET;
        let wins = silent && self.challenger.is_some_and(Run::is_whole);
        if wins {
            self.lock();
        }
        wins
    }

    pub(crate) fn lock(&mut self) {
        self.locked = true;
        self.open = false;
        self.own = None;
        self.challenger = None;
    }
}
