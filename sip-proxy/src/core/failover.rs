//! Vendors one after the other: the next candidate, its INVITE, its answers, and when the next one is tried
//! (`ref/telecom-domain` §7). Also the health of vendor trunks (F-NET-02, F-NET-03).

use warp_model::Lent;
use warp_model::cdr::{JournalRecord, Outcome, ReleaseSide};

use warp_model::text::of_address;
use warp_policy::directory::HeaderTerms;
use warp_policy::screen::VendorReservation;
use warp_policy::{DownCause, VendorTrunkIx};
use warp_sip::dialog::Side;
use warp_sip::edit::Edit;
use warp_sip::flow::{Flow, Transport};
use warp_sip::header::Header;
use warp_sip::message::{Message, Method, Outline};
use warp_sip::proxy::{FailoverRules, Verdict, cause_of_reason, cause_of_status, verdict};
use warp_sip::transaction::NEVER;

use super::call::{Branch, Call, Held, NO_ANSWER, Phase, Target};
use super::calls::{self, Calls, FIRST_HOLD};
use super::cdr;
use super::confirm;
use super::exchange::{Owed, fitted, set};
use super::forward::Copy;
use super::headers::{self, Said, asks_for_privacy};
use super::inbound::twin_of;
use super::locate::NAMED;
use super::media::{self, Waiting};
use super::redirect;
use super::route::{self, Plan};
use super::table::Owner;
use super::transactions::Transactions;
use super::types::Output;
use super::uac::Uac;

impl Calls {
    /// Tries the next candidate that is up and has room; without one the call fails. For an emergency call every one of its route is
    /// tried, whatever is held against it: trying is better than not trying.
    pub(super) fn next_vendor(&mut self, call: &mut Call, tx: &mut Transactions) {
        if call.inbound.is_some() {
            return self.next_trunk(call, tx);
        }
        let always = call.emergency().is_some();
        while (always || call.vendors < tx.config.max_attempts) && call.branches.len() < BRANCHES {
            let Some(ix) = next_candidate(call) else {
                break;
            };
            let down = !always && call.health.of(ix).is_some_and(|h| h.is_down(tx.now.mono));
            if !down && !self.locate(call, Target::Vendor(ix), tx) {
                return;
            }
            call.tried += 1;
            if down {
                continue;
            }
            let Some(way) = next_address(call, Target::Vendor(ix), call.branches.len(), tx) else {
                continue;
            };
            // On trial it takes one call at a time.
            if !call.health.of(ix).is_none_or(|h| h.begin(tx.now.mono)) && !always {
                continue;
            }
            let reservation = match always {
                true => call.bound.count_vendor_trunk(ix),
                false => call.bound.take_vendor_trunk(ix, tx.now),
            };
            let Some(reservation) = reservation else {
                continue;
            };
            call.vendors += 1;
            self.begin_branch(call, Target::Vendor(ix), way, Some(reservation), tx);
            return;
        }
        let code = if call.branches.is_empty() { "no_route_available" } else { "vendors_exhausted" };
        match call.finals.best() {
            // What the caller can act on is his to hear. What was about our account with a vendor, and its troubles, is not.
            Some((_, status @ (404 | 406 | 480 | 488))) => {
                self.refuse_call(call, status, "", code, cause_of_status(status), None, tx);
            }
            // Without Retry-After: that is about us, and has a peer send us nothing at all for so long (RFC 3261 §21.5.4).
            _ => self.refuse_call(call, 503, "No Route Available", code, 34, None, tx),
        }
    }

    /// The branch at hand is over without having reached anybody: the next address of its trunk takes over its channel (RFC 3263 §4.3), else
    /// it is the next vendor's turn.
    #[allow(clippy::too_many_arguments)] // the facts of an ending
    fn give_way(
        &mut self,
        call: &mut Call,
        branch: u16,
        status: u16,
        cause: Option<u8>,
        why: &str,
        more: Option<(Target, (u16, Flow))>,
        tx: &mut Transactions,
    ) {
        call.finals.add(branch, redirect::as_heard(status));
        let kept = call.branches.get_mut(usize::from(branch)).and_then(|b| b.reservation.take());
        if more.is_none() {
            drop(kept);
            self.branch_over(call, status, cause, why, tx);
            self.next_vendor(call, tx);
            return;
        }
        self.branch_over(call, status, cause, why, tx);
        match more {
            // Only a vendor's trunk has a channel to be taken over; a customer's is held by the call.
            Some((target, way)) if kept.is_some() || target.vendor().is_none() => {
                self.begin_branch(call, target, way, kept, tx);
            }
            _ => self.next_vendor(call, tx),
        }
    }

    /// A branch to one address of a target begins with the offer to the relay, or with its INVITE.
    pub(super) fn begin_branch(
        &mut self,
        call: &mut Call,
        target: Target,
        (address, flow): (u16, Flow),
        reservation: Option<Lent<VendorReservation>>,
        tx: &mut Transactions,
    ) {
        if !call.branches.is_empty() {
            tx.stats.failovers += 1;
        }
        let branch_no = call.branches.len() as u16;
        let via_branch = match &call.record {
            Some(r) => {
                let mut name = r.cdr_id.text();
                name.push(b"-");
                name.push_number(u64::from(branch_no) + 1, 1);
                name.as_bytes().to_vec()
            }
            None => Vec::new(),
        };
        let same = |b: &&Branch| b.target == target || b.flow.remote.ip() == flow.remote.ip();
        let told = call.branches.iter().filter(same).map(|b| b.uac.highest()).max();
        call.branches.push(Branch {
            target,
            address,
            flow,
            client: None,
            via_branch,
            offered: false,
            uac: told.map_or_else(Uac::default, |highest| Uac::after(highest, call.invite_cseq)),
            first_1xx_at: NEVER,
            progress_by: NEVER,
            started: tx.now.mono,
            open: true,
            reservation,
            ask: None,
        });
        call.forget_callees();
        // Its requests within the call come from there, where no list says so.
        if address >= NAMED {
            tx.shared.learnt.learn(flow.remote.ip(), tx.now.mono);
        }
        cdr::leg_begins(call, target, flow.remote.ip(), tx.now);
        match call.offer() {
            Some(sdp) => {
                let (tag, ip) = (&call.dialog.caller.tag, call.flow.remote.ip());
                let command = self.sdp_command(call, Some(branch_no), tag, None, sdp, Side::Caller, ip);
                self.ask_media(call, warp_ng::Command::Offer(command), Waiting::BranchOffer, tx);
            }
            None => self.send_branch(call, branch_no, None, tx),
        }
    }

    /// Sends the INVITE of a branch.
    pub(super) fn send_branch(
        &mut self,
        call: &mut Call,
        branch: u16,
        sdp: Option<&[u8]>,
        tx: &mut Transactions,
    ) {
        let invite = std::mem::take(&mut call.invite);
        let sent = self.send_branch_of(call, &invite, branch, sdp, tx);
        call.invite = invite;
        if !sent {
            self.branch_over(call, 500, None, "not_sent", tx);
            self.next_vendor(call, tx);
        }
    }

    fn send_branch_of(
        &mut self,
        call: &mut Call,
        invite: &[u8],
        branch: u16,
        sdp: Option<&[u8]>,
        tx: &mut Transactions,
    ) -> bool {
        let snapshot = call.snapshot.clone();
        let Some(l) = call.branches.get_mut(usize::from(branch)) else {
            return false;
        };
        let flow = l.flow;
        let there = l.uac.number(call.invite_cseq, Method::Invite);
        let (target, address) = (l.target, l.address);
        let vendor = l.vendor_trunk(&snapshot.directory).map(|t| t.id);
        let Some(msg) = Outline::message(call.outline.as_deref(), invite) else {
            return false;
        };
        let Some(plan) = Plan::of(&tx.config, &call.flow, &msg) else {
            return false;
        };
        let Some(number) = cdr::number_at(call, target) else {
            return false;
        };
        let param = match flow.transport {
            Transport::Udp => "",
            Transport::Tls => ";transport=tls",
            _ => ";transport=tcp",
        };
        let phone = call.phone_of(target, address);
        let uri = match (phone, call.host_of(target, address)) {
            (Some(phone), _) => phone.contact.clone(),
            (None, Some(host)) => ["sip:", &number, "@", host, param].concat().into_bytes(),
            (None, None) => {
                ["sip:", &number, "@", of_address(flow.remote).as_str(), param].concat().into_bytes()
            }
        };
        let believed = call.origin.is_trusted(&snapshot.directory);
        let mut lines = Vec::new();
        let terms = target.headers(&snapshot.directory);
        // Who answers a call for help must be able to call back.
        let hidden = terms.is_none_or(|t| !t.trusted) && call.emergency().is_none() && asks_for_privacy(&msg);
        let told = |t: &&HeaderTerms| hidden || !t.is_none() || Call::keeps_diversions(&msg, t);
        let shown = match terms.filter(told) {
            Some(terms) => {
                let host = tx.sent_by(&flow);
                // What a caller would like to be called goes no further (RFC 3325 §9.2).
                if msg.has(Header::PPreferredIdentity) {
                    lines.push((Header::PPreferredIdentity, Vec::new()));
                }
                let own = call.own_number();
                let (emergency, plan) = (call.emergency().is_some(), &*snapshot.number_plan);
                let said = Said { terms, believed, hidden, emergency, own, plan, host: &host, target: &uri };
                headers::of_invite(&msg, &said, &mut lines)
            }
            None => None,
        };
        if there != call.invite_cseq {
            lines.push((Header::CSeq, format!("{there} INVITE").into_bytes()));
        }
        call.ask_refreshes(&msg, Side::Caller, &mut lines);
        let copy = Copy {
            lines: &lines,
            incoming: route::listener_of(&tx.ours, &call.flow),
            out_by: phone.map_or_else(|| route::listener_of(&tx.ours, &flow), |p| p.out_by),
            record_route: true,
            salt: call.salt(),
            rules: terms.map_or(&[], |t| &t.rules),
            untrusted: !believed || hidden,
            strip_credentials: true,
            uri: Some(&uri),
            path: phone.map_or(&b""[..], |p| &p.path),
            pin_out: phone.is_some_and(|p| p.pinned),
            vendor,
            emergency: call.emergency().is_some(),
            sdp,
            offers: sdp.is_some(),
            ..Copy::new(&plan, call.flow)
        };
        let owner = Owner::Branch { call: call.id, branch };
        let client = tx.forward_request(&msg, &copy, flow, owner);
        call.dialog.shown = shown.unwrap_or_default();
        let Some(client) = client else {
            return false;
        };
        if let Some(txn) = tx.table.servers.get_mut(call.server) {
            txn.client = Some(client);
        }
        if let Some(l) = call.branches.get_mut(usize::from(branch)) {
            l.started = tx.now.mono;
            l.sent(client, tx);
        }
        true
    }

    /// A response of a branch, already accepted by its transaction.
    pub(super) fn branch_response(
        &mut self,
        call: &mut Call,
        branch: u16,
        flow: Flow,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) {
        let status = msg.status().unwrap_or(0);
        let current = usize::from(branch) + 1 == call.branches.len();
        if call.is_asking() && call.phase != Phase::Over {
            // It waits, its branch is not silent.
            if let Some(l) = call.branches.get_mut(usize::from(branch)) {
                l.first_1xx_at = NEVER;
                l.progress_by = if (101..300).contains(&status) { NEVER } else { l.progress_by };
            }
            let bytes = tx.copy_buf(msg.bytes());
            self.hold(call, Held::Branch { branch, flow, bytes }, tx);
            return;
        }
        let Some(l) = call.branches.get_mut(usize::from(branch)) else {
            return;
        };
        if let Some(ix) = l.target.vendor() {
            call.health.of(ix).inspect(|h| h.alive(tx.now.mono));
            call.health.address(ix, usize::from(l.address)).inspect(|h| h.alive());
        }
        l.uac.listen(msg);
        l.first_1xx_at = NEVER;
        // A final failure leaves it, so that it still says whether anything rang.
        if (101..300).contains(&status) {
            l.progress_by = NEVER;
        }
        let client = l.client;
        if (200..300).contains(&status) {
            let same_tag = call.dialog.callee.tag == msg.to_tag().unwrap_or(b"");
            if call.phase == Phase::Answered && current && same_tag {
                // The callee repeats its 2xx: the caller's copy again.
                tx.resend_ok(call.server);
                return;
            }
            if call.phase == Phase::Answered || call.phase == Phase::Over || !current || !l.open {
                // PRODUCT §6: a later 2xx of another branch (or fork) is ACKed and BYEd by us.
                if let Some(client) = client {
                    self.ack_and_bye(client, msg, tx);
                }
                if !current {
                    cdr::leg_answered_late(call, branch, tx.now);
                }
                return;
            }
        }
        if !current || !l.open || call.phase == Phase::Over || call.phase == Phase::Answered {
            return;
        }
        // No dialog can be made of it (RFC 3261 §12.1.1): neither side could hang up, and a BYE without a tag belongs to nobody.
        if (200..300).contains(&status) && msg.to_tag().is_none_or(<[u8]>::is_empty) {
            if let Some(client) = client {
                self.ack_and_bye(client, msg, tx);
            }
            match call.cancelled {
                true => {
                    self.branch_over(call, 502, None, "cancelled", tx);
                    self.refuse_call(call, 487, "", "", 16, None, tx);
                }
                false => self.give_way(call, branch, 502, None, confirm::NO_TAG, None, tx),
            }
            return;
        }
        match status {
            100 => {}
            101..=299 => {
                if status >= 180 {
                    cdr::leg_progress(call, branch, status, tx.now);
                }
                if call.phase == Phase::Setup && status < 200 {
                    call.phase = Phase::Ringing;
                }
                if let Some(tag) = msg.to_tag() {
                    call.meet(tag);
                }
                let sdp = match tx.session(msg) {
                    Ok(Some(_)) if call.exchange.early => {
                        let repeat = std::mem::take(&mut call.exchange.repeat);
                        self.pass_branch(call, branch, flow, msg, Some(&repeat), tx);
                        call.exchange.repeat = repeat;
                        return;
                    }
                    Ok(Some(sdp)) => sdp,
                    Ok(None) => {
                        self.pass_branch(call, branch, flow, msg, None, tx);
                        return;
                    }
                    Err(_) => {
                        tx.stats.media_failures += 1;
                        self.branch_answered_by_relay(call, branch, flow, msg, None, tx);
                        return;
                    }
                };
                let (from, to) = (call.dialog.caller.tag.clone(), msg.to_tag().unwrap_or(b"").to_vec());
                let ip = flow.remote.ip();
                let command = if call.late_offer {
                    // The offer comes from the callee; the answer will be in the ACK (or PRACK).
                    let c = self.sdp_command(call, Some(branch), &to, Some(&from), sdp, Side::Callee, ip);
                    call.media_open = true;
                    warp_ng::Command::Offer(c)
                } else {
                    let whole = fitted(call.offer().unwrap_or(b""), sdp);
                    let sdp = whole.as_deref().unwrap_or(sdp);
                    let mut c = self.sdp_command(call, Some(branch), &from, Some(&to), sdp, Side::Callee, ip);
                    c.flags.provisional = status < 200;
                    warp_ng::Command::Answer(c)
                };
                let (bytes, outline) = (tx.copy_buf(msg.bytes()), msg.outline().map(Box::new));
                self.ask_media(call, command, Waiting::BranchAnswer { branch, flow, bytes, outline }, tx);
            }
            _ => self.branch_failed(call, branch, status, msg, tx),
        }
    }

    /// The relay has spoken about a branch's 18x or 2xx.
    pub(super) fn branch_answered_by_relay(
        &mut self,
        call: &mut Call,
        branch: u16,
        flow: Flow,
        msg: &Message<'_>,
        sdp: Option<Vec<u8>>,
        tx: &mut Transactions,
    ) {
        let answered = msg.status().is_some_and(|s| s >= 200);
        match sdp {
            Some(sdp) => {
                self.branch_agreed(call, msg, &sdp, tx);
                self.pass_branch(call, branch, flow, msg, Some(&sdp), tx);
            }
            // An early SDP that the relay refuses is not passed on; the 2xx will decide.
            None if !answered => {}
            None => {
                if let Some(client) = call.branches.get(usize::from(branch)).and_then(|l| l.client) {
                    self.ack_and_bye(client, msg, tx);
                }
                self.branch_over(call, 200, None, "media_refused", tx);
                self.refuse_call(call, 503, "", "media_unavailable", 47, None, tx);
            }
        }
    }

    /// What the SDP of an 18x or 2xx changes between the two.
    fn branch_agreed(&self, call: &mut Call, msg: &Message<'_>, relayed: &[u8], tx: &Transactions) {
        let reliable = msg.has(Header::RSeq);
        let answered = msg.status().is_some_and(|s| s >= 200);
        let Ok(Some(sdp)) = tx.session(msg) else {
            return;
        };
        let (exchange, cseq) = (&mut call.exchange, call.invite_cseq);
        if !reliable && !answered {
            set(&mut exchange.heard, sdp);
            return;
        }
        if call.late_offer {
            exchange.owed = Some(Owed { by: Side::Caller, offer: sdp.to_vec(), cseq });
            return;
        }
        // The caller's is what its INVITE said.
        set(&mut exchange.callee, sdp);
        if !answered {
            exchange.early = true;
            set(&mut exchange.repeat, relayed);
        }
    }

    /// Passes an 18x or 2xx of a branch to the caller; the first 2xx makes the call an answered one.
    fn pass_branch(
        &mut self,
        call: &mut Call,
        branch: u16,
        flow: Flow,
        msg: &Message<'_>,
        sdp: Option<&[u8]>,
        tx: &mut Transactions,
    ) {
        let status = msg.status().unwrap_or(0);
        if status >= 200 {
            self.call_answers(call, branch, flow, msg, tx);
            if call.exchange.early || sdp.is_none() {
                self.answer_for_good(call, tx);
            }
        } else if let Some(tag) = msg.to_tag() {
            // Early dialog: requests in it (PRACK, UPDATE) must find the callee.
            call.meet(tag);
            call.callee_flow = Some(flow);
            self.learn_callee(call, msg, tx);
        }
        let timed = if status >= 200 { call.first_refreshed(msg, tx.now.mono) } else { None };
        let whole = sdp.and_then(|sdp| media::whole_body(msg, sdp));
        let mut buf = tx.take_buf();
        let cseq = tx.asked_as(call.server, msg);
        let mut edit = Edit::new(msg);
        edit.pop_via().remove_trust_headers();
        if let Some(cseq) = &cseq {
            edit.replace_header(Header::CSeq, cseq);
        }
        if let Some((header, value)) = call.named(msg, Side::Caller) {
            edit.replace_header(header, value);
        }
        for (header, value) in timed.iter().flatten() {
            edit.replace_header(*header, value);
        }
        let reason = headers::reason_for(msg, call.terms(Side::Caller));
        if let Some(reason) = &reason {
            headers::put(&mut edit, Header::Reason, reason);
        }
        headers::apply(&mut edit, call.terms(Side::Caller).map_or(&[], |t| &t.rules));
        match sdp {
            Some(sdp) => media::put_sdp(&mut edit, sdp, whole.as_deref()),
            None => drop(edit.ensure_content_length()),
        }
        if edit.write_to(&mut buf).is_err() {
            tx.give_buf(buf);
            return;
        }
        tx.send_response(call.server, status, buf);
    }

    /// The first 2xx: the dialog stands, the journal knows, then the 200 may go.
    fn call_answers(
        &mut self,
        call: &mut Call,
        branch: u16,
        flow: Flow,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) {
        call.phase = Phase::Answered;
        call.answered = Some(tx.now.mono);
        call.meet(msg.to_tag().unwrap_or(b""));
        // Early dialogs end with the first 2xx.
        call.peers.clear();
        call.dialog.callee.address = msg.to().raw.to_vec();
        call.callee_flow = Some(flow);
        self.learn_callee(call, msg, tx);
        let of_caller = call.decision.as_ref().map(|d| d.max_duration_s);
        let of_called = call.inbound.as_ref().map(|d| d.max_duration_s);
        let seconds = of_caller.into_iter().chain(of_called).min();
        let limit = seconds.map_or(tx.config.max_duration, |s| {
            std::time::Duration::from_secs(u64::from(s)).min(tx.config.max_duration)
        });
        call.ends_at = tx.now.mono + limit;
        call.confirm_by = confirm::confirm_by(call, tx);
        call.hold_at = tx.now.mono + FIRST_HOLD;
        call.pay_at = calls::pay_at(call, tx.now.mono);
        tx.stats.calls_answered += 1;
        cdr::answered(call, branch, tx.now);
        let resume = self.resume_of(call, tx);
        if let Some(r) = &call.record {
            let mut record = r.clone();
            record.resume = resume;
            tx.out.push_back(Output::Journal(JournalRecord::Answered(record)));
            if let Some(twin) = twin_of(call) {
                tx.out.push_back(Output::Journal(JournalRecord::Answered(twin)));
            }
        }
    }

    /// Target and route sets from a response of the callee.
    fn learn_callee(&self, call: &mut Call, msg: &Message<'_>, tx: &Transactions) {
        match msg.contacts().next() {
            Some(contact) => call.dialog.callee.target = contact.uri.to_vec(),
            None if call.dialog.callee.target.is_empty() => {
                call.dialog.callee.target = confirm::called_by(call.branch().and_then(|b| b.client), tx);
            }
            None => {}
        }
        let routes: Vec<&[u8]> = msg.record_routes().map(|r| r.raw).collect();
        let salt = call.salt();
        call.dialog.set_routes(routes.into_iter(), |raw| tx.is_our_route(raw, msg.call_id(), salt));
    }

    /// A branch failed with a response: the next vendor, or the caller hears of it.
    fn branch_failed(
        &mut self,
        call: &mut Call,
        branch: u16,
        status: u16,
        msg: &Message<'_>,
        tx: &mut Transactions,
    ) {
        let cause = msg.lines_of(Header::Reason).find_map(cause_of_reason);
        // Of this one node: the others of the trunk are asked before the next vendor.
        if status == 503 && !call.cancelled {
            let more = further(call, tx);
            let seconds = msg.number(Header::RetryAfter).map_or(0, |seconds| seconds.min(300));
            // Retry-After: 0 asks for no pause, and a trunk that had none does not come back from one.
            if seconds > 0 {
                let until = tx.now.mono + std::time::Duration::from_secs(u64::from(seconds));
                match more {
                    Some(_) => drop(call.address_of(branch).inspect(|h| h.failed(0, until))),
                    None => drop(call.health_of(branch).inspect(|h| h.rest(until))),
                }
            }
            self.give_way(call, branch, status, cause, "failover", more, tx);
            return;
        }
        if let Some(more) = redirect::followed(call, branch, status, msg, tx).filter(|_| !call.cancelled) {
            self.give_way(call, branch, status, cause, "redirected", Some(more), tx);
            return;
        }
        // The callee had his time and another vendor would ring him again (siphon-sip#380): as with our own timers.
        let rang = call.branches.get(usize::from(branch)).is_some_and(|b| b.progress_by == NEVER);
        let verdict = match status {
            408 if rang => Verdict::Stop,
            // About an interval that we asked for: a caller who knows no timers cannot ask for another one (RFC 4028 §8.1).
            422 if !call.knows_timers() => Verdict::Next,
            _ => verdict(status, cause, &FailoverRules::default()),
        };
        // A 483 has gone round already: each on its way would begin anew with its own next one (RFC 5393 §3).
        let next = verdict == Verdict::Next || (status != 483 && has_further_help(call));
        if next && !call.cancelled {
            call.finals.add(branch, redirect::as_heard(status));
            self.branch_over(call, status, cause, "failover", tx);
            self.next_vendor(call, tx);
            return;
        }
        self.branch_over(call, status, cause, if call.cancelled { "cancelled" } else { "final" }, tx);
        if call.cancelled {
            self.refuse_call(call, 487, "", "", 16, None, tx);
            return;
        }
        if status == 487 {
            // Nobody cancelled but timer C (RFC 3261 §16.8).
            self.refuse_call(call, 408, "No Answer", NO_ANSWER, 19, None, tx);
            return;
        }
        let mut buf = tx.take_buf();
        let cseq = tx.asked_as(call.server, msg);
        let mut edit = Edit::new(msg);
        edit.pop_via().remove_trust_headers().ensure_content_length();
        if let Some(cseq) = &cseq {
            edit.replace_header(Header::CSeq, cseq);
        }
        if let Some((header, value)) = call.named(msg, Side::Caller) {
            edit.replace_header(header, value);
        }
        let terms = call.terms(Side::Caller);
        let reason = headers::reason_for(msg, terms);
        if let Some(reason) = &reason {
            headers::put(&mut edit, Header::Reason, reason);
        }
        headers::apply(&mut edit, terms.map_or(&[], |t| &t.rules));
        if edit.write_to(&mut buf).is_ok() {
            tx.send_response(call.server, status, buf);
        } else {
            tx.give_buf(buf);
            tx.answer(call.server, status, "", &[]);
        }
        let outcome = match status {
            486 | 600 => Outcome::Busy,
            480 | 408 => Outcome::NoAnswer,
            487 => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
        let cause = cause.unwrap_or_else(|| cause_of_status(status));
        self.close_unanswered(call, status, Some(cause), outcome, ReleaseSide::Callee, "", tx);
    }

    /// A branch ended without a response: time-out (timer B, no first 1xx, timer C) or transport failure.
    pub(super) fn branch_silent(
        &mut self,
        call: &mut Call,
        branch: u16,
        timed_out: bool,
        tx: &mut Transactions,
    ) {
        let current = usize::from(branch) + 1 == call.branches.len();
        let Some(l) = call.branches.get(usize::from(branch)) else {
            return;
        };
        // Alive: it said something. Rang: it got as far as the callee.
        let alive = l.first_1xx_at == NEVER && l.client.is_some();
        let (rang, open) = (alive && l.progress_by == NEVER, l.open);
        if !current || !open || matches!(call.phase, Phase::Answered | Phase::Over) {
            return;
        }
        let more = if alive || call.cancelled { None } else { further(call, tx) };
        if !alive {
            self.blame(call, branch, timed_out, more.is_none(), tx);
        }
        let (status, why) = match (timed_out, rang, alive) {
            (true, true, _) => (408, NO_ANSWER),
            (true, false, true) => (408, "no_progress"),
            (true, false, false) => (408, "no_response"),
            (false, ..) => (503, "transport_error"),
        };
        if call.cancelled {
            self.branch_over(call, status, None, "cancelled", tx);
            self.refuse_call(call, 487, "", "", 16, None, tx);
        } else if timed_out && rang && !has_further_help(call) {
            self.branch_over(call, status, None, why, tx);
            self.refuse_call(call, 408, "No Answer", NO_ANSWER, 19, None, tx);
        } else {
            self.give_way(call, branch, status, None, why, more, tx);
        }
    }

    /// An address was silent, or could not be reached: it comes after the trunk's others for a while. The trunk is to blame when that was
    /// its `last` one.
    fn blame(&mut self, call: &Call, branch: u16, timed_out: bool, last: bool, tx: &mut Transactions) {
        let (after, until) = (tx.config.trunk_down_after, tx.now.mono + tx.config.trunk_down_for);
        call.address_of(branch).inspect(|h| h.failed(after, until));
        let Some((trunk, health)) = call.vendor_id().zip(call.health_of(branch)).filter(|_| last) else {
            return;
        };
        let cause = if timed_out { DownCause::NoResponse } else { DownCause::Unreachable };
        if health.failed(after, until, cause) {
            let of = call.branch().map(|b| b.target);
            let flows = call.branches.iter().filter(|b| Some(b.target) == of).map(|b| b.flow).collect();
            self.begin_probe(trunk, flows, health.clone(), tx);
        }
    }

    /// Closes a branch: its record, its channel, its media.
    pub(super) fn branch_over(
        &mut self,
        call: &mut Call,
        status: u16,
        cause: Option<u8>,
        why: &str,
        tx: &mut Transactions,
    ) {
        let Some(last) = call.branches.len().checked_sub(1) else {
            return;
        };
        self.drop_branch_ask(call, last, tx);
        let Some(l) = call.branches.get_mut(last).filter(|l| l.open) else {
            return;
        };
        l.open = false;
        l.first_1xx_at = NEVER;
        l.progress_by = NEVER;
        l.reservation = None;
        cdr::leg_ends(call, status, cause, why, tx.now);
        self.delete_media(call, Some(last as u16), tx);
    }

    /// No 1xx (F-NET-02), or no 18x, in time: the next vendor.
    pub(super) fn no_progress(&mut self, call: &mut Call, tx: &mut Transactions) {
        let branch = call.branches.len().saturating_sub(1) as u16;
        let Some(client) = call.branches.last().and_then(|l| l.client) else {
            return;
        };
        tx.abandon(client);
        self.branch_silent(call, branch, true, tx);
    }
}

/// The candidate whose turn it is. A decision holds the first [`warp_policy::MAX_CANDIDATES`] of an emergency route; the others follow.
fn next_candidate(call: &Call) -> Option<VendorTrunkIx> {
    let list = call.decision.as_ref()?.result.as_ref().ok()?;
    if let Some(candidate) = list.get(call.tried) {
        return Some(candidate.vendor_trunk);
    }
    call.emergency()?;
    let listed = |ix: &VendorTrunkIx| list.iter().any(|c| c.vendor_trunk == *ix);
    let mut others = call.snapshot.directory.emergency_route().iter().filter(|ix| !listed(ix));
    others.nth(call.tried.checked_sub(list.len())?).copied()
}

/// Whether an emergency call has a trunk left to be tried: no answer of the one before is a reason to give up (only the caller's CANCEL is, and a 483).
fn has_further_help(call: &Call) -> bool {
    call.emergency().is_some() && next_candidate(call).is_some()
}

/// Branches of one call, whatever its vendors list (T-SIP-14).
pub(super) const BRANCHES: usize = 64;

/// The trunk of the branch at hand, and the next of its addresses.
fn further(call: &Call, tx: &Transactions) -> Option<(Target, (u16, Flow))> {
    let target = call.branch()?.target;
    let first = call.branches.iter().rposition(|b| b.target != target).map_or(0, |n| n + 1);
    let way = next_address(call, target, first, tx).filter(|_| call.branches.len() < BRANCHES)?;
    Some((target, way))
}

/// The first address of a target that no branch since `first` has tried: in their order, but those that failed lately come last.
pub(super) fn next_address(
    call: &Call,
    target: Target,
    first: usize,
    tx: &Transactions,
) -> Option<(u16, Flow)> {
    let incoming = route::listener_of(&tx.ours, &call.flow);
    let tried = |n: u16| call.branches.iter().skip(first).any(|b| b.address == n);
    let way = |transport, a| {
        route::way_out(&tx.ours, incoming, &call.flow, transport, a)
            .map(|(_, flow)| flow)
            .filter(|flow| !route::is_refused(&tx.config, flow))
    };
    // Those of its names come first, in their order.
    let usable = call.places(target).filter(|p| !tried(p.number)).filter_map(|p| {
        let resting = p.health.is_some_and(|h| h.is_resting(tx.now.mono));
        let flow = match p.flow {
            Some(flow) => flow,
            None => way(p.transport, p.at)?,
        };
        Some((resting, p.number, flow))
    });
    usable.min_by_key(|(resting, n, _)| (*resting, *n < NAMED, *n)).map(|(_, n, flow)| (n, flow))
}
