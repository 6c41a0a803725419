//! One call's media: a socket that sends 160 bytes of PCMU silence every 20 ms and counts what comes back.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use warp_media::rtp::RtpView;
use warp_model::Mono;
use warp_net::udp::{Received, UdpOptions, UdpSocket};

/// The time between two packets that are sent.
pub const PTIME: Duration = Duration::from_millis(20);
const PAYLOAD: usize = 160;

/// A media socket with its counters.
pub struct Leg {
    socket: UdpSocket,
    remote: Option<SocketAddr>,
    next_at: Option<Mono>,
    packet: [u8; 12 + PAYLOAD],
    sequence: u16,
    timestamp: u32,
    /// RTP packets that were sent.
    pub sent: u64,
    /// RTP packets that were received.
    pub received: u64,
}

impl Leg {
    /// Binds a socket on a port that the system chooses.
    pub fn open(ip: IpAddr, ssrc: u32) -> io::Result<Leg> {
        let socket = UdpSocket::bind(SocketAddr::new(ip, 0), &UdpOptions::default())?;
        let mut packet = [0xFF; 12 + PAYLOAD];
        packet[0] = 0x80;
        packet[1] = 0; // PCMU
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Ok(Leg {
            socket,
            remote: None,
            next_at: None,
            packet,
            sequence: ssrc as u16,
            timestamp: ssrc.rotate_left(7),
            sent: 0,
            received: 0,
        })
    }

    /// The socket, for epoll.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Our address for the SDP.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Where to send, from the other side's SDP.
    pub fn set_remote(&mut self, remote: Option<SocketAddr>) {
        self.remote = remote.or(self.remote);
    }

    /// Starts sending, the first packet at once.
    pub fn start(&mut self, now: Mono) {
        if self.remote.is_some() && self.next_at.is_none() {
            self.next_at = Some(now);
        }
    }

    /// Stops sending; counting goes on.
    pub fn stop(&mut self) {
        self.next_at = None;
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, now: Mono) {
        let (Some(at), Some(remote)) = (self.next_at, self.remote) else { return };
        if at > now {
            return;
        }
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        self.packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(PAYLOAD as u32);
        self.socket.send_to(&self.packet, remote);
        self.sent += 1;
        // Late by more than one packet (a busy machine): start a new rhythm instead of a burst.
        self.next_at = Some(if at + PTIME + PTIME < now { now + PTIME } else { at + PTIME });
    }

    /// When [`Leg::handle_timeout`] is due.
    pub fn next_at(&self) -> Option<Mono> {
        self.next_at
    }

    /// Reads and counts what waits.
    pub fn drain(&mut self, buffer: &mut [u8]) {
        loop {
            match self.socket.recv_from(buffer) {
                Received::Datagram { len, .. } => {
                    if buffer.get(..len).is_some_and(|p| RtpView::parse(p).is_ok()) {
                        self.received += 1;
                    }
                }
                Received::Empty => return,
                Received::Error(_) => {}
            }
        }
    }
}
