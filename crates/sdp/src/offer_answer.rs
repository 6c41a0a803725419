//! Facts of the offer/answer model (RFC 3264): directions, hold, and whether an answer fits its offer.

use crate::view::{Media, Sdp};

/// Who sends, as the SDP's author sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// Only the author.
    SendOnly,
    /// Only the other side.
    RecvOnly,
    /// Nobody.
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

    /// The attribute's name.
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

impl Media<'_, '_> {
    /// Direction with the old hold in mind: `c=` 0.0.0.0 takes "wants to receive" away (RFC 3264 §8.4, RFC 2543 §B.5).
    pub fn effective_direction(&self) -> Direction {
        let said = self.direction();
        if self.connection().is_some_and(|c| c.is_zero()) { Direction::of(said.sends(), false) } else { said }
    }

    /// The author does not want to receive: the other side is on hold.
    pub fn is_hold(&self) -> bool {
        !self.is_rejected() && !self.effective_direction().receives()
    }
}

/// Why an answer does not fit its offer (RFC 3264 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// Not as many `m=` lines as the offer.
    MediaCount,
    /// An `m=` line of another kind (audio against video).
    Kind,
    /// A port for a section that was offered with port 0.
    Revived,
}

/// Checks the number, kinds and rejections of an answer. Formats and protocols are the endpoints' affair.
pub fn check_answer(offer: &Sdp<'_>, answer: &Sdp<'_>) -> Result<(), AnswerError> {
    if offer.media_count() != answer.media_count() {
        return Err(AnswerError::MediaCount);
    }
    for (o, a) in offer.media().zip(answer.media()) {
        if o.kind() != a.kind() {
            return Err(AnswerError::Kind);
        }
        if o.is_rejected() && !a.is_rejected() {
            return Err(AnswerError::Revived);
        }
    }
    Ok(())
}
