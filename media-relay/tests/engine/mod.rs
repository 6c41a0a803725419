//! ng clients of a real rtpengine and of our relay, over JSON.
#![allow(dead_code)] // each test file uses its part

use std::net::UdpSocket;

use serde_json::Value;

use crate::programs::{Program, free_port, socket};

/// Sends ng commands as JSON to a relay, theirs or ours.
pub struct Client {
    _program: Option<Program>,
    socket: UdpSocket,
    count: u32,
}

impl Client {
    fn of(program: Option<Program>, port: u16) -> Self {
        let socket = socket();
        socket.connect(("127.0.0.1", port)).unwrap();
        Self { _program: program, socket, count: 0 }
    }

    /// Debian's daemon, with 400 ports from `base` on.
    pub fn rtpengine(folder: &tempfile::TempDir, base: u16) -> Self {
        Self::rtpengine_with(folder, base, &[])
    }

    /// The same with further arguments.
    pub fn rtpengine_with(folder: &tempfile::TempDir, base: u16, more: &[&str]) -> Self {
        let ng = free_port();
        let listen = format!("--listen-ng=127.0.0.1:{ng}");
        let (first, last) = (format!("--port-min={base}"), format!("--port-max={}", base + 399));
        let pid = format!("--pidfile={}/pid", folder.path().display());
        let mut arguments = vec![
            "--config-file=none",
            "--foreground",
            "--table=-1",
            "--interface=127.0.0.1",
            "--log-level=1",
            &listen,
            &first,
            &last,
            &pid,
        ];
        arguments.extend(more);
        let program = Program::start("rtpengine", &arguments);
        Self::of(Some(program), ng)
    }

    /// The relay of a world.
    pub fn ours(world: &crate::common::World) -> Self {
        Self::of(None, world.relay.ng_addr().unwrap().port())
    }

    /// One command, sent until it is answered.
    pub fn ask(&mut self, document: &Value) -> Value {
        self.count += 1;
        let cookie = format!("c{} ", self.count);
        let datagram = format!("{cookie}{document}");
        let end = std::time::Instant::now() + crate::programs::DEADLINE;
        let mut buffer = vec![0; 65_536];
        let _ = self.socket.send(datagram.as_bytes());
        while std::time::Instant::now() < end {
            match self.socket.recv(&mut buffer) {
                Ok(n) => {
                    if let Some(rest) = buffer[..n].strip_prefix(cookie.as_bytes()) {
                        return serde_json::from_slice(rest).unwrap();
                    }
                }
                Err(_) => drop(self.socket.send(datagram.as_bytes())),
            }
        }
        panic!("no answer to {document}");
    }

    /// The SDP of the reply, which must have one.
    pub fn sdp(&mut self, document: &Value) -> String {
        let reply = self.ask(document);
        reply["sdp"].as_str().unwrap_or_else(|| panic!("{document}: {reply}")).to_owned()
    }
}
