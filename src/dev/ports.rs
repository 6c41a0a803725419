//! A taken port is not an error in the dev world: the next free one is used, and one line says so.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use crate::config::Config;

/// Moves the listeners of `config` to free ports; one line for each that moved.
pub(super) fn find_free(config: &mut Config) -> Vec<String> {
    let mut lines = Vec::new();
    let mut used: Vec<SocketAddr> = Vec::new();
    let mut moved = |what: &str, at: SocketAddr, udp: bool| {
        let found = free_from(at, udp, &used);
        used.push(found);
        if found != at {
            lines.push(format!("port {} is taken: {what} is on {}", at.port(), found.port()));
        }
        found
    };
    if let Some(first) = config.sip.listen.first() {
        let at = moved("SIP", first.at, true);
        config.sip.listen = super::both(at);
    }
    config.api.listen = moved("the API", config.api.listen, false);
    config.ops.listen = moved("Metrics", config.ops.listen, false);
    config.smsc.listen = config.smsc.listen.map(|at| moved("SMPP", at, false));
    lines
}

fn free_from(at: SocketAddr, udp: bool, used: &[SocketAddr]) -> SocketAddr {
    let port = (at.port()..=at.port().saturating_add(200)).find(|port| {
        let at = SocketAddr::new(at.ip(), *port);
        !used.contains(&at) && TcpListener::bind(at).is_ok() && (!udp || UdpSocket::bind(at).is_ok())
    });
    // None free: the start then says which one it could not have.
    SocketAddr::new(at.ip(), port.unwrap_or(at.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_move_to_the_next_free_ones_with_a_line_each() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sip, ops) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let mut config = crate::dev::base(std::path::Path::new("x"));
        config.sip.listen = crate::dev::both(sip);
        config.ops.listen = ops;
        config.api.listen = ops;
        let lines = find_free(&mut config);
        assert!(config.sip.listen.iter().all(|l| l.at.port() > sip.port()));
        assert_ne!(config.api.listen, config.ops.listen);
        let line = format!("port {} is taken: SIP is on {}", sip.port(), config.sip.listen[0].at.port());
        assert!(lines.contains(&line), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }
}
