//! OPTIONS to vendor trunks that are out of rotation: an answer brings them back (F-NET-02).
//!
//! The shard that saw a trunk fail probes it, every five seconds. While no answer comes the trunk stays out; after ten minutes
//! it is tried again by a call, in case it answers INVITE but not OPTIONS.

use std::time::Duration;

use warp_model::{Mono, VendorTrunkId};
use warp_sip::flow::Flow;
use warp_sip::message::Method;

use super::calls::Calls;
use super::reject::hex;
use super::table::Owner;
use super::timers::Key;
use super::transactions::Transactions;

/// One trunk being probed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    flow: Flow,
    gives_up: Mono,
    /// When the last OPTIONS went.
    asked: Mono,
}

const EVERY: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(600);
/// Trunks probed at once by one shard; more are tried again by calls when their time is over.
const PROBES: usize = 256;

impl Calls {
    /// A trunk went out of rotation.
    pub(super) fn begin_probe(&mut self, id: VendorTrunkId, flow: Flow, tx: &mut Transactions) {
        if self.probes.len() >= PROBES || self.probes.contains_key(&id) {
            return;
        }
        if self.probes.is_empty() {
            tx.wheel.arm(tx.now.mono + EVERY, Key::Probes);
        }
        let gives_up = tx.now.mono + LONGEST;
        self.probes.insert(id, Probe { flow, gives_up, asked: tx.now.mono });
    }

    pub(super) fn probes_due(&mut self, tx: &mut Transactions) {
        let shared = tx.shared.clone();
        self.probes.retain(|id, p| p.gives_up > tx.now.mono && shared.health.is_down(*id, tx.now.mono));
        let all: Vec<(VendorTrunkId, Flow)> = self.probes.iter().map(|(id, p)| (*id, p.flow)).collect();
        for (id, flow) in all {
            // Out until the next look at least.
            tx.shared.health.rest(id, tx.now.mono + EVERY + EVERY);
            if let Some(probe) = self.probes.get_mut(&id) {
                probe.asked = tx.now.mono;
            }
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
        tx.originate(flow, Method::Options, Owner::Probe(id), |via, out| {
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
    pub(super) fn probe_answered(&mut self, id: VendorTrunkId, status: u16, tx: &mut Transactions) {
        let Some(probe) = self.probes.get(&id) else {
            return;
        };
        if self.probe_times.len() < PROBES {
            self.probe_times.push((id, tx.now.mono.since(probe.asked)));
        }
        if !matches!(status, 408 | 503) {
            self.probes.remove(&id);
            tx.shared.health.up(id, tx.now.mono);
        }
    }
}
