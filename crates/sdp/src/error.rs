//! Why bytes are not an SDP that we take, and where.

/// A refusal of [`crate::Sdp::parse`]: cause and place. A proxy answers 488, the relay says it in its `error-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdpError {
    /// What is wrong with it.
    pub cause: SdpFault,
    /// The line, counted from 1; 0 when it is the whole.
    pub line: u32,
    /// Where that line begins, in bytes from 0.
    pub offset: u32,
}

/// What is wrong with an SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SdpFault {
    /// It has more than `SDP_BYTES` bytes.
    TooLong,
    /// More than `SDP_MEDIA` sections.
    TooManySections,
    /// More than `SDP_FORMATS` in one section.
    TooManyFormats,
    /// More than `SDP_ATTRIBUTES` in one section.
    TooManyAttributes,
    /// A line is not `x=…`, or holds NUL or a stray CR: other readers may see other lines in it.
    Line,
    /// The first line is not `v=0`.
    Version,
    /// `m=` without kind, port or protocol; a port that is no number of 16 bits.
    Media,
    /// The `c=` line of live media is not `IN IP4|IP6 address`, or names a multicast address or a host name.
    Connection,
    /// `o=` in which session, version, network and address cannot be told apart.
    Origin,
    /// A media section in use without any `c=`.
    Incomplete,
}

impl SdpFault {
    /// A few words for logs and replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "SDP is too long",
            Self::TooManySections => "too many m= lines",
            Self::TooManyFormats => "too many formats in an m= line",
            Self::TooManyAttributes => "too many attributes in a section",
            Self::Line => "line is not type=value",
            Self::Version => "SDP does not begin with v=0",
            Self::Media => "bad m= line",
            Self::Connection => "bad c= line",
            Self::Origin => "bad o= line",
            Self::Incomplete => "media without c= line",
        }
    }
}

impl std::fmt::Display for SdpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.cause.as_str())?;
        match self.line {
            0 => Ok(()),
            line => write!(f, " (line {line}, byte {})", self.offset),
        }
    }
}

impl std::error::Error for SdpError {}
