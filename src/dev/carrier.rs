//! The twin carrier of the demo world: it speaks SMPP as vendors do, with what is unpleasant about them. Ids are hexadecimal in its responses
//! and decimal in its receipts, receipts come late, it throttles now and then, some numbers cannot be reached, and one of its binds dies
//! every half minute.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Header, Status};

use crate::cli::Failure;

/// Who may bind, with any password.
pub(super) const SYSTEM_ID: &str = "warp-demo";
/// Address of its listener; port 2776 when it is free.
const AT: ([u8; 4], u16) = ([127, 0, 1, 9], 2_776);
/// Connections at a time: further ones are closed.
const LINKS: usize = 32;
/// Receipts of one link that wait: of further messages none comes.
const OWED: usize = 10_000;
/// How long the bind lives that dies.
const DIES_AFTER: Duration = Duration::from_secs(30);

/// A running carrier. Dropping it ends its listener and its links.
pub(super) struct Carrier {
    at: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    stop: AtomicBool,
    links: AtomicUsize,
    /// The next id, and how many messages came.
    next: AtomicU32,
}

impl Carrier {
    /// Starts it on loopback.
    pub(super) fn start() -> Result<Carrier, Failure> {
        let wanted = SocketAddr::from(AT);
        let listener = TcpListener::bind(wanted)
            .or_else(|_| TcpListener::bind((wanted.ip(), 0)))
            .map_err(|e| Failure::new(format!("demo carrier at {wanted}: {e}")))?;
        let at = listener.local_addr().map_err(|e| Failure::new(e.to_string()))?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            links: AtomicUsize::new(0),
            next: AtomicU32::new(0xA0_0001),
        });
        let inner = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("demo-carrier".to_owned()).spawn(move || {
            let mut count = 0usize;
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if inner.links.load(Ordering::Acquire) >= LINKS {
                    continue;
                }
                inner.links.fetch_add(1, Ordering::AcqRel);
                count += 1;
                let (inner, dies) = (Arc::clone(&inner), count.is_multiple_of(2));
                let served = std::thread::Builder::new().name("demo-bind".to_owned()).spawn(move || {
                    let _ = serve(stream, &inner, dies);
                    inner.links.fetch_sub(1, Ordering::AcqRel);
                });
                if served.is_err() {
                    return;
                }
            }
        });
        let thread = thread.map_err(|e| Failure::new(format!("demo thread: {e}")))?;
        Ok(Carrier { at, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub(super) fn at(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Lets the listener's thread see it; its links look every 50 ms.
        let _ = TcpStream::connect(self.at);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, dies: bool) -> std::io::Result<()> {
    let began = Instant::now();
    let mut framer = Framer::new(PDU_BYTES);
    let mut buffer = [0u8; 16_384];
    let mut owed: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        let is_over = dies && began.elapsed() > DIES_AFTER;
        if is_over || shared.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut out = Vec::new();
        let now = Instant::now();
        while owed.front().is_some_and(|(at, _)| *at <= now) {
            out.extend(owed.pop_front().map(|(_, bytes)| bytes).unwrap_or_default());
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => framer.push(buffer.get(..n).unwrap_or_default()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
        while let Some(frame) = framer.poll_frame() {
            let Frame::Pdu(header, body) = frame else { return Ok(()) };
            if let Some(receipt) = respond(&header, body, shared, &mut out)
                && owed.len() < OWED
            {
                // Between a fifth of a second and a second and a half, in the order of the messages.
                let wait = Duration::from_millis(200 + u64::from(header.sequence % 13) * 100);
                let after = owed.back().map_or(now, |(at, _)| *at);
                owed.push_back(((now + wait).max(after), receipt));
            }
        }
        stream.write_all(&out)?;
    }
}

/// Answers a PDU; gives the receipt that is to follow.
fn respond(header: &Header, body: &[u8], shared: &Shared, out: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (command, sequence) = (header.command, header.sequence);
    match pdu::decode(header, body) {
        Ok(Body::Bind(bind)) => {
            let known = bind.system_id == SYSTEM_ID.as_bytes();
            let status = if known { Status::ROK } else { Status::RINVSYSID };
            let body = Body::BindResp(pdu::BindResp { system_id: b"TWIN", ..Default::default() });
            let _ = pdu::encode(out, command.response(), status, sequence, &body);
            None
        }
        Ok(Body::Message(message)) if command == Command::SUBMIT_SM => {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            if number.is_multiple_of(97) {
                pdu::reply(out, command, Status::RTHROTTLED, sequence);
                return None;
            }
            let id = format!("{number:x}");
            let answer = Body::MessageId { id: id.as_bytes(), tlvs: Default::default() };
            let _ = pdu::encode(out, command.response(), Status::ROK, sequence, &answer);
            (message.registered_delivery & 3 != 0).then(|| receipt(&message, number))
        }
        Ok(_) | Err(_) if !command.is_response() => {
            pdu::reply(out, command, Status::ROK, sequence);
            None
        }
        _ => None,
    }
}

/// Numbers that end in 7 cannot be reached.
fn receipt(sent: &Message<'_>, number: u32) -> Vec<u8> {
    let lost = sent.destination.text.last() == Some(&b'7');
    let (delivered, stat, error) = if lost { ("000", "UNDELIV", "027") } else { ("001", "DELIVRD", "000") };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let wall = warp_model::Wall(i64::try_from(now.as_micros()).unwrap_or(0));
    let date = warp_smpp::time::of_receipt(wall);
    let date = String::from_utf8_lossy(&date);
    let text = format!(
        "id:{number:010} sub:001 dlvrd:{delivered} submit date:{date} done date:{date} stat:{stat} err:{error} text:"
    );
    let message = Message {
        source: Address { ton: 1, npi: 1, text: sent.destination.text },
        destination: sent.source,
        esm_class: 4,
        short_message: text.as_bytes(),
        ..Message::default()
    };
    let mut out = Vec::new();
    let _ = pdu::encode(&mut out, Command::DELIVER_SM, Status::ROK, number, &Body::Message(message));
    out
}
