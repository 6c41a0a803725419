//! Reading bodies in place.

use super::bodies::{
    Address, Alert, Bind, BindResp, Body, Cancel, Data, Destination, Destinations, Message, Multi, MultiResp,
    Outbind, Query, QueryResp, Replace, Unsuccessful,
};
use super::{DESTINATIONS, PASSWORD_BYTES};
use crate::command::Command;
use crate::frame::Header;
use crate::status::Status;
use crate::tlv::Tlvs;

/// What is wrong with a body: the status that its answer bears, and the field for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// For the response of the same command and sequence number.
    pub status: Status,
    /// The name of the field as the specification has it.
    pub field: &'static str,
}

/// Reads the body behind a header. Responses of an error may come without a body.
/// Errors: a field that is cut, has no end or is too long; an unknown command ([`Status::RINVCMDID`]: answer generic_nack, T-SMS-03).
pub fn decode<'a>(header: &Header, body: &'a [u8]) -> Result<Body<'a>, BodyError> {
    let mut r = Reader { rest: body };
    let command = header.command;
    if command.is_response() && body.is_empty() {
        return Ok(Body::Empty);
    }
    let whole = match command {
        // The hot ones first.
        Command::SUBMIT_SM | Command::DELIVER_SM => return r.message().map(Body::Message),
        c if c == Command::SUBMIT_SM.response()
            || c == Command::DELIVER_SM.response()
            || c == Command::DATA_SM.response() =>
        {
            let id = r.text(65, "message_id", Status::RINVMSGID)?;
            return Ok(Body::MessageId { id, tlvs: r.tlvs()? });
        }
        Command::ENQUIRE_LINK | Command::UNBIND | Command::GENERIC_NACK => Body::Empty,
        c if c.is_bind() => Body::Bind(r.bind()?),
        c if c.request().is_bind() => {
            let system_id = r.text(16, "system_id", Status::RINVSYSID)?;
            return Ok(Body::BindResp(BindResp { system_id, tlvs: r.tlvs()? }));
        }
        Command::OUTBIND => Body::Outbind(Outbind {
            system_id: r.text(16, "system_id", Status::RINVSYSID)?,
            password: r.text(PASSWORD_BYTES, "password", Status::RINVPASWD)?,
        }),
        Command::DATA_SM => return r.data().map(Body::Data),
        Command::SUBMIT_MULTI => return r.multi().map(Body::Multi),
        c if c == Command::SUBMIT_MULTI.response() => return r.multi_resp().map(Body::MultiResp),
        Command::QUERY_SM => Body::Query(Query {
            message_id: r.text(65, "message_id", Status::RINVMSGID)?,
            source: r.address(21, SOURCE)?,
        }),
        c if c == Command::QUERY_SM.response() => {
            return Ok(Body::QueryResp(QueryResp {
                message_id: r.text(65, "message_id", Status::RINVMSGID)?,
                final_date: r.time("final_date", Status::RINVEXPIRY)?,
                message_state: r.octet("message_state")?,
                error_code: r.octet("error_code")?,
                tlvs: r.tlvs()?,
            }));
        }
        Command::CANCEL_SM => Body::Cancel(Cancel {
            service_type: r.text(6, "service_type", Status::RINVSERTYP)?,
            message_id: r.text(65, "message_id", Status::RINVMSGID)?,
            source: r.address(21, SOURCE)?,
            destination: r.address(21, DESTINATION)?,
        }),
        Command::REPLACE_SM => return r.replace().map(Body::Replace),
        Command::ALERT_NOTIFICATION => {
            let (source, esme) = (r.address(65, SOURCE)?, r.address(65, ("esme_addr", Status::RINVDSTADR))?);
            return Ok(Body::Alert(Alert { source, esme, tlvs: r.tlvs()? }));
        }
        c if c.is_known() => Body::Empty,
        _ => return Err(BodyError { status: Status::RINVCMDID, field: "command_id" }),
    };
    // Bytes behind a body without an optional part are optional parameters of a later version, and not read.
    Ok(whole)
}

type Field = (&'static str, Status);
const SOURCE: Field = ("source_addr", Status::RINVSRCADR);
const DESTINATION: Field = ("destination_addr", Status::RINVDSTADR);

#[derive(Clone)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn octet(&mut self, field: &'static str) -> Result<u8, BodyError> {
        let (value, rest) = self.rest.split_first().ok_or(BodyError { status: Status::RINVCMDLEN, field })?;
        self.rest = rest;
        Ok(*value)
    }

    /// A text of at most `limit` octets with its NUL.
    #[inline]
    fn text(&mut self, limit: usize, field: &'static str, status: Status) -> Result<&'a [u8], BodyError> {
        let window = self.rest.get(..limit).unwrap_or(self.rest);
        let Some(end) = window.iter().position(|b| *b == 0) else {
            // Without an end within the limit it is too long; without an end at all the body is cut.
            let cut = self.rest.len() < limit;
            return Err(BodyError { status: if cut { Status::RINVCMDLEN } else { status }, field });
        };
        let (text, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// A time: empty, or 16 characters (§7.1.1).
    #[inline]
    fn time(&mut self, field: &'static str, status: Status) -> Result<&'a [u8], BodyError> {
        let text = self.text(17, field, status)?;
        if text.is_empty() || text.len() == 16 { Ok(text) } else { Err(BodyError { status, field }) }
    }

    #[inline]
    fn address(&mut self, limit: usize, (field, status): Field) -> Result<Address<'a>, BodyError> {
        Ok(Address {
            ton: self.octet(field)?,
            npi: self.octet(field)?,
            text: self.text(limit, field, status)?,
        })
    }

    #[inline]
    fn tlvs(&mut self) -> Result<Tlvs<'a>, BodyError> {
        Tlvs::parse(self.rest).ok_or(BodyError { status: Status::RINVTLVSTREAM, field: "TLV" })
    }

    /// Optional parameters behind a text. Many clients end the text with a NUL that sm_length does not count; where the parameters cannot
    /// be read with it they are read without it.
    #[inline]
    fn tlvs_behind_text(&mut self) -> Result<Tlvs<'a>, BodyError> {
        let wrong = BodyError { status: Status::RINVTLVSTREAM, field: "TLV" };
        Tlvs::parse(self.rest).or_else(|| self.rest.strip_prefix(&[0]).and_then(Tlvs::parse)).ok_or(wrong)
    }

    fn short_message(&mut self) -> Result<&'a [u8], BodyError> {
        let wrong = BodyError { status: Status::RINVMSGLEN, field: "short_message" };
        let length = usize::from(self.octet("sm_length")?);
        if length > super::SHORT_MESSAGE_BYTES {
            return Err(wrong);
        }
        let (text, rest) = self.rest.split_at_checked(length).ok_or(wrong)?;
        self.rest = rest;
        Ok(text)
    }

    fn message(&mut self) -> Result<Message<'a>, BodyError> {
        let service_type = self.text(6, "service_type", Status::RINVSERTYP)?;
        let source = self.address(21, SOURCE)?;
        let destination = self.address(21, DESTINATION)?;
        self.rest_of_message(service_type, source, destination)
    }

    fn rest_of_message(
        &mut self,
        service_type: &'a [u8],
        source: Address<'a>,
        destination: Address<'a>,
    ) -> Result<Message<'a>, BodyError> {
        Ok(Message {
            service_type,
            source,
            destination,
            esm_class: self.octet("esm_class")?,
            protocol_id: self.octet("protocol_id")?,
            priority: self.octet("priority_flag")?,
            schedule: self.time("schedule_delivery_time", Status::RINVSCHED)?,
            validity: self.time("validity_period", Status::RINVEXPIRY)?,
            registered_delivery: self.octet("registered_delivery")?,
            replace_if_present: self.octet("replace_if_present_flag")?,
            data_coding: self.octet("data_coding")?,
            default_message: self.octet("sm_default_msg_id")?,
            short_message: self.short_message()?,
            tlvs: self.tlvs_behind_text()?,
        })
    }

    fn bind(&mut self) -> Result<Bind<'a>, BodyError> {
        Ok(Bind {
            system_id: self.text(16, "system_id", Status::RINVSYSID)?,
            password: self.text(PASSWORD_BYTES, "password", Status::RINVPASWD)?,
            system_type: self.text(13, "system_type", Status::RINVSYSTYP)?,
            interface_version: self.octet("interface_version")?,
            range: self.address(41, ("address_range", Status::RBINDFAIL))?,
        })
    }

    fn data(&mut self) -> Result<Data<'a>, BodyError> {
        Ok(Data {
            service_type: self.text(6, "service_type", Status::RINVSERTYP)?,
            source: self.address(65, SOURCE)?,
            destination: self.address(65, DESTINATION)?,
            esm_class: self.octet("esm_class")?,
            registered_delivery: self.octet("registered_delivery")?,
            data_coding: self.octet("data_coding")?,
            tlvs: self.tlvs()?,
        })
    }

    fn multi(&mut self) -> Result<Multi<'a>, BodyError> {
        let service_type = self.text(6, "service_type", Status::RINVSERTYP)?;
        let source = self.address(21, SOURCE)?;
        let count = self.octet("number_of_dests")?;
        if count == 0 || usize::from(count) > DESTINATIONS {
            return Err(BodyError { status: Status::RINVNUMDESTS, field: "number_of_dests" });
        }
        let begin = self.rest;
        for _ in 0..count {
            self.destination()?;
        }
        let used = begin.len().saturating_sub(self.rest.len());
        let destinations = Destinations { count, bytes: begin.get(..used).unwrap_or_default() };
        let message = self.rest_of_message(service_type, source, Address::default())?;
        Ok(Multi { message, destinations })
    }

    fn destination(&mut self) -> Result<Destination<'a>, BodyError> {
        match self.octet("dest_flag")? {
            1 => self.address(21, DESTINATION).map(Destination::Address),
            2 => self.text(21, "dl_name", Status::RINVDLNAME).map(Destination::List),
            _ => Err(BodyError { status: Status::RINVDESTFLAG, field: "dest_flag" }),
        }
    }

    fn multi_resp(&mut self) -> Result<MultiResp<'a>, BodyError> {
        let message_id = self.text(65, "message_id", Status::RINVMSGID)?;
        // Without a body of its own, an answer may end here.
        if self.rest.is_empty() {
            return Ok(MultiResp { message_id, ..MultiResp::default() });
        }
        let count = self.octet("no_unsuccess")?;
        let begin = self.rest;
        for _ in 0..count {
            self.unsuccessful()?;
        }
        let used = begin.len().saturating_sub(self.rest.len());
        let bytes = begin.get(..used).unwrap_or_default();
        Ok(MultiResp { message_id, count, bytes, tlvs: self.tlvs()? })
    }

    fn unsuccessful(&mut self) -> Result<Unsuccessful<'a>, BodyError> {
        let address = self.address(21, DESTINATION)?;
        let cut = BodyError { status: Status::RINVCMDLEN, field: "error_status_code" };
        let (status, rest) = self.rest.split_first_chunk::<4>().ok_or(cut)?;
        self.rest = rest;
        Ok(Unsuccessful { address, status: Status(u32::from_be_bytes(*status)) })
    }

    fn replace(&mut self) -> Result<Replace<'a>, BodyError> {
        Ok(Replace {
            message_id: self.text(65, "message_id", Status::RINVMSGID)?,
            source: self.address(21, SOURCE)?,
            schedule: self.time("schedule_delivery_time", Status::RINVSCHED)?,
            validity: self.time("validity_period", Status::RINVEXPIRY)?,
            registered_delivery: self.octet("registered_delivery")?,
            default_message: self.octet("sm_default_msg_id")?,
            short_message: self.short_message()?,
            tlvs: self.tlvs_behind_text()?,
        })
    }
}

impl<'a> Destinations<'a> {
    /// A list that [`super::push_destination`] made. `None`: it is not whole, or has none or more than 254.
    pub fn new(bytes: &'a [u8]) -> Option<Destinations<'a>> {
        let mut reader = Reader { rest: bytes };
        let mut count = 0u8;
        while !reader.rest.is_empty() {
            reader.destination().ok()?;
            count = count.checked_add(1).filter(|count| usize::from(*count) <= DESTINATIONS)?;
        }
        (count > 0).then_some(Destinations { count, bytes })
    }

    /// How many there are, 1 to 254.
    pub fn count(self) -> u8 {
        self.count
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Destination<'a>> {
        let mut reader = Reader { rest: self.bytes };
        std::iter::from_fn(move || reader.destination().ok())
    }
}

impl<'a> MultiResp<'a> {
    /// With a list that [`super::push_unsuccessful`] made; what is not whole at its end, and more than 255, is left out.
    pub fn new(message_id: &'a [u8], unsuccessful: &'a [u8]) -> MultiResp<'a> {
        let mut reader = Reader { rest: unsuccessful };
        let (mut count, mut used) = (0u8, 0usize);
        while count < u8::MAX && reader.unsuccessful().is_ok() {
            count = count.saturating_add(1);
            used = unsuccessful.len().saturating_sub(reader.rest.len());
        }
        let bytes = unsuccessful.get(..used).unwrap_or_default();
        MultiResp { message_id, count, bytes, ..MultiResp::default() }
    }

    /// The destinations that were refused, in order.
    pub fn unsuccessful(self) -> impl Iterator<Item = Unsuccessful<'a>> {
        let mut reader = Reader { rest: self.bytes };
        (0..self.count).map_while(move |_| reader.unsuccessful().ok())
    }
}
