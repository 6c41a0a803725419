//! Copies of messages for a collector: a thread of its own, a bounded queue before it, and a counter of what did not fit.
//!
//! UDP: a packet a datagram. TCP: one after the other on a connection that is opened again, two seconds later, when it breaks; packets that
//! come meanwhile are dropped once the queue is full.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::hep::{self, HepAgent, HepMessage};

/// A collector of HEP3 packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// The address that it listens on.
    pub at: SocketAddr,
    /// By TCP, else by UDP.
    pub tcp: bool,
    /// What it is told of us.
    pub agent: HepAgent,
}

/// What became of packets.
#[derive(Debug, Default)]
pub struct ExportCounts {
    /// Given to the network.
    pub sent: AtomicU64,
    /// Not: the queue was full, the collector away, or the message too large for a packet.
    pub failed: AtomicU64,
}

/// Packets that wait at most.
const QUEUE: usize = 4_096;
/// Pause before a connection is opened again.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest time that opening a connection, or writing to it, takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// The way to a collector. Its thread ends when it is dropped.
pub(crate) struct Export {
    agent: HepAgent,
    queue: SyncSender<Vec<u8>>,
    counts: Arc<ExportCounts>,
    packet: Vec<u8>,
}

impl Export {
    /// Starts the thread. Errors: no thread, or no socket.
    pub(crate) fn start(to: &Collector, counts: Arc<ExportCounts>) -> std::io::Result<Export> {
        let (queue, packets) = sync_channel(QUEUE);
        let told = counts.clone();
        let thread = std::thread::Builder::new().name("hep".into());
        if to.tcp {
            let at = to.at;
            thread.spawn(move || by_tcp(at, &packets, &told))?;
        } else {
            let any: SocketAddr = match to.at.is_ipv4() {
                true => ([0, 0, 0, 0], 0).into(),
                false => ([0_u16; 8], 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to.at)?;
            thread.spawn(move || by_udp(&socket, &packets, &told))?;
        }
        Ok(Export { agent: to.agent.clone(), queue, counts, packet: Vec::new() })
    }

    pub(crate) fn send(&mut self, message: &HepMessage<'_>) {
        let fits = hep::write(&mut self.packet, &self.agent, message);
        if !fits || self.queue.try_send(self.packet.clone()).is_err() {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn count(counts: &ExportCounts, sent: bool) {
    let counter = if sent { &counts.sent } else { &counts.failed };
    counter.fetch_add(1, Ordering::Relaxed);
}

fn by_udp(socket: &UdpSocket, packets: &Receiver<Vec<u8>>, counts: &ExportCounts) {
    while let Ok(packet) = packets.recv() {
        // A refusal is about an earlier one: once more, and this one has its own chance.
        let sent = socket.send(&packet).or_else(|_| socket.send(&packet));
        count(counts, sent.is_ok());
    }
}

fn by_tcp(at: SocketAddr, packets: &Receiver<Vec<u8>>, counts: &ExportCounts) {
    let mut stream: Option<TcpStream> = None;
    while let Ok(packet) = packets.recv() {
        while stream.is_none() {
            match TcpStream::connect_timeout(&at, PATIENCE) {
                Ok(new) => {
                    let _ = new.set_write_timeout(Some(PATIENCE));
                    let _ = new.set_nodelay(true);
                    stream = Some(new);
                }
                Err(error) => {
                    tracing::debug!(%error, collector = %at, "no connection to the collector");
                    std::thread::sleep(AGAIN);
                    // Nobody is left who would send.
                    if packets.try_recv().is_err_and(|e| e == std::sync::mpsc::TryRecvError::Disconnected) {
                        return;
                    }
                    count(counts, false);
                }
            }
        }
        let sent = stream.as_mut().is_some_and(|s| s.write_all(&packet).is_ok());
        if !sent {
            stream = None;
        }
        count(counts, sent);
    }
}
