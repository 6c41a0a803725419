//! The bodies as values. Texts are without their NUL; times are as they stand ([`crate::time`] reads them).

use crate::status::Status;
use crate::tlv::{Tag, Tlvs};

/// An address with the type of its number and its numbering plan (SMPP 3.4 §5.2.5 to §5.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Address<'a> {
    /// Type of number: 0 unknown, 1 international, 2 national, 5 alphanumeric, …
    pub ton: u8,
    /// Numbering plan: 0 unknown, 1 E.164, …
    pub npi: u8,
    /// Digits or letters, at most 20 octets (64 in data_sm).
    pub text: &'a [u8],
}

/// bind_receiver, bind_transmitter, bind_transceiver (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bind<'a> {
    /// Who binds, at most 15 octets.
    pub system_id: &'a [u8],
    /// The password in clear; at most 64 octets are read.
    pub password: &'a [u8],
    /// The kind of ESME, at most 12 octets.
    pub system_type: &'a [u8],
    /// 0x33 and below: 3.3, 0x34: 3.4, 0x50: 5.0.
    pub interface_version: u8,
    /// The addresses that the ESME serves; the text is a pattern of at most 40 octets.
    pub range: Address<'a>,
}

/// The answer to a bind (§4.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct BindResp<'a> {
    /// Who was bound to, at most 15 octets.
    pub system_id: &'a [u8],
    /// sc_interface_version, towards those who speak 3.4 at least.
    pub tlvs: Tlvs<'a>,
}

/// The request outbind of an SMSC (§4.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Outbind<'a> {
    /// The SMSC that asks.
    pub system_id: &'a [u8],
    /// The password of the SMSC.
    pub password: &'a [u8],
}

/// submit_sm and deliver_sm, which have the same fields (§4.4, §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Message<'a> {
    /// The service, at most 5 octets; mostly empty.
    pub service_type: &'a [u8],
    /// Who sends the message.
    pub source: Address<'a>,
    /// Who gets the message.
    pub destination: Address<'a>,
    /// Mode, type, and whether a user data header stands before the text (§5.2.12).
    pub esm_class: u8,
    /// Protocol identifier of the network.
    pub protocol_id: u8,
    /// 0 (lowest) to 3.
    pub priority: u8,
    /// When to send it; empty: at once.
    pub schedule: &'a [u8],
    /// Until when it is worth sending; empty: the SMSC's own default.
    pub validity: &'a [u8],
    /// Which receipts are wanted (§5.2.17).
    pub registered_delivery: u8,
    /// 1: a message of the same source, destination and service that waits is replaced.
    pub replace_if_present: u8,
    /// The alphabet of the text (§5.2.19, [`crate::text::DataCoding`]).
    pub data_coding: u8,
    /// Number of a predefined message of the SMSC; 0: none.
    pub default_message: u8,
    /// The text, at most [`super::SHORT_MESSAGE_BYTES`].
    pub short_message: &'a [u8],
    /// The optional parameters behind it.
    pub tlvs: Tlvs<'a>,
}

impl<'a> Message<'a> {
    /// The text, from short_message or message_payload. Errors: both are used (ESME_RINVMSGLEN, §4.4.1 note).
    pub fn payload(&self) -> Result<&'a [u8], Status> {
        match self.tlvs.get(Tag::MESSAGE_PAYLOAD) {
            Some(payload) if self.short_message.is_empty() => Ok(payload),
            Some(payload) if !payload.is_empty() => Err(Status::RINVMSGLEN),
            _ => Ok(self.short_message),
        }
    }

    /// Whether a user data header stands before the text.
    pub fn has_udh(&self) -> bool {
        self.esm_class & 0x40 != 0
    }

    /// Whether a deliver_sm is about another message (§5.2.12): a receipt, an acknowledgement, an intermediate notification.
    pub fn is_notice(&self) -> bool {
        self.esm_class & 0x3C != 0
    }
}

/// The request data_sm, either way (§4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Data<'a> {
    /// The service, at most 5 octets.
    pub service_type: &'a [u8],
    /// Who sends it, at most 64 octets.
    pub source: Address<'a>,
    /// Who gets it, at most 64 octets.
    pub destination: Address<'a>,
    /// The same as in submit_sm.
    pub esm_class: u8,
    /// The same as in submit_sm.
    pub registered_delivery: u8,
    /// The same as in submit_sm.
    pub data_coding: u8,
    /// The optional parameters; the text is message_payload.
    pub tlvs: Tlvs<'a>,
}

/// The request submit_multi of an ESME (§4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Multi<'a> {
    /// All fields of submit_sm but the destination, which is empty.
    pub message: Message<'a>,
    /// Who gets it, 1 to 254.
    pub destinations: Destinations<'a>,
}

/// The destinations of a submit_multi, checked to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Destinations<'a> {
    pub(super) count: u8,
    pub(super) bytes: &'a [u8],
}

/// One destination of a submit_multi (§5.2.25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// The address of a handset.
    Address(Address<'a>),
    /// The name of a distribution list that the SMSC keeps.
    List(&'a [u8]),
}

/// The answer to a submit_multi (§4.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MultiResp<'a> {
    /// Our id of the message.
    pub message_id: &'a [u8],
    pub(super) count: u8,
    pub(super) bytes: &'a [u8],
    /// The optional parameters behind it.
    pub tlvs: Tlvs<'a>,
}

/// A destination that a submit_multi did not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsuccessful<'a> {
    /// The destination that was refused.
    pub address: Address<'a>,
    /// Why it was refused.
    pub status: Status,
}

/// The request query_sm of an ESME (§4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Query<'a> {
    /// The id that the submit was answered with, at most 64 octets.
    pub message_id: &'a [u8],
    /// The source of the message.
    pub source: Address<'a>,
}

/// The answer to a query_sm (§4.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QueryResp<'a> {
    /// The id that was asked for.
    pub message_id: &'a [u8],
    /// When the message reached its last state; empty while it has not.
    pub final_date: &'a [u8],
    /// The state of the message ([`crate::receipt::MessageState`]).
    pub message_state: u8,
    /// The network's error, 0 when there is none.
    pub error_code: u8,
    /// The optional parameters (5.0).
    pub tlvs: Tlvs<'a>,
}

/// The request cancel_sm of an ESME (§4.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Cancel<'a> {
    /// The service; with an empty id, all messages of service, source and destination are meant.
    pub service_type: &'a [u8],
    /// The id that the submit was answered with.
    pub message_id: &'a [u8],
    /// The source of the message.
    pub source: Address<'a>,
    /// The destination of the message.
    pub destination: Address<'a>,
}

/// The request replace_sm of an ESME (§4.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Replace<'a> {
    /// The id that the submit was answered with.
    pub message_id: &'a [u8],
    /// The source of the message.
    pub source: Address<'a>,
    /// The new time; empty: unchanged.
    pub schedule: &'a [u8],
    /// The new validity; empty: unchanged.
    pub validity: &'a [u8],
    /// Which receipts are wanted.
    pub registered_delivery: u8,
    /// Number of a predefined message of the SMSC; 0: none.
    pub default_message: u8,
    /// The text that replaces the old one.
    pub short_message: &'a [u8],
    /// The optional parameters (5.0).
    pub tlvs: Tlvs<'a>,
}

/// The notice alert_notification of an SMSC (§4.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Alert<'a> {
    /// The handset that can be reached.
    pub source: Address<'a>,
    /// The ESME that wanted to know.
    pub esme: Address<'a>,
    /// The optional parameters behind it.
    pub tlvs: Tlvs<'a>,
}

/// What stands behind a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// Nothing: unbind, enquire_link, generic_nack, their responses, those to cancel_sm and replace_sm, and any response of an error
    /// that came without a body.
    Empty,
    /// One of the three requests to bind.
    Bind(Bind<'a>),
    /// The answer to one of them.
    BindResp(BindResp<'a>),
    /// A request of an SMSC to bind.
    Outbind(Outbind<'a>),
    /// submit_sm or deliver_sm, as the header says.
    Message(Message<'a>),
    /// The answer to submit_sm, deliver_sm or data_sm: an id, empty in that to deliver_sm.
    MessageId {
        /// The peer's id of the message, at most 64 octets.
        id: &'a [u8],
        /// The optional parameters behind it.
        tlvs: Tlvs<'a>,
    },
    /// The request data_sm, either way.
    Data(Data<'a>),
    /// The request submit_multi, of an ESME.
    Multi(Multi<'a>),
    /// The answer to a submit_multi.
    MultiResp(MultiResp<'a>),
    /// The request query_sm, of an ESME.
    Query(Query<'a>),
    /// The answer to a query_sm.
    QueryResp(QueryResp<'a>),
    /// The request cancel_sm, of an ESME.
    Cancel(Cancel<'a>),
    /// The request replace_sm, of an ESME.
    Replace(Replace<'a>),
    /// An alert_notification of an SMSC.
    Alert(Alert<'a>),
}
