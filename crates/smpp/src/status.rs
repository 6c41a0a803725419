//! `command_status` of a response (SMPP 3.4 §5.1.3; those from 0x100 on: 5.0 §4.7.6).

use std::fmt;

/// The outcome of a request, as it stands in the header of its response. 0 is success; in requests it is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Status(pub u32);

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Status {
            $($(#[$doc])* pub const $name: Status = Status($value);)*

            /// The name that the specification gives it, for example `ESME_RTHROTTLED`; `None` for reserved and vendors' values.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(concat!("ESME_", stringify!($name))),)*
                    _ => None,
                }
            }

            /// All that have a name, in the order of their values.
            pub const NAMED: &[Status] = &[$(Status::$name),*];
        }
    };
}

statuses! {
    /// Success; to a submit_sm: accepted and durable.
    ROK = 0x00;
    /// The length of the message is wrong, or it is given twice.
    RINVMSGLEN = 0x01;
    /// The length of the PDU is wrong or does not match its fields.
    RINVCMDLEN = 0x02;
    /// The command is unknown or not offered.
    RINVCMDID = 0x03;
    /// The command is not allowed in this state of the bind.
    RINVBNDSTS = 0x04;
    /// The session is bound already.
    RALYBND = 0x05;
    /// The priority is not one of 0 to 3 (5.0: 4).
    RINVPRTFLG = 0x06;
    /// The value of registered_delivery is reserved.
    RINVREGDLVFLG = 0x07;
    /// Our own fault; the request may be repeated.
    RSYSERR = 0x08;
    /// The source address is malformed or not allowed.
    RINVSRCADR = 0x0A;
    /// The destination address is malformed or has no route.
    RINVDSTADR = 0x0B;
    /// The message id is unknown.
    RINVMSGID = 0x0C;
    /// The bind is refused.
    RBINDFAIL = 0x0D;
    /// The password is wrong or too long.
    RINVPASWD = 0x0E;
    /// The system_id is unknown or too long.
    RINVSYSID = 0x0F;
    /// The message cannot be cancelled any more.
    RCANCELFAIL = 0x11;
    /// The message cannot be replaced any more.
    RREPLACEFAIL = 0x13;
    /// A queue is full: repeat later.
    RMSGQFUL = 0x14;
    /// The service_type is unknown or too long.
    RINVSERTYP = 0x15;
    /// The number of destinations is wrong.
    RINVNUMDESTS = 0x33;
    /// The name of the distribution list is unknown.
    RINVDLNAME = 0x34;
    /// A destination is neither an address nor a list.
    RINVDESTFLAG = 0x40;
    /// A request to replace was not understood.
    RINVSUBREP = 0x42;
    /// The esm_class is reserved or not offered.
    RINVESMCLASS = 0x43;
    /// Submitting to a distribution list is not possible.
    RCNTSUBDL = 0x44;
    /// Refused for good: no credit, blocked, not allowed.
    RSUBMITFAIL = 0x45;
    /// The type of number of the source is wrong.
    RINVSRCTON = 0x48;
    /// The numbering plan of the source is wrong.
    RINVSRCNPI = 0x49;
    /// The type of number of the destination is wrong.
    RINVDSTTON = 0x50;
    /// The numbering plan of the destination is wrong.
    RINVDSTNPI = 0x51;
    /// The system_type is unknown or too long.
    RINVSYSTYP = 0x53;
    /// The replace_if_present flag is neither 0 nor 1.
    RINVREPFLAG = 0x54;
    /// The number of messages is wrong.
    RINVNUMMSGS = 0x55;
    /// Over the rate of the account: back off.
    RTHROTTLED = 0x58;
    /// The scheduled time is malformed or too far away.
    RINVSCHED = 0x61;
    /// The validity period is malformed or over.
    RINVEXPIRY = 0x62;
    /// There is no predefined message of that number.
    RINVDFTMSGID = 0x63;
    /// An ESME cannot take a delivery now: repeat later.
    RX_T_APPN = 0x64;
    /// An ESME cannot take this delivery at all.
    RX_P_APPN = 0x65;
    /// An ESME rejects this delivery.
    RX_R_APPN = 0x66;
    /// The state of a message cannot be told.
    RQUERYFAIL = 0x67;
    /// The optional part of the body is malformed.
    RINVTLVSTREAM = 0xC0;
    /// An optional parameter is not allowed here.
    RTLVNOTALLWD = 0xC1;
    /// An optional parameter has a wrong length.
    RINVTLVLEN = 0xC2;
    /// An optional parameter that is needed is missing.
    RMISSINGTLV = 0xC3;
    /// An optional parameter has a wrong value.
    RINVTLVVAL = 0xC4;
    /// Delivery failed (answer to data_sm).
    RDELIVERYFAILURE = 0xFE;
    /// An error that nobody knows more of.
    RUNKNOWNERR = 0xFF;
    /// 5.0: the service_type is not authorised.
    RSERTYPUNAUTH = 0x100;
    /// 5.0: the operation is prohibited.
    RPROHIBITED = 0x101;
    /// 5.0: the service_type is unavailable.
    RSERTYPUNAVAIL = 0x102;
    /// 5.0: the service_type is denied.
    RSERTYPDENIED = 0x103;
    /// 5.0: the data coding scheme is wrong.
    RINVDCS = 0x104;
    /// 5.0: the subunit of the source is wrong.
    RINVSRCADDRSUBUNIT = 0x105;
    /// 5.0: the subunit of the destination is wrong.
    RINVDSTADDRSUBUNIT = 0x106;
    /// 5.0: the frequency of a broadcast is wrong.
    RINVBCASTFREQINT = 0x107;
    /// 5.0: the alias of a broadcast is wrong.
    RINVBCASTALIAS_NAME = 0x108;
    /// 5.0: the area format of a broadcast is wrong.
    RINVBCASTAREAFMT = 0x109;
    /// 5.0: the number of broadcast areas is wrong.
    RINVNUMBCAST_AREAS = 0x10A;
    /// 5.0: the content type of a broadcast is wrong.
    RINVBCASTCNTTYPE = 0x10B;
    /// 5.0: the class of a broadcast is wrong.
    RINVBCASTMSGCLASS = 0x10C;
    /// 5.0: a broadcast failed.
    RBCASTFAIL = 0x10D;
    /// 5.0: the state of a broadcast cannot be told.
    RBCASTQUERYFAIL = 0x10E;
    /// 5.0: a broadcast cannot be cancelled.
    RBCASTCANCELFAIL = 0x10F;
    /// 5.0: the number of repeats of a broadcast is wrong.
    RINVBCAST_REP = 0x110;
    /// 5.0: the service group of a broadcast is wrong.
    RINVBCASTSRVGRP = 0x111;
    /// 5.0: the channel of a broadcast is wrong.
    RINVBCASTCHANIND = 0x112;
}

impl Status {
    /// Whether it is success.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "0x{:08X}", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
