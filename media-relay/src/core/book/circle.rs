//! Two calls whose parties each name a port of ours could send packets round in a circle for ever: found at the offer or
//! answer that would close it (T-NG-06).
//!
//! A call that comes through us twice names our ports too, and is no circle: what comes to such a port goes on to a phone.

use std::net::SocketAddr;

use warp_media::LocalPort;

use super::Book;
use super::call::{Call, Dialogue};
use crate::core::negotiate::Spoken;

/// A longer way through our own ports is taken for a circle.
const LONGEST: usize = 8;

/// Where what comes to a port of these dialogues goes by their SDPs.
fn beyond<'d>(mut dialogues: impl Iterator<Item = &'d Dialogue>, port: LocalPort) -> Option<SocketAddr> {
    let across = |d: &'d Dialogue| {
        let sides = d.media.iter().flat_map(|m| {
            let [a, b] = &m.sides;
            [(a, b), (b, a)]
        });
        let mut found = sides.filter_map(|(from, to)| {
            let (pair, spoken) = (from.pair?, to.spoken.as_ref()?);
            if pair.rtp_port() == port {
                spoken.rtp
            } else if pair.rtcp_port() == port {
                spoken.rtcp
            } else {
                None
            }
        });
        found.next()
    };
    dialogues.find_map(across)
}

impl Book {
    /// True when one of these targets leads back to dialogue `at` of `call` (`None`: a dialogue that has no ports yet).
    pub(super) fn is_circle(&self, spoken: &[Spoken], call: &Call, at: Option<usize>) -> bool {
        let Some(own) = at.and_then(|at| call.dialogues.get(at)) else { return false };
        let targets = spoken.iter().flat_map(|s| [s.rtp, s.rtcp]).flatten();
        targets.into_iter().any(|target| {
            let mut next = Some(target);
            for _ in 0..LONGEST {
                let Some(port) = next.and_then(|to| self.own_port(to)) else { return false };
                if own.pairs().any(|p| p.rtp_port() == port || p.rtcp_port() == port) {
                    return true;
                }
                // The call that is being changed is not among the others for the moment.
                let others = self.by_port.get(&port).and_then(|serial| self.calls.get(serial));
                next =
                    beyond(call.dialogues.iter().chain(others.into_iter().flat_map(|c| &c.dialogues)), port);
            }
            true
        })
    }

    /// The port in use that an address of an SDP means, by its own or its advertised address.
    fn own_port(&self, to: SocketAddr) -> Option<LocalPort> {
        (0..=u8::MAX)
            .zip(self.ports.ips())
            .filter(|(ip, local)| **local == to.ip() || self.advertised(*ip, None) == Some(to.ip()))
            .map(|(ip, _)| LocalPort { ip, port: to.port() })
            .find(|port| self.by_port.contains_key(port))
    }
}
