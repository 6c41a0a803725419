//! Where the branches of a target may go: its addresses as they are configured, and those that DNS gives for its names (RFC 3263). A name
//! that is not known is asked for; the call waits for it, a second at the most.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use warp_model::Mono;
use warp_policy::directory::{HostPort, VendorTrunk};
use warp_policy::{Directory, TrunkIx};
use warp_sip::flow::{Flow, Transport};
use warp_sip::resolve::{LookupError, Servers, Wanted};

use super::call::{Call, Target};
use super::calls::Calls;
use super::forks::Way;
use super::health::AddressHealth;
use super::media::{Pending, Waiting};
use super::names::{Located, NAMES};
use super::registrar;
use super::table::Owner;
use super::target;
use super::transactions::Transactions;
use super::types::{AskId, Output, Question};

/// Places of addresses that DNS has given; smaller ones are of the configured list.
pub(crate) const NAMED: u16 = 0x4000;

/// An address of a name.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) transport: Transport,
    pub(crate) at: SocketAddr,
    /// The name, as the Request-URI says it.
    pub(crate) host: Arc<str>,
    health: Option<Arc<AddressHealth>>,
    /// A phone of a registered user.
    phone: Option<Box<Way>>,
}

/// The addresses that DNS has given for the names of a target, in the order of this call.
#[derive(Debug)]
pub(crate) struct Finding {
    target: Target,
    /// Names that are done with.
    done: usize,
    list: Vec<Found>,
}

/// One way that a branch may go.
pub(crate) struct Place<'c> {
    pub(crate) number: u16,
    pub(crate) transport: Transport,
    pub(crate) at: SocketAddr,
    pub(crate) health: Option<&'c Arc<AddressHealth>>,
    /// The flow of a phone.
    pub(crate) flow: Option<Flow>,
}

/// What is asked for a name of a target.
fn wanted(host: &HostPort, transport: Option<Transport>) -> Option<Wanted> {
    Wanted::new(&host.host, host.port, transport, false)
}

impl Call {
    fn finding(&self, target: Target) -> Option<&Finding> {
        self.findings.iter().find(|f| f.target == target)
    }

    /// The ways to a target, those of its names first.
    pub(crate) fn places(&self, target: Target) -> impl Iterator<Item = Place<'_>> {
        let named = self.finding(target).map_or(&[][..], |f| &f.list);
        let named = (NAMED..).zip(named).map(|(number, f)| Place {
            number,
            transport: f.transport,
            at: f.at,
            health: f.health.as_ref(),
            flow: f.phone.as_ref().map(|w| w.flow),
        });
        let listed = target.addresses(&self.snapshot.directory);
        let listed = listed.into_iter().flat_map(|(all, transport)| all.iter().map(move |a| (*a, transport)));
        let listed = (0..NAMED).zip(listed).map(move |(number, (at, transport))| Place {
            number,
            transport,
            at,
            health: target.vendor().and_then(|ix| self.health.address(ix, usize::from(number))),
            flow: None,
        });
        named.chain(listed)
    }

    /// The name that a branch to this place goes to.
    pub(crate) fn host_of(&self, target: Target, number: u16) -> Option<&Arc<str>> {
        let at = usize::from(number.checked_sub(NAMED)?);
        self.finding(target)?.list.get(at).filter(|f| f.phone.is_none()).map(|f| &f.host)
    }

    /// The phone that a branch to this place calls.
    pub(super) fn phone_of(&self, target: Target, number: u16) -> Option<&Way> {
        let at = usize::from(number.checked_sub(NAMED)?);
        self.finding(target)?.list.get(at)?.phone.as_deref()
    }

    /// Whether DNS has given this address for a name of the target.
    pub(crate) fn is_found(&self, target: Target, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.finding(target).is_some_and(|f| f.list.iter().any(|f| f.at.ip().to_canonical() == ip))
    }
}

impl Calls {
    /// Looks for the names of a target. False: DNS is asked, and the call goes on when it has answered.
    pub(super) fn locate(&mut self, call: &mut Call, target: Target, tx: &mut Transactions) -> bool {
        if let Target::User(trunk, user) = target {
            look_for_phones(call, target, trunk, user, tx);
            return true;
        }
        let snapshot = call.snapshot.clone();
        let (hosts, transport) = target.hosts(&snapshot.directory);
        if hosts.is_empty() {
            return true;
        }
        if call.finding(target).is_none() {
            call.findings.push(Finding { target, done: 0, list: Vec::new() });
        }
        let Some(at) = call.findings.iter().position(|f| f.target == target) else { return true };
        while let Some(host) = call.findings.get(at).and_then(|f| hosts.get(f.done)) {
            let known =
                wanted(host, transport).map(|wanted| (tx.shared.names.look(&wanted, tx.now.mono), wanted));
            let Some((look, wanted)) = known else {
                call.findings.get_mut(at).into_iter().for_each(|f| f.done += 1);
                continue;
            };
            if !look.fresh {
                self.ask_for_name(call, wanted, host.clone(), target, tx);
                return false;
            }
            if look.ahead {
                self.ask_ahead(wanted, tx);
            }
            found(call, at, host, look.found.as_deref(), tx);
        }
        true
    }

    fn ask_for_name(
        &mut self,
        call: &mut Call,
        wanted: Wanted,
        host: HostPort,
        target: Target,
        tx: &mut Transactions,
    ) {
        let ask = self.ask_dns(wanted.clone(), tx);
        self.asks.insert(ask.0, Owner::Call(call.id));
        let deadline: Mono = tx.now.mono + tx.config.dns_deadline;
        call.ask = Some(Pending { ask, deadline, what: Waiting::Name { wanted, host, target } });
    }

    /// Asks for the names of a new directory that nobody has asked for, so that their first call waits for nothing.
    pub(super) fn ask_for_new_names(&mut self, directory: &Directory, tx: &mut Transactions) {
        for (host, transport) in directory.names().iter().take(NAMES) {
            if let Some(wanted) = wanted(host, target::named(*transport)) {
                let look = tx.shared.names.look(&wanted, tx.now.mono);
                if look.found.is_none() && !look.fresh {
                    self.ask_ahead(wanted, tx);
                }
            }
        }
    }

    /// Asks for a name whose answer nobody waits for.
    fn ask_ahead(&mut self, wanted: Wanted, tx: &mut Transactions) {
        self.ask_dns(wanted, tx);
    }

    fn ask_dns(&mut self, wanted: Wanted, tx: &mut Transactions) -> AskId {
        self.next_ask += 1;
        let id = AskId(self.next_ask);
        tx.out.push_back(Output::Ask { id, question: Question::Locate(wanted) });
        id
    }

    /// DNS has answered a call, or its time is over: then the last good answer counts, however old, and nobody asks again for a while.
    pub(super) fn name_answered(
        &mut self,
        call: &mut Call,
        wanted: &Wanted,
        host: &HostPort,
        target: Target,
        tx: &mut Transactions,
    ) {
        let mut look = tx.shared.names.look(wanted, tx.now.mono);
        if !look.fresh {
            tx.stats.dns_failures += 1;
            tx.shared.names.learn(wanted, Err(LookupError::Failed), tx.now.mono);
            look = tx.shared.names.look(wanted, tx.now.mono);
        }
        if let Some(at) = call.findings.iter().position(|f| f.target == target) {
            found(call, at, host, look.found.as_deref(), tx);
        }
        if !call.cancelled {
            self.next_vendor(call, tx);
        }
    }

    /// An answer of DNS, whoever asked.
    pub(super) fn learn_name(
        &mut self,
        wanted: &Wanted,
        answer: Result<Servers, LookupError>,
        tx: &mut Transactions,
    ) {
        tx.stats.dns_failures += u64::from(answer == Err(LookupError::Failed));
        tx.shared.names.learn(wanted, answer, tx.now.mono);
    }
}

/// Where the phones of a user are now, the most wanted first.
fn look_for_phones(call: &mut Call, target: Target, trunk: TrunkIx, user: u16, tx: &mut Transactions) {
    if call.finding(target).is_some() {
        return;
    }
    let snapshot = call.snapshot.clone();
    let name = snapshot.directory.trunk(trunk).and_then(|t| t.digest.get(usize::from(user)));
    let ways = name.map_or_else(Vec::new, |u| registrar::phones_of(&u.username, &call.flow, tx));
    let host: Arc<str> = "".into();
    let phone = |way: Way| Found {
        transport: way.flow.transport,
        at: way.flow.remote,
        host: host.clone(),
        health: None,
        phone: Some(Box::new(way)),
    };
    call.findings.push(Finding { target, done: 0, list: ways.into_iter().map(phone).collect() });
}

impl Transactions {
    /// Whether DNS leads to an address by a name of a vendor trunk.
    pub(super) fn is_named(&self, trunk: &VendorTrunk, ip: IpAddr) -> bool {
        trunk.hosts.iter().any(|host| {
            wanted(host, target::named(trunk.transport)).is_some_and(|w| self.shared.names.leads(&w, ip))
        })
    }
}

/// Takes the addresses of one name over into a call, in an order of its own (RFC 2782).
fn found(call: &mut Call, at: usize, host: &HostPort, located: Option<&Located>, tx: &mut Transactions) {
    let Some(finding) = call.findings.get_mut(at) else { return };
    finding.done += 1;
    let Some(located) = located else { return };
    let rng = &mut tx.rng;
    let order = located.servers.order(|most| (rng.u64() % (u64::from(most) + 1)) as u32);
    let host: Arc<str> = host.to_string().into();
    for (transport, at) in order {
        if finding.list.len() < usize::from(NAMED)
            && finding.list.iter().all(|f| (f.transport, f.at) != (transport, at))
        {
            let health = located.health(at).cloned();
            finding.list.push(Found { transport, at, host: host.clone(), health, phone: None });
        }
    }
}
