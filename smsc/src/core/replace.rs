//! replace_sm (SMPP 3.4 §4.10): another text, time or validity for a message that waits. The new form is kept first; it takes the place of
//! the old one when that is durable and the message still waits, and only then it is answered.

use warp_model::{Now, Wall};
use warp_smpp::pdu;
use warp_smpp::{Command, Status};

use super::Core;
use super::commit::{Act, Kept};
use super::customer::{body_of, check, message_of};
use super::message::Step;
use super::slab::Key;
use warp_smpp::record::Record;

/// What a message becomes.
#[derive(Debug)]
pub(super) struct Form {
    not_before: Wall,
    expires: Wall,
    registered: u8,
    body: Box<[u8]>,
}

impl Core {
    /// Takes another form of a message for durable keeping. Errors: the status of the answer; nothing is kept.
    pub(super) fn replace(
        &mut self,
        connection: Key,
        account: usize,
        sequence: u32,
        asked: &pdu::Replace<'_>,
        now: Now,
    ) -> Result<(), Status> {
        // T-SMS-07: a message of another account does not exist.
        let key = self.own(account, asked.message_id).ok_or(Status::RINVMSGID)?;
        let limits = self.config.limits;
        let message = self.store.get(key).ok_or(Status::RINVMSGID)?;
        let mut pdu = message_of(&message.body).ok_or(Status::RREPLACEFAIL)?;
        // Only the sender that the message was given with may change it (§4.10.1).
        if asked.source.text != pdu.source.text {
            return Err(Status::RINVSRCADR);
        }
        if !waits(message.step) {
            return Err(Status::RREPLACEFAIL);
        }
        let (schedule, validity) =
            (warp_smpp::time::absolute(message.not_before), warp_smpp::time::absolute(message.expires));
        let was_later = message.not_before > now.wall;
        pdu.schedule = match asked.schedule {
            [] if was_later => &schedule,
            given => given,
        };
        pdu.validity = match asked.validity {
            [] if !pdu.validity.is_empty() => &validity,
            given => given,
        };
        pdu.registered_delivery = asked.registered_delivery;
        pdu.short_message = asked.short_message;
        // A text in message_payload goes with the old one.
        pdu.tlvs = warp_smpp::tlv::Tlvs::NONE;
        let times = check(&pdu, now.wall, limits.validity, limits.validity_max)?;
        let body = body_of(&pdu)?;
        let name = |place: Option<&String>| place.map(String::as_str).unwrap_or_default().to_owned();
        let account = name(self.config.accounts.get(account).map(|a| &a.name));
        let vendor = name(self.config.vendors.get(message.vendor()).map(|v| &v.name));
        let record = Record::Accepted {
            id: message.id,
            direction: message.direction,
            account: account.as_bytes(),
            vendor: vendor.as_bytes(),
            at: message.at,
            not_before: times.not_before,
            expires: times.expires,
            body: &body,
            callback: &message.callback.as_ref().map(|c| c.encode()).unwrap_or_default(),
            route: message.route,
            nth: message.nth,
            terms: &message.terms.as_ref().map(|t| t.bytes()).unwrap_or_default(),
        };
        self.next_form = self.next_form.wrapping_add(1);
        let form = self.next_form;
        let act = Act::Replaced { message: key, form, connection, sequence };
        self.store.commit.add(&record, Kept::Offer, Some(act));
        self.store.commit.took(key);
        let registered = asked.registered_delivery;
        self.forms
            .insert(form, Form { not_before: times.not_before, expires: times.expires, registered, body });
        Ok(())
    }

    /// The new form is durable.
    pub(super) fn replaced(&mut self, key: Key, form: usize, now: Now) -> Status {
        let Some(form) = self.forms.remove(&form) else { return Status::RREPLACEFAIL };
        let Some(message) = self.store.get_mut(key).filter(|m| waits(m.step)) else {
            return Status::RREPLACEFAIL;
        };
        (message.not_before, message.expires) = (form.not_before, form.expires);
        (message.registered, message.body) = (form.registered, form.body);
        // It goes into the queue again when its time has come; of its places there the first one counts.
        message.step = Step::Storing;
        self.let_go(key, now);
        Status::ROK
    }

    pub(super) fn answer_replace(&mut self, connection: Key, sequence: u32, status: Status) {
        self.write(connection, |out| pdu::reply(out, Command::REPLACE_SM, status, sequence));
        self.answered(connection);
    }
}

fn waits(step: Step) -> bool {
    matches!(step, Step::Waiting | Step::Ready)
}
