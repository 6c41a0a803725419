//! Metrics of calls and trunks, taken from the records that the core hands to the journal: what the graphs count is what the
//! ledger has.
//!
//! `direction="ingress"` is where a call came in, `direction="egress"` where it went: the customer's trunk and the vendor's, of an inbound
//! call the other way round. To stay under the budget of series a trunk has the second direction from its first such call on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warp_model::cdr::{CallRecord, Direction, JournalRecord, LegRecord, Outcome as CallOutcome};
use warp_model::sync::lock;
use warp_model::{Mono, TrunkId, VendorTrunkId};
use warp_policy::Snapshot;
use warp_telemetry::Registry;
use warp_telemetry::label_enum;
use warp_telemetry::metrics::{Counters, Gauge, Gauges, Histogram, Histograms, Keyed, Kind, Sample};

label_enum! {
    /// A trunk that calls come in through.
    pub enum In = "direction" { Ingress = "ingress" }
}
label_enum! {
    /// A trunk that calls go out through.
    pub enum Out = "direction" { Egress = "egress" }
}
label_enum! {
    /// How a call ended.
    pub enum Outcome = "outcome" {
        Answered = "answered", Busy = "busy", NoAnswer = "no_answer", Cancelled = "cancelled", Rejected = "rejected",
        Failed = "failed",
    }
}
label_enum! {
    /// Final codes of INVITE that have a series per trunk; the others by class.
    pub enum Final = "code" {
        C200 = "200", C400 = "400", C401 = "401", C403 = "403", C404 = "404", C407 = "407", C408 = "408", C480 = "480",
        C484 = "484", C486 = "486", C487 = "487", C488 = "488", C500 = "500", C502 = "502", C503 = "503", C504 = "504",
        C600 = "600", C603 = "603", X2 = "2xx", X3 = "3xx", X4 = "4xx", X5 = "5xx", X6 = "6xx",
    }
}
label_enum! {
    /// Why the next vendor was tried.
    pub enum Failover = "reason" { Timeout = "timeout", X5 = "5xx", X4 = "4xx", ProbeDown = "probe_down" }
}
label_enum! {
    /// State of a dialog.
    pub enum Dialog = "state" { Early = "early", Confirmed = "confirmed" }
}

/// Handles of the families; clones count into the same cells.
#[derive(Clone)]
pub(crate) struct CallMetrics {
    dialogs: Gauges<(Dialog,)>,
    calls_in: Keyed<Counters<(In, Outcome)>>,
    calls_out: Keyed<Counters<(Out, Outcome)>>,
    final_in: Keyed<Counters<(In, Final)>>,
    final_out: Keyed<Counters<(Out, Final)>>,
    active_in: Keyed<Gauges<(In,)>>,
    active_out: Keyed<Gauges<(Out,)>>,
    duration_in: Keyed<Histograms<(In,)>>,
    duration_out: Keyed<Histograms<(Out,)>>,
    pdd: Keyed<Histogram>,
    setup: Keyed<Histogram>,
    failover: Keyed<Counters<(Failover,)>>,
    call_limit: Keyed<Gauge>,
    cps_limit: Keyed<Gauge>,
    trunk_up: Keyed<Gauge>,
    /// By name of the trunk; touched when a probe is answered, when a snapshot comes, and by a scrape.
    probe_seconds: Arc<Mutex<BTreeMap<String, f64>>>,
}

impl CallMetrics {
    pub(crate) fn register(r: &Registry) -> CallMetrics {
        const CALLS: (&str, &str) = ("warp_sip_calls_total", "Calls that ended, by how they ended.");
        const FINAL: (&str, &str) =
            ("warp_sip_trunk_invite_final_total", "Final responses to INVITE of each trunk, by code.");
        const ACTIVE: (&str, &str) = ("warp_sip_active_calls", "Answered calls that are in the air now.");
        const DURATION: (&str, &str) =
            ("warp_sip_call_duration_seconds", "Length of answered calls, in seconds.");
        let probe_seconds = Arc::<Mutex<BTreeMap<String, f64>>>::default();
        let seen = Arc::clone(&probe_seconds);
        r.observe(
            Kind::Gauge,
            "warp_sip_trunk_probe_seconds",
            "Time that the last answered OPTIONS probe of a vendor trunk took, in seconds.",
            &[TRUNK],
            move || {
                let seen = lock(&seen);
                seen.iter().map(|(id, s)| Sample::number(vec![(TRUNK, id.clone())], *s)).collect()
            },
        );
        CallMetrics {
            probe_seconds,
            dialogs: r.gauges("warp_sip_dialogs", "Calls being set up now, and answered ones."),
            calls_in: r.keyed(CALLS.0, CALLS.1, TRUNK, TRUNKS, ()),
            calls_out: r.keyed(CALLS.0, CALLS.1, TRUNK, TRUNKS, ()),
            final_in: r.keyed(FINAL.0, FINAL.1, TRUNK, TRUNKS, ()),
            final_out: r.keyed(FINAL.0, FINAL.1, TRUNK, TRUNKS, ()),
            active_in: r.keyed(ACTIVE.0, ACTIVE.1, TRUNK, TRUNKS, ()),
            active_out: r.keyed(ACTIVE.0, ACTIVE.1, TRUNK, TRUNKS, ()),
            duration_in: r.keyed(DURATION.0, DURATION.1, TRUNK, TRUNKS, DURATION_SECONDS),
            duration_out: r.keyed(DURATION.0, DURATION.1, TRUNK, TRUNKS, DURATION_SECONDS),
            pdd: r.keyed(
                "warp_sip_pdd_seconds",
                "Time from the INVITE sent to a vendor to its first ringing or answer (post-dial delay), in seconds.",
                TRUNK,
                TRUNKS,
                PDD_SECONDS,
            ),
            setup: r.keyed(
                "warp_sip_setup_seconds",
                "Time from a customer's INVITE to the answer of its call, in seconds.",
                TRUNK,
                TRUNKS,
                PDD_SECONDS,
            ),
            failover: r.keyed(
                "warp_sip_failover_total",
                "Attempts that failed so that the next vendor trunk was tried, by reason.",
                "from_vendor",
                VENDORS,
                (),
            ),
            call_limit: r.keyed(
                "warp_sip_call_limit",
                "Calls that a trunk may have at once, where it has a limit.",
                TRUNK,
                TRUNKS,
                (),
            ),
            cps_limit: r.keyed(
                "warp_sip_cps_limit",
                "Calls a second that a trunk may begin, where it has a limit.",
                TRUNK,
                TRUNKS,
                (),
            ),
            trunk_up: r.keyed(
                "warp_sip_trunk_up",
                "1 while a vendor trunk gets calls, 0 while it is down.",
                TRUNK,
                TRUNKS,
                (),
            ),
        }
    }
}

/// A trunk of either kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Peer {
    Customer(TrunkId),
    Vendor(VendorTrunkId),
}

impl Peer {
    fn name(self) -> String {
        match self {
            Peer::Customer(id) => id.to_string(),
            Peer::Vendor(id) => id.to_string(),
        }
    }

    /// Where a call came in, and where it went.
    fn both(call: &CallRecord) -> (Option<Peer>, Option<Peer>) {
        let (customer, vendor) = (call.trunk_id.map(Peer::Customer), call.vendor_trunk_id.map(Peer::Vendor));
        match call.direction {
            Direction::Outbound => (customer, vendor),
            Direction::Inbound => (vendor, customer),
        }
    }
}

/// Handles of a trunk that calls come in through.
struct TrunkHandles {
    calls: Counters<(In, Outcome)>,
    finals: Counters<(In, Final)>,
    active: Gauges<(In,)>,
    duration: Histograms<(In,)>,
    setup: Histogram,
}

/// Handles of a trunk that calls go out through.
struct VendorHandles {
    calls: Counters<(Out, Outcome)>,
    finals: Counters<(Out, Final)>,
    active: Gauges<(Out,)>,
    duration: Histograms<(Out,)>,
    pdd: Histogram,
}

/// One shard's view: looks each trunk's handles up once, then counts without a lock.
pub(crate) struct CallCounter {
    metrics: CallMetrics,
    trunks: HashMap<Peer, TrunkHandles>,
    vendors: HashMap<Peer, VendorHandles>,
    /// Last told state of the dialog gauge.
    dialogs: (usize, usize),
    confirmed: usize,
}

impl CallCounter {
    pub(crate) fn new(metrics: CallMetrics) -> CallCounter {
        CallCounter {
            metrics,
            trunks: HashMap::new(),
            vendors: HashMap::new(),
            dialogs: (0, 0),
            confirmed: 0,
        }
    }

    /// What the core hands to the journal.
    pub(crate) fn record(&mut self, record: &JournalRecord) {
        match record {
            JournalRecord::Answered(call) => self.answered(call),
            JournalRecord::Ended(call) => self.ended(call),
        }
    }

    fn answered(&mut self, call: &CallRecord) {
        // A call between two customers has two records and is one.
        self.confirmed += usize::from(!is_twin(call));
        let (way_in, way_out) = Peer::both(call);
        if let Some(peer) = way_in {
            let t = self.trunk(peer);
            t.active.inc((In::Ingress,));
            if let Some(at) = call.answer_at {
                let us = at.0.saturating_sub(call.setup_at.0);
                t.setup.observe((), Duration::from_micros(u64::try_from(us).unwrap_or(0)));
            }
        }
        if let Some(peer) = way_out {
            self.vendor(peer).active.inc((Out::Egress,));
        }
    }

    fn ended(&mut self, call: &CallRecord) {
        let answered = call.answer_at.is_some();
        let duration = Duration::from_millis(call.duration_ms);
        if answered {
            self.confirmed = self.confirmed.saturating_sub(usize::from(!is_twin(call)));
        }
        let (way_in, way_out) = Peer::both(call);
        if let Some(peer) = way_in {
            let t = self.trunk(peer);
            t.calls.inc((In::Ingress, outcome(call.outcome)));
            t.finals.inc((In::Ingress, final_code(call.sip_code)));
            if answered {
                t.active.dec((In::Ingress,));
                t.duration.observe((In::Ingress,), duration);
            }
        }
        if answered && let Some(peer) = way_out {
            let v = self.vendor(peer);
            v.active.dec((Out::Egress,));
            v.duration.observe((Out::Egress,), duration);
        }
        for (i, leg) in call.legs.iter().enumerate() {
            self.leg(leg, i + 1 < call.legs.len());
        }
    }

    fn leg(&mut self, leg: &LegRecord, another_followed: bool) {
        if let Some(peer) = leg.vendor_trunk_id.map(Peer::Vendor).or(leg.trunk_id.map(Peer::Customer)) {
            let v = self.vendor(peer);
            v.calls.inc((Out::Egress, outcome_of_code(leg.sip_code)));
            v.finals.inc((Out::Egress, final_code(leg.sip_code)));
            if let Some(ms) = leg.pdd_ms {
                v.pdd.observe((), Duration::from_millis(ms));
            }
        }
        if another_followed && let Some(vendor) = leg.vendor_id {
            let reason = match leg.sip_code {
                0 | 408 => Failover::Timeout,
                500.. => Failover::X5,
                _ => Failover::X4,
            };
            self.metrics.failover.of(&vendor.to_string()).inc((reason,));
        }
    }

    /// Once a second: the calls of this shard.
    pub(crate) fn tick(&mut self, live: usize) {
        let now = (live.saturating_sub(self.confirmed), self.confirmed);
        let change =
            |state, was: usize, is: usize| self.metrics.dialogs.add((state,), is as i64 - was as i64);
        change(Dialog::Early, self.dialogs.0, now.0);
        change(Dialog::Confirmed, self.dialogs.1, now.1);
        self.dialogs = now;
    }

    /// A new snapshot: handles are looked up again. The shard that `leads` also tells limits and retires old names.
    pub(crate) fn snapshot(&mut self, snapshot: &Snapshot, leads: bool, now: Mono) {
        self.trunks.clear();
        self.vendors.clear();
        if !leads {
            return;
        }
        let m = &self.metrics;
        let directory = &snapshot.directory;
        let trunks = directory.trunks().map(|(_, t)| (t.id.to_string(), t.limits.channels, t.limits.cps));
        let vendors =
            directory.vendor_trunks().map(|(_, t)| (t.id.to_string(), t.limits.channels, t.limits.cps));
        let mut names = std::collections::HashSet::new();
        for (name, channels, cps) in trunks.chain(vendors) {
            for (family, limit) in [(&m.call_limit, channels), (&m.cps_limit, cps)] {
                if let Some(limit) = limit {
                    family.of(&name).set((), i64::from(limit));
                }
            }
            names.insert(name);
        }
        let live = |name: &str| names.contains(name);
        m.calls_in.retire(live, now);
        m.calls_out.retire(live, now);
        m.final_in.retire(live, now);
        m.final_out.retire(live, now);
        m.active_in.retire(live, now);
        m.active_out.retire(live, now);
        m.duration_in.retire(live, now);
        m.duration_out.retire(live, now);
        m.pdd.retire(live, now);
        m.setup.retire(live, now);
        m.call_limit.retire(live, now);
        m.cps_limit.retire(live, now);
        m.trunk_up.retire(live, now);
        lock(&m.probe_seconds).retain(|name, _| live(name));
        // Every provisioned trunk has its series from the start, so that rates and absences can be seen.
        for (_, t) in directory.trunks() {
            self.trunk(Peer::Customer(t.id));
        }
        for (_, t) in directory.vendor_trunks() {
            self.vendor(Peer::Vendor(t.id));
        }
        let vendors: std::collections::HashSet<String> =
            directory.vendors().map(|(_, v)| v.id.to_string()).collect();
        let failover = &self.metrics.failover;
        failover.retire(|name| vendors.contains(name), now);
        vendors.iter().for_each(|name| drop(failover.of(name)));
    }

    /// Whether a vendor trunk is in rotation.
    pub(crate) fn trunk_up(&self, id: VendorTrunkId, up: bool) {
        self.metrics.trunk_up.of(&id.to_string()).set((), i64::from(up));
    }

    /// A probe of a vendor trunk was answered. At most as many names as trunks have series.
    pub(crate) fn probed(&self, id: VendorTrunkId, took: Duration) {
        let mut all = lock(&self.metrics.probe_seconds);
        if all.len() < TRUNKS {
            all.insert(id.to_string(), took.as_secs_f64());
        }
    }

    fn trunk(&mut self, peer: Peer) -> &TrunkHandles {
        let m = &self.metrics;
        self.trunks.entry(peer).or_insert_with(|| {
            let name = peer.name();
            TrunkHandles {
                calls: m.calls_in.of(&name),
                finals: m.final_in.of(&name),
                active: m.active_in.of(&name),
                duration: m.duration_in.of(&name),
                setup: m.setup.of(&name),
            }
        })
    }

    fn vendor(&mut self, peer: Peer) -> &VendorHandles {
        let m = &self.metrics;
        self.vendors.entry(peer).or_insert_with(|| {
            let name = peer.name();
            VendorHandles {
                calls: m.calls_out.of(&name),
                finals: m.final_out.of(&name),
                active: m.active_out.of(&name),
                duration: m.duration_out.of(&name),
                pdd: m.pdd.of(&name),
            }
        })
    }
}

/// The called customer's record of a call that the caller's record counts.
fn is_twin(call: &CallRecord) -> bool {
    call.on_net && call.direction == Direction::Inbound
}

fn outcome(outcome: CallOutcome) -> Outcome {
    match outcome {
        CallOutcome::Answered => Outcome::Answered,
        CallOutcome::Busy => Outcome::Busy,
        CallOutcome::NoAnswer => Outcome::NoAnswer,
        CallOutcome::Cancelled => Outcome::Cancelled,
        CallOutcome::Rejected => Outcome::Rejected,
        CallOutcome::Failed => Outcome::Failed,
    }
}

fn outcome_of_code(code: u16) -> Outcome {
    match code {
        200..=299 => Outcome::Answered,
        486 | 600 => Outcome::Busy,
        480 => Outcome::NoAnswer,
        487 => Outcome::Cancelled,
        _ => Outcome::Failed,
    }
}

fn final_code(code: u16) -> Final {
    match code {
        200 => Final::C200,
        400 => Final::C400,
        401 => Final::C401,
        403 => Final::C403,
        404 => Final::C404,
        407 => Final::C407,
        408 => Final::C408,
        480 => Final::C480,
        484 => Final::C484,
        486 => Final::C486,
        487 => Final::C487,
        488 => Final::C488,
        500 => Final::C500,
        502 => Final::C502,
        503 => Final::C503,
        504 => Final::C504,
        600 => Final::C600,
        603 => Final::C603,
        201..=299 => Final::X2,
        300..=399 => Final::X3,
        501 | 505..=599 => Final::X5,
        601..=602 | 604..=699 => Final::X6,
        _ => Final::X4,
    }
}

const TRUNK: &str = "trunk";
const TRUNKS: usize = 2_000;
const VENDORS: usize = 300;
const DURATION_SECONDS: &[f64] =
    &[1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
const PDD_SECONDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];

#[cfg(test)]
mod tests {
    use super::*;
    use warp_model::cdr::{CDR_VERSION, ReleaseSide};
    use warp_model::{CallId, VendorId, Wall};

    fn record(trunk: TrunkId, vendor: (VendorId, VendorTrunkId)) -> CallRecord {
        let ip = "192.0.2.1".parse().unwrap();
        let leg = |no, code| LegRecord {
            attempt_no: no,
            vendor_id: Some(vendor.0),
            vendor_trunk_id: Some(vendor.1),
            trunk_id: None,
            egress_ip: ip,
            start_at: Wall(0),
            pdd_ms: (code == 200).then_some(300),
            sip_code: code,
            q850: None,
            end_at: Wall(0),
            ended_by: String::new(),
        };
        CallRecord {
            cdr_id: CallId::from_u128(1),
            version: CDR_VERSION,
            sip_call_id: "c".into(),
            customer_id: None,
            trunk_id: Some(trunk),
            direction: Default::default(),
            on_net: false,
            number_id: None,
            ingress_ip: ip,
            ingress_user: None,
            caller: String::new(),
            private: false,
            called: String::new(),
            caller_e164: None,
            called_e164: None,
            jurisdiction: None,
            setup_at: Wall(0),
            progress_at: None,
            answer_at: Some(Wall(700_000)),
            end_at: Wall(0),
            pdd_ms: Some(300),
            duration_ms: 20_000,
            sip_code: 200,
            q850: None,
            release_side: ReleaseSide::Caller,
            internal_code: String::new(),
            outcome: CallOutcome::Answered,
            recovered: false,
            snapshot_id: String::new(),
            route_rank: Some(2),
            vendor_id: Some(vendor.0),
            vendor_trunk_id: Some(vendor.1),
            rating: None,
            media: None,
            decision: None,
            legs: vec![leg(1, 503), leg(2, 200)],
            node: String::new(),
            paid: None,
            resume: None,
        }
    }

    #[test]
    fn the_probe_of_a_trunk_is_a_gauge_of_seconds() {
        let registry = Registry::new();
        let counter = CallCounter::new(CallMetrics::register(&registry));
        let id = VendorTrunkId::from_u128(9);
        counter.probed(id, Duration::from_millis(40));
        counter.probed(id, Duration::from_millis(30));
        assert!(
            registry.render().contains(&format!("warp_sip_trunk_probe_seconds{{trunk=\"{id}\"}} 0.03\n"))
        );
    }

    #[test]
    fn a_call_with_failover_is_counted_once_in_and_per_leg_out() {
        let registry = Registry::new();
        let mut counter = CallCounter::new(CallMetrics::register(&registry));
        let (trunk, vendor) = (TrunkId::from_u128(7), (VendorId::from_u128(8), VendorTrunkId::from_u128(9)));
        let call = Box::new(record(trunk, vendor));
        counter.record(&JournalRecord::Answered(call.clone()));
        counter.tick(3);
        let has = |line: &str| {
            let text = registry.render();
            assert!(text.contains(line), "{line}\n{text}");
        };
        has(&format!("warp_sip_active_calls{{trunk=\"{trunk}\",direction=\"ingress\"}} 1"));
        has(&format!("warp_sip_active_calls{{trunk=\"{}\",direction=\"egress\"}} 1", vendor.1));
        has("warp_sip_dialogs{state=\"early\"} 2");
        has("warp_sip_dialogs{state=\"confirmed\"} 1");
        counter.record(&JournalRecord::Ended(call));
        counter.tick(0);
        has("warp_sip_dialogs{state=\"confirmed\"} 0");
        has(&format!("warp_sip_active_calls{{trunk=\"{trunk}\",direction=\"ingress\"}} 0"));
        for (name, direction, more, n) in [
            (trunk.to_string(), "ingress", "outcome=\"answered\"", 1),
            (vendor.1.to_string(), "egress", "outcome=\"answered\"", 1),
            (vendor.1.to_string(), "egress", "outcome=\"failed\"", 1),
        ] {
            has(&format!("warp_sip_calls_total{{trunk=\"{name}\",direction=\"{direction}\",{more}}} {n}"));
        }
        has(&format!("warp_sip_failover_total{{from_vendor=\"{}\",reason=\"5xx\"}} 1", vendor.0));
        has(&format!("warp_sip_pdd_seconds_count{{trunk=\"{}\"}} 1", vendor.1));
        has(&format!("warp_sip_setup_seconds_bucket{{trunk=\"{trunk}\",le=\"1\"}} 1"));
        has(&format!("warp_sip_call_duration_seconds_count{{trunk=\"{trunk}\",direction=\"ingress\"}} 1"));
    }
}
