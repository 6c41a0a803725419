//! The two ends of an SMSC under load: a vendor that takes every message and sends its receipt at once, and customers' binds that keep a
//! window full or a rate. Both write many PDUs at once and patch templates, so that the tool takes little of the machine that it shares.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Status};

/// What the vendor has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Messages that it took.
    pub messages: AtomicU64,
    /// Receipts that were answered.
    pub receipts: AtomicU64,
    /// Microseconds from the start of the vendor to its first message; 0: none came.
    pub first_us: AtomicU64,
}

/// A vendor on this address: binds whoever comes, takes each submit_sm under a hexadecimal id, and sends its receipt with the answer.
/// Gives the real address. Its threads live as long as the program. Errors: the address cannot be bound.
pub fn vendor(at: SocketAddr, seen: Arc<Seen>) -> Result<SocketAddr> {
    let listener = TcpListener::bind(at).with_context(|| format!("vendor on {at}"))?;
    let at = listener.local_addr()?;
    let (begun, ids) = (Instant::now(), Arc::new(AtomicU64::new(1)));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (seen, ids) = (Arc::clone(&seen), Arc::clone(&ids));
            std::thread::spawn(move || {
                // A link that ends is no fault of the run: the SMSC comes again.
                let _ = serve(stream, &seen, &ids, begun);
            });
        }
    });
    Ok(at)
}

/// Where the template of a receipt has its id, and how long that is.
struct Receipt {
    bytes: Vec<u8>,
    id_at: usize,
}

const ID: &str = "0000000000000000";

impl Receipt {
    fn new() -> Result<Receipt> {
        let text = format!(
            "id:{ID} sub:001 dlvrd:001 submit date:2612010000 done date:2612010000 stat:DELIVRD err:000 text:"
        );
        let message = Message {
            source: Address { ton: 1, npi: 1, text: b"491701234567" },
            destination: Address { ton: 5, npi: 0, text: b"WARP" },
            esm_class: 4,
            short_message: text.as_bytes(),
            ..Message::default()
        };
        let mut bytes = Vec::new();
        encode(&mut bytes, Command::DELIVER_SM, 1, &Body::Message(message))?;
        let id_at =
            bytes.windows(ID.len()).position(|w| w == ID.as_bytes()).context("the id of the receipt")?;
        Ok(Receipt { bytes, id_at })
    }
}

fn encode(out: &mut Vec<u8>, command: Command, sequence: u32, body: &Body<'_>) -> Result<()> {
    match pdu::encode(out, command, Status::ROK, sequence, body) {
        Ok(_) => Ok(()),
        Err(error) => bail!("a PDU cannot be written: {error:?}"),
    }
}

fn patch(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}

fn serve(mut stream: TcpStream, seen: &Seen, ids: &AtomicU64, begun: Instant) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut receipt = Receipt::new()?;
    let mut framer = Framer::new(PDU_BYTES);
    let (mut buffer, mut out) = (vec![0u8; 256 << 10], Vec::with_capacity(256 << 10));
    let mut sequence = 0u32;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        framer.push(buffer.get(..n).unwrap_or_default());
        let (mut messages, mut receipts) = (0u64, 0u64);
        while let Some(Frame::Pdu(header, body)) = framer.poll_frame() {
            match header.command {
                Command::SUBMIT_SM => {
                    messages += 1;
                    let id = format!("{:016x}", ids.fetch_add(1, Ordering::Relaxed));
                    let answer = Body::MessageId { id: id.as_bytes(), tlvs: Default::default() };
                    encode(&mut out, header.command.response(), header.sequence, &answer)?;
                    if wants_receipt(body) {
                        sequence = sequence.wrapping_add(1) & 0x7FFF_FFFF;
                        patch(&mut receipt.bytes, 12, &sequence.to_be_bytes());
                        patch(&mut receipt.bytes, receipt.id_at, id.as_bytes());
                        out.extend_from_slice(&receipt.bytes);
                    }
                }
                Command::BIND_TRANSCEIVER | Command::BIND_TRANSMITTER | Command::BIND_RECEIVER => {
                    let answer = Body::BindResp(pdu::BindResp { system_id: b"SIM", ..Default::default() });
                    encode(&mut out, header.command.response(), header.sequence, &answer)?;
                }
                command if command == Command::DELIVER_SM.response() => receipts += 1,
                command if !command.is_response() => {
                    pdu::reply(&mut out, command, Status::ROK, header.sequence)
                }
                _ => {}
            }
        }
        if messages > 0 && seen.messages.fetch_add(messages, Ordering::Relaxed) == 0 {
            let us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            seen.first_us.store(us.max(1), Ordering::Relaxed);
        }
        seen.receipts.fetch_add(receipts, Ordering::Relaxed);
        stream.write_all(&out)?;
        out.clear();
    }
}

/// Whether the body of a submit_sm asks for a receipt.
fn wants_receipt(body: &[u8]) -> bool {
    let header =
        warp_smpp::Header { length: 0, command: Command::SUBMIT_SM, status: Status::ROK, sequence: 1 };
    matches!(pdu::decode(&header, body), Ok(Body::Message(m)) if m.registered_delivery & 3 != 0)
}

/// How a customer's bind sends.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the SMSC takes binds.
    pub at: SocketAddr,
    /// As whom, and with what.
    pub system_id: String,
    /// What it binds with.
    pub password: String,
    /// Messages without an answer, 1 to 100,000.
    pub window: usize,
    /// Messages a second of this bind; 0: as many as the window allows.
    pub rate: f64,
    /// Messages in all; 0: until it is told to stop.
    pub count: u64,
    /// Whether it wants receipts.
    pub receipts: bool,
    /// Octets of the text.
    pub octets: usize,
}

/// What a customer's bind has seen. The counters are read while it runs.
#[derive(Debug, Default)]
pub struct Done {
    /// Messages that were sent so far.
    pub sent: AtomicU64,
    /// Answers that were ESME_ROK.
    pub accepted: AtomicU64,
    /// Answers that were anything else.
    pub refused: AtomicU64,
    /// Receipts that came to it.
    pub receipts: AtomicU64,
    /// Send no more; stay bound for receipts.
    pub stop: AtomicBool,
    /// Unbind when nothing more is to be sent and all is answered.
    pub leave: AtomicBool,
    /// Times of answers are kept while this is set.
    pub measure: AtomicBool,
}

/// Binds, and sends until it is told to stop; leaves when all is answered and it is told to, at the latest after `patience`. Gives the microseconds of each answer that was
/// measured. Errors: the bind is refused, or the link broke.
pub fn customer(load: &Load, done: &Done, patience: Duration) -> Result<Vec<u32>> {
    ensure!((1..=100_000).contains(&load.window), "window: 1 to 100000");
    let mut stream = TcpStream::connect(load.at).with_context(|| format!("customer to {}", load.at))?;
    stream.set_nodelay(true)?;
    let mut out = Vec::with_capacity(256 << 10);
    let bind = pdu::Bind {
        system_id: load.system_id.as_bytes(),
        password: load.password.as_bytes(),
        interface_version: 0x34,
        ..pdu::Bind::default()
    };
    encode(&mut out, Command::BIND_TRANSCEIVER, 1, &Body::Bind(bind))?;
    stream.write_all(&out)?;
    out.clear();
    let text = "m".repeat(load.octets);
    let message = Message {
        source: Address { ton: 5, npi: 0, text: b"WARP" },
        destination: Address { ton: 1, npi: 1, text: b"491701234567" },
        registered_delivery: u8::from(load.receipts),
        short_message: text.as_bytes(),
        ..Message::default()
    };
    let mut template = Vec::new();
    encode(&mut template, Command::SUBMIT_SM, 2, &Body::Message(message))?;

    let mut framer = Framer::new(PDU_BYTES);
    let mut buffer = vec![0u8; 256 << 10];
    // Sequence numbers go on from the bind's; the time of each stands at its place in a ring as wide as the window.
    let (mut next, mut in_flight, mut bound) = (2u32, 0usize, false);
    let ring = load.window.next_power_of_two();
    let mut times: Vec<Instant> = vec![Instant::now(); ring];
    let mut took = Vec::new();
    let mut begun = Instant::now();
    let mut sent = 0u64;
    let mut stopped_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let enough = done.stop.load(Ordering::Relaxed) || (load.count > 0 && sent >= load.count);
        if enough {
            let since = *stopped_at.get_or_insert(now);
            let leaves = in_flight == 0 && done.leave.load(Ordering::Relaxed);
            if leaves || now.duration_since(since) > patience {
                break;
            }
        } else if bound {
            let mut room = load.window - in_flight;
            if load.rate > 0.0 {
                let due = (now.duration_since(begun).as_secs_f64() * load.rate) as u64;
                room = room.min(usize::try_from(due.saturating_sub(sent)).unwrap_or(room));
            }
            if load.count > 0 {
                room = room.min(usize::try_from(load.count - sent).unwrap_or(room));
            }
            for _ in 0..room {
                patch(&mut template, 12, &next.to_be_bytes());
                out.extend_from_slice(&template);
                if let Some(time) = times.get_mut(next as usize & (ring - 1)) {
                    *time = now;
                }
                next = if next >= 0x7FFF_FFFF { 1 } else { next + 1 };
            }
            in_flight += room;
            sent += room as u64;
            done.sent.fetch_add(room as u64, Ordering::Relaxed);
        }
        if !out.is_empty() {
            stream.write_all(&out)?;
            out.clear();
        }
        stream.set_read_timeout(Some(Duration::from_millis(if load.rate > 0.0 { 1 } else { 50 })))?;
        let n = match stream.read(&mut buffer) {
            Ok(0) => bail!("the SMSC closed the connection"),
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(e) => return Err(e.into()),
        };
        framer.push(buffer.get(..n).unwrap_or_default());
        let now = Instant::now();
        let measure = done.measure.load(Ordering::Relaxed);
        let (mut accepted, mut refused, mut receipts) = (0u64, 0u64, 0u64);
        while let Some(Frame::Pdu(header, _)) = framer.poll_frame() {
            if header.command == Command::SUBMIT_SM.response() {
                in_flight = in_flight.saturating_sub(1);
                if header.status.is_ok() {
                    accepted += 1
                } else {
                    refused += 1
                }
                if measure && let Some(time) = times.get(header.sequence as usize & (ring - 1)) {
                    took.push(u32::try_from(now.duration_since(*time).as_micros()).unwrap_or(u32::MAX));
                }
            } else if header.command == Command::DELIVER_SM {
                receipts += 1;
                pdu::reply(&mut out, header.command, Status::ROK, header.sequence);
            } else if header.command == Command::BIND_TRANSCEIVER.response() {
                ensure!(header.status.is_ok(), "the bind is refused: {}", header.status);
                (bound, begun) = (true, now);
            } else if !header.command.is_response() {
                pdu::reply(&mut out, header.command, Status::ROK, header.sequence);
            }
        }
        done.accepted.fetch_add(accepted, Ordering::Relaxed);
        done.refused.fetch_add(refused, Ordering::Relaxed);
        done.receipts.fetch_add(receipts, Ordering::Relaxed);
    }
    Ok(took)
}

/// The value below which `share` of all lie, in milliseconds; 0 when there are none.
pub fn percentile(sorted: &[u32], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |us| f64::from(*us) / 1_000.0)
}
