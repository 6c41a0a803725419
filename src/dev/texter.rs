//! The demo's messages: a customer's bind that sends a few a second by SMPP, and takes their receipts, as any customer's would.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Status};

use super::decks::{NPAS, scatter};
use super::secrets::Secrets;
use super::world::TRUNKS;
use crate::cli::Failure;

/// Messages a second, while there are demo calls.
pub(super) const PER_S: u32 = 3;
/// The account that sends.
const SYSTEM_ID: &str = "demo1";
/// Pause before a bind that broke is tried again.
const AGAIN: Duration = Duration::from_secs(1);
const TEXTS: [&str; 4] = [
    "Your code is 482913. Do not share it.",
    "Your parcel arrives today between 14:00 and 16:00.",
    "Reminder: your appointment is tomorrow at 9:30.",
    "Grüße aus der Demo-Welt: 10 € Guthaben.",
];

/// A running sender. Dropping it ends it.
pub(super) struct Texter {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Texter {
    /// Binds and sends until it is dropped; `rate_file` with 0 in it stops the messages with the calls.
    pub(super) fn start(
        at: SocketAddr,
        secrets: &Secrets,
        sends: bool,
        rate_file: PathBuf,
    ) -> Result<Texter, Failure> {
        let password = secrets.get("smpp", SYSTEM_ID).unwrap_or_default();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("demo-texts".to_owned()).spawn(move || {
            let mut n = std::process::id();
            while !stopped.load(Ordering::Acquire) {
                let mut bind = Bind { n, sends, rate_file: rate_file.clone() };
                let _ = bind.run(at, &password, &stopped);
                n = bind.n;
                let until = Instant::now() + AGAIN;
                while Instant::now() < until && !stopped.load(Ordering::Acquire) {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            }
        });
        let thread = thread.map_err(|e| Failure::new(format!("demo thread: {e}")))?;
        Ok(Texter { stop, thread: Some(thread) })
    }
}

impl Drop for Texter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Bind {
    n: u32,
    sends: bool,
    rate_file: PathBuf,
}

impl Bind {
    fn run(&mut self, at: SocketAddr, password: &str, stopped: &AtomicBool) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut sequence = 1;
        let mut out = Vec::new();
        let bind = Body::Bind(pdu::Bind {
            system_id: SYSTEM_ID.as_bytes(),
            password: password.as_bytes(),
            interface_version: 0x34,
            ..pdu::Bind::default()
        });
        let _ = pdu::encode(&mut out, Command::BIND_TRANSCEIVER, Status::ROK, sequence, &bind);
        let mut framer = Framer::new(PDU_BYTES);
        let mut buffer = [0u8; 16_384];
        let mut bound = false;
        let mut next = Instant::now();
        while !stopped.load(Ordering::Acquire) {
            stream.write_all(&out)?;
            out.clear();
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => framer.push(buffer.get(..read).unwrap_or_default()),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
            }
            while let Some(frame) = framer.poll_frame() {
                let Frame::Pdu(header, _) = frame else { return Ok(()) };
                if header.command == Command::BIND_TRANSCEIVER.response() {
                    if !header.status.is_ok() {
                        return Ok(());
                    }
                    bound = true;
                } else if !header.command.is_response() {
                    pdu::reply(&mut out, header.command, Status::ROK, header.sequence);
                }
            }
            let now = Instant::now();
            if bound && self.sends && now >= next {
                next = now + Duration::from_secs(1) / PER_S;
                if !self.is_off() {
                    sequence += 1;
                    self.submit(sequence, &mut out);
                }
            }
        }
        Ok(())
    }

    /// Whether `warp demo off` was said.
    fn is_off(&self) -> bool {
        std::fs::read_to_string(&self.rate_file).is_ok_and(|rate| rate.trim() == "0")
    }

    fn submit(&mut self, sequence: u32, out: &mut Vec<u8>) {
        self.n = self.n.wrapping_add(1);
        let pick = |what: u32, of: usize| scatter(self.n, what) as usize % of.max(1);
        let to = format!("1{}555{:04}", NPAS[pick(1, NPAS.len())], pick(2, 10_000));
        let mut octets = Vec::new();
        let coding = warp_smpp::text::encode_best(TEXTS[pick(3, TEXTS.len())], &mut octets);
        let from = TRUNKS[0].caller.trim_start_matches('+');
        let message = Message {
            source: Address { ton: 1, npi: 1, text: from.as_bytes() },
            destination: Address { ton: 1, npi: 1, text: to.as_bytes() },
            registered_delivery: 1,
            data_coding: coding.0,
            short_message: &octets,
            ..Message::default()
        };
        let _ = pdu::encode(out, Command::SUBMIT_SM, Status::ROK, sequence, &Body::Message(message));
    }
}
