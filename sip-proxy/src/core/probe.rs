//! OPTIONS to vendor trunks that are out of rotation: an answer brings them back (F-NET-02).
//!
//! The shard that saw a trunk fail probes it, every five seconds, for as long as it is out or on trial, for ten minutes at most. An answer brings it back before its
//! rest is over; none keeps it out no longer, because many vendors ignore OPTIONS: then single calls try (`health`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::{Mono, VendorTrunkId};
use warp_sip::flow::Flow;
use warp_sip::message::Method;

use super::calls::Calls;
use super::health::TrunkHealth;
use super::reject::hex;
use super::table::Owner;
use super::timers::Key;
use super::transactions::Transactions;

/// One trunk being probed.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// To each of its addresses that was tried.
    flows: Vec<Flow>,
    health: Arc<TrunkHealth>,
    gives_up: Mono,
    /// When the last OPTIONS went.
    asked: Mono,
}

const EVERY: Duration = Duration::from_secs(5);
/// Who has not answered for so long is left to the trials.
const LONGEST: Duration = Duration::from_secs(600);
/// Trunks probed at once by one shard; more are tried again by calls when their time is over.
const PROBES: usize = 256;

impl Calls {
    /// A trunk went out of rotation.
    pub(super) fn begin_probe(
        &mut self,
        id: VendorTrunkId,
        flows: Vec<Flow>,
        health: Arc<TrunkHealth>,
        tx: &mut Transactions,
    ) {
        if self.probes.len() >= PROBES || self.probes.contains_key(&id) {
            return;
        }
        if self.probes.is_empty() {
            tx.wheel.arm(tx.now.mono + EVERY, Key::Probes);
        }
        let gives_up = tx.now.mono + LONGEST;
        self.probes.insert(id, Probe { flows, health, gives_up, asked: tx.now.mono });
    }

    pub(super) fn probes_due(&mut self, tx: &mut Transactions) {
        // A trunk that is no more, or is well again by a call or by hand, needs none.
        let directory = tx.snapshot.as_ref().map(|s| s.directory.clone());
        let exists = |id| directory.as_ref().is_some_and(|d| d.vendor_trunk_ix(id).is_some());
        self.probes.retain(|id, p| p.gives_up > tx.now.mono && p.health.is_out() && exists(*id));
        let mut all: Vec<(VendorTrunkId, Flow)> = Vec::new();
        for (id, probe) in &mut self.probes {
            probe.asked = tx.now.mono;
            all.extend(probe.flows.iter().map(|flow| (*id, *flow)));
        }
        for (id, flow) in all {
            self.send_probe(id, flow, tx);
        }
        if !self.probes.is_empty() {
            tx.wheel.arm(tx.now.mono + EVERY, Key::Probes);
        }
    }

    fn send_probe(&mut self, id: VendorTrunkId, flow: Flow, tx: &mut Transactions) {
        let (mut tag, mut call) = ([0; 24], [0; 32]);
        hex(tx.rng.u128() >> 32, &mut tag);
        hex(tx.rng.u128(), &mut call);
        let us = String::from_utf8_lossy(&tx.sent_by(&flow)).into_owned();
        let (tag, call) = (String::from_utf8_lossy(&tag), String::from_utf8_lossy(&call));
        let remote = flow.remote;
        tx.originate(flow, Method::Options, Owner::Probe(id), None, |via, out| {
            let via = String::from_utf8_lossy(via);
            out.extend_from_slice(
                format!(
                    "OPTIONS sip:{remote} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
                     From: <sip:{us}>;tag={tag}\r\nTo: <sip:{remote}>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\n\
                     Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"
                )
                .as_bytes(),
            );
        });
    }

    /// A probe was answered. 503 is an answer too, but not one that brings calls back.
    pub(super) fn probe_answered(
        &mut self,
        id: VendorTrunkId,
        from: SocketAddr,
        status: u16,
        tx: &mut Transactions,
    ) {
        let Some(probe) = self.probes.get(&id) else {
            return;
        };
        if self.probe_times.len() < PROBES {
            self.probe_times.push((id, tx.now.mono.since(probe.asked)));
        }
        if !matches!(status, 408 | 503) {
            probe.health.up(tx.now.mono);
            self.probes.remove(&id);
            // The address that has answered comes first again.
            let directory = tx.snapshot.as_ref().map(|s| &s.directory);
            if let Some((ix, d)) = directory.and_then(|d| Some((d.vendor_trunk_ix(id)?, d)))
                && let Some(n) = d.vendor_trunk(ix).and_then(|t| t.addresses.iter().position(|a| *a == from))
                && let Some(health) = self.bound.as_ref().and_then(|(_, vendors)| vendors.address(ix, n))
            {
                health.alive();
            }
        }
    }
}
