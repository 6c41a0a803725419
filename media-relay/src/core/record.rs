//! What is written down of calls (RFC 0054): orders of the book to the recorder, and, in the modules below, how packets become
//! samples in time and files. Pure; the thread that writes is `server::recorder`.

use std::net::SocketAddr;

use warp_media::play::PlayCodec;
use warp_model::{Mono, Now};

pub mod files;
pub mod track;

/// Legs of one recording at most; a leg beyond is not written.
pub const LEGS: u64 = 256;
/// Payload types of a leg that can be written as samples.
pub const PLAYS: usize = 6;

/// A word of the book to the recorder, in the order of what happened.
#[derive(Clone, Debug)]
pub enum RecordOrder {
    /// A recording begins here.
    Begin(Box<Begin>),
    /// One of its legs, new or with other codecs or addresses.
    Leg(Box<Leg>),
    /// The client has said more of it.
    Said(Box<Said>),
    /// Nothing is written from now on, or again.
    Pause {
        /// Number of the recording.
        recording: u64,
        /// It pauses; else it goes on.
        is_on: bool,
        /// When it was said.
        at: Mono,
    },
    /// It is over: its files are to be completed.
    End {
        /// Number of the recording.
        recording: u64,
        /// When it was over.
        at: Mono,
    },
}

/// A recording at its beginning.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Its number, which no other recording of this relay has.
    pub recording: u64,
    /// Its name: ours, of letters, digits and `-` (T-NG-05).
    pub name: String,
    /// Call-ID of the call.
    pub call_id: Vec<u8>,
    /// When it was begun.
    pub at: Now,
}

/// What a client says of a recording; none of it names a file of ours (T-NG-05).
#[derive(Clone, Debug)]
pub struct Said {
    /// Number of the recording.
    pub recording: u64,
    /// Free text of the client.
    pub metadata: Option<Vec<u8>>,
    /// What it calls the files, by key.
    pub file_names: Vec<(&'static str, Vec<u8>)>,
}

/// What one party sends on one media line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Its number, as [`leg_number`] makes it.
    pub leg: u64,
    /// SIP tag of the party; empty before its first answer.
    pub tag: Vec<u8>,
    /// The label that the client gave it.
    pub label: Option<Vec<u8>>,
    /// Via branch of its dialogue.
    pub branch: Option<Vec<u8>>,
    /// Number of the media line, from 1.
    pub media: u32,
    /// Kind of media as in `m=`.
    pub kind: Vec<u8>,
    /// First codec, as `PCMU/8000`.
    pub codec: Vec<u8>,
    /// SRTP that passes unopened: nobody hears it here.
    pub is_sealed: bool,
    /// Payload types that can be written as samples.
    pub plays: [Option<(u8, PlayCodec)>; PLAYS],
    /// Where its RTP comes from, by its SDP.
    pub from: Option<SocketAddr>,
    /// Where it comes to.
    pub to: Option<SocketAddr>,
}

/// The number of a recording's leg.
pub fn leg_number(recording: u64, leg: u64) -> u64 {
    recording << 8 | (leg & (LEGS - 1))
}

/// The recording that a leg belongs to.
pub fn recording_of(leg: u64) -> u64 {
    leg >> 8
}
