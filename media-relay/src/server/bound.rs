//! The port pool with sockets: a pair is handed out bound, so that a port in use elsewhere is found at the offer. Sockets that a
//! shard has kept ([`super::kept`]) are lent again; other ports are bound anew.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use warp_media::LocalPort;
use warp_model::Mono;
use warp_model::sync::lock;
use warp_net::media::{MediaSocket, SharedSocket};

use super::kept::{Keep, Stand};
use crate::core::ports::{PortPair, PortPool, Ports};

/// Pairs tried before giving up: some other program may hold a few ports of the range.
const TRIES: usize = 16;
/// Datagrams forgotten when a kept socket is lent: as many as wait in a socket's buffer, and more. What a flood brings beyond
/// them meets the rule, as it does in a socket that was bound just now.
const FORGOTTEN: usize = 1_024;

/// A socket that is lent and of which no shard was told a rule.
enum LentSocket {
    /// Bound now; no shard has it.
    New(MediaSocket),
    /// Kept by a shard.
    Kept(Arc<SharedSocket>, u16),
}

/// What the shard of a port must be told before its rule.
pub(crate) enum Handed {
    /// Nothing: it has the port.
    Known,
    /// Nothing, and not at once: it has the socket, and the packet that needs the rule will wake it up.
    Kept(Arc<SharedSocket>),
    /// The socket is handed over as it was opened.
    Open(MediaSocket),
    /// The socket, and the shard that had it must let go of it.
    Moved(u16, MediaSocket),
}

#[derive(Default)]
struct Places {
    lent: HashMap<LocalPort, LentSocket>,
    /// Sockets that shards have, with their shard. It stays bound only as long as the shard holds it.
    shards: HashMap<LocalPort, (Weak<SharedSocket>, u16)>,
    /// Ports whose kept sockets shards must let go.
    leaving: Vec<(u16, LocalPort)>,
    /// A pair was passed over because its shard has not heard yet that it rests.
    is_behind: bool,
}

/// Sockets bound and not yet with a shard, and where the others are. Touched by the control thread only; the lock is never
/// contended.
#[derive(Clone)]
pub(crate) struct Waiting {
    places: Arc<Mutex<Places>>,
    tos: u8,
    keep: Arc<Keep>,
}

impl Waiting {
    /// The socket of a port for its first rule, which goes to `shard`.
    pub(crate) fn take(&self, port: LocalPort, shard: u16) -> Handed {
        let mut places = self.lock();
        let handed = match places.lent.remove(&port) {
            None => return Handed::Known,
            Some(LentSocket::Kept(socket, home)) if home == shard => return Handed::Kept(socket),
            Some(LentSocket::Kept(socket, home)) => {
                Stand::Busy.set(socket.word());
                Handed::Moved(home, MediaSocket::of(socket))
            }
            Some(LentSocket::New(socket)) => Handed::Open(socket),
        };
        if let Handed::Open(socket) | Handed::Moved(_, socket) = &handed {
            places.shards.insert(port, (Arc::downgrade(socket.shared()), shard));
        }
        handed
    }

    /// Marks the socket of a port that is still here; `None` is the configured default. Gives the byte to tell the shard
    /// when the socket is there already.
    pub(crate) fn mark(&self, port: LocalPort, tos: Option<u8>) -> Option<u8> {
        let tos = tos.unwrap_or(self.tos);
        let places = self.lock();
        let socket = match places.lent.get(&port) {
            Some(LentSocket::New(socket)) => socket.shared(),
            Some(LentSocket::Kept(socket, _)) => socket,
            None => return Some(tos),
        };
        // Marking is a wish: without it the call still works.
        let _ = socket.set_tos(tos);
        None
    }

    /// Ports whose kept sockets shards must let go, by shard; each is named once.
    pub(crate) fn take_leaving(&self) -> Vec<(u16, LocalPort)> {
        std::mem::take(&mut self.lock().leaving)
    }

    /// Whether a pair was passed over, since the last question, that its shard has not put to rest yet.
    pub(crate) fn is_behind(&self) -> bool {
        std::mem::take(&mut self.lock().is_behind)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }

    /// The kept socket of a port, lent from now on. `Ok(None)`: it has none. `Err`: its last user has not left yet.
    fn lend(&self, places: &mut Places, port: LocalPort) -> std::io::Result<Option<LentSocket>> {
        let Some((socket, home)) = places.shards.get(&port) else { return Ok(None) };
        let (socket, home) = (socket.upgrade(), *home);
        let Some(socket) = socket.filter(|s| Stand::of(s) != Stand::Gone) else {
            places.shards.remove(&port);
            return Ok(None);
        };
        if !Stand::Resting.step(&socket, Stand::Lent) {
            places.is_behind = true;
            return Err(std::io::ErrorKind::AddrInUse.into());
        }
        self.keep.give_back();
        socket.drain(FORGOTTEN);
        if socket.tos().unwrap_or(0) != self.tos {
            let _ = socket.set_tos(self.tos);
        }
        Ok(Some(LentSocket::Kept(socket, home)))
    }

    /// A socket that was lent in vain.
    fn put_away(&self, places: &mut Places, port: LocalPort, lent: LentSocket) {
        // A new one is closed.
        let LentSocket::Kept(socket, home) = lent else { return };
        if !self.keep.take() {
            places.leaving.push((home, port));
        } else if !Stand::Lent.step(&socket, Stand::Resting) {
            // Something came for the call that was not to be, and nobody watches it.
            self.keep.give_back();
            places.leaving.push((home, port));
        }
    }
}

/// The sockets of all ports that are lent or kept.
pub(crate) struct BoundPorts {
    pool: PortPool,
    waiting: Waiting,
    /// The last `take` found no descriptor.
    lacks_descriptors: bool,
}

impl BoundPorts {
    /// Around a pool; the sockets come out of the returned place. Sent packets are marked with `tos` (0: not at all).
    pub(crate) fn new(pool: PortPool, tos: u8, keep: Arc<Keep>) -> (Self, Waiting) {
        let waiting = Waiting { tos, keep, places: Arc::default() };
        (Self { pool, waiting: waiting.clone(), lacks_descriptors: false }, waiting)
    }

    fn one(&self, places: &mut Places, port: LocalPort) -> std::io::Result<LentSocket> {
        if let Some(lent) = self.waiting.lend(places, port)? {
            return Ok(lent);
        }
        let ip = self.pool.ips().get(usize::from(port.ip)).copied();
        let ip = ip.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let socket = MediaSocket::bind(SocketAddr::new(ip, port.port))?;
        if self.waiting.keep.is_spared(socket.descriptor()) {
            return Err(warp_net::no_descriptors());
        }
        if self.waiting.tos != 0 {
            let _ = socket.set_tos(self.waiting.tos);
        }
        Ok(LentSocket::New(socket))
    }

    /// Both sockets of a pair, or neither.
    fn both(&self, pair: PortPair) -> std::io::Result<()> {
        let mut places = self.waiting.lock();
        let rtp = self.one(&mut places, pair.rtp_port())?;
        match self.one(&mut places, pair.rtcp_port()) {
            Ok(rtcp) => {
                places.lent.insert(pair.rtp_port(), rtp);
                places.lent.insert(pair.rtcp_port(), rtcp);
                Ok(())
            }
            Err(error) => {
                self.waiting.put_away(&mut places, pair.rtp_port(), rtp);
                Err(error)
            }
        }
    }
}

impl Ports for BoundPorts {
    fn take(&mut self, ip: u8, now: Mono) -> Option<PortPair> {
        self.lacks_descriptors = false;
        for _ in 0..TRIES {
            let pair = self.pool.take(ip, now)?;
            let Err(error) = self.both(pair) else { return Some(pair) };
            if warp_net::lacks_descriptors(&error) {
                // No other port would do.
                self.pool.give_back(pair, now);
                self.lacks_descriptors = true;
                return None;
            }
            self.pool.is_elsewhere(pair, now);
        }
        None
    }

    fn give_back(&mut self, pair: PortPair, now: Mono) {
        let mut places = self.waiting.lock();
        for port in [pair.rtp_port(), pair.rtcp_port()] {
            if let Some(lent) = places.lent.remove(&port) {
                self.waiting.put_away(&mut places, port, lent);
            }
        }
        drop(places);
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

    fn elsewhere(&self, ip: u8, now: Mono) -> usize {
        self.pool.elsewhere(ip, now)
    }

    fn given_early(&self) -> u64 {
        self.pool.given_early()
    }

    fn lacks_descriptors(&self) -> bool {
        self.lacks_descriptors
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
        let (mut ports, waiting) = BoundPorts::new(pool, 184, Arc::new(Keep::new(0)));
        let pair = ports.take(0, Mono(0)).unwrap();
        assert_eq!(pair.rtp, base + 2);
        assert_eq!(ports.take(0, Mono(0)), None);
        assert!(matches!(waiting.take(pair.rtp_port(), 0), Handed::Open(_)));
        assert!(matches!(waiting.take(pair.rtp_port(), 0), Handed::Known));
        ports.give_back(pair, Mono(0));
        assert!(matches!(waiting.take(pair.rtcp_port(), 0), Handed::Known), "closed with the pair");
        drop(held);
        assert!(ports.take(0, Mono(20_000_000_000)).is_some());
    }

    fn loopback(ports: std::ops::RangeInclusive<u16>, tos: u8, keep: &Arc<Keep>) -> (BoundPorts, Waiting) {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        BoundPorts::new(PortPool::new(&[ip], ports, 1).unwrap(), tos, Arc::clone(keep))
    }

    /// What shard `home` does: takes the two sockets for their first rules, and puts them to rest when the call has ended.
    fn used(ports: &mut BoundPorts, waiting: &Waiting, keep: &Keep, home: u16) -> [MediaSocket; 2] {
        let pair = ports.take(0, Mono(0)).unwrap();
        let sockets = [pair.rtp_port(), pair.rtcp_port()].map(|port| match waiting.take(port, home) {
            Handed::Open(socket) => socket,
            _ => panic!("not new"),
        });
        ports.give_back(pair, Mono(0));
        for socket in &sockets {
            assert!(keep.take());
            Stand::Resting.set(socket.shared().word());
        }
        sockets
    }

    #[test]
    fn t_rtp_09_a_kept_socket_is_lent_empty_with_the_marking_of_a_new_one() {
        let keep = Arc::new(Keep::new(2));
        let (mut ports, waiting) = loopback(18_000..=18_001, 184, &keep);
        let shard = used(&mut ports, &waiting, &keep, 3);
        assert!(!keep.take(), "both rest");
        // The last call had a marking of its own, and its phone has not heard that it is over.
        shard[0].set_tos(96).unwrap();
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            phone.send_to(b"late", shard[0].local_addr().unwrap()).unwrap();
        }
        let pair = ports.take(0, Mono(1)).unwrap();
        assert_eq!(shard[0].recv(&mut [0; 8]), warp_net::udp::Received::Empty);
        assert_eq!(shard.each_ref().map(|s| s.shared().tos()), [Some(184); 2]);
        assert!(keep.take() && keep.take() && !keep.take(), "neither rests");
        // Its shard knows it; another one must be given it.
        let Handed::Kept(socket) = waiting.take(pair.rtp_port(), 3) else { panic!("not kept") };
        assert!(Arc::ptr_eq(&socket, shard[0].shared()) && Stand::of(&socket) == Stand::Lent);
        assert!(matches!(waiting.take(pair.rtcp_port(), 0), Handed::Moved(3, _)));
        assert!(matches!(waiting.take(pair.rtp_port(), 3), Handed::Known));
    }

    #[test]
    fn a_pair_whose_shard_has_not_let_go_is_passed_over_and_the_shard_is_told() {
        let keep = Arc::new(Keep::new(9));
        let (mut ports, waiting) = loopback(18_010..=18_011, 0, &keep);
        let shard = used(&mut ports, &waiting, &keep, 0);
        Stand::Busy.set(shard[1].shared().word());
        assert!(!waiting.is_behind());
        assert_eq!(ports.take(0, Mono(1)), None);
        assert!(waiting.is_behind() && !waiting.is_behind());
        assert_eq!(Stand::of(shard[0].shared()), Stand::Resting, "as it was");
        Stand::Resting.set(shard[1].shared().word());
        assert!(ports.take(0, Mono(2)).is_some());
    }

    #[test]
    fn what_was_lent_in_vain_rests_again_unless_something_came_for_it() {
        let keep = Arc::new(Keep::new(2));
        let (mut ports, waiting) = loopback(18_020..=18_021, 0, &keep);
        let shard = used(&mut ports, &waiting, &keep, 5);
        let pair = ports.take(0, Mono(1)).unwrap();
        assert!(Stand::Lent.step(shard[1].shared(), Stand::LentUnwatched));
        ports.give_back(pair, Mono(1));
        assert_eq!(Stand::of(shard[0].shared()), Stand::Resting);
        assert_eq!(waiting.take_leaving(), [(5, pair.rtcp_port())]);
        assert!(keep.take() && !keep.take(), "one rests");
        // The shard lets go of it: the port is bound anew, the other is the same.
        let [rtp, rtcp] = shard;
        drop(rtcp);
        assert_eq!(ports.take(0, Mono(2)), Some(pair));
        assert!(matches!(waiting.take(pair.rtcp_port(), 5), Handed::Open(_)));
        let Handed::Kept(socket) = waiting.take(pair.rtp_port(), 5) else { panic!("not kept") };
        assert!(Arc::ptr_eq(&socket, rtp.shared()));
        // One that its shard has closed meanwhile is no kept one.
        Stand::Gone.set(socket.word());
        drop((socket, rtp));
        ports.give_back(pair, Mono(3));
        assert_eq!(ports.take(0, Mono(4)), Some(pair));
        assert!(matches!(waiting.take(pair.rtp_port(), 5), Handed::Open(_)));
    }
}
