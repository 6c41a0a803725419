//! The call record while it grows: begun with the INVITE, one leg per attempt, closed with duration, price and figures
//! (`ref/telecom-domain` §5). Every call ends as exactly one `Ended`; an answered one has exactly one `Answered` before it.

use std::net::IpAddr;

use warp_model::cdr::{
    CDR_VERSION, CallRecord, Direction, JournalRecord, LegRecord, Outcome, Paid, ReleaseSide,
};
use warp_model::json::JsonText;
use warp_model::text::ShortText;
use warp_model::{CallId, E164, Lent, Now, Wall};
use warp_policy::directory::NumberFormat;
use warp_policy::screen::Reservation;
use warp_policy::{
    BuyRate, Decision, InboundRecord, SellRate, Snapshot, Trunk, TrunkIx, VendorTrunk, rate_call,
};
use warp_sip::dialog::{Dialog, Party};
use warp_sip::flow::Flow;
use warp_sip::message::Message;
use warp_sip::proxy::cause_of_status;
use warp_sip::transaction::NEVER;

use super::call::{Call, Origin, Phase, Target, caller_of, printable};
use super::calls::Calls;
use super::confirm::{NO_ACK, NO_TAG};
use super::headers::asks_for_privacy;
use super::inbound::{charge_on_net, twin_of};
use super::route::Plan;
use super::session_timers::EXPIRED;
use super::transactions::Transactions;
use super::types::{CoreConfig, Output};

/// The record of a call that begins.
#[allow(clippy::too_many_arguments)] // the facts of an INVITE
pub(super) fn begin(
    config: &CoreConfig,
    snapshot: &Snapshot,
    msg: &Message<'_>,
    plan: &Plan<'_>,
    flow: Flow,
    origin: Origin,
    user: Option<&str>,
    cdr_id: CallId,
    now: Now,
) -> CallRecord {
    let directory = &snapshot.directory;
    let row = origin.trunk().and_then(|ix| directory.trunk(ix));
    let vendor = match origin {
        Origin::Trunk(_) => None,
        Origin::Vendor(ix) => directory.vendor_trunk(ix),
    };
    let trust = origin.is_trusted(directory);
    let mut digits = [0; 256];
    let called = match plan.uri.is_emergency_service() {
        // Of a US carrier; the vendors of the emergency route know no URN.
        true => b"911".to_vec(),
        false => plan.uri.user_unescaped(&mut digits).map(<[u8]>::to_vec).unwrap_or_default(),
    };
    CallRecord {
        cdr_id,
        version: CDR_VERSION,
        sip_call_id: printable(msg.call_id().to_vec()),
        customer_id: row.map(|t| t.customer),
        trunk_id: row.map(|t| t.id),
        direction: if vendor.is_some() { Direction::Inbound } else { Direction::Outbound },
        on_net: false,
        number_id: None,
        ingress_ip: flow.remote.ip().to_canonical(),
        ingress_user: user.map(str::to_owned),
        caller: caller_of(msg, trust),
        private: asks_for_privacy(msg),
        called: printable(called),
        caller_e164: None,
        called_e164: None,
        jurisdiction: None,
        setup_at: now.wall,
        progress_at: None,
        answer_at: None,
        end_at: now.wall,
        pdd_ms: None,
        duration_ms: 0,
        sip_code: 0,
        q850: None,
        release_side: ReleaseSide::System,
        internal_code: String::new(),
        outcome: Outcome::Failed,
        recovered: false,
        snapshot_id: snapshot.id.to_string(),
        route_rank: None,
        vendor_id: vendor.map(|t| t.vendor),
        vendor_trunk_id: vendor.map(|t| t.id),
        rating: None,
        media: None,
        decision: None,
        legs: Vec::new(),
        node: config.node.clone(),
        paid: row.and_then(paid),
        resume: None,
    }
}

/// The wall time of a call: that of its INVITE and what has passed since by the monotonic clock, so that no jump of the wall clock in between
/// puts its end before its beginning (F-TIME-01).
fn wall(call: &Call, now: Now) -> Wall {
    call.record.as_ref().map_or(now.wall, |r| r.setup_at.plus(now.mono.since(call.began)))
}

/// Who pays for the calls of a trunk.
fn paid(trunk: &Trunk) -> Option<Paid> {
    trunk.payer.map(|p| Paid { ban_id: p.ban, lease: None, over_ms: 0 })
}

/// What both sides of a call through a vendor are priced by, as it stands now.
pub(super) fn rates_of(call: &Call) -> Option<(SellRate, BuyRate)> {
    match &call.inbound {
        Some(d) => d.sell.zip(d.buy),
        None => call.decision.as_ref().and_then(|d| {
            let candidate = d.result.as_ref().ok()?.get(call.tried.checked_sub(1)?)?;
            Some((d.sell?, candidate.buy?))
        }),
    }
}

/// What a call holds of its customer, and on-net of the called one too.
pub(super) fn reservations(call: &Call) -> impl Iterator<Item = &Lent<Reservation>> {
    call.reservation.iter().chain(call.twin.iter().filter_map(|t| t.reservation.as_ref()))
}

/// The call holds what it may cost: whose money that is, and of which lease.
pub(super) fn paid_by(call: &mut Call, trunk: TrunkIx) {
    let paid = call.snapshot.directory.trunk(trunk).and_then(paid);
    let by = |r: &Option<Lent<Reservation>>| {
        let lease = r.as_ref().and_then(|r| r.lease()).map(|(_, epoch)| epoch);
        paid.map(|p| Paid { lease, ..p })
    };
    match (&mut call.twin, &mut call.record) {
        (Some(twin), _) => twin.paid = by(&twin.reservation),
        (None, Some(record)) => record.paid = by(&call.reservation),
        (None, None) => {}
    }
}

/// What policy decided.
pub(super) fn decided(record: Option<&mut CallRecord>, decision: &Decision, explained: JsonText) {
    let Some(r) = record else {
        return;
    };
    r.caller_e164 = decision.caller.and_then(|c| c.number).map(|n| n.to_string());
    r.called_e164 = decision.called.map(|n| n.to_string());
    r.jurisdiction = decision.jurisdiction.map(|j| j.as_str().to_owned());
    r.decision = Some(explained);
}

/// What policy decided of a call to one of our numbers.
pub(super) fn inbound_decided(record: Option<&mut CallRecord>, explained: &InboundRecord, written: JsonText) {
    let Some(r) = record else {
        return;
    };
    r.customer_id = explained.customer;
    r.number_id = explained.number;
    r.caller_e164 = explained.caller.map(|n| n.to_string());
    r.called_e164 = explained.called.map(|n| n.to_string());
    r.jurisdiction = explained.jurisdiction.map(|j| j.as_str().to_owned());
    r.decision = Some(written);
}

/// Whether a record is one of an emergency call.
pub fn is_emergency(record: &CallRecord) -> bool {
    #[derive(serde::Deserialize)]
    struct Decided {
        emergency: Option<u16>,
    }
    let decided = record.decision.as_ref().map(|d| serde_json::from_str::<Decided>(d.get()));
    matches!(decided, Some(Ok(Decided { emergency: Some(_) })))
}

/// The number as a vendor wants it: of a call for help the code that was recognised, not what stood before it.
pub(super) fn number_for(call: &Call, trunk: &VendorTrunk) -> String {
    let number = match (call.emergency(), call.decision.as_ref().and_then(|d| d.called)) {
        (Some(code), _) => format!("{code:03}"),
        (None, called) => written_as(call, called, trunk.number_format),
    };
    escaped(&[&trunk.tech_prefix, &number])
}

/// The number as the target of a branch wants it; `None`: the target is nobody's.
pub(super) fn number_at(call: &Call, target: Target) -> Option<String> {
    let directory = &call.snapshot.directory;
    match target {
        Target::Vendor(ix) => Some(number_for(call, directory.vendor_trunk(ix)?)),
        Target::Trunk(ix) => {
            let called = call.inbound.as_ref().and_then(|d| d.called);
            Some(escaped(&[&written_as(call, called, directory.trunk(ix)?.deliver.number_format)]))
        }
        // His phones are called by what they have registered.
        Target::User(..) => Some(String::new()),
    }
}

/// A number in this format; what was dialled, when it is none.
fn written_as(call: &Call, number: Option<E164>, format: NumberFormat) -> String {
    let Some(n) = number else {
        return call.record.as_ref().map_or_else(String::new, |r| r.called.clone());
    };
    number_in(n, format)
}

/// A number in this format.
pub(super) fn number_in(n: E164, format: NumberFormat) -> String {
    let mut text = ShortText::default();
    match (format, n.nanp()) {
        (NumberFormat::PlusE164, _) => text = n.text(),
        (NumberFormat::E164, _) => text.push_number(n.as_u64(), 1),
        (NumberFormat::National, Some(national)) => text.push_number(national, 10),
        (NumberFormat::National, None) => {
            text.push(b"011");
            text.push_number(n.as_u64(), 1);
        }
    }
    text.as_str().to_owned()
}

/// A user part (RFC 3261 §25.1): what is not plain is escaped, so that `#` of a tech prefix stays legal and nothing can leave it.
fn escaped(user: &[&str]) -> String {
    let mut out = String::with_capacity(user.iter().map(|part| part.len()).sum());
    for b in user.iter().flat_map(|part| part.bytes()) {
        if b.is_ascii_alphanumeric() || b"+*-_.!~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// An attempt begins.
pub(super) fn leg_begins(call: &mut Call, target: Target, egress: IpAddr, now: Now) {
    let snapshot = call.snapshot.clone();
    let vendor = target.vendor().and_then(|ix| snapshot.directory.vendor_trunk(ix));
    // Where a call between two customers went is the called one's to know: its own record has it.
    let trunk = target.trunk().filter(|_| call.twin.is_none()).and_then(|ix| snapshot.directory.trunk(ix));
    let rank = call
        .decision
        .as_ref()
        .and_then(|d| d.result.as_ref().ok())
        .and_then(|c| c.get(call.tried.saturating_sub(1)))
        .map(|c| c.rank)
        .or_else(|| call.inbound.as_ref().and_then(|_| u16::try_from(call.tried).ok()));
    let at = wall(call, now);
    let Some(r) = &mut call.record else {
        return;
    };
    if let Some(vendor) = vendor {
        r.vendor_id = Some(vendor.vendor);
        r.vendor_trunk_id = Some(vendor.id);
    }
    if let Some(trunk) = trunk {
        r.trunk_id = Some(trunk.id);
    }
    r.route_rank = rank;
    r.legs.push(LegRecord {
        attempt_no: call.branches.len() as u16,
        vendor_id: vendor.map(|v| v.vendor),
        vendor_trunk_id: vendor.map(|v| v.id),
        trunk_id: trunk.map(|t| t.id),
        egress_ip: egress.to_canonical(),
        start_at: at,
        pdd_ms: None,
        sip_code: 0,
        q850: None,
        end_at: at,
        ended_by: String::new(),
    });
}

/// The first 18x, or the 2xx.
pub(super) fn leg_progress(call: &mut Call, leg: u16, status: u16, now: Now) {
    let started = call.branches.get(usize::from(leg)).map_or(now.mono, |l| l.started);
    let at = wall(call, now);
    let Some(r) = &mut call.record else {
        return;
    };
    let pdd = now.mono.since(started).as_millis() as u64;
    if status < 200 && r.progress_at.is_none() {
        r.progress_at = Some(at);
    }
    if let Some(l) = r.legs.get_mut(usize::from(leg)) {
        l.pdd_ms.get_or_insert(pdd);
        r.pdd_ms = l.pdd_ms;
    }
}

/// An attempt ends without having carried the call.
pub(super) fn leg_ends(call: &mut Call, status: u16, cause: Option<u8>, why: &str, now: Now) {
    let at = wall(call, now);
    if let Some(l) = call.record.as_mut().and_then(|r| r.legs.last_mut()) {
        l.sip_code = status;
        l.q850 = cause.or((status > 0).then(|| cause_of_status(status)));
        l.end_at = at;
        l.ended_by = why.to_owned();
    }
}

/// An attempt that was given up was answered after all: the vendor may bill it, though it was hung up on at once (RFC 0007).
pub(super) fn leg_answered_late(call: &mut Call, leg: u16, now: Now) {
    let at = wall(call, now);
    if let Some(l) = call.record.as_mut().and_then(|r| r.legs.get_mut(usize::from(leg)))
        && ![LATE, NO_TAG].contains(&l.ended_by.as_str())
    {
        l.sip_code = 200;
        l.end_at = at;
        l.ended_by = LATE.to_owned();
    }
}

/// How a leg ended whose 2xx came too late.
const LATE: &str = "late_answer";

/// The 2xx is about to go to the caller.
pub(super) fn answered(call: &mut Call, leg: u16, now: Now) {
    let at = wall(call, now);
    if let Some(r) = &mut call.record {
        r.answer_at = Some(at);
        r.end_at = at;
        r.sip_code = 200;
        r.outcome = Outcome::Answered;
        if let Some(l) = r.legs.get_mut(usize::from(leg)) {
            l.sip_code = 200;
            l.ended_by = "answered".to_owned();
        }
    }
}

/// The dialog that an INVITE of ours and a 2xx to it make.
pub(super) fn dialog_of(invite: &Message<'_>, ok: &Message<'_>) -> Dialog {
    // Who gives no Contact is called as the INVITE names him.
    let contact = |m: &Message<'_>, named: &[u8]| m.contacts().next().map_or(named, |c| c.uri).to_vec();
    Dialog {
        call_id: invite.call_id().to_vec(),
        caller: Party {
            address: invite.from().raw.to_vec(),
            tag: invite.from_tag().unwrap_or(b"").to_vec(),
            target: contact(invite, invite.from().uri),
            routes: Vec::new(),
            cseq: invite.cseq().0,
        },
        callee: Party {
            address: ok.to().raw.to_vec(),
            tag: ok.to_tag().unwrap_or(b"").to_vec(),
            target: contact(ok, invite.request_uri().unwrap_or(b"")),
            routes: Vec::new(),
            cseq: 0,
        },
        // The INVITE is as it went out.
        shown: Vec::new(),
    }
}

/// Q.850 cause of a reason of ours to end a call.
pub(super) fn cause_of_code(code: &str) -> u8 {
    match code {
        "media_timeout" => 41,
        NO_ACK | EXPIRED => 102,
        "media_unavailable" => 47,
        "max_duration" | "no_credit" | "lease_ended" => 31,
        _ => 16,
    }
}

impl Calls {
    /// Closes a call that was never answered: its record goes to the journal now.
    #[allow(clippy::too_many_arguments)] // the facts of an ending
    pub(super) fn close_unanswered(
        &mut self,
        call: &mut Call,
        status: u16,
        cause: Option<u8>,
        outcome: Outcome,
        side: ReleaseSide,
        code: &str,
        tx: &mut Transactions,
    ) {
        if call.phase == Phase::Over {
            return;
        }
        self.delete_media(call, None, tx);
        let at = wall(call, tx.now);
        if let Some(r) = &mut call.record {
            r.sip_code = status;
            r.q850 = cause;
            r.outcome = outcome;
            r.release_side = side;
            r.internal_code = code.to_owned();
            r.end_at = at;
        }
        call.reservation = None;
        call.waits = None;
        if let Some(twin) = &mut call.twin {
            twin.reservation = None;
        }
        self.write_ended(call, tx);
        self.linger(call, tx);
    }

    /// Closes an answered call at its BYE. The record waits for the relay's figures, at most as long as the relay may take.
    pub(super) fn close_answered(
        &mut self,
        call: &mut Call,
        side: ReleaseSide,
        cause: u8,
        code: &str,
        tx: &mut Transactions,
    ) {
        if call.phase != Phase::Answered {
            return;
        }
        self.charge(call, side, cause, code, tx.now);
        // A question that is still open is about a dialog that is over.
        self.drop_asks(call, 487, tx);
        if !self.ask_figures(call, tx) {
            self.write_ended(call, tx);
        }
        self.linger(call, tx);
    }

    /// Duration, price and release of an answered call, into its record and its customer's spend. Nothing is sent or asked.
    pub(super) fn charge(&mut self, call: &mut Call, side: ReleaseSide, cause: u8, code: &str, now: Now) {
        let at = wall(call, now);
        let lasted_ms = call.answered.map_or(0, |a| now.mono.since(a).as_millis() as u64);
        // A timer may be late: nobody pays for more than was granted.
        let paid = reservations(call).filter_map(|r| r.paid()).min();
        let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        // Nor for more than the longest duration, or the time-out of its media, at which this node ended it.
        let longest_ms = call.answered.map_or(u64::MAX, |a| ms(call.ends_at.since(a)));
        let duration_ms = lasted_ms.min(paid.map_or(u64::MAX, ms)).min(longest_ms);
        let rates = rates_of(call);
        let on_net = call.twin.is_some();
        let rating = match on_net {
            true => charge_on_net(call, duration_ms),
            false => rates.and_then(|(sell, buy)| rate_call(&call.snapshot, &sell, &buy, duration_ms).ok()),
        };
        let charge = rating.as_ref().map(|r| r.sell.charge);
        if let Some(r) = &mut call.record {
            r.duration_ms = duration_ms;
            if let Some(paid) = &mut r.paid {
                paid.over_ms = lasted_ms.saturating_sub(duration_ms);
            }
            r.end_at = at;
            r.q850 = Some(cause);
            r.release_side = side;
            r.internal_code = code.to_owned();
            if (rates.is_some() || on_net) && rating.is_none() {
                r.internal_code = "rating_failed".to_owned();
            }
            r.rating = rating;
            if let Some(l) = r.legs.last_mut() {
                l.end_at = at;
                l.q850 = Some(cause);
            }
        }
        if let Some(reservation) = call.reservation.take()
            && let Some(charge) = charge
        {
            Reservation::settle(reservation, charge);
        }
        if let Some(l) = call.branches.last_mut() {
            l.open = false;
            l.reservation = None;
        }
    }

    /// Writes the finished record, once.
    pub(super) fn write_ended(&mut self, call: &mut Call, tx: &mut Transactions) {
        tx.trip();
        let twin = twin_of(call);
        if let Some(record) = call.record.take() {
            tx.stats.calls_ended += 1;
            tx.out.push_back(Output::Journal(JournalRecord::Ended(record)));
            if let Some(twin) = twin {
                tx.out.push_back(Output::Journal(JournalRecord::Ended(twin)));
            }
        }
    }

    /// Keeps the entry until late messages of the dialog have died out.
    fn linger(&mut self, call: &mut Call, tx: &mut Transactions) {
        call.phase = Phase::Over;
        call.outline = None;
        let invite = std::mem::take(&mut call.invite);
        tx.give_buf(invite);
        call.ends_at = tx.now.mono + tx.config.timers.t1_64();
        call.refresh_by = NEVER;
        call.hold_at = NEVER;
        call.pay_at = NEVER;
    }
}
