//! Launch profile `proxy`: stateful record-routing forwarding without policy or media, to one next hop when a request is addressed to us,
//! else by Request-URI and Route; or everything that is of no dialog of ours by one way out ([`CoreConfig::outbound`]).

use std::net::SocketAddr;

use warp_sip::flow::{Flow, Transport};
use warp_sip::message::{Message, Method};

use super::forward;
use super::ingress::{Arrived, makes_dialog};
use super::route::{self, Plan};
use super::slab::Id;
use super::table::Owner;
use super::transactions::Transactions;
use super::types::{CoreConfig, Mode};

/// What profile `proxy` does: proxying without policy.
#[derive(Debug)]
pub(super) struct StaticProxy {
    /// Takes what is addressed to us; `None`: nobody does.
    next: Option<SocketAddr>,
}

impl StaticProxy {
    /// `None` in the policy mode.
    pub(super) fn of(mode: &Mode) -> Option<StaticProxy> {
        match mode {
            Mode::Static { next, .. } => Some(StaticProxy { next: Some(*next) }),
            Mode::Registrar(_) => Some(StaticProxy { next: None }),
            Mode::Policy => None,
        }
    }

    /// Where a request that came by `came` goes; `ours`: it belongs to a dialog that we record-routed.
    fn target(
        &self,
        config: &CoreConfig,
        came: &Flow,
        plan: &Plan<'_>,
        ours: bool,
    ) -> Option<(Transport, SocketAddr)> {
        // Who comes encrypted or from a browser goes on by what the next hop was said to speak.
        let by = match came.transport {
            Transport::Udp | Transport::Tcp => came.transport,
            Transport::Tls | Transport::Ws | Transport::Wss => config.next_transport,
        };
        let to_next = || Some((by, self.next?));
        let routed = || if plan.names_us { to_next() } else { route::resolve(&plan.next()) };
        match config.outbound {
            None => routed(),
            Some(outbound) if !ours => Some((by, outbound)),
            // A target within a dialog that is a name: the other side of the dialog is there.
            Some(outbound) => routed().or_else(|| (came.remote != outbound).then_some((by, outbound))),
        }
    }

    /// A new request that is no ACK and no CANCEL.
    pub(super) fn request(&self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) {
        let Arrived { flow, msg, bytes, plan, key, stranger } = *arrived;
        let ours = tx.is_our_cookie(plan.cookie, msg.call_id());
        // T-SIP-05: from strangers only what is for us (or goes where the operator said), or belongs to a dialog that we
        // record-routed.
        if stranger && !plan.names_us && tx.config.outbound.is_none() && !ours {
            tx.stats.acl += 1;
            tx.refuse(&flow, msg, 403, "", &[], true);
            return;
        }
        let incoming = route::listener_of(&tx.ours, &flow);
        let initial = msg.to_tag().is_none();
        // Another node calls a phone that registered here, by the Path that it was told.
        let by_path =
            if initial && !ours { tx.pinned_by_path(plan, tx.is_known(flow.remote.ip())) } else { None };
        let (out_by, out_flow) = match tx.pinned(plan, msg.call_id()).or(by_path) {
            Some(pinned) => pinned,
            None => {
                let Some((transport, remote)) = self.target(&tx.config, &flow, plan, ours) else {
                    tx.refuse(&flow, msg, 404, "", &[], stranger);
                    return;
                };
                let Some(way) = route::way_out(&tx.ours, incoming, &flow, transport, remote) else {
                    tx.refuse(&flow, msg, 500, "No transport to next hop", &[], stranger);
                    return;
                };
                way
            }
        };
        if route::is_refused(&tx.config, &out_flow) {
            tx.stats.refused_destination += 1;
            tx.refuse(&flow, msg, 403, "", &[], stranger);
            return;
        }
        if initial && msg.method() == Method::Invite && tx.shared.is_draining() {
            tx.refuse(&flow, msg, 503, "", &[("Retry-After", b"5")], stranger);
            return;
        }
        let Some(server) = tx.begin_server(flow, msg, bytes, key, stranger) else {
            tx.on_table_full(&flow, msg, stranger);
            return;
        };
        if msg.method() == Method::Invite {
            tx.trying(server, &flow, msg);
        }
        let copy = forward::Copy {
            plan,
            incoming,
            out_by,
            came: flow,
            record_route: initial && makes_dialog(msg.method()),
            untrusted: stranger,
            pin_in: initial && route::is_pinned(&tx.config, msg, &flow),
            pin_out: by_path.is_some(),
            ..forward::Copy::new(plan, flow)
        };
        if tx.forward_request(msg, &copy, out_flow, Owner::Server(server)).is_none() {
            tx.answer(server, 503, "", &[("Retry-After", b"5")]);
        }
    }

    /// An ACK that is end to end.
    pub(super) fn ack(&self, flow: Flow, msg: &Message<'_>, stranger: bool, tx: &mut Transactions) {
        let Some(plan) = Plan::of(&tx.config, &flow, msg) else {
            return;
        };
        let ours = tx.is_our_cookie(plan.cookie, msg.call_id());
        if stranger && !ours {
            tx.stats.stray += 1;
            return;
        }
        if let Some((out_by, out_flow)) = tx.pinned(&plan, msg.call_id()) {
            let incoming = route::listener_of(&tx.ours, &flow);
            let copy = forward::Copy { incoming, out_by, ..forward::Copy::new(&plan, flow) };
            tx.send_ack_copy(msg, &copy, out_flow);
            return;
        }
        let Some((transport, remote)) = self.target(&tx.config, &flow, &plan, ours) else {
            tx.stats.stray += 1;
            return;
        };
        tx.forward_ack(flow, msg, &plan, transport, remote);
    }

    /// A response to a request that was forwarded.
    pub(super) fn response(
        &self,
        server: Id,
        flow: Flow,
        msg: &Message<'_>,
        status: u16,
        tx: &mut Transactions,
    ) {
        // A 503 says that the proxy it comes from is out of service: ours to say only of the hop that takes everything
        // (RFC 3261 §16.7 step 6).
        let takes_everything = self.next == Some(flow.remote) || tx.config.outbound == Some(flow.remote);
        if status == 503 && !takes_everything {
            tx.answer(server, 500, "", &[]);
        } else {
            tx.pass_back(server, msg, status);
        }
    }
}
