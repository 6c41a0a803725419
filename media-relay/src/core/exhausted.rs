//! What a relay can run out of, and how a refusal says which: the clients read rtpengine's texts, our log and metrics the rest.

use warp_ng::Reply;
use warp_ng::reply::reasons;

/// Something that offers take a share of and that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Every port pair of the address is lent.
    Ports,
    /// The process may open no more files: ports are free, sockets for them are not to be had.
    Descriptors,
    /// As many calls as the relay may hold (`max_calls`).
    Sessions,
    /// As many branches as one call may have.
    Branches,
    /// As many ports as one call may have.
    CallPorts,
}

const BRANCHES: &str = "branches of one call";
const CALL_PORTS: &str = "ports of one call";
const DESCRIPTORS: &str = "no more files may be opened";

impl Exhausted {
    /// The refusal. Behind rtpengine's text stands what has run out, where one text stands for several things.
    pub fn reply(self) -> Reply {
        let load =
            |what: &str| Reply::LoadLimit { message: format!("{}: {what}", reasons::LIMIT_LOAD).into() };
        match self {
            Self::Ports => Reply::error(reasons::OUT_OF_PORTS),
            Self::Descriptors => {
                Reply::Error { reason: format!("{}: {DESCRIPTORS}", reasons::OUT_OF_PORTS).into() }
            }
            Self::Sessions => Reply::LoadLimit { message: reasons::LIMIT_SESSIONS.into() },
            Self::Branches => load(BRANCHES),
            Self::CallPorts => load(CALL_PORTS),
        }
    }

    /// What has run out, when that is why a command was refused.
    pub fn of(reply: &Reply) -> Option<Self> {
        match reply {
            Reply::Error { reason } if reasons::is(reason, reasons::OUT_OF_PORTS) => {
                Some(if reason.ends_with(DESCRIPTORS) { Self::Descriptors } else { Self::Ports })
            }
            Reply::LoadLimit { message } if message == reasons::LIMIT_SESSIONS => Some(Self::Sessions),
            Reply::LoadLimit { message } if message.ends_with(BRANCHES) => Some(Self::Branches),
            Reply::LoadLimit { message } if message.ends_with(CALL_PORTS) => Some(Self::CallPorts),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_has_run_out() {
        for what in [
            Exhausted::Ports,
            Exhausted::Descriptors,
            Exhausted::Sessions,
            Exhausted::Branches,
            Exhausted::CallPorts,
        ] {
            assert_eq!(Exhausted::of(&what.reply()), Some(what));
        }
        assert_eq!(Exhausted::of(&Reply::error(reasons::UNKNOWN_CALL_ID)), None);
        assert_eq!(Exhausted::of(&Reply::LoadLimit { message: reasons::LIMIT_CPU.into() }), None);
    }
}
