//! Two calls whose parties each name a port of ours could send packets round in a circle for ever: found at the offer or
//! answer that would close it (T-NG-06).
//!
//! A call that comes through us twice names our ports too, and is no circle: what comes to such a port goes on to a phone.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use warp_media::LocalPort;

use super::Book;
use super::call::{Call, Dialogue};
use crate::core::negotiate::Spoken;

/// More of our own ports on the way are taken for a circle.
const MOST: usize = 256;

/// Where what comes to a port of these dialogues may go by their SDPs: one place for each branch that shares it.
fn beyond<'d>(
    dialogues: impl Iterator<Item = &'d Dialogue> + 'd,
    port: LocalPort,
) -> impl Iterator<Item = SocketAddr> + 'd {
    dialogues.flat_map(|d| &d.media).flat_map(move |m| {
        let [a, b] = &m.sides;
        [(a, b), (b, a)].into_iter().filter_map(move |(from, to)| {
            let (pair, spoken) = (from.pair?, to.spoken.as_ref()?);
            if pair.rtp_port() == port {
                spoken.rtp
            } else if pair.rtcp_port() == port {
                spoken.rtcp
            } else {
                None
            }
        })
    })
}

impl Book {
    /// True when one of these targets leads back to `dialogue`, which is of `call` or will be.
    pub(super) fn is_circle(&self, spoken: &[Spoken], call: &Call, dialogue: &Dialogue) -> bool {
        let targets = spoken.iter().flat_map(|s| [s.rtp, s.rtcp]).flatten();
        let mut ways: Vec<LocalPort> = targets.filter_map(|to| self.own_port(to)).collect();
        let mut seen: BTreeSet<LocalPort> = BTreeSet::new();
        while let Some(port) = ways.pop() {
            if dialogue.pairs().any(|p| p.rtp_port() == port || p.rtcp_port() == port) {
                return true;
            }
            if !seen.insert(port) {
                continue;
            }
            if seen.len() > MOST {
                return true;
            }
            // The call that is being changed is not among the others for the moment.
            let others = self.by_port.get(&port).and_then(|serial| self.calls.get(*serial));
            let dialogues = call.dialogues.iter().chain(others.into_iter().flat_map(|c| &c.dialogues));
            ways.extend(beyond(dialogues, port).filter_map(|to| self.own_port(to)));
        }
        false
    }

    /// The port in use that an address of an SDP means, by its own or its advertised address.
    pub(super) fn own_port(&self, to: SocketAddr) -> Option<LocalPort> {
        if !self.own.contains(&to.ip()) {
            return None;
        }
        (0..=u8::MAX)
            .zip(self.ports.ips())
            .filter(|(ip, local)| **local == to.ip() || self.advertised(*ip, None) == Some(to.ip()))
            .map(|(ip, _)| LocalPort { ip, port: to.port() })
            .find(|port| self.by_port.contains_key(port))
    }
}
