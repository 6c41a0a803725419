//! Methods. Known ones are an enum; the token of an unknown one stays in its message.

use std::fmt;

/// Request method. Methods are case-sensitive (RFC 3261 §7.1): `invite` is an unknown one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// INVITE begins a call (RFC 3261 §13).
    Invite,
    /// ACK confirms the final response to an INVITE (RFC 3261 §13).
    Ack,
    /// BYE ends a call (RFC 3261 §15).
    Bye,
    /// CANCEL takes a pending request back (RFC 3261 §9).
    Cancel,
    /// OPTIONS asks what the other one can do (RFC 3261 §11).
    Options,
    /// REGISTER binds an address to a name (RFC 3261 §10).
    Register,
    /// PRACK acknowledges a provisional response (RFC 3262).
    Prack,
    /// UPDATE changes a session before or after its answer (RFC 3311).
    Update,
    /// INFO carries application data within a dialog (RFC 6086).
    Info,
    /// SUBSCRIBE asks for notifications of an event (RFC 6665).
    Subscribe,
    /// NOTIFY tells of an event (RFC 6665).
    Notify,
    /// REFER asks the other one to contact somebody (RFC 3515).
    Refer,
    /// MESSAGE carries an instant message (RFC 3428).
    Message,
    /// PUBLISH hands in the state of an event (RFC 3903).
    Publish,
    /// Any other token: ask the message for its text.
    Other,
}

impl Method {
    /// From the exact token.
    pub fn from_token(token: &[u8]) -> Method {
        match token {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"PRACK" => Method::Prack,
            b"UPDATE" => Method::Update,
            b"INFO" => Method::Info,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"REFER" => Method::Refer,
            b"MESSAGE" => Method::Message,
            b"PUBLISH" => Method::Publish,
            _ => Method::Other,
        }
    }

    /// The token; `OTHER` for [`Method::Other`], fit for a metric's label and never for the wire.
    pub fn token(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Prack => "PRACK",
            Method::Update => "UPDATE",
            Method::Info => "INFO",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Refer => "REFER",
            Method::Message => "MESSAGE",
            Method::Publish => "PUBLISH",
            Method::Other => "OTHER",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}
