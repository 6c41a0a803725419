//! Session timers within calls (RFC 4028 §8, RFC 0047): asked for where a trunk says so, and the call ends when nobody refreshes it.
//!
//! The rules of messages are `warp_sip::session_timer`'s. What was asked is told again from the request and the terms, so that nothing is
//! kept of a transaction; a call keeps when it ends.

use std::time::Duration;

use warp_model::Mono;
use warp_sip::dialog::Side;
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, Outline};
use warp_sip::session_timer::{self, Answered, Asked, LEAST, Policy};
use warp_sip::transaction::NEVER;

use super::call::{Call, Phase};
use super::slab::Id;
use super::transactions::Transactions;

/// `internal_code` of a call that nobody refreshed.
pub(super) const EXPIRED: &str = "session_expired";

/// The least interval that who sends this may ask for, when what it asks for is less and it can be told so (422, RFC 4028 §8.1).
pub(super) fn too_small(msg: &Message<'_>, least: Option<u32>) -> Option<u32> {
    let policy = Policy { wanted: None, least: least?, may_refuse: true };
    let refreshes = matches!(msg.method(), Method::Invite | Method::Update);
    match refreshes.then(|| session_timer::asked(msg, &policy))? {
        Asked::TooSmall(seconds) => Some(seconds),
        Asked::Goes(_) => None,
    }
}

impl Call {
    /// What is asked of a refresh by this side. A call for help is never refused.
    fn session_policy(&self, by: Side) -> Policy {
        let of = |side| self.terms(side).and_then(|t| t.session_expires_s);
        let wanted = [of(Side::Caller), of(Side::Callee)].into_iter().flatten().min();
        Policy {
            // Nor does one ask for what its vendor might refuse.
            wanted: wanted.filter(|_| self.emergency().is_none()),
            least: self.least_interval(by).unwrap_or(LEAST),
            may_refuse: false,
        }
    }

    /// Whether the caller's INVITE says that it knows timers.
    pub(super) fn knows_timers(&self) -> bool {
        Outline::message(self.outline.as_deref(), &self.invite).is_some_and(|m| session_timer::knows(&m))
    }

    /// The least interval that this side may ask for.
    pub(super) fn least_interval(&self, by: Side) -> Option<u32> {
        self.terms(by).and_then(|t| t.session_min_s)
    }

    /// What becomes of the timer in an INVITE or UPDATE of this side on its way.
    pub(super) fn ask_refreshes(&self, msg: &Message<'_>, by: Side, lines: &mut Vec<(Header, Vec<u8>)>) {
        let policy = self.session_policy(by);
        let concerned = policy.wanted.is_some() || self.least_interval(by).is_some();
        if !concerned || !matches!(msg.method(), Method::Invite | Method::Update) {
            return;
        }
        if let Asked::Goes(sent) = session_timer::asked(msg, &policy) {
            if let Some(interval) = sent.interval.filter(|_| sent.changed) {
                lines.push((Header::SessionExpires, session_timer::expires_value(msg, interval)));
            }
            lines.extend(sent.least.map(|s| (Header::MinSe, s.to_string().into_bytes())));
        }
    }

    /// A 2xx to a refresh of this side goes back to it: from now on the session lasts as long as that says. Gives what it gets besides, where
    /// the answerer knows no timers and the asker does: Session-Expires and Require.
    fn refreshed(
        &mut self,
        request: &Message<'_>,
        ok: &Message<'_>,
        by: Side,
        now: Mono,
    ) -> Option<[(Header, Vec<u8>); 2]> {
        let policy = self.session_policy(by);
        policy.wanted?;
        let Asked::Goes(sent) = session_timer::asked(request, &policy) else {
            return None;
        };
        let answered = session_timer::answered(ok, &sent);
        self.refresh_by = match answered {
            Answered::Untimed => NEVER,
            Answered::Says(seconds) | Answered::Add(seconds) => now + Duration::from_secs(u64::from(seconds)),
        };
        match answered {
            Answered::Add(seconds) => Some([
                (Header::SessionExpires, format!("{seconds};refresher=uac").into_bytes()),
                (Header::Require, session_timer::require_value(ok)),
            ]),
            Answered::Untimed | Answered::Says(_) => None,
        }
    }

    /// The same of the 2xx that answers the call.
    pub(super) fn first_refreshed(&mut self, ok: &Message<'_>, now: Mono) -> Option<[(Header, Vec<u8>); 2]> {
        self.session_policy(Side::Caller).wanted?;
        let (invite, outline) = (std::mem::take(&mut self.invite), self.outline.take());
        let added = Outline::message(outline.as_deref(), &invite)
            .and_then(|request| self.refreshed(&request, ok, Side::Caller, now));
        (self.invite, self.outline) = (invite, outline);
        added
    }

    /// The same of a 2xx within the call, whose request the server transaction has.
    pub(super) fn refreshed_again(
        &mut self,
        server: Id,
        ok: &Message<'_>,
        by: Side,
        tx: &Transactions,
    ) -> Option<[(Header, Vec<u8>); 2]> {
        let is_ok = ok.status().is_some_and(|s| (200..300).contains(&s));
        if !is_ok
            || !matches!(ok.method_of_cseq(), Method::Invite | Method::Update)
            || self.phase != Phase::Answered
        {
            return None;
        }
        self.session_policy(by).wanted?;
        let request = Message::parse(&tx.table.servers.get(server)?.request).ok()?;
        self.refreshed(&request, ok, by, tx.now.mono)
    }
}

/// The reason to end an answered call that was not refreshed in time: it is charged until then, however late the timer is (RFC 0045). A
/// call for help is left to those who answered it, and not looked at again.
pub(super) fn expired(call: &mut Call, now: Mono) -> Option<&'static str> {
    if call.phase != Phase::Answered || call.refresh_by > now {
        return None;
    }
    let due = std::mem::replace(&mut call.refresh_by, NEVER);
    if call.emergency().is_some() {
        return None;
    }
    call.ends_at = due;
    Some(EXPIRED)
}
