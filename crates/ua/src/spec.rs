//! What an agent is told, and what it tells.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use warp_model::Secret;
use warp_sip::flow::Transport;

/// How calls that arrive are treated: from the called number to a [`Behaviour`].
pub type Rule = Arc<dyn Fn(&str) -> Behaviour + Send + Sync>;

/// Where an agent stands and how it answers.
#[derive(Clone)]
pub struct AgentConfig {
    /// SIP address; port 0 lets the system choose (the same port for UDP and TCP).
    pub local: SocketAddr,
    /// Address of its media sockets.
    pub media_ip: IpAddr,
    /// Seed of tags, branches and Call-IDs. Two agents that talk to one proxy need different ones.
    pub seed: u64,
    /// Treatment of calls that arrive.
    pub rule: Rule,
}

/// Treatment of one call that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// 180 after `ring`, 200 after `answer` (both from the INVITE), BYE after `hang_up` of talk unless the caller is first.
    Answer {
        /// From the INVITE to the 180.
        ring: Duration,
        /// From the INVITE to the 200.
        answer: Duration,
        /// 183 with SDP and RTP instead of 180.
        early_media: bool,
        /// From the 200 to our BYE.
        hang_up: Option<Duration>,
        /// Whether RTP is sent once answered.
        rtp: bool,
    },
    /// A final failure after some time.
    Refuse {
        /// The status of the failure, from 300 to 699.
        status: u16,
        /// The time from the INVITE to the failure.
        after: Duration,
        /// A Q.850 cause, sent as `Reason: Q.850;cause=…`; `None` sends none.
        q850: Option<u8>,
    },
    /// 180 and nothing more until CANCEL.
    Ring,
    /// Not a single byte in answer.
    Silent,
}

impl Behaviour {
    /// Rings at once and answers after `answer`, with RTP; the caller hangs up.
    pub fn answer_after(answer: Duration) -> Behaviour {
        Behaviour::Answer { ring: Duration::ZERO, answer, early_media: false, hang_up: None, rtp: true }
    }
}

/// Digest credentials of a caller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The digest user name.
    pub user: String,
    /// The password of that user.
    pub password: Secret<String>,
}

/// One call to place.
#[derive(Clone, Debug)]
pub struct CallSpec {
    /// Next hop, also the host of the Request-URI.
    pub to: SocketAddr,
    /// Whether the call goes over UDP or TCP.
    pub transport: Transport,
    /// User part of From.
    pub caller: String,
    /// User part of the Request-URI and To.
    pub called: String,
    /// For a 401 or 407.
    pub credentials: Option<Credentials>,
    /// From the answer to our BYE.
    pub talk: Duration,
    /// CANCEL when not answered after this long.
    pub cancel_after: Option<Duration>,
    /// Whether RTP is sent once answered.
    pub rtp: bool,
    /// Further header lines, each with its CRLF.
    pub extra_headers: String,
}

impl CallSpec {
    /// A UDP call with RTP and one second of talk.
    pub fn new(to: SocketAddr, caller: &str, called: &str) -> CallSpec {
        CallSpec {
            to,
            transport: Transport::Udp,
            caller: caller.to_owned(),
            called: called.to_owned(),
            credentials: None,
            talk: Duration::from_secs(1),
            cancel_after: None,
            rtp: true,
            extra_headers: String::new(),
        }
    }
}

/// Who ended an answered call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// We sent the BYE.
    Us,
    /// The other side's BYE.
    Them,
    /// It was never answered.
    NotAnswered,
    /// Our BYE was not answered, or the agent stopped.
    Lost,
}

/// How a call went, from the caller's side.
#[derive(Clone, Debug)]
pub struct CallResult {
    /// The SIP Call-ID of the call.
    pub call_id: String,
    /// Final status; 408 when nothing final came.
    pub status: u16,
    /// All statuses of the INVITE in order, 1xx included, repeats not.
    pub statuses: Vec<u16>,
    /// INVITE to the first 18x or 200.
    pub pdd: Option<Duration>,
    /// The time from INVITE to 200; `None` when it was not answered.
    pub setup: Option<Duration>,
    /// 200 to the end.
    pub talk: Duration,
    /// RTP packets that were sent.
    pub rtp_sent: u64,
    /// RTP packets that were received.
    pub rtp_received: u64,
    /// Which side ended the call.
    pub ended_by: EndedBy,
}
