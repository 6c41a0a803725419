//! A world for tests of the core: customers and vendors that speak bytes, a disk that syncs when it is told to, restarts from what it holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::{Mono, Now, Wall};
use warp_smpp::frame::{Frame, Framer, PDU_BYTES};
use warp_smpp::pdu::{self, Address, Body, Message};
use warp_smpp::{Command, Header, Status};
use warp_telemetry::Registry;

use super::{Core, Key, Output};
use crate::config::{Account, Config, Destination, Vendor};
use crate::metrics::Metrics;

/// What the other end of a connection has got.
pub(super) type Got = (Header, Vec<u8>);

pub(super) struct World {
    pub(super) core: Core,
    pub(super) config: Arc<Config>,
    pub(super) metrics: Metrics,
    pub(super) now: Now,
    /// The records of the topic.
    pub(super) disk: Vec<Vec<u8>>,
    /// How many of them are durable.
    pub(super) durable: usize,
    /// Whether each turn syncs.
    pub(super) syncs: bool,
    framers: BTreeMap<Key, Framer>,
    got: BTreeMap<Key, Vec<Got>>,
    /// Open connections to vendors, by address, in the order of their opening.
    pub(super) vendor_links: Vec<(Key, SocketAddr)>,
    pub(super) closed: Vec<Key>,
    sequence: u32,
    lives: u64,
}

pub(super) fn vendor_at(n: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, n], 2775))
}

/// foo without limits, slow with 2 messages a second; one vendor with one bind.
pub(super) fn config() -> Config {
    let mut slow = Account::new("slow", "bar");
    slow.rate = Some(2);
    Config {
        accounts: vec![Account::new("foo", "bar"), slow],
        vendors: vec![Vendor::new("SIM", "SIM", "sim", vec![vendor_at(1)])],
        mt_default: Some(0),
        mo_default: Some(Destination::Account(0)),
        ..Config::new("WARP")
    }
}

pub(super) fn submit<'a>(text: &'a [u8]) -> Message<'a> {
    Message {
        source: Address { ton: 5, npi: 0, text: b"WARP" },
        destination: Address { ton: 1, npi: 1, text: b"491701234567" },
        registered_delivery: 1,
        short_message: text,
        ..Message::default()
    }
}

/// The text of the message in a submit_sm or deliver_sm.
pub(super) fn text_of(got: &Got) -> String {
    match pdu::decode(&got.0, &got.1) {
        Ok(Body::Message(m)) => String::from_utf8_lossy(m.short_message).into_owned(),
        other => panic!("{other:?}"),
    }
}

/// The id in the answer to a submit_sm.
pub(super) fn id_of(got: &Got) -> String {
    match pdu::decode(&got.0, &got.1) {
        Ok(Body::MessageId { id, .. }) => String::from_utf8_lossy(id).into_owned(),
        other => panic!("{other:?}"),
    }
}

impl World {
    pub(super) fn new(config: Config) -> World {
        let config = Arc::new(config);
        let metrics = Metrics::register(&Registry::new());
        let now = Now { mono: Mono(1_000_000_000), wall: Wall::from_unix_ms(1_795_353_285_000) };
        let mut world = World {
            core: Core::new(Arc::clone(&config), metrics.clone(), 7),
            config,
            metrics,
            now,
            disk: Vec::new(),
            durable: 0,
            syncs: true,
            framers: BTreeMap::new(),
            got: BTreeMap::new(),
            vendor_links: Vec::new(),
            closed: Vec::new(),
            sequence: 0,
            lives: 0,
        };
        world.turn();
        world
    }

    /// Ends the process and starts it again from what the disk holds: all that was written (kill −9), or all that is durable (power cut).
    pub(super) fn restart(&mut self, power_cut: bool) {
        if power_cut {
            self.disk.truncate(self.durable);
        }
        self.durable = self.disk.len();
        // Another process has another seed, or ids would come twice.
        self.lives += 1;
        self.core = Core::new(Arc::clone(&self.config), self.metrics.clone(), 7 + self.lives);
        self.framers.clear();
        self.got.clear();
        self.vendor_links.clear();
        self.closed.clear();
        for (number, record) in self.disk.iter().enumerate() {
            if !record.is_empty() {
                self.core.restore(number as u64, record, self.now);
            }
        }
        self.core.restored_all(self.now);
        self.turn();
    }

    /// One wake-up of the server.
    pub(super) fn turn(&mut self) {
        for _ in 0..10 {
            if self.now.mono >= self.core.deadline(self.now) {
                self.core.timeout(self.now);
            }
            self.finish();
            if self.syncs {
                self.sync();
            }
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable = self.disk.len();
        self.core.durable(self.durable as u64, self.now);
        self.finish();
    }

    /// The end of a wake-up: what was made is written before anything of it goes out.
    fn finish(&mut self) {
        self.core.round(self.now);
        if !self.core.batch().is_empty() {
            self.disk.extend(self.core.batch().records().map(<[u8]>::to_vec));
            self.core.appended(self.disk.len() as u64);
        }
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        let (framers, got) = (&mut self.framers, &mut self.got);
        let mut enquiries = Vec::new();
        self.core.take_dirty(self.now, |key, out| {
            let framer = framers.entry(key).or_insert_with(|| Framer::new(PDU_BYTES));
            framer.push(out);
            out.clear();
            while let Some(Frame::Pdu(header, body)) = framer.poll_frame() {
                if header.command == Command::ENQUIRE_LINK {
                    enquiries.push((key, header.sequence));
                    continue;
                }
                got.entry(key).or_default().push((header, body.to_vec()));
            }
        });
        // The other ends live.
        for (key, sequence) in enquiries {
            let mut out = Vec::new();
            pdu::reply(&mut out, Command::ENQUIRE_LINK, Status::ROK, sequence);
            self.core.bytes(key, &out, self.now);
        }
        while let Some(output) = self.core.poll() {
            match output {
                Output::Connect(key, at, _) => {
                    self.vendor_links.push((key, at));
                    self.core.connected(key, self.now);
                }
                Output::Close(key) => {
                    self.vendor_links.retain(|(k, _)| *k != key);
                    self.closed.push(key);
                }
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while self.now.mono < end {
            let step = self.core.deadline(self.now).max(self.now.mono + Duration::from_millis(10)).min(end);
            let passed = step.since(self.now.mono);
            self.now = Now { mono: step, wall: self.now.wall.plus(passed) };
            self.turn();
        }
    }

    /// What came on a connection since the last look.
    pub(super) fn got(&mut self, key: Key) -> Vec<Got> {
        self.got.remove(&key).unwrap_or_default()
    }

    pub(super) fn connect(&mut self, ip: [u8; 4]) -> Key {
        self.core.accepted(SocketAddr::from((ip, 40_000)), self.now).expect("there is room")
    }

    pub(super) fn raw(&mut self, key: Key, bytes: &[u8]) {
        self.core.bytes(key, bytes, self.now);
        self.turn();
    }

    /// Sends a request; gives its sequence number.
    pub(super) fn ask(&mut self, key: Key, command: Command, body: &Body<'_>) -> u32 {
        self.sequence += 1;
        let mut out = Vec::new();
        pdu::encode(&mut out, command, Status::ROK, self.sequence, body).expect("fits");
        self.raw(key, &out);
        self.sequence
    }

    pub(super) fn reply(&mut self, key: Key, to: &Got, status: Status, id: &[u8]) {
        let mut out = Vec::new();
        let body = Body::MessageId { id, tlvs: Default::default() };
        pdu::encode(&mut out, to.0.command.response(), status, to.0.sequence, &body).expect("fits");
        self.raw(key, &out);
    }

    /// Sends a request, and gives the status of its answer.
    pub(super) fn status(&mut self, key: Key, command: Command, body: &Body<'_>) -> Status {
        let sequence = self.ask(key, command, body);
        let mut got = self.got(key);
        let answer = got.iter().position(|(h, _)| h.sequence == sequence && h.command.is_response());
        let answer = got.remove(answer.unwrap_or_else(|| panic!("no answer to {command}: {got:?}")));
        // What came besides is for a later look.
        self.got.entry(key).or_default().splice(0..0, got);
        answer.0.status
    }

    pub(super) fn bind_status(&mut self, key: Key, command: Command, id: &str, password: &str) -> Status {
        let bind = pdu::Bind {
            system_id: id.as_bytes(),
            password: password.as_bytes(),
            interface_version: 0x34,
            ..pdu::Bind::default()
        };
        self.status(key, command, &Body::Bind(bind))
    }

    /// A bound transceiver of an account.
    pub(super) fn customer(&mut self, id: &str) -> Key {
        let key = self.connect([192, 0, 2, 1]);
        assert_eq!(self.bind_status(key, Command::BIND_TRANSCEIVER, id, "bar"), Status::ROK);
        key
    }

    /// Submits a message; gives our id of it.
    pub(super) fn submit(&mut self, key: Key, text: &str) -> String {
        self.ask(key, Command::SUBMIT_SM, &Body::Message(submit(text.as_bytes())));
        let got = self.got(key);
        let answer = got.iter().find(|(h, _)| h.command == Command::SUBMIT_SM.response()).expect("an answer");
        assert_eq!(answer.0.status, Status::ROK);
        id_of(answer)
    }

    /// The link to the vendor's n-th open connection, bound.
    pub(super) fn vendor(&mut self, n: usize) -> Key {
        let key = self.vendor_links[n].0;
        let bind = self.got(key).remove(0);
        assert_eq!(bind.0.command, Command::BIND_TRANSCEIVER);
        let mut out = Vec::new();
        let body = Body::BindResp(pdu::BindResp { system_id: b"SIM", ..Default::default() });
        pdu::encode(&mut out, bind.0.command.response(), Status::ROK, bind.0.sequence, &body).expect("fits");
        self.raw(key, &out);
        key
    }

    /// The messages that a vendor has got since the last look.
    pub(super) fn submitted(&mut self, vendor: Key) -> Vec<Got> {
        self.got(vendor).into_iter().filter(|(h, _)| h.command == Command::SUBMIT_SM).collect()
    }

    /// A receipt of the vendor; gives the sequence number of the deliver_sm.
    pub(super) fn receipt(&mut self, vendor: Key, id: &str, stat: &str) -> u32 {
        let text = format!(
            "id:{id} sub:001 dlvrd:001 submit date:2611301504 done date:2611301505 stat:{stat} err:000 text:x"
        );
        let message = Message {
            source: Address { ton: 1, npi: 1, text: b"491701234567" },
            destination: Address { ton: 5, npi: 0, text: b"WARP" },
            esm_class: 4,
            short_message: text.as_bytes(),
            ..Message::default()
        };
        self.ask(vendor, Command::DELIVER_SM, &Body::Message(message))
    }

    /// What the customer got delivered since the last look, answered.
    pub(super) fn deliveries(&mut self, customer: Key) -> Vec<Got> {
        let list: Vec<Got> =
            self.got(customer).into_iter().filter(|(h, _)| h.command == Command::DELIVER_SM).collect();
        for delivery in &list {
            self.reply(customer, delivery, Status::ROK, b"");
        }
        list
    }

    pub(super) fn break_link(&mut self, key: Key) {
        self.vendor_links.retain(|(k, _)| *k != key);
        self.core.closed(key, self.now);
        self.turn();
    }

    pub(super) fn waiting(&self) -> usize {
        self.core.store.len()
    }
}
