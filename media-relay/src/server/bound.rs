//! The port pool with sockets: a pair is handed out bound, so that a port in use elsewhere is found at the offer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use warp_media::LocalPort;
use warp_model::Mono;
use warp_net::media::MediaSocket;

use crate::core::ports::{PortPair, PortPool, Ports};

/// Pairs tried before giving up: some other program may hold a few ports of the range.
const TRIES: usize = 16;

/// Sockets bound and not yet sent to a shard. Touched by the control thread only; the lock is never contended.
#[derive(Clone, Default)]
pub(crate) struct Waiting {
    sockets: Arc<Mutex<HashMap<LocalPort, MediaSocket>>>,
    tos: u8,
}

impl Waiting {
    /// The socket of a port, once.
    pub(crate) fn take(&self, port: LocalPort) -> Option<MediaSocket> {
        self.lock().remove(&port)
    }

    /// Marks the socket of a port that is still here; `None` is the configured default. Gives the byte to tell the shard
    /// when the socket is there already.
    pub(crate) fn mark(&self, port: LocalPort, tos: Option<u8>) -> Option<u8> {
        let tos = tos.unwrap_or(self.tos);
        match self.lock().get(&port) {
            Some(socket) => {
                // Marking is a wish: without it the call still works.
                let _ = socket.set_tos(tos);
                None
            }
            None => Some(tos),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LocalPort, MediaSocket>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct BoundPorts {
    pool: PortPool,
    waiting: Waiting,
}

impl BoundPorts {
    /// Around a pool; the sockets come out of the returned place.
    pub(crate) fn new(pool: PortPool, tos: u8) -> (Self, Waiting) {
        let waiting = Waiting { tos, ..Waiting::default() };
        (Self { pool, waiting: waiting.clone() }, waiting)
    }

    fn bind(&self, pair: PortPair) -> std::io::Result<[(LocalPort, MediaSocket); 2]> {
        let one = |port: LocalPort| {
            let ip = self.pool.ips().get(usize::from(port.ip)).copied();
            let ip = ip.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
            let socket = MediaSocket::bind(SocketAddr::new(ip, port.port))?;
            if self.waiting.tos != 0 {
                let _ = socket.set_tos(self.waiting.tos);
            }
            Ok::<_, std::io::Error>((port, socket))
        };
        Ok([one(pair.rtp_port())?, one(pair.rtcp_port())?])
    }
}

impl Ports for BoundPorts {
    fn take(&mut self, ip: u8, now: Mono) -> Option<PortPair> {
        for _ in 0..TRIES {
            let pair = self.pool.take(ip, now)?;
            match self.bind(pair) {
                Ok(sockets) => {
                    self.waiting.lock().extend(sockets);
                    return Some(pair);
                }
                // In use by somebody else: it rests like any other.
                Err(_) => self.pool.give_back(pair, now),
            }
        }
        None
    }

    fn give_back(&mut self, pair: PortPair, now: Mono) {
        let mut waiting = self.waiting.lock();
        waiting.remove(&pair.rtp_port());
        waiting.remove(&pair.rtcp_port());
        drop(waiting);
        self.pool.give_back(pair, now);
    }

    fn ips(&self) -> &[IpAddr] {
        self.pool.ips()
    }

    fn has(&self, port: u16) -> bool {
        self.pool.has(port)
    }

    fn usage(&self, ip: u8) -> (usize, usize) {
        self.pool.usage(ip)
    }

    fn last(&self, ip: u8) -> u16 {
        self.pool.last(ip)
    }

    fn resting(&self, ip: u8, now: Mono) -> usize {
        self.pool.resting(ip, now)
    }

    fn given_early(&self) -> u64 {
        self.pool.given_early()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_held_by_another_program_is_passed_over() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        // Two neighbouring pairs of free ports, the first one's RTCP port held by somebody else.
        let (held, base) = (0..200)
            .find_map(|i| {
                let base = 22_000 + 4 * i;
                let held = MediaSocket::bind(SocketAddr::new(ip, base + 1)).ok()?;
                for p in [base, base + 2, base + 3] {
                    MediaSocket::bind(SocketAddr::new(ip, p)).ok()?;
                }
                Some((held, base))
            })
            .unwrap();
        let pool = PortPool::new(&[ip], base..=base + 3, 1).unwrap();
        let (mut ports, waiting) = BoundPorts::new(pool, 184);
        let pair = ports.take(0, Mono(0)).unwrap();
        assert_eq!(pair.rtp, base + 2);
        assert_eq!(ports.take(0, Mono(0)), None);
        assert!(waiting.take(pair.rtp_port()).is_some());
        assert!(waiting.take(pair.rtp_port()).is_none());
        ports.give_back(pair, Mono(0));
        assert!(waiting.take(pair.rtcp_port()).is_none(), "closed with the pair");
        drop(held);
        assert!(ports.take(0, Mono(20_000_000_000)).is_some());
    }
}
