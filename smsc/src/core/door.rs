//! The HTTP door: who asks is checked, and what is sent is taken as a submit_sm is, with the same limits and the same durability.

use std::net::IpAddr;
use std::time::Duration;

use warp_model::{Nanos, Now, Wall};
use warp_smpp::Status;
use warp_smpp::pdu::{self, Address};
use warp_smpp::record::Terms;
use warp_smpp::text::udh::{Concatenation, write_concatenation};
use warp_smpp::tlv::Tlvs;

use super::Core;
use super::commit::Waits;
use super::jasmin::{JasminReply, JasminRequest, Refusal, Submission, What};
use super::message::{Callback, To};
use super::secrets::{Verdict, Waiting, Whose};
use crate::metrics::Taken;

impl Core {
    /// A request of the HTTP door. Its answer comes by [`Core::poll_answer`], under this token, at once or when the message is durable.
    pub fn ask(&mut self, token: u64, source: IpAddr, ask: &JasminRequest, now: Now) {
        let (user, password) = (ask.who.user.as_bytes(), ask.who.password.reveal().as_bytes());
        match self.authenticate(source, user, password, now) {
            Verdict::Known(account) => self.asked(token, account, ask, now),
            Verdict::Refused => {
                let user = ask.who.user.clone();
                self.answers.push_back((token, JasminReply::Refused(Refusal::Authentication(user))));
            }
            Verdict::Check(found, hash) => {
                let who = Whose { source, name: user.to_vec(), account: found };
                let password = password.to_vec();
                if !self.secrets.ask(who, Waiting::Door(token, Box::new(ask.clone())), hash, password) {
                    self.answers.push_back((token, JasminReply::Refused(Refusal::Full)));
                }
            }
        }
    }

    /// What a request asks for, when it is known whose it is.
    pub(super) fn asked(&mut self, token: u64, account: usize, ask: &JasminRequest, now: Now) {
        let answer = match &ask.what {
            What::Balance => JasminReply::Balance,
            What::Rate(message) => match self.rate_of(account, message, now) {
                Some(unit) => JasminReply::Rate { parts: message.parts.len(), unit },
                None => JasminReply::Refused(Refusal::NoRoute),
            },
            What::Send(message) => {
                let sent = self.send_parts(token, account, message, now);
                self.metrics.submits.inc(match &sent {
                    Ok(()) => Taken::Accepted,
                    Err(Refusal::Throughput) => Taken::Throttled,
                    Err(Refusal::Full) => Taken::Full,
                    Err(_) => Taken::Refused,
                });
                match sent {
                    Ok(()) => return,
                    Err(Refusal::Source(_)) => JasminReply::Refused(Refusal::Source(ask.who.user.clone())),
                    Err(why) => JasminReply::Refused(why),
                }
            }
        };
        self.answers.push_back((token, answer));
    }

    /// A message of the platform's own API, for the account of this name. Its answer comes as for [`Core::ask`].
    pub fn send_for(&mut self, token: u64, account: &str, message: &Submission, now: Now) {
        let found = self.by_name.get(account.as_bytes()).copied();
        let found = found.filter(|at| self.config.accounts.get(*at).is_some_and(|a| a.open));
        let sent = match found {
            Some(account) => self.send_parts(token, account, message, now),
            None => Err(Refusal::Authentication(account.to_owned())),
        };
        self.metrics.submits.inc(match &sent {
            Ok(()) => Taken::Accepted,
            Err(Refusal::Throughput) => Taken::Throttled,
            Err(Refusal::Full) => Taken::Full,
            Err(_) => Taken::Refused,
        });
        if let Err(why) = sent {
            self.answers.push_back((token, JasminReply::Refused(why)));
        }
    }

    /// The next answer to a request of the HTTP door; drain until `None`.
    pub fn poll_answer(&mut self) -> Option<(u64, JasminReply)> {
        self.answers.pop_front()
    }

    fn send_parts(
        &mut self,
        token: u64,
        account: usize,
        message: &Submission,
        now: Now,
    ) -> Result<(), Refusal> {
        let limits = self.config.limits;
        if self.draining {
            return Err(Refusal::Full);
        }
        let state = self.accounts.get(account).ok_or(Refusal::Storage)?;
        // T-SMS-07.
        if state.senders.as_ref().is_some_and(|own| !own.owns(message.from.as_bytes())) {
            return Err(Refusal::Source(String::new()));
        }
        let consent = |status| match status {
            super::consent::QUIET => Refusal::Quiet,
            super::consent::OPTED_OUT => Refusal::OptedOut,
            other => wrong(other, message),
        };
        let id = self.new_id(now.wall);
        // All parts go the same way, by the whole text.
        let whole = whole(message);
        let to = self.recipient(&whole.destination).map_err(|status| wrong(status, message))?;
        let whole = pdu::Message { destination: to.address(&whole.destination), ..whole };
        let way = self.route_mt(account, &whole, &message.tags, id, now).ok_or(Refusal::NoRoute)?;
        let count = message.parts.len();
        let segments = u16::try_from(count).unwrap_or(u16::MAX);
        let (way, price) =
            self.price(account, way, whole.destination.text, segments).map_err(|_| Refusal::NoRoute)?;
        if self.store.len().saturating_add(message.parts.len()) > limits.messages {
            return Err(Refusal::Full);
        }
        let validity = message.validity_minutes.map(|minutes| {
            let asked = Duration::from_secs(u64::from(minutes).saturating_mul(60));
            warp_smpp::time::absolute(now.wall.plus(asked.min(limits.validity_max)))
        });
        let reference = self.random.below(256) as u16;
        let total = u8::try_from(message.parts.len()).unwrap_or(u8::MAX);
        let tlvs = Tlvs::parse(&message.tlvs).unwrap_or_default();
        let mut written = Vec::new();
        let mut held_back = false;
        let mut parts = Vec::with_capacity(message.parts.len());
        for (at, range) in (1u8..).zip(&message.parts) {
            written.clear();
            if total > 1 {
                let place = Concatenation { reference, total, number: at, wide: false };
                write_concatenation(place, &mut written);
            }
            written.extend_from_slice(message.text.get(range.clone()).unwrap_or_default());
            let last = at == total;
            let callback = message.receipts.as_ref().filter(|_| last).map(|r| {
                Callback::new(To::Receipts { level: r.level, post: r.post, url: r.url.as_str().into() })
            });
            let pdu = pdu::Message {
                source: source_of(&message.from),
                destination: Address { ton: 1, npi: 1, text: message.to.as_bytes() },
                esm_class: if total > 1 { 0x40 } else { 0 },
                priority: message.priority,
                schedule: message.schedule.as_bytes(),
                validity: validity.as_ref().map_or(&[][..], |v| &v[..]),
                // The last part stands for the whole, as in Jasmin.
                registered_delivery: u8::from(
                    callback.is_some() && message.receipts.as_ref().is_some_and(|r| r.level > 1),
                ),
                data_coding: message.coding,
                short_message: &written,
                tlvs,
                ..pdu::Message::default()
            };
            let mut times = super::customer::check(&pdu, now.wall, limits.validity, limits.validity_max)
                .map_err(|status| wrong(status, message))?;
            let allowed = self.allowed(account, &pdu.source, &pdu.destination, &times, now);
            let at = allowed.map_err(consent)?;
            held_back |= at != times.not_before;
            times.not_before = at;
            let body = super::customer::body_of(&pdu).map_err(|status| wrong(status, message))?;
            parts.push((pdu.registered_delivery, times, body, callback));
        }
        // Last, so that what is refused for another reason costs no token. One for a message, however long.
        let state = self.accounts.get_mut(account).ok_or(Refusal::Storage)?;
        state.bucket.take(now.mono).map_err(|_| Refusal::Throughput)?;
        let (terms, held) = self.pay(account, price, total, now).map_err(|status| match status {
            Status::RTHROTTLED => Refusal::Throughput,
            _ => Refusal::NoCredit,
        })?;
        let mut held = Some(held);
        for (at, (registered, times, body, callback)) in (1usize..).zip(parts) {
            let last = at == count;
            let (part, waits) =
                if last { (id, Waits::Door(token)) } else { (self.new_id(now.wall), Waits::Nobody) };
            // The last part stands for the whole, and has its price.
            let terms = match (&terms, last) {
                (Some(terms), false) => Some(Box::new(Terms {
                    whole: id,
                    segments: 0,
                    lease: 0,
                    sell: None,
                    buy: None,
                    ..**terms
                })),
                (terms, _) => terms.clone(),
            };
            let flags = (message.priority, registered);
            let key = self.place((part, 0), account, way, flags, &times, body, callback, terms, waits, now);
            if held_back {
                self.held(key);
            }
            if last {
                self.holds(key, held.take().flatten());
            }
        }
        Ok(())
    }

    /// The price of one part of a message; `None`: there is no route.
    fn rate_of(&mut self, account: usize, message: &Submission, now: Now) -> Option<Nanos> {
        let whole = whole(message);
        let to = self.recipient(&whole.destination).ok()?;
        let whole = pdu::Message { destination: to.address(&whole.destination), ..whole };
        let way = self.route_mt(account, &whole, &message.tags, 0, now)?;
        let rate = self.mt.route(way.route).and_then(|route| route.rate);
        Some(rate.map_or(Nanos::ZERO, |rate| rate.amount))
    }

    /// A message of the door is durable, or refused.
    pub(super) fn answer_door(&mut self, token: u64, answer: JasminReply) {
        self.answers.push_back((token, answer));
    }
}

/// A message before it is cut into parts, as far as routes look at it.
fn whole(message: &Submission) -> pdu::Message<'_> {
    pdu::Message {
        source: source_of(&message.from),
        destination: Address { ton: 1, npi: 1, text: message.to.as_bytes() },
        data_coding: message.coding,
        short_message: &message.text,
        ..pdu::Message::default()
    }
}

/// What a status of the checks means for who speaks HTTP.
fn wrong(status: Status, message: &Submission) -> Refusal {
    let (name, value) = match status {
        Status::RINVSCHED => ("sdt", message.schedule.clone()),
        Status::RINVEXPIRY => ("validity-period", message.validity_minutes.unwrap_or(0).to_string()),
        Status::RINVSRCADR => ("from", message.from.clone()),
        Status::RINVDSTADR => ("to", message.to.clone()),
        other => return Refusal::Argument(format!("The message is refused: {other}.")),
    };
    Refusal::Argument(format!("Argument [{name}] has an invalid value: [{value}]."))
}

/// The kind of a sender: letters, a short code, or a number of the world.
fn source_of(from: &str) -> Address<'_> {
    let digits = from.strip_prefix('+').unwrap_or(from);
    let (ton, npi) = match digits.len() {
        0 => (0, 0),
        _ if !digits.bytes().all(|b| b.is_ascii_digit()) => (5, 0),
        1..=6 => (0, 1),
        _ => (1, 1),
    };
    Address { ton, npi, text: if ton == 5 { from } else { digits }.as_bytes() }
}

/// Seconds of a day and more are cut off: what is said of a time is a minute.
pub(super) fn minute(at: Wall) -> String {
    String::from_utf8_lossy(&warp_smpp::time::of_receipt(at)).into_owned()
}
