//! SMPP peers of whole-stack tests: a carrier that answers binds and messages with ids and receipts, and a customer's bind.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Header, Status};

/// A carrier on loopback: binds SIM with password sim, takes every message, and sends the receipt at once when it is wanted.
pub struct Carrier {
    pub at: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// How often each text came.
    texts: Mutex<BTreeMap<String, u32>>,
    next: AtomicU64,
    stop: AtomicBool,
    links: Mutex<Vec<TcpStream>>,
    /// Receipts that were sent and not answered: they come again on the next bind, as from any carrier.
    unanswered: Mutex<BTreeMap<u32, Vec<u8>>>,
    /// Answers come this long after the message: so that a window is in flight when the SMSC is killed.
    answers_after: Duration,
}

impl Carrier {
    /// Listens on a port that the system gives.
    pub fn start(answers_after: Duration) -> Carrier {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            texts: Mutex::default(),
            next: AtomicU64::new(0xA0),
            stop: AtomicBool::new(false),
            links: Mutex::default(),
            unanswered: Mutex::default(),
            answers_after,
        });
        let inner = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if inner.stop.load(Ordering::Acquire) {
                    break;
                }
                inner.links.lock().expect("lock").push(stream.try_clone().expect("clone"));
                let inner = Arc::clone(&inner);
                std::thread::spawn(move || serve(stream, &inner));
            }
        });
        Carrier { at, shared }
    }

    /// How often each text came so far.
    pub fn texts(&self) -> BTreeMap<String, u32> {
        self.shared.texts.lock().expect("lock").clone()
    }

    /// Sends a message of a handset over the newest bind.
    pub fn originate(&self, text: &str) {
        let message = Message {
            source: Address { ton: 1, npi: 1, text: b"491701234567" },
            destination: Address { ton: 0, npi: 1, text: b"12345" },
            short_message: text.as_bytes(),
            ..Message::default()
        };
        let mut out = Vec::new();
        let sequence = self.shared.next.fetch_add(1, Ordering::Relaxed) as u32;
        pdu::encode(&mut out, Command::DELIVER_SM, Status::ROK, sequence, &Body::Message(message))
            .expect("fits");
        let links = self.shared.links.lock().expect("lock");
        let _ = links.last().expect("a bind").write_all(&out);
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for link in self.shared.links.lock().expect("lock").iter() {
            let _ = link.shutdown(std::net::Shutdown::Both);
        }
        // Lets the listener's thread see it.
        let _ = TcpStream::connect(self.at);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let mut framer = Framer::new(PDU_BYTES);
    let mut buffer = [0u8; 65_536];
    // Answers that are not due yet, the oldest first.
    let mut owed: std::collections::VecDeque<(Instant, Vec<u8>)> = Default::default();
    stream.set_nodelay(true).expect("nodelay");
    loop {
        let now = Instant::now();
        let mut out = Vec::new();
        while owed.front().is_some_and(|(at, _)| *at <= now) {
            out.extend(owed.pop_front().expect("front").1);
        }
        if stream.write_all(&out).is_err() {
            return;
        }
        let patience = owed.front().map(|(at, _)| at.saturating_duration_since(now));
        let patience = patience.map(|p| p.max(Duration::from_millis(1)));
        stream.set_read_timeout(patience).expect("time-out");
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => framer.push(&buffer[..n]),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return,
        }
        while let Some(Frame::Pdu(header, body)) = framer.poll_frame() {
            let mut answer = Vec::new();
            respond(&header, body, shared, &mut answer);
            let wait =
                if header.command == Command::SUBMIT_SM { shared.answers_after } else { Duration::ZERO };
            owed.push_back((Instant::now() + wait, answer));
        }
    }
}

fn respond(header: &Header, body: &[u8], shared: &Shared, out: &mut Vec<u8>) {
    let (command, sequence) = (header.command, header.sequence);
    match pdu::decode(header, body).expect("the SMSC writes what can be read") {
        Body::Bind(bind) => {
            let right = bind.system_id == b"SIM" && bind.password == b"sim";
            let status = if right { Status::ROK } else { Status::RINVPASWD };
            let body = Body::BindResp(pdu::BindResp { system_id: b"CARRIER", ..Default::default() });
            pdu::encode(out, command.response(), status, sequence, &body).expect("fits");
            for again in shared.unanswered.lock().expect("lock").values() {
                out.extend_from_slice(again);
            }
        }
        Body::Message(message) if command == Command::SUBMIT_SM => {
            let text = String::from_utf8_lossy(message.short_message).into_owned();
            *shared.texts.lock().expect("lock").entry(text).or_default() += 1;
            // Hexadecimal ids, as many carriers have them.
            let id = format!("{:08x}", shared.next.fetch_add(1, Ordering::Relaxed));
            let body = Body::MessageId { id: id.as_bytes(), tlvs: Default::default() };
            pdu::encode(out, command.response(), Status::ROK, sequence, &body).expect("fits");
            if message.registered_delivery & 3 != 0 {
                let text = format!(
                    "id:{} sub:001 dlvrd:001 submit date:2611301504 done date:2611301505 stat:DELIVRD err:000 text:",
                    id.to_uppercase()
                );
                let receipt = Message {
                    source: message.destination,
                    destination: message.source,
                    esm_class: 4,
                    short_message: text.as_bytes(),
                    ..Message::default()
                };
                let sequence = shared.next.fetch_add(1, Ordering::Relaxed) as u32;
                let mut bytes = Vec::new();
                pdu::encode(&mut bytes, Command::DELIVER_SM, Status::ROK, sequence, &Body::Message(receipt))
                    .expect("fits");
                out.extend_from_slice(&bytes);
                shared.unanswered.lock().expect("lock").insert(sequence, bytes);
            }
        }
        _ if command == Command::DELIVER_SM.response() && header.status.is_ok() => {
            shared.unanswered.lock().expect("lock").remove(&sequence);
        }
        _ if !command.is_response() => pdu::reply(out, command, Status::ROK, sequence),
        _ => {}
    }
}

/// A customer's bind: blocking, one thread.
pub struct Esme {
    stream: TcpStream,
    framer: Framer,
    buffer: Vec<u8>,
    next: u32,
    /// What came with the answer to the bind: receipts that waited for it.
    early: Vec<(Header, Vec<u8>)>,
}

impl Esme {
    /// Binds as a transceiver.
    pub fn bind(at: SocketAddr, system_id: &str, password: &str) -> Esme {
        let stream = TcpStream::connect(at).expect("the SMSC listens");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("time-out");
        let mut esme = Esme {
            stream,
            framer: Framer::new(PDU_BYTES),
            buffer: vec![0; 65_536],
            next: 0,
            early: Vec::new(),
        };
        let bind = pdu::Bind {
            system_id: system_id.as_bytes(),
            password: password.as_bytes(),
            interface_version: 0x34,
            ..pdu::Bind::default()
        };
        esme.send(Command::BIND_TRANSCEIVER, &Body::Bind(bind)).expect("sent");
        let mut got =
            super::poll_until(Duration::from_secs(10), || Some(esme.receive()).filter(|g| !g.is_empty()))
                .expect("an answer");
        assert_eq!(got.remove(0).0.status, Status::ROK);
        esme.early = got;
        esme
    }

    /// Sends a request; gives its sequence number. `None`: the link is gone.
    pub fn send(&mut self, command: Command, body: &Body<'_>) -> Option<u32> {
        self.next += 1;
        let mut out = Vec::new();
        pdu::encode(&mut out, command, Status::ROK, self.next, body).expect("fits");
        self.stream.write_all(&out).ok()?;
        Some(self.next)
    }

    /// Sends a message that wants a receipt.
    pub fn submit(&mut self, text: &str) -> Option<u32> {
        let message = Message {
            source: Address { ton: 5, npi: 0, text: b"WARP" },
            destination: Address { ton: 1, npi: 1, text: b"491701234567" },
            registered_delivery: 1,
            short_message: text.as_bytes(),
            ..Message::default()
        };
        self.send(Command::SUBMIT_SM, &Body::Message(message))
    }

    /// What came within 200 ms, deliveries answered.
    pub fn receive(&mut self) -> Vec<(Header, Vec<u8>)> {
        if let Ok(n) = self.stream.read(&mut self.buffer) {
            self.framer.push(&self.buffer[..n]);
        }
        let mut got = Vec::new();
        while let Some(Frame::Pdu(header, body)) = self.framer.poll_frame() {
            got.push((header, body.to_vec()));
        }
        let mut out = Vec::new();
        for (header, _) in got.iter().filter(|(h, _)| !h.command.is_response()) {
            pdu::reply(&mut out, header.command, Status::ROK, header.sequence);
        }
        let _ = self.stream.write_all(&out);
        got.splice(0..0, std::mem::take(&mut self.early));
        got
    }
}

/// The text of a deliver_sm.
pub fn text_of(header: &Header, body: &[u8]) -> String {
    match pdu::decode(header, body) {
        Ok(Body::Message(m)) => String::from_utf8_lossy(m.short_message).into_owned(),
        other => panic!("{other:?}"),
    }
}

/// The id in the answer to a submit_sm.
pub fn id_of(header: &Header, body: &[u8]) -> String {
    match pdu::decode(header, body) {
        Ok(Body::MessageId { id, .. }) => String::from_utf8_lossy(id).into_owned(),
        other => panic!("{other:?}"),
    }
}
