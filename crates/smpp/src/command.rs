//! `command_id` (SMPP 3.4 §5.1.2.1).

use std::fmt;

/// What a PDU is. A response has the id of its request with bit 31 set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Command(pub u32);

const RESPONSE: u32 = 0x8000_0000;

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl Command {
            $($(#[$doc])* pub const $name: Command = Command($value);)*

            /// All requests of the table, in the order of their values.
            pub const REQUESTS: &[Command] = &[$(Command::$name),*];

            const fn request_name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

commands! {
    /// Binds to receive (§4.1.3).
    BIND_RECEIVER = 0x01, "bind_receiver";
    /// Binds to send (§4.1.1).
    BIND_TRANSMITTER = 0x02, "bind_transmitter";
    /// Asks for the state of a message (§4.8).
    QUERY_SM = 0x03, "query_sm";
    /// Hands a message to the SMSC (§4.4).
    SUBMIT_SM = 0x04, "submit_sm";
    /// Hands a message or a receipt to an ESME (§4.6).
    DELIVER_SM = 0x05, "deliver_sm";
    /// Ends a bind (§4.2).
    UNBIND = 0x06, "unbind";
    /// Replaces a message that waits (§4.10).
    REPLACE_SM = 0x07, "replace_sm";
    /// Cancels a message that waits (§4.9).
    CANCEL_SM = 0x08, "cancel_sm";
    /// Binds to send and receive (§4.1.5).
    BIND_TRANSCEIVER = 0x09, "bind_transceiver";
    /// The SMSC asks an ESME to bind (§4.1.7); has no response.
    OUTBIND = 0x0B, "outbind";
    /// Asks whether the peer lives (§4.11).
    ENQUIRE_LINK = 0x15, "enquire_link";
    /// Hands a message for several destinations (§4.5).
    SUBMIT_MULTI = 0x21, "submit_multi";
    /// Tells that a handset can be reached (§4.12); has no response.
    ALERT_NOTIFICATION = 0x102, "alert_notification";
    /// Hands over data without the fields of a short message (§4.7).
    DATA_SM = 0x103, "data_sm";
}

impl Command {
    /// The response to a header that means nothing (§4.3).
    pub const GENERIC_NACK: Command = Command(RESPONSE);

    /// Whether bit 31 is set.
    pub const fn is_response(self) -> bool {
        self.0 & RESPONSE != 0
    }

    /// The response to this request.
    pub const fn response(self) -> Command {
        Command(self.0 | RESPONSE)
    }

    /// The request that this response belongs to.
    pub const fn request(self) -> Command {
        Command(self.0 & !RESPONSE)
    }

    /// Whether the specification knows it, as a request or as a response.
    pub const fn is_known(self) -> bool {
        let request = self.request();
        self.0 == RESPONSE
            || (request.request_name().is_some() && (request.has_response() || !self.is_response()))
    }

    /// Whether a request of this kind is answered at all.
    pub const fn has_response(self) -> bool {
        self.0 != Command::OUTBIND.0 && self.0 != Command::ALERT_NOTIFICATION.0
    }

    /// Whether it is one of the three requests to bind.
    pub const fn is_bind(self) -> bool {
        matches!(self, Command::BIND_RECEIVER | Command::BIND_TRANSMITTER | Command::BIND_TRANSCEIVER)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Command::GENERIC_NACK {
            return f.write_str("generic_nack");
        }
        match (self.request().request_name(), self.is_response()) {
            (Some(name), false) => f.write_str(name),
            (Some(name), true) => write!(f, "{name}_resp"),
            (None, _) => write!(f, "0x{:08X}", self.0),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
