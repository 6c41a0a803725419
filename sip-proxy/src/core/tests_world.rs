//! A small world for the tests of the policy mode: one customer with an ACL trunk and a digest user, three vendors, cheap to dear.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use warp_model::cdr::{CallRecord, JournalRecord};
use warp_model::{Currency, CustomerId, DeckId, Nanos, Secret, TrunkId, VendorId, VendorTrunkId, Wall};
use warp_ng::{Command as Ng, Reply};
use warp_policy::deck::{Deck, DeckKind, DeckMeta, Row};
use warp_policy::directory::*;
use warp_policy::*;
use warp_sip::digest::{Algorithm, Ha1};
use warp_sip::flow::{Flow, Transport as Hop};
use warp_sip::resolve::Wanted;

use super::tests_static::{addr, at, line, lines};
use super::types::{AskId, AskReply, Command, CoreConfig, Listener, MediaError, Mode, Output, Question};
use super::{Core, Shared};

pub(super) const US: &str = "198.51.100.1:5060";
pub(super) const CUSTOMER: &str = "192.0.2.10:5060";
pub(super) const V1: &str = "203.0.113.1:5060";
pub(super) const V2: &str = "203.0.113.2:5060";
pub(super) const V3: &str = "203.0.113.3:5060";
pub(super) const NUMBER: &str = "+14155550123";
pub(crate) const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

fn deck(n: u128, rate: i64) -> Arc<Deck> {
    let kind = DeckKind::Us;
    let row = |code: &str, rate: i64| Row {
        code: code.parse().unwrap(),
        rates: [Nanos(rate); 3],
        terms: kind.usual_terms(),
        from: None,
        until: None,
        blocked: false,
    };
    let mut rows = vec![row("1415", rate)];
    if n == 100 {
        rows.push(row("1212", rate)); // sold, bought from nobody
    }
    let meta = DeckMeta {
        id: DeckId::from_u128(n),
        version: 1,
        name: format!("deck {n}"),
        kind,
        currency: Currency::USD,
    };
    Arc::new(Deck::new(meta, rows).unwrap())
}

/// Changes to the world before it is built.
pub(crate) type Tweak = fn(&mut DirectoryBuilder);

pub(crate) fn snapshot(tweak: Tweak) -> Arc<Snapshot> {
    let limits = Limits::default;
    let ha1 = |a| {
        let h = Ha1::new(a, b"pbx", b"warp", b"secret");
        Some(Secret::new(String::from_utf8(h.reveal().to_vec()).unwrap()))
    };
    let mut rows = DirectoryBuilder::default()
        .customer(Customer {
            id: CustomerId::from_u128(1),
            name: "acme".into(),
            enabled: true,
            limits: limits(),
            utc_offset_min: 0,
            inbound: Default::default(),
        })
        .trunk(Trunk {
            id: TrunkId::from_u128(1),
            customer: CustomerId::from_u128(1),
            name: "main".into(),
            enabled: true,
            limits: limits(),
            destinations: Default::default(),
            sell_decks: vec![DeckId::from_u128(100)],
            partition: "premium".into(),
            acl: vec!["192.0.2.0/28".parse().unwrap()],
            digest: vec![DigestUser {
                username: "pbx".into(),
                ha1: Ha1s { realm: "warp".into(), md5: ha1(Algorithm::Md5), sha256: ha1(Algorithm::Sha256) },
            }],
            media_ips: vec!["192.0.2.200".parse().unwrap()],
            dial: Default::default(),
            caller: Default::default(),
            rounding: Rounding::default(),
            deliver: Default::default(),
            payer: None,
            headers: Default::default(),
        });
    let mut vendors = vec![];
    for n in 1..=3_u128 {
        rows = rows
            .vendor(Vendor {
                id: VendorId::from_u128(n),
                name: format!("vendor {n}"),
                enabled: true,
                buy_decks: vec![DeckId::from_u128(n)],
                interconnection: None,
                rounding: Rounding::default(),
                inbound: Default::default(),
            })
            .vendor_trunk(VendorTrunk {
                id: VendorTrunkId::from_u128(n),
                vendor: VendorId::from_u128(n),
                name: format!("vtk {n}"),
                enabled: true,
                hosts: Vec::new(),
                addresses: vec![addr(&format!("203.0.113.{n}:5060"))],
                transport: Transport::Udp,
                limits: limits(),
                credentials: None,
                tech_prefix: if n == 2 { "77#".into() } else { String::new() },
                number_format: NumberFormat::PlusE164,
                media_ips: vec![],
                signalling_ips: Vec::new(),
                headers: warp_policy::directory::HeaderTerms::of_a_carrier(),
                follow_redirects: false,
                allow_refer: false,
                inbound_networks: Vec::new(),
                priority: 0,
                weight: 1,
            });
        vendors.push(PartitionVendor { vendor: VendorId::from_u128(n), priority: 0, weight: 1 });
    }
    rows = rows.partition(Partition {
        name: "premium".into(),
        strategy: Strategy::Cost,
        vendors,
        max_candidates: 4,
        expected_duration_s: 180,
        margin: Margin::default(),
        loss_ok: false,
    });
    tweak(&mut rows);
    let list = |d: Arc<Deck>| RateList { decks: vec![d] };
    let m = 1_000_000;
    let buys = [list(deck(1, m)), list(deck(2, 2 * m)), list(deck(3, 3 * m))];
    // 200 and 300: what calls to numbers are sold and bought for.
    let sells = [list(deck(100, 10 * m)), list(deck(200, 5 * m)), list(deck(300, m))];
    let index = LcrIndex::build(&buys, &sells, &NumberPlan::seed(), Wall(0)).unwrap();
    let directory = Arc::new(rows.build().unwrap());
    Arc::new(Snapshot::new(directory, Arc::new(index), Arc::new(NumberPlan::seed())))
}

/// A core with its surroundings: what it sent, what it asked, what it recorded.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) ms: u64,
    pub(super) sent: VecDeque<(SocketAddr, String)>,
    pub(super) asked: VecDeque<(AskId, Ng)>,
    /// Names that DNS was asked for.
    pub(super) names: VecDeque<(AskId, Wanted)>,
    pub(super) answered: Vec<CallRecord>,
    pub(super) ended: Vec<CallRecord>,
    /// Kinds of outputs in order: `T`ransmit, `A`sk, `J`ournal.
    pub(super) order: String,
    /// Answer questions at once.
    pub(super) relay: bool,
    /// Where its messages come to.
    pub(super) us: SocketAddr,
}

impl World {
    pub(super) fn new(anchor: bool, tweak: Tweak) -> World {
        World::with(anchor, tweak, |_| ())
    }

    /// With another configuration than the usual one.
    pub(super) fn with(anchor: bool, tweak: Tweak, configure: fn(&mut CoreConfig)) -> World {
        let listener = Listener { transport: Hop::Udp, bind: addr(US), advertise: None };
        let mut config = CoreConfig::new(Mode::Policy, vec![listener]);
        config.anchor_media = anchor;
        config.domains = vec!["sip.example.com".into()];
        configure(&mut config);
        let shared = Arc::new(Shared::new([3; 32]));
        let mut core = Core::new(Arc::new(config), 0, [9; 32], shared);
        core.handle_snapshot(snapshot(tweak), at(0));
        World {
            core,
            ms: 0,
            sent: VecDeque::new(),
            asked: VecDeque::new(),
            names: VecDeque::new(),
            answered: vec![],
            ended: vec![],
            order: String::new(),
            relay: true,
            us: addr(US),
        }
    }

    /// The directory changes; prices stay.
    pub(super) fn change(&mut self, rows: DirectoryBuilder) {
        let now = self.core.tx.snapshot.clone().unwrap();
        let next = now.with_directory(Arc::new(rows.build().unwrap()));
        self.core.handle_snapshot(Arc::new(next), at(self.ms));
    }

    pub(super) fn give(&mut self, from: &str, text: &str) {
        self.ms += 10;
        let flow = Flow::udp(self.us, addr(from));
        self.core.handle_message(flow, text.as_bytes(), at(self.ms));
        self.drain();
    }

    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.ms + ms;
        while let Some(next) = self.core.poll_timeout().filter(|n| *n <= at(end).mono) {
            self.ms = self.ms.max((next.0 - at(0).mono.0).div_ceil(1_000_000));
            self.core.handle_timeout(at(self.ms));
            self.drain();
        }
        self.ms = end;
    }

    pub(super) fn command(&mut self, command: Command) {
        self.core.handle_command(command, at(self.ms));
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        loop {
            while let Some(o) = self.core.poll_output() {
                match o {
                    Output::Transmit { flow, bytes } => {
                        self.order.push('T');
                        let text = String::from_utf8(bytes.to_vec()).unwrap();
                        self.sent.push_back((flow.remote, text));
                        self.core.recycle(bytes);
                    }
                    Output::Ask { id, question: Question::Locate(name) } => self.names.push_back((id, name)),
                    Output::Ask { question: Question::Look(_) | Question::Write { .. }, .. } => {}
                    Output::Ask { id, question: Question::Media(c) } => {
                        self.order.push('A');
                        self.asked.push_back((id, c));
                    }
                    Output::Journal(JournalRecord::Answered(r)) => {
                        self.order.push('J');
                        self.answered.push(*r);
                    }
                    Output::Journal(JournalRecord::Ended(r)) => {
                        self.order.push('J');
                        self.ended.push(*r);
                    }
                    Output::CloseFlow(_) => {}
                }
            }
            if !self.relay || self.asked.iter().all(|(id, _)| *id == AskId(0)) {
                return;
            }
            let (id, command) = self.asked.iter().find(|(id, _)| *id != AskId(0)).cloned().unwrap();
            self.asked.iter_mut().filter(|(i, _)| *i == id).for_each(|(i, _)| *i = AskId(0));
            let reply = match &command {
                Ng::Offer(c) | Ng::Answer(c) => {
                    let sdp = [b"relay:".as_slice(), &c.sdp].concat();
                    Reply::Sdp { sdp, warning: None, recordings: Vec::new() }
                }
                _ => Reply::Stats(Default::default()),
            };
            self.answer(id, Ok(reply));
        }
    }

    pub(super) fn answer(&mut self, id: AskId, answer: Result<Reply, MediaError>) {
        self.core.handle_answer(id, AskReply::Media(answer), at(self.ms));
        if !self.relay {
            self.drain();
        }
    }

    /// Names of the questions asked since the last look.
    pub(super) fn questions(&mut self) -> Vec<Ng> {
        self.asked.drain(..).map(|(_, c)| c).collect()
    }

    /// Takes everything that was sent since the last look.
    pub(super) fn take(&mut self) -> Vec<(SocketAddr, String)> {
        self.sent.drain(..).collect()
    }

    /// The only message sent to an address since the last look.
    pub(super) fn to(&mut self, who: &str) -> String {
        let all = self.take();
        let mut mine: Vec<String> =
            all.iter().filter(|(to, _)| *to == addr(who)).map(|(_, t)| t.clone()).collect();
        mine.retain(|t| !t.starts_with("SIP/2.0 100 "));
        assert_eq!(mine.len(), 1, "to {who}: {all:#?}");
        mine.remove(0)
    }

    /// No call, no channel and, after all timers, no transaction is left.
    pub(super) fn nothing_is_left(&mut self) {
        self.wait(700_000);
        assert_eq!(self.core.live_calls(), 0);
        assert_eq!(self.core.calls.all.len(), 0);
        assert_eq!(self.core.transactions(), (0, 0));
        let directory = self.core.tx.snapshot.clone().unwrap().directory.clone();
        let bound = self.core.tx.shared.usage.bind(&directory);
        for (ix, _) in directory.trunks() {
            assert_eq!(bound.trunk(ix).unwrap().channels, 0);
        }
        for (ix, _) in directory.vendor_trunks() {
            assert_eq!(bound.vendor_trunk_channels(ix), Some(0));
        }
        assert!(self.core.calls.asks.is_empty());
        assert!(self.core.calls.by_dialog.is_empty() && self.core.calls.by_cdr.is_empty());
    }
}

pub(crate) fn with_body(head: &str, body: &str) -> String {
    if body.is_empty() {
        return format!("{head}Content-Length: 0\r\n\r\n");
    }
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

pub(super) fn invite(number: &str, call: &str, extra: &str, body: &str) -> String {
    with_body(
        &format!(
            "INVITE sip:{number}@{US} SIP/2.0\r\nVia: SIP/2.0/UDP {CUSTOMER};branch=z9hG4bK{call}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:+14155550100@{CUSTOMER}>;tag=at\r\nTo: <sip:{number}@{US}>\r\n\
             Call-ID: {call}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{CUSTOMER}>\r\n{extra}"
        ),
        body,
    )
}

pub(crate) fn reply(
    request: &str,
    status: &str,
    tag: &str,
    contact: &str,
    extra: &str,
    body: &str,
) -> String {
    let mut out = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route"] {
        for v in lines(request, name) {
            out += &format!("{name}: {v}\r\n");
        }
    }
    let to = line(request, "To");
    let tag = if to.contains("tag=") || tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    with_body(
        &(out
            + &format!(
                "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:b@{contact}>\r\n{extra}",
                line(request, "From"),
                line(request, "Call-ID"),
                line(request, "CSeq"),
            )),
        body,
    )
}

/// A request within the dialog that `ok` (a 200 as one side got it) made; `caller`: sent by the caller.
pub(super) fn inside(method: &str, ok: &str, caller: bool, branch: &str, extra: &str, body: &str) -> String {
    let (via, target) = if caller { (CUSTOMER, V1) } else { (V1, CUSTOMER) };
    let (from, to) = (line(ok, "From"), line(ok, "To"));
    let (from, to) = if caller { (from, to) } else { (to, from) };
    let cseq = if method == "ACK" { 1 } else { 2 };
    let route: String = lines(ok, "Record-Route").iter().map(|r| format!("Route: {r}\r\n")).collect();
    with_body(
        &format!(
            "{method} sip:x@{target} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
             {route}From: {from}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n{extra}",
            line(ok, "Call-ID"),
        ),
        body,
    )
}

pub(super) fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}

/// An answered call to vendor 1; returns the 200 as the caller got it and the INVITE as the vendor got it.
pub(super) fn answered(w: &mut World, sdp: &str) -> (String, String) {
    w.give(CUSTOMER, &invite(NUMBER, "c1", "", sdp));
    let at_v = w.to(V1);
    w.give(V1, &reply(&at_v, "180 Ringing", "bt", V1, "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 180 "));
    w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", sdp));
    let ok = w.to(CUSTOMER);
    assert!(ok.starts_with("SIP/2.0 200 "));
    w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
    assert!(w.to(V1).starts_with("ACK "));
    (ok, at_v)
}

/// What a call must have cost: its vendor, the whole seconds that it lasted, and what is charged on both sides, in nanos.
pub(super) fn billed(record: &CallRecord, vendor: u128, seconds: u64, price: i64, cost: i64) {
    let rating = record.rating.as_ref().unwrap_or_else(|| panic!("not rated: {record:#?}"));
    assert_eq!(
        (
            record.vendor_id.map(|v| v.as_u128()),
            record.duration_ms / 1_000,
            rating.sell.charge.0,
            rating.buy.charge.0
        ),
        (Some(vendor), seconds, price, cost),
        "vendor, seconds, price and cost of {record:#?}"
    );
    assert_eq!((record.outcome, record.sip_code), (warp_model::cdr::Outcome::Answered, 200));
}

/// Exactly one call was answered, and it has exactly one record, which says what it must ([`billed`]).
pub(super) fn one_record(w: &World, vendor: u128, seconds: u64, price: i64, cost: i64) {
    let [record] = w.ended.as_slice() else { panic!("one record: {:#?}", w.ended) };
    assert!(!w.answered.is_empty() && w.answered.iter().all(|r| r.cdr_id == record.cdr_id), "one answer");
    billed(record, vendor, seconds, price, cost);
}

/// The caller hangs up after 61 seconds more, at this CSeq, and the callee agrees. The one record says so: 66 seconds are billed, at
/// 0.01 a minute and a thousandth of it per rank of the vendor.
pub(super) fn hangs_up(w: &mut World, ok: &str, cseq: u32, vendor: u128) {
    w.wait(61_000);
    w.take();
    let bye = inside("BYE", ok, true, "hangs-up", "", "").replace("CSeq: 2", &format!("CSeq: {cseq}"));
    w.give(CUSTOMER, &bye);
    let (to, bye) = w.take().into_iter().find(|(_, t)| t.starts_with("BYE ")).expect("the BYE goes on");
    w.give(&to.to_string(), &reply(&bye, "200 OK", "", &to.to_string(), "", ""));
    assert!(w.to(CUSTOMER).starts_with("SIP/2.0 200 "));
    let cost = [0, 1_100_000, 2_200_000, 3_300_000][usize::try_from(vendor).unwrap()];
    one_record(w, vendor, 61, 11_000_000, cost);
}

/// The record of a call that was refused.
pub(crate) fn ended_record() -> JournalRecord {
    let mut w = World::new(false, |_| ());
    w.give(CUSTOMER, &invite("+12125550100", "c1", "", ""));
    JournalRecord::Ended(Box::new(w.ended.pop().unwrap()))
}
