//! The reply to `statistics`, as typed values (`ref/ng-protocol.md` §6, the form of version 10.5).
//!
//! Sums are whole numbers: durations in microseconds, MOS × 100. What a relay of this kind cannot have (kernel media,
//! transcoders, recordings) is written as zero, so that tools find every key.

use std::net::IpAddr;

/// The commands with figures of their own, in the order of [`CommandKind::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// `ping`: is the relay there.
    Ping,
    /// `offer`: the first half of a negotiation.
    Offer,
    /// `answer`: the second half of it.
    Answer,
    /// `delete`: the end of a call.
    Delete,
    /// `query`: the figures of a call.
    Query,
    /// `list`: the names of calls.
    List,
    /// `statistics`: the figures of the relay.
    Statistics,
    /// `block DTMF`: events of a party are kept back.
    BlockDtmf,
    /// `unblock DTMF`: they pass again.
    UnblockDtmf,
    /// `block media`: what a party says is kept back.
    BlockMedia,
    /// `unblock media`: it passes again.
    UnblockMedia,
    /// `silence media`: silence instead of what a party says.
    SilenceMedia,
    /// `unsilence media`: it is heard again.
    UnsilenceMedia,
    /// `play media`: a party hears a sound.
    PlayMedia,
    /// `stop media`: it hears the others again.
    StopMedia,
    /// `play DTMF`: a key of a party is heard.
    PlayDtmf,
    /// `start recording`: a call is recorded.
    StartRecording,
    /// `stop recording`: it is recorded no more; `pause recording` counts here too.
    StopRecording,
}

impl CommandKind {
    /// How many there are.
    pub const COUNT: usize = 18;

    /// Its place in arrays by command, from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Everything that `statistics` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayStatistics {
    /// What there is now.
    pub current: Current,
    /// What there was since the start of the relay.
    pub totals: Totals,
    /// The last complete minute.
    pub interval: Interval,
    /// Quality of the streams that have ended.
    pub mos: MosSums,
    /// By client, in order of address; commands of this process have no address.
    pub proxies: Vec<Proxy>,
    /// Commands of all clients and of this process.
    pub commands: [u64; CommandKind::COUNT],
    /// Local addresses in the order of the configuration.
    pub interfaces: Vec<Interface>,
}

/// What there is now: `currentstatistics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// How many calls there are.
    pub sessions: u64,
    /// Packets a second that are sent on.
    pub packets_per_s: u64,
    /// Bytes a second that are sent on.
    pub bytes_per_s: u64,
    /// Packets not passed on, a second.
    pub errors_per_s: u64,
    /// Media lines that are negotiated now.
    pub media: u64,
}

/// What there was since the start: `totalstatistics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Calls that have ended.
    pub managed: u64,
    /// Offers refused for want of room.
    pub rejected: u64,
    /// Calls ended for want of media.
    pub timeout: u64,
    /// The same on hold.
    pub silent_timeout: u64,
    /// Calls that nobody answered.
    pub offer_timeout: u64,
    /// Calls ended by command.
    pub terminated: u64,
    /// Packets that were sent on.
    pub packets: u64,
    /// Packets not passed on.
    pub errors: u64,
    /// Bytes that were sent on.
    pub bytes: u64,
    /// Ended streams without a packet.
    pub zero_way: u64,
    /// Ended streams with packets of one side only.
    pub one_way: u64,
    /// How long ended calls lasted.
    pub durations: Sums,
}

/// Count, sum and sum of squares of some measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many values were added.
    pub count: u64,
    /// The sum of the values, in their unit.
    pub sum: u128,
    /// In squares of units.
    pub squares: u128,
}

impl Sums {
    /// Adds one value; sums stop at the largest number.
    pub fn add(&mut self, value: u64) {
        let value = u128::from(value);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(value);
        self.squares = self.squares.saturating_add(value.saturating_mul(value));
    }

    /// Standard deviation in units; 0 for none.
    pub fn deviation(&self) -> u128 {
        let n = u128::from(self.count.max(1));
        let mean = self.mean();
        let mean_of_squares = self.squares.checked_div(n).unwrap_or(0);
        mean_of_squares.saturating_sub(mean.saturating_mul(mean)).isqrt()
    }

    /// Mean in units; 0 for none.
    pub fn mean(&self) -> u128 {
        self.sum.checked_div(u128::from(self.count)).unwrap_or(0)
    }
}

/// Sums over MOS values, in hundredths: 4.41 is 441.
pub type MosSums = Sums;

/// What there was in an interval: `intervalstatistics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Calls that ended in it lasted so long together, microseconds.
    pub durations_us: u64,
    /// Fewest and most calls at once.
    pub sessions: (u64, u64),
    /// Figures by command, in the order of [`CommandKind`].
    pub commands: [IntervalCommand; CommandKind::COUNT],
}

/// One command in the interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntervalCommand {
    /// Shortest, longest, mean, microseconds.
    pub delay_us: (u64, u64, u64),
    /// Fewest, most, mean in a second.
    pub per_s: (u64, u64, u64),
}

/// One proxy that sends commands: `controlstatistics.proxies[]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The address that its commands come from.
    pub address: IpAddr,
    /// How often, by command.
    pub counts: [u64; CommandKind::COUNT],
    /// How long together, microseconds.
    pub durations_us: [u64; CommandKind::COUNT],
    /// Commands answered with an error.
    pub errors: u64,
}

impl Proxy {
    /// A proxy that has sent nothing yet.
    pub fn new(address: IpAddr) -> Self {
        Self { address, counts: [0; CommandKind::COUNT], durations_us: [0; CommandKind::COUNT], errors: 0 }
    }
}

/// One of the relay's interfaces, as in `interfaces[]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Logical name of the interface.
    pub name: String,
    /// Local address of the interface.
    pub address: IpAddr,
    /// The first and the last of its ports.
    pub ports: (u16, u16),
    /// Ports in use (not pairs).
    pub used: u64,
    /// How many ports it has, used and free.
    pub total: u64,
    /// Last port handed out; 0 = none yet.
    pub last: u16,
}
