//! Writing PDUs into a given buffer: nothing is allocated while the buffer has room.

use super::bodies::{Address, Body, Destination, Message, Unsuccessful};
use super::{PASSWORD_BYTES, SHORT_MESSAGE_BYTES};
use crate::command::Command;
use crate::frame::HEADER_BYTES;
use crate::status::Status;
use crate::tlv::Tlvs;

/// A field that is too long to be written, or has a NUL in it. Nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The name of the field as the specification has it.
    pub field: &'static str,
}

/// Appends one PDU. `command` says which of the commands with this form of body it is.
/// Errors: a text that is longer than its field; the buffer is as it was.
pub fn encode(
    out: &mut Vec<u8>,
    command: Command,
    status: Status,
    sequence: u32,
    body: &Body<'_>,
) -> Result<(), TooLong> {
    let begin = out.len();
    header_only(out, command, status, sequence);
    let written = write_body(out, body);
    if written.is_err() {
        out.truncate(begin);
        return written;
    }
    let length = u32::try_from(out.len().saturating_sub(begin)).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(begin..begin.saturating_add(4)) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Appends a PDU that is a header alone: enquire_link, unbind, generic_nack, answers without a body.
pub fn header_only(out: &mut Vec<u8>, command: Command, status: Status, sequence: u32) {
    let mut header = [0u8; HEADER_BYTES];
    let words = [16u32, command.0, status.0, sequence];
    for (place, word) in header.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&header);
}

/// Appends the answer to a request that is answered by a status alone. One that the specification does not know is answered by
/// generic_nack. Answers of success whose body is an id have an empty one (deliver_sm_resp: §4.6.2), because peers want the octet.
pub fn reply(out: &mut Vec<u8>, request: Command, status: Status, sequence: u32) {
    if !request.is_known() || request.is_response() {
        return header_only(out, Command::GENERIC_NACK, status, sequence);
    }
    let begin = out.len();
    header_only(out, request.response(), status, sequence);
    if status.is_ok() && matches!(request, Command::DELIVER_SM | Command::DATA_SM) {
        out.push(0);
        if let Some(low) = out.get_mut(begin.saturating_add(3)) {
            *low = 17;
        }
    }
}

fn text(out: &mut Vec<u8>, text: &[u8], limit: usize, field: &'static str) -> Result<(), TooLong> {
    if text.len() >= limit || text.contains(&0) {
        return Err(TooLong { field });
    }
    out.extend_from_slice(text);
    out.push(0);
    Ok(())
}

fn address(
    out: &mut Vec<u8>,
    address: &Address<'_>,
    limit: usize,
    field: &'static str,
) -> Result<(), TooLong> {
    out.extend_from_slice(&[address.ton, address.npi]);
    text(out, address.text, limit, field)
}

fn time(out: &mut Vec<u8>, value: &[u8], field: &'static str) -> Result<(), TooLong> {
    if !value.is_empty() && value.len() != 16 {
        return Err(TooLong { field });
    }
    text(out, value, 17, field)
}

fn tlvs(out: &mut Vec<u8>, tlvs: Tlvs<'_>) {
    out.extend_from_slice(tlvs.as_bytes());
}

fn short_message(out: &mut Vec<u8>, message: &[u8]) -> Result<(), TooLong> {
    let field = "short_message";
    if message.len() > SHORT_MESSAGE_BYTES {
        return Err(TooLong { field });
    }
    out.push(u8::try_from(message.len()).map_err(|_| TooLong { field })?);
    out.extend_from_slice(message);
    Ok(())
}

fn rest_of_message(out: &mut Vec<u8>, m: &Message<'_>) -> Result<(), TooLong> {
    out.extend_from_slice(&[m.esm_class, m.protocol_id, m.priority]);
    time(out, m.schedule, "schedule_delivery_time")?;
    time(out, m.validity, "validity_period")?;
    out.extend_from_slice(&[m.registered_delivery, m.replace_if_present, m.data_coding, m.default_message]);
    short_message(out, m.short_message)?;
    tlvs(out, m.tlvs);
    Ok(())
}

fn write_body(out: &mut Vec<u8>, body: &Body<'_>) -> Result<(), TooLong> {
    match body {
        Body::Empty => {}
        Body::Message(m) => {
            text(out, m.service_type, 6, "service_type")?;
            address(out, &m.source, 21, "source_addr")?;
            address(out, &m.destination, 21, "destination_addr")?;
            rest_of_message(out, m)?;
        }
        Body::MessageId { id, tlvs: optional } => {
            text(out, id, 65, "message_id")?;
            tlvs(out, *optional);
        }
        Body::Bind(b) => {
            text(out, b.system_id, 16, "system_id")?;
            text(out, b.password, PASSWORD_BYTES, "password")?;
            text(out, b.system_type, 13, "system_type")?;
            out.push(b.interface_version);
            address(out, &b.range, 41, "address_range")?;
        }
        Body::BindResp(b) => {
            text(out, b.system_id, 16, "system_id")?;
            tlvs(out, b.tlvs);
        }
        Body::Outbind(b) => {
            text(out, b.system_id, 16, "system_id")?;
            text(out, b.password, PASSWORD_BYTES, "password")?;
        }
        Body::Data(d) => {
            text(out, d.service_type, 6, "service_type")?;
            address(out, &d.source, 65, "source_addr")?;
            address(out, &d.destination, 65, "destination_addr")?;
            out.extend_from_slice(&[d.esm_class, d.registered_delivery, d.data_coding]);
            tlvs(out, d.tlvs);
        }
        Body::Multi(m) => {
            text(out, m.message.service_type, 6, "service_type")?;
            address(out, &m.message.source, 21, "source_addr")?;
            out.push(m.destinations.count());
            for destination in m.destinations.iter() {
                push_destination(out, &destination)?;
            }
            rest_of_message(out, &m.message)?;
        }
        Body::MultiResp(m) => {
            text(out, m.message_id, 65, "message_id")?;
            out.push(m.count);
            out.extend_from_slice(m.bytes);
            tlvs(out, m.tlvs);
        }
        Body::Query(q) => {
            text(out, q.message_id, 65, "message_id")?;
            address(out, &q.source, 21, "source_addr")?;
        }
        Body::QueryResp(q) => {
            text(out, q.message_id, 65, "message_id")?;
            time(out, q.final_date, "final_date")?;
            out.extend_from_slice(&[q.message_state, q.error_code]);
            tlvs(out, q.tlvs);
        }
        Body::Cancel(c) => {
            text(out, c.service_type, 6, "service_type")?;
            text(out, c.message_id, 65, "message_id")?;
            address(out, &c.source, 21, "source_addr")?;
            address(out, &c.destination, 21, "destination_addr")?;
        }
        Body::Replace(r) => {
            text(out, r.message_id, 65, "message_id")?;
            address(out, &r.source, 21, "source_addr")?;
            time(out, r.schedule, "schedule_delivery_time")?;
            time(out, r.validity, "validity_period")?;
            out.extend_from_slice(&[r.registered_delivery, r.default_message]);
            short_message(out, r.short_message)?;
            tlvs(out, r.tlvs);
        }
        Body::Alert(a) => {
            address(out, &a.source, 65, "source_addr")?;
            address(out, &a.esme, 65, "esme_addr")?;
            tlvs(out, a.tlvs);
        }
    }
    Ok(())
}

/// Appends one destination to a list for [`super::Destinations::new`]. Errors: its text is too long; nothing was appended.
pub fn push_destination(out: &mut Vec<u8>, destination: &Destination<'_>) -> Result<(), TooLong> {
    let begin = out.len();
    let written = match destination {
        Destination::Address(a) => {
            out.push(1);
            address(out, a, 21, "destination_addr")
        }
        Destination::List(name) => {
            out.push(2);
            text(out, name, 21, "dl_name")
        }
    };
    written.inspect_err(|_| out.truncate(begin))
}

/// Appends one refused destination to a list for [`super::MultiResp::new`]. Errors: its text is too long; nothing was appended.
pub fn push_unsuccessful(out: &mut Vec<u8>, refused: &Unsuccessful<'_>) -> Result<(), TooLong> {
    let begin = out.len();
    address(out, &refused.address, 21, "destination_addr").inspect_err(|_| out.truncate(begin))?;
    out.extend_from_slice(&refused.status.0.to_be_bytes());
    Ok(())
}
