//! Binds the listeners of all shards before any thread starts, so that a wrong address is an error of the start.

use std::io;
use std::net::SocketAddr;

use warp_net::batch::{self, SendBatch};
use warp_net::tcp::TcpListener;
use warp_net::udp::{UdpOptions, UdpSocket};
use warp_sip::flow::Transport;

use crate::config::Config;
use crate::core::{Listener, TransmitBuf};

/// The sockets of one shard.
pub(crate) struct Sockets {
    pub(crate) udp: Vec<UdpPort>,
    /// Of all stream transports.
    pub(crate) tcp: Vec<(Transport, TcpListener)>,
}

/// How often a port that is free for UDP and TCP alike is looked for.
const BIND_TRIES: usize = 16;

/// A UDP listener with what waits to leave it.
pub(crate) struct UdpPort {
    pub(crate) socket: UdpSocket,
    pub(crate) out: SendBatch<OutBuf>,
    /// Watched for writability: the send buffer is full.
    pub(crate) blocked: bool,
}

/// A message of the core, as the batch wants it.
pub(crate) struct OutBuf(pub(crate) TransmitBuf);

impl AsRef<[u8]> for OutBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Binds everything; `config.core.listeners` gets the real ports. Errors name the address.
///
/// With port 0 the system chooses for UDP, and somebody else may hold that number for TCP: then it is asked again.
pub(crate) fn bind(config: &mut Config) -> io::Result<Vec<Sockets>> {
    let chosen_for_us = config.core.listeners.iter().any(|l| l.bind.port() == 0);
    for _ in 0..BIND_TRIES {
        match bind_all(config) {
            Err(e) if chosen_for_us && e.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    bind_all(config)
}

fn bind_all(config: &mut Config) -> io::Result<Vec<Sockets>> {
    let shared = config.shards > 1;
    let mut shards: Vec<Sockets> =
        (0..config.shards).map(|_| Sockets { udp: Vec::new(), tcp: Vec::new() }).collect();
    let mut listeners = config.core.listeners.clone();
    for i in 0..listeners.len() {
        // TCP with port 0 takes the port of the UDP listener before it on the same address, as peers expect.
        let twin = listeners
            .get(..i)
            .unwrap_or_default()
            .iter()
            .find(|l| l.bind.ip() == listeners[i].bind.ip() && are_twins(l.transport, listeners[i].transport))
            .map(|l| l.bind.port());
        let Some(listener) = listeners.get_mut(i) else { continue };
        let asked_any = listener.bind.port() == 0;
        if let (true, Some(port)) = (asked_any, twin) {
            listener.bind.set_port(port);
        }
        if let Err(e) = bind_one(config, listener, shared, &mut shards) {
            let text = format!("{} {}: {e}", listener.transport, listener.bind);
            return Err(io::Error::new(e.kind(), text));
        }
        if let Some(advertise) = listener.advertise.as_mut()
            && advertise.port() == 0
        {
            advertise.set_port(listener.bind.port());
        }
    }
    config.core.listeners = listeners;
    Ok(shards)
}

/// UDP and TCP have one port (RFC 3261 §18.1.1 lets peers change over); the others have ports of their own.
fn are_twins(a: Transport, b: Transport) -> bool {
    matches!((a, b), (Transport::Udp, Transport::Tcp) | (Transport::Tcp, Transport::Udp))
}

fn bind_one(
    config: &Config,
    listener: &mut Listener,
    shared: bool,
    shards: &mut [Sockets],
) -> io::Result<()> {
    for sockets in shards {
        match listener.transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(
                    listener.bind,
                    &UdpOptions {
                        reuse_port: shared,
                        receive_buffer: Some(config.socket_buffer),
                        send_buffer: Some(config.socket_buffer),
                    },
                )?;
                batch::report_errors(&socket)?;
                listener.bind = socket.local_addr();
                let out = SendBatch::new(config.udp_queue);
                sockets.udp.push(UdpPort { socket, out, blocked: false });
            }
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                let tcp = TcpListener::bind(listener.bind, shared)?;
                listener.bind = tcp.local_addr();
                sockets.tcp.push((listener.transport, tcp));
            }
        }
    }
    Ok(())
}

/// The addresses that were bound.
pub(crate) fn addresses(listeners: &[Listener]) -> Vec<(Transport, SocketAddr)> {
    listeners.iter().map(|l| (l.transport, l.bind)).collect()
}
