//! What ESMEs ask: to bind, to send, to query, to cancel.

use subtle::ConstantTimeEq;
use warp_model::{Now, Wall};
use warp_smpp::pdu::{self, Body};
use warp_smpp::receipt::MessageState;
use warp_smpp::text::Udh;
use warp_smpp::time::Time;
use warp_smpp::tlv::{self, Tag, Tlvs};
use warp_smpp::{Command, Header, State, Status};

use super::Core;
use super::commit::{Act, Waits};
use super::jasmin::{JasminReply, Refusal};
use super::links::Role;
use super::message::{Callback, Message, NEVER, Places, Step, id_from_text, id_text};
use super::pricing::segments_of;
use super::routing::Way;
use super::secrets::{Binding, Verdict, Waiting, Whose};
use super::slab::Key;
use crate::metrics::{BindResult, Peer, Taken};
use warp_smpp::record::{Direction, Outcome, Terms};

impl Core {
    pub(super) fn bind(&mut self, key: Key, header: &Header, body: &[u8], state: State, now: Now) {
        let bind = match pdu::decode(header, body) {
            Ok(Body::Bind(bind)) => bind,
            Ok(_) => {
                return self.refuse_bind(key, header.command, header.sequence, b"", Status::RSYSERR, now);
            }
            Err(error) => {
                return self.refuse_bind(key, header.command, header.sequence, b"", error.status, now);
            }
        };
        let asked = Binding {
            command: header.command,
            sequence: header.sequence,
            version: bind.interface_version,
            state,
        };
        let refuse = |core: &mut Core, status| {
            core.refuse_bind(key, asked.command, asked.sequence, bind.system_id, status, now);
        };
        let Some(connection) = self.connections.get(key) else { return };
        let source = connection.remote.ip();
        // One at a time.
        if self.draining || connection.refusal.is_some() || connection.checking {
            return refuse(self, Status::RBINDFAIL);
        }
        match self.authenticate(source, bind.system_id, bind.password, now) {
            Verdict::Known(account) => self.admit(key, account, asked, bind.system_id, now),
            Verdict::Refused => refuse(self, Status::RINVPASWD),
            Verdict::Check(found, hash) => {
                let (name, password) = (bind.system_id.to_vec(), bind.password.to_vec());
                let who = Whose { source, name, account: found };
                if !self.secrets.ask(who, Waiting::Bind(key, asked), hash, password) {
                    return refuse(self, Status::RBINDFAIL);
                }
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.checking = true;
                }
            }
        }
    }

    /// Who it is was shown: binds it, when the account may have another bind.
    pub(super) fn admit(&mut self, key: Key, account: usize, asked: Binding, name: &[u8], now: Now) {
        let most = self.config.accounts.get(account).map_or(0, |a| a.binds);
        if self.draining || self.accounts.get(account).is_none_or(|a| a.binds.len() >= most) {
            return self.refuse_bind(key, asked.command, asked.sequence, name, Status::RBINDFAIL, now);
        }
        self.bound(key, account, asked);
    }

    pub(super) fn refuse_bind(
        &mut self,
        key: Key,
        command: Command,
        sequence: u32,
        system_id: &[u8],
        status: Status,
        now: Now,
    ) {
        self.metrics.binds.inc((Peer::Customer, BindResult::Refused));
        let Some(connection) = self.connections.get_mut(key) else { return };
        let until = self.guard.waits_until(connection.remote.ip(), system_id);
        if status == Status::RINVPASWD && until > now.mono {
            // Who guesses waits; one answer at a time.
            connection.refusal = Some((until, command, sequence));
            return;
        }
        self.write(key, |out| pdu::reply(out, command, status, sequence));
    }

    /// The account of a name and password, for both doors. That an account exists is not told to who does not know its password.
    pub(super) fn authenticate(
        &mut self,
        source: std::net::IpAddr,
        name: &[u8],
        password: &[u8],
        now: Now,
    ) -> Verdict {
        let waits = self.guard.waits_until(source, name) > now.mono;
        let found = self.by_system_id.get(name).copied();
        let found = found.filter(|at| self.config.accounts.get(*at).is_some_and(|a| a.open));
        let config = found.and_then(|at| self.config.accounts.get(at));
        // Where secrets take long to be checked, a name that nobody has takes as long.
        let hash = match config {
            Some(account) => account.secret.as_ref(),
            None => self.config.accounts.iter().find_map(|a| a.secret.as_ref()),
        };
        if let Some(hash) = hash.filter(|_| !waits) {
            let known = found.filter(|_| self.secrets.remembers(name, password, now.mono));
            return known.map_or_else(|| Verdict::Check(found, hash.clone()), Verdict::Known);
        }
        let wanted = config.map(|a| a.password.reveal().as_bytes());
        // Compared by digests: how long it takes says nothing of the password.
        let right = bool::from(digest(password).ct_eq(&digest(wanted.unwrap_or_default())));
        match found.filter(|_| right && !waits && hash.is_none()) {
            Some(account) => {
                self.guard.succeeded(source, name);
                Verdict::Known(account)
            }
            None => {
                self.guard.failed(source, name, now.mono);
                Verdict::Refused
            }
        }
    }

    fn bound(&mut self, key: Key, place: usize, asked: Binding) {
        let Some(config) = self.config.accounts.get(place) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.role = Role::Customer(place);
        connection.session.configure(config.timers, config.delivery_window, config.window);
        connection.session.bound(asked.state);
        if let Some(account) = self.accounts.get_mut(place) {
            account.binds.push(key);
        }
        self.metrics.binds.inc((Peer::Customer, BindResult::Bound));
        let mut optional = Vec::new();
        // Who speaks 3.3 knows no optional parameters (§4.1.2 note).
        if asked.version >= 0x34 {
            tlv::push(&mut optional, Tag::SC_INTERFACE_VERSION, &[0x34]);
        }
        let response = Body::BindResp(pdu::BindResp {
            system_id: self.config.system_id.as_bytes(),
            tlvs: Tlvs::parse(&optional).unwrap_or_default(),
        });
        let (command, sequence) = (asked.command.response(), asked.sequence);
        if pdu::encode(&mut connection.out, command, Status::ROK, sequence, &response).is_err() {
            // Our own name is too long for the field: they are bound all the same.
            pdu::header_only(&mut connection.out, command, Status::ROK, sequence);
        }
        self.write(key, |_| ());
        self.wake_account(place);
    }

    pub(super) fn customer_lost(&mut self, account: usize, key: Key) {
        if let Some(account) = self.accounts.get_mut(account) {
            account.binds.retain(|bind| *bind != key);
        }
    }

    pub(super) fn customer_request(
        &mut self,
        key: Key,
        account: usize,
        header: &Header,
        body: &[u8],
        now: Now,
    ) {
        let read = match pdu::decode(header, body) {
            Ok(read) => read,
            Err(error) => {
                self.metrics.malformed.inc(());
                if matches!(header.command, Command::SUBMIT_SM | Command::DATA_SM) {
                    self.metrics.submits.inc(Taken::Malformed);
                }
                return self.answer(key, header, error.status);
            }
        };
        let waits = |data| Waits::Bind { connection: key, sequence: header.sequence, data };
        match (header.command, read) {
            (Command::SUBMIT_SM, Body::Message(message)) => {
                if let Err(status) = self.submit(account, &message, waits(false), now) {
                    self.answer(key, header, status);
                }
            }
            (Command::DATA_SM, Body::Data(data)) => {
                let message = pdu::Message {
                    service_type: data.service_type,
                    source: data.source,
                    destination: data.destination,
                    esm_class: data.esm_class,
                    registered_delivery: data.registered_delivery,
                    data_coding: data.data_coding,
                    tlvs: data.tlvs,
                    ..pdu::Message::default()
                };
                if let Err(status) = self.submit(account, &message, waits(true), now) {
                    self.answer(key, header, status);
                }
            }
            (Command::QUERY_SM, Body::Query(query)) => self.query(key, account, header, &query),
            (Command::CANCEL_SM, Body::Cancel(cancel)) => {
                let status = self.cancel(account, &cancel, now);
                self.answer(key, header, status);
            }
            (Command::REPLACE_SM, Body::Replace(replace)) => {
                if let Err(status) = self.replace(key, account, header.sequence, &replace, now) {
                    self.answer(key, header, status);
                }
            }
            (Command::SUBMIT_MULTI, Body::Multi(multi)) => {
                self.submit_multi(key, account, header, &multi, now)
            }
            _ => self.answer(key, header, Status::RINVCMDID),
        }
    }

    /// Takes a message for durable keeping; `waits` hears of it when it is.
    /// Errors: the status of the answer; nothing is kept.
    pub(super) fn submit(
        &mut self,
        account: usize,
        pdu: &pdu::Message<'_>,
        waits: Waits,
        now: Now,
    ) -> Result<Key, Status> {
        let id = self.new_id(now.wall);
        let taken = self.try_submit((id, 0), account, pdu, waits, now);
        self.count_submit(taken)
    }

    pub(super) fn count_submit(&self, taken: Result<Key, Status>) -> Result<Key, Status> {
        self.metrics.submits.inc(match taken {
            Ok(_) => Taken::Accepted,
            Err(Status::RTHROTTLED) => Taken::Throttled,
            Err(Status::RMSGQFUL) => Taken::Full,
            Err(_) => Taken::Refused,
        });
        taken
    }

    /// Checks a message and takes it under this id; the second number: of a submit_multi, which one less one.
    pub(super) fn try_submit(
        &mut self,
        (id, nth): (u128, u8),
        account: usize,
        pdu: &pdu::Message<'_>,
        waits: Waits,
        now: Now,
    ) -> Result<Key, Status> {
        let limits = self.config.limits;
        let state = self.accounts.get(account).ok_or(Status::RSYSERR)?;
        if self.draining {
            return Err(Status::RSYSERR);
        }
        let mut times = check(pdu, now.wall, limits.validity, limits.validity_max)?;
        // T-SMS-07.
        if state.senders.as_ref().is_some_and(|own| !own.owns(pdu.source.text)) {
            return Err(Status::RINVSRCADR);
        }
        let to = self.recipient(&pdu.destination)?;
        let wanted = times.not_before;
        times.not_before = self.allowed(account, &pdu.source, &pdu.destination, &times, now)?;
        let held_back = times.not_before != wanted;
        // No route. It is found by the number that it is for, however that is written.
        let routed = pdu::Message { destination: to.address(&pdu.destination), ..*pdu };
        let way = self.route_mt(account, &routed, &[], id, now).ok_or(Status::RINVDSTADR)?;
        if self.store.len() >= limits.messages {
            return Err(Status::RMSGQFUL);
        }
        let (way, price) = self.price(account, way, routed.destination.text, segments_of(pdu))?;
        // Last, so that what is refused for another reason costs no token.
        self.accounts
            .get_mut(account)
            .ok_or(Status::RSYSERR)?
            .bucket
            .take(now.mono)
            .map_err(|_| Status::RTHROTTLED)?;
        let body = body_of(pdu)?;
        let (terms, held) = self.pay(account, price, 1, now)?;
        let flags = (pdu.priority, pdu.registered_delivery);
        let key = self.place((id, nth), account, way, flags, &times, body, None, terms, waits, now);
        if held_back {
            self.held(key);
        }
        self.holds(key, held);
        Ok(key)
    }

    /// Puts a message that was checked into the store and the batch. `flags`: priority and registered_delivery.
    #[allow(clippy::too_many_arguments, reason = "what a message is made of, by both doors")]
    pub(super) fn place(
        &mut self,
        (id, nth): (u128, u8),
        account: usize,
        way: Way,
        flags: (u8, u8),
        times: &Times,
        body: Box<[u8]>,
        callback: Option<Box<Callback>>,
        terms: Option<Box<Terms>>,
        waits: Waits,
        now: Now,
    ) -> Key {
        let Way { route, target: vendor, .. } = way;
        let key = self.store.insert(Message {
            id,
            direction: Direction::Terminated,
            places: Places::new(account, vendor),
            at: now.wall,
            not_before: times.not_before,
            expires: times.expires,
            due: NEVER,
            priority: flags.0.min(3),
            registered: flags.1,
            attempts: 0,
            route,
            moves: 0,
            nth,
            step: Step::Storing,
            noticed: false,
            outcome: None,
            carrier_id: None,
            record: 0,
            body,
            callback,
            terms,
        });
        let vendor = self.config.vendors.get(vendor).map_or("", |v| v.name.as_str());
        let account = self.config.accounts.get(account).map_or("", |a| a.name.as_str());
        let act = Act::Taken { message: key, waits };
        self.store.write_accepted(key, account.as_bytes(), vendor.as_bytes(), Some(act));
        key
    }

    pub(super) fn answer_submit(&mut self, waits: Waits, message: Key) {
        let Some(id) = self.store.get(message).map(|m| m.id) else { return };
        let (key, sequence, data) = match waits {
            Waits::Bind { connection, sequence, data } => (connection, sequence, data),
            Waits::Multi { connection, sequence } => return self.answer_multi(connection, sequence, message),
            Waits::Door(token) => return self.answer_door(token, JasminReply::Sent(id)),
            Waits::Nobody => return,
        };
        let command = if data { Command::DATA_SM } else { Command::SUBMIT_SM };
        let body = Body::MessageId { id: &id_text(id), tlvs: Tlvs::NONE };
        self.write(key, |out| {
            // 36 characters fit the field.
            let _ = pdu::encode(out, command.response(), Status::ROK, sequence, &body);
        });
        self.answered(key);
    }

    pub(super) fn refuse_submit(&mut self, waits: Waits, status: Status) {
        let (key, sequence, data) = match waits {
            Waits::Bind { connection, sequence, data } => (connection, sequence, data),
            Waits::Multi { connection, sequence } => return self.refuse_multi(connection, sequence, status),
            Waits::Door(token) => {
                let why = if status == Status::RMSGQFUL { Refusal::Full } else { Refusal::Storage };
                return self.answer_door(token, JasminReply::Refused(why));
            }
            Waits::Nobody => return,
        };
        let command = if data { Command::DATA_SM } else { Command::SUBMIT_SM };
        self.write(key, |out| pdu::reply(out, command, status, sequence));
        self.answered(key);
    }

    /// The message of this id, when it is of this account (T-SMS-07): that another account has it is told to nobody.
    pub(super) fn own(&self, account: usize, id: &[u8]) -> Option<Key> {
        let key = self.store.find(id_from_text(id)?)?;
        let message = self.store.get(key)?;
        (message.account() == account && message.direction == Direction::Terminated).then_some(key)
    }

    fn query(&mut self, key: Key, account: usize, header: &Header, query: &pdu::Query<'_>) {
        let Some(message) = self.own(account, query.message_id).and_then(|key| self.store.get(key)) else {
            return self.answer(key, header, Status::RINVMSGID);
        };
        let date = message.outcome.map(|outcome| warp_smpp::time::absolute(outcome.at));
        let error = message.outcome.map_or(0, |outcome| outcome.error);
        let response = Body::QueryResp(pdu::QueryResp {
            message_id: query.message_id,
            final_date: date.as_ref().map_or(&[][..], |d| &d[..]),
            message_state: message.state().octet(),
            error_code: u8::try_from(error).unwrap_or(u8::MAX),
            tlvs: Tlvs::NONE,
        });
        let (command, sequence) = (header.command.response(), header.sequence);
        self.write(key, |out| {
            let _ = pdu::encode(out, command, Status::ROK, sequence, &response);
        });
        self.answered(key);
    }

    fn cancel(&mut self, account: usize, cancel: &pdu::Cancel<'_>, now: Now) -> Status {
        // Without an id, every message of two addresses would be looked for: that is not offered.
        let Some(key) = self.own(account, cancel.message_id) else { return Status::RINVMSGID };
        let mut cancelled = false;
        for key in self.same_id(key) {
            if self.store.get(key).is_some_and(|m| matches!(m.step, Step::Waiting | Step::Ready)) {
                self.finish(key, Outcome { state: MessageState::Deleted, error: 0, at: now.wall });
                cancelled = true;
            }
        }
        if cancelled { Status::ROK } else { Status::RCANCELFAIL }
    }
}

fn digest(text: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(text).into()
}

pub(super) struct Times {
    pub(super) not_before: Wall,
    pub(super) expires: Wall,
}

/// What can be said of a message without knowing anybody. Errors: the status of the answer.
pub(super) fn check(
    pdu: &pdu::Message<'_>,
    now: Wall,
    validity: std::time::Duration,
    longest: std::time::Duration,
) -> Result<Times, Status> {
    let payload = pdu.payload()?;
    let digits = pdu.destination.text.strip_prefix(b"+").unwrap_or(pdu.destination.text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Status::RINVDSTADR);
    }
    if pdu.source.text.iter().any(|b| !matches!(b, b' '..=b'~')) {
        return Err(Status::RINVSRCADR);
    }
    if pdu.priority > 4 {
        return Err(Status::RINVPRTFLG);
    }
    if pdu.registered_delivery & 0xE0 != 0 {
        return Err(Status::RINVREGDLVFLG);
    }
    if pdu.replace_if_present > 1 {
        return Err(Status::RINVREPFLAG);
    }
    // T-SMS-09: what says that it has a header has a whole one.
    if pdu.has_udh() && Udh::split(payload).is_none() {
        return Err(Status::RINVMSGLEN);
    }
    let not_before = match pdu.schedule {
        [] => now,
        text => Time::parse(text, now).ok_or(Status::RINVSCHED)?.from_now(now),
    };
    if not_before > now.plus(longest) {
        return Err(Status::RINVSCHED);
    }
    let from = not_before.max(now);
    let expires = match pdu.validity {
        [] => from.plus(validity),
        text => Time::parse(text, now).ok_or(Status::RINVEXPIRY)?.from_now(now).min(from.plus(longest)),
    };
    if expires <= from {
        return Err(Status::RINVEXPIRY);
    }
    Ok(Times { not_before, expires })
}

/// The body that is kept: that of a submit_sm.
pub(super) fn body_of(pdu: &pdu::Message<'_>) -> Result<Box<[u8]>, Status> {
    let mut out = Vec::new();
    pdu::encode(&mut out, Command::SUBMIT_SM, Status::ROK, 1, &Body::Message(*pdu))
        // data_sm has longer addresses than submit_sm.
        .map_err(|e| if e.field == "source_addr" { Status::RINVSRCADR } else { Status::RINVDSTADR })?;
    Ok(out.get(warp_smpp::frame::HEADER_BYTES..).unwrap_or_default().into())
}

/// The message of a body that was kept.
pub(super) fn message_of(body: &[u8]) -> Option<pdu::Message<'_>> {
    let header = Header { length: 0, command: Command::SUBMIT_SM, status: Status::ROK, sequence: 1 };
    match pdu::decode(&header, body) {
        Ok(Body::Message(message)) => Some(message),
        _ => None,
    }
}
