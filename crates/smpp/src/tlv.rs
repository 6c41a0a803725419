//! Optional parameters: tag, length, value (SMPP 3.4 §3.2.4.1 and §5.3).

use std::fmt;

/// The tag of an optional parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u16);

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl Tag {
            $($(#[$doc])* pub const $name: Tag = Tag($value);)*

            /// The name that the specification gives it, for example `receipted_message_id`.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

tags! {
    /// Where in the destination's equipment the message goes.
    DEST_ADDR_SUBUNIT = 0x0005, "dest_addr_subunit";
    /// The kind of network of the destination.
    DEST_NETWORK_TYPE = 0x0006, "dest_network_type";
    /// The bearer towards the destination.
    DEST_BEARER_TYPE = 0x0007, "dest_bearer_type";
    /// The telematic device of the destination.
    DEST_TELEMATICS_ID = 0x0008, "dest_telematics_id";
    /// Where in the source's equipment the message comes from.
    SOURCE_ADDR_SUBUNIT = 0x000D, "source_addr_subunit";
    /// The kind of network of the source.
    SOURCE_NETWORK_TYPE = 0x000E, "source_network_type";
    /// The bearer of the source.
    SOURCE_BEARER_TYPE = 0x000F, "source_bearer_type";
    /// The telematic device of the source.
    SOURCE_TELEMATICS_ID = 0x0010, "source_telematics_id";
    /// How long the message lives, in seconds (data_sm).
    QOS_TIME_TO_LIVE = 0x0017, "qos_time_to_live";
    /// Default or WCMP payload.
    PAYLOAD_TYPE = 0x0019, "payload_type";
    /// Words about a status, for people.
    ADDITIONAL_STATUS_INFO_TEXT = 0x001D, "additional_status_info_text";
    /// The id of the message that a receipt is about.
    RECEIPTED_MESSAGE_ID = 0x001E, "receipted_message_id";
    /// What a handset waits for.
    MS_MSG_WAIT_FACILITIES = 0x0030, "ms_msg_wait_facilities";
    /// How private the message is.
    PRIVACY_INDICATOR = 0x0201, "privacy_indicator";
    /// A subaddress of the source.
    SOURCE_SUBADDRESS = 0x0202, "source_subaddress";
    /// A subaddress of the destination.
    DEST_SUBADDRESS = 0x0203, "dest_subaddress";
    /// A reference of the sender's own.
    USER_MESSAGE_REFERENCE = 0x0204, "user_message_reference";
    /// A code of the user's answer.
    USER_RESPONSE_CODE = 0x0205, "user_response_code";
    /// The port of the source.
    SOURCE_PORT = 0x020A, "source_port";
    /// The port of the destination.
    DESTINATION_PORT = 0x020B, "destination_port";
    /// Which parts belong together.
    SAR_MSG_REF_NUM = 0x020C, "sar_msg_ref_num";
    /// The language of the text.
    LANGUAGE_INDICATOR = 0x020D, "language_indicator";
    /// How many parts there are.
    SAR_TOTAL_SEGMENTS = 0x020E, "sar_total_segments";
    /// Which part this is, from 1 on.
    SAR_SEGMENT_SEQNUM = 0x020F, "sar_segment_seqnum";
    /// The version that the SMSC speaks.
    SC_INTERFACE_VERSION = 0x0210, "sc_interface_version";
    /// How a call-back number is shown.
    CALLBACK_NUM_PRES_IND = 0x0302, "callback_num_pres_ind";
    /// A name for a call-back number.
    CALLBACK_NUM_ATAG = 0x0303, "callback_num_atag";
    /// How many messages wait in a mailbox.
    NUMBER_OF_MESSAGES = 0x0304, "number_of_messages";
    /// A number to call back.
    CALLBACK_NUM = 0x0381, "callback_num";
    /// Whether the delivery pending flag was set.
    DPF_RESULT = 0x0420, "dpf_result";
    /// Asks for the delivery pending flag.
    SET_DPF = 0x0421, "set_dpf";
    /// Whether a handset can be reached.
    MS_AVAILABILITY_STATUS = 0x0422, "ms_availability_status";
    /// The network's own error: kind of network and code.
    NETWORK_ERROR_CODE = 0x0423, "network_error_code";
    /// The text, up to 64 KiB, in the place of short_message.
    MESSAGE_PAYLOAD = 0x0424, "message_payload";
    /// Why delivery failed.
    DELIVERY_FAILURE_REASON = 0x0425, "delivery_failure_reason";
    /// Whether more messages follow to this destination.
    MORE_MESSAGES_TO_SEND = 0x0426, "more_messages_to_send";
    /// The state of a message.
    MESSAGE_STATE = 0x0427, "message_state";
    /// 5.0: how busy the peer is, 0 to 100.
    CONGESTION_STATE = 0x0428, "congestion_state";
    /// The operation of a USSD dialogue.
    USSD_SERVICE_OP = 0x0501, "ussd_service_op";
    /// 5.0: data for billing.
    BILLING_IDENTIFICATION = 0x060B, "billing_identification";
    /// 5.0: the network of the source.
    SOURCE_NETWORK_ID = 0x060D, "source_network_id";
    /// 5.0: the network of the destination.
    DEST_NETWORK_ID = 0x060E, "dest_network_id";
    /// 5.0: the node of the source.
    SOURCE_NODE_ID = 0x060F, "source_node_id";
    /// 5.0: the node of the destination.
    DEST_NODE_ID = 0x0610, "dest_node_id";
    /// 5.0: whether a dip was made for the destination.
    DEST_ADDR_NP_RESOLUTION = 0x0611, "dest_addr_np_resolution";
    /// 5.0: what the dip said.
    DEST_ADDR_NP_INFORMATION = 0x0612, "dest_addr_np_information";
    /// 5.0: the country of the dip.
    DEST_ADDR_NP_COUNTRY = 0x0613, "dest_addr_np_country";
    /// How a handset shows the message.
    DISPLAY_TIME = 0x1201, "display_time";
    /// A signal to the user.
    SMS_SIGNAL = 0x1203, "sms_signal";
    /// How long a handset keeps the message.
    MS_VALIDITY = 0x1204, "ms_validity";
    /// Asks a handset for an alert.
    ALERT_ON_MESSAGE_DELIVERY = 0x130C, "alert_on_message_delivery";
    /// The kind of an interactive reply.
    ITS_REPLY_TYPE = 0x1380, "its_reply_type";
    /// Session data of interactive teleservice.
    ITS_SESSION_INFO = 0x1383, "its_session_info";
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{:04X}", self.0),
        }
    }
}

/// The optional part of a body, checked to be whole: its walk cannot fail. Order and unknown tags stay as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// No optional parameters at all.
    pub const NONE: Tlvs<'static> = Tlvs(&[]);

    /// From the bytes behind the mandatory part; `None` when a parameter is cut or bytes are left over.
    pub fn parse(bytes: &'a [u8]) -> Option<Tlvs<'a>> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = next(rest)?.2;
        }
        Some(Tlvs(bytes))
    }

    /// The value of the first parameter of this tag.
    pub fn get(self, tag: Tag) -> Option<&'a [u8]> {
        self.iter().find(|(t, _)| *t == tag).map(|(_, value)| value)
    }

    /// The value of a parameter of one octet; `None` when it is missing or of another length.
    pub fn octet(self, tag: Tag) -> Option<u8> {
        match self.get(tag)? {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The value of a parameter of two octets. One octet is taken too: some peers shorten small numbers.
    pub fn short(self, tag: Tag) -> Option<u16> {
        match self.get(tag)? {
            [high, low] => Some(u16::from_be_bytes([*high, *low])),
            [value] => Some(u16::from(*value)),
            _ => None,
        }
    }

    /// The value of a text parameter, up to its NUL when it has one.
    pub fn text(self, tag: Tag) -> Option<&'a [u8]> {
        let value = self.get(tag)?;
        value.split(|b| *b == 0).next()
    }

    /// All parameters, in the order in which they stand.
    pub fn iter(self) -> impl Iterator<Item = (Tag, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (tag, value, after) = next(rest)?;
            rest = after;
            Some((tag, value))
        })
    }

    /// The bytes as they stand in the PDU.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

fn next(bytes: &[u8]) -> Option<(Tag, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((Tag(u16::from_be_bytes(*tag)), value, rest))
}

/// Appends a parameter. What is longer than 65,535 octets cannot be written: `false`, and nothing was appended.
pub fn push(out: &mut Vec<u8>, tag: Tag, value: &[u8]) -> bool {
    let Ok(length) = u16::try_from(value.len()) else { return false };
    out.extend_from_slice(&tag.0.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    true
}
