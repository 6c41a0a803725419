//! Who sends: the direction attributes of the offer/answer model (RFC 8866 §6.7, RFC 3264 §6.1).

/// Who sends, as the SDP's author sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both sides may send.
    #[default]
    SendRecv,
    /// Only the SDP's author sends.
    SendOnly,
    /// Only the other side.
    RecvOnly,
    /// Neither side may send.
    Inactive,
}

impl Direction {
    /// From the attribute's name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"sendrecv" => Some(Self::SendRecv),
            b"sendonly" => Some(Self::SendOnly),
            b"recvonly" => Some(Self::RecvOnly),
            b"inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    /// The name of the attribute, without `a=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The same fact as the other side writes it.
    pub fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            same => same,
        }
    }

    /// The author may send.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// The author wants to receive.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// What remains when both sides have said theirs, in the first one's words (RFC 3264 §6.1).
    pub fn with_answer(self, answer: Direction) -> Direction {
        Self::of(self.sends() && answer.receives(), self.receives() && answer.sends())
    }

    /// From its two halves.
    pub fn of(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }
}
