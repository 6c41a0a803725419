//! Credit by leases: whatever is lost, late, doubled or killed, calls never cost more than the account had.

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use warp_model::{BanId, Lent, Mono, Nanos, Now, Wall};
use warp_policy::credit::{Account, Grant, Held, LeaseRequest, Missed, Purse};
use warp_policy::directory::{Payer, TrunkIx};
use warp_policy::screen::{Bound, Reservation, Usage};
use warp_policy::{Refusal, Snapshot};
use world::{rows, snapshot_of};

const BANK_TTL: u64 = 30;
/// A node ends its lease earlier than the bank.
const NODE_TTL: u64 = 25;

fn wall(s: u64) -> Wall {
    Wall(s as i64 * 1_000_000)
}

fn mono(s: u64) -> Mono {
    Mono(s * 1_000_000_000)
}

fn ban() -> BanId {
    BanId::from_u128(7)
}

fn account(balance: i64, credit: i64) -> Account {
    Account { balance: Nanos(balance), credit: Nanos(credit), epoch: 0, leases: Vec::new() }
}

fn ask(want: i64, need: i64) -> LeaseRequest {
    LeaseRequest { want: Nanos(want), need: Nanos(need), has: Nanos::ZERO, calls: true, lease: None }
}

#[derive(Clone, Debug)]
enum Step {
    /// A node asks for money; what of the way there and back is lost.
    Ask {
        node: usize,
        want: i64,
        need: i64,
        request_lost: bool,
        reply_lost: bool,
    },
    GiveBack {
        node: usize,
        most: i64,
        lost: bool,
    },
    Call {
        node: usize,
        amount: i64,
    },
    More {
        node: usize,
        call: usize,
        amount: i64,
    },
    /// A call ends, and cost this share of what it holds; `none`: it was never answered.
    End {
        node: usize,
        call: usize,
        percent: i64,
        none: bool,
    },
    Kill {
        node: usize,
        percent: i64,
    },
    Close {
        node: usize,
        lost: bool,
    },
    Post {
        node: usize,
        records: usize,
    },
    Release {
        lease: usize,
    },
    TopUp(i64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0usize..3;
    let step = prop_oneof![
        4 => (node.clone(), 0i64..120, 0i64..40, prop::bool::weighted(0.1), prop::bool::weighted(0.2)).prop_map(
            |(node, want, need, request_lost, reply_lost)| Step::Ask { node, want, need, request_lost, reply_lost }),
        2 => (node.clone(), 0i64..200, any::<bool>()).prop_map(|(node, most, lost)| Step::GiveBack { node, most, lost }),
        6 => (node.clone(), 1i64..40).prop_map(|(node, amount)| Step::Call { node, amount }),
        3 => (node.clone(), 0usize..8, 1i64..40).prop_map(|(node, call, amount)| Step::More { node, call, amount }),
        4 => (node.clone(), 0usize..8, 0i64..=100, any::<bool>())
            .prop_map(|(node, call, percent, none)| Step::End { node, call, percent, none }),
        1 => (node.clone(), 0i64..=100).prop_map(|(node, percent)| Step::Kill { node, percent }),
        3 => (node.clone(), any::<bool>()).prop_map(|(node, lost)| Step::Close { node, lost }),
        4 => (node, 1usize..9).prop_map(|(node, records)| Step::Post { node, records }),
        2 => (0usize..6).prop_map(|lease| Step::Release { lease }),
        1 => (1i64..200).prop_map(Step::TopUp),
        4 => (1u64..20).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..160)
}

/// One node: its process, its calls, and the records that wait on its disk, which a kill does not take.
struct Node {
    process: u32,
    purse: Option<Arc<Purse>>,
    /// Leases before, whose cost was not said yet.
    old: Vec<Arc<Purse>>,
    calls: Vec<Lent<Held>>,
    records: Vec<(i64, i64)>,
}

struct World {
    now: u64,
    bank: Account,
    nodes: Vec<Node>,
    /// What the account ever had.
    had: i64,
    /// What calls have cost, posted or not.
    cost: i64,
    /// Which process has which lease, as nobody in the world knows it.
    owners: BTreeMap<i64, (usize, u32)>,
}

impl World {
    fn name(&self, node: usize) -> String {
        format!("n{node}/{}", self.nodes[node].process)
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Ask { node, want, need, request_lost, reply_lost } => {
                if request_lost {
                    return;
                }
                let expires = wall(self.now + BANK_TTL);
                let name = self.name(node);
                let purse = self.nodes[node].purse.as_ref().filter(|p| p.ends() > mono(self.now));
                let asked = LeaseRequest { lease: purse.map(|p| p.epoch()), ..ask(want, need) };
                let Some(grant) = self.bank.lend(&name, asked, wall(self.now), expires) else {
                    return;
                };
                self.owners.insert(grant.epoch, (node, self.nodes[node].process));
                if !reply_lost {
                    self.granted(node, grant);
                }
            }
            Step::GiveBack { node, most, lost } => {
                let Some(purse) = self.nodes[node].purse.clone() else { return };
                let back = purse.take_back(Nanos(most));
                if !lost {
                    let name = self.name(node);
                    assert!(self.bank.give_back(&name, purse.epoch(), back) || self.now >= BANK_TTL);
                }
            }
            Step::Call { node, amount } => {
                let now = mono(self.now);
                let held = self.nodes[node].purse.as_ref().and_then(|p| p.hold(Nanos(amount), now));
                self.nodes[node].calls.extend(held);
            }
            Step::More { node, call, amount } => {
                let now = mono(self.now);
                if let Some(held) = self.nodes[node].calls.get_mut(call) {
                    held.more(Nanos(amount), now);
                }
            }
            Step::End { node, call, percent, none } => {
                if call < self.nodes[node].calls.len() {
                    let held = self.nodes[node].calls.swap_remove(call);
                    if !none {
                        self.ends(node, held, percent);
                    }
                }
            }
            Step::Kill { node, percent } => {
                // The calls that were up end at the last heartbeat, when the process is started again.
                for held in std::mem::take(&mut self.nodes[node].calls) {
                    self.ends(node, held, percent);
                }
                let n = &mut self.nodes[node];
                n.process += 1;
                n.purse = None;
                n.old.clear();
            }
            Step::Close { node, lost } => self.close(node, lost),
            Step::Post { node, records } => {
                let waiting = &mut self.nodes[node].records;
                for (epoch, cost) in waiting.drain(..records.min(waiting.len())).collect::<Vec<_>>() {
                    self.bank.post(Some(epoch), Nanos(cost));
                }
            }
            Step::Release { lease } => {
                // Of a process that is lost, and all of whose records are posted.
                let Some(epoch) = self.bank.leases.get(lease).map(|l| l.epoch) else { return };
                let (node, process) = self.owners[&epoch];
                let lost = self.nodes[node].process != process;
                if lost && self.nodes[node].records.iter().all(|(e, _)| *e != epoch) {
                    self.bank.release(epoch, wall(self.now));
                }
            }
            Step::TopUp(amount) => {
                self.had += amount;
                self.bank.post(None, Nanos(-amount));
            }
            Step::Wait(s) => {
                self.now += s;
                self.cut();
            }
        }
    }

    fn granted(&mut self, node: usize, grant: Grant) {
        let ends = mono(self.now + NODE_TTL);
        let n = &mut self.nodes[node];
        match &n.purse {
            Some(p) if p.epoch() == grant.epoch => p.extend(grant.more, ends),
            _ => n.old.extend(n.purse.replace(Arc::new(Purse::new(ban(), grant.epoch, grant.more, ends)))),
        }
    }

    fn ends(&mut self, node: usize, held: Lent<Held>, percent: i64) {
        let cost = held.amount().0 * percent / 100;
        self.cost += cost;
        self.nodes[node].records.push((held.purse().epoch(), cost));
        Held::settle(held, Nanos(cost));
    }

    /// Calls whose lease has ended are cut then.
    fn cut(&mut self) {
        for node in 0..self.nodes.len() {
            let over = |h: &Lent<Held>| h.purse().ends() <= mono(self.now);
            let calls = std::mem::take(&mut self.nodes[node].calls);
            let (cut, on): (Vec<_>, Vec<_>) = calls.into_iter().partition(over);
            self.nodes[node].calls = on;
            for held in cut {
                self.ends(node, held, 100);
            }
        }
    }

    fn close(&mut self, node: usize, lost: bool) {
        let (name, now) = (self.name(node), mono(self.now));
        let n = &mut self.nodes[node];
        let ended = n.purse.take_if(|p| p.ends() <= now);
        n.old.extend(ended);
        for purse in std::mem::take(&mut n.old) {
            match purse.closing(now) {
                Some(cost) if !lost => assert!(self.bank.close(&name, purse.epoch(), cost), "its own lease"),
                _ => self.nodes[node].old.push(purse),
            }
        }
    }

    fn check(&self) {
        let posted: i64 = self.nodes.iter().flat_map(|n| &n.records).map(|(_, c)| c).sum::<i64>();
        assert_eq!(self.bank.balance.0 + self.bank.credit.0, self.had - (self.cost - posted), "the balance");
        assert!(self.bank.free().0 >= 0, "posted and lent: {:?}", self.bank);
        // The bank holds for each lease what may still come of it: records on their way, what calls hold, and what lies in the purse.
        for lease in &self.bank.leases {
            let of = |epoch: i64| epoch == lease.epoch;
            let nodes = self.nodes.iter();
            let coming: i64 = nodes
                .map(|n| {
                    let records: i64 = n.records.iter().filter(|(e, _)| of(*e)).map(|(_, cost)| cost).sum();
                    let purses = n.purse.iter().chain(&n.old).filter(|p| of(p.epoch()));
                    let calls = n.calls.iter().filter(|h| of(h.purse().epoch()));
                    let free: i64 = purses.map(|p| p.free().0).sum();
                    records + free + calls.map(|h| h.amount().0).sum::<i64>()
                })
                .sum();
            assert!(lease.held().0 >= coming, "{coming} may still come of {lease:?}");
        }
        // What calls hold may be spent at any moment.
        let held: i64 = self.nodes.iter().flat_map(|n| &n.calls).map(|h| h.amount().0).sum();
        assert!(self.cost + held <= self.had, "{} and {held} of {}", self.cost, self.had);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]
    #[test]
    fn f_pg_01_what_is_posted_and_lent_never_exceeds_balance_and_credit(
        balance in 0i64..300, credit in 0i64..100, steps in steps(),
    ) {
        let node = |_| Node { process: 0, purse: None, old: Vec::new(), calls: Vec::new(), records: Vec::new() };
        let mut w = World {
            now: 0,
            bank: account(balance, credit),
            nodes: (0..3).map(node).collect(),
            had: balance + credit,
            cost: 0,
            owners: BTreeMap::new(),
        };
        for step in steps {
            w.step(step);
            w.check();
        }
        // Everything ends: all calls, all records, all leases. Then nothing is held, and the account has what calls left of it.
        w.now += BANK_TTL;
        w.cut();
        for node in 0..3 {
            w.close(node, false);
            w.step(Step::Post { node, records: usize::MAX });
        }
        w.check();
        for l in 0..w.bank.leases.len() {
            w.step(Step::Release { lease: l });
        }
        // A lease whose grant never reached its node is known to nobody there: it ends with the process.
        for node in 0..3 {
            w.step(Step::Kill { node, percent: 0 });
        }
        for l in 0..w.bank.leases.len() {
            w.step(Step::Release { lease: l });
        }
        w.check();
        prop_assert_eq!(w.bank.held(), Nanos(0), "{:?}", w.bank.leases);
        prop_assert_eq!(w.bank.free().0, w.had - w.cost);
    }
}

#[test]
fn near_the_end_one_increment_is_lent_to_one_node_only() {
    let mut bank = account(100, 0);
    let later = wall(BANK_TTL);
    assert_eq!(
        bank.lend("a", ask(500, 10), wall(0), later).unwrap().more,
        Nanos(25),
        "a quarter of what is free"
    );
    assert_eq!(bank.lend("b", ask(500, 10), wall(0), later).unwrap().more, Nanos(18));
    let on = |lease: i64, a: LeaseRequest| LeaseRequest { lease: Some(lease), ..a };
    let mut rounds = 0;
    while bank.free().0 >= 40 {
        bank.lend("b", on(2, ask(500, 10)), wall(0), later);
        rounds += 1;
    }
    assert!(rounds < 5);
    let left = bank.free().0;
    assert!(left < 40);
    assert_eq!(bank.lend("b", on(2, ask(500, 10)), wall(0), later).unwrap().more, Nanos(0), "not the owner");
    assert_eq!(bank.lend("c", ask(500, 10), wall(0), later), None);
    assert_eq!(bank.lend("a", on(1, ask(500, 10)), wall(0), later).unwrap().more, Nanos(10), "one increment");
    assert_eq!(bank.free().0, left - 10);
    let idle = LeaseRequest { calls: false, ..ask(500, 10) };
    assert_eq!(bank.lend("a", on(1, idle), wall(0), later).unwrap().more, Nanos(0), "nobody calls there");
    // Whose increment is dearer than what is left gets nothing, the owner or not.
    assert_eq!(bank.lend("a", on(1, ask(500, 100)), wall(0), later).unwrap().more, Nanos(0));
    // An owner that gave nearly everything back keeps no other node from the rest.
    assert!(bank.give_back("a", 1, Nanos(34)));
    let more = bank.lend("b", on(2, ask(500, 30)), wall(0), later).unwrap();
    assert_eq!((more.more, more.left), (Nanos(30), bank.free()));
}

/// A node that has a part of an increment free gets the rest of it, not a whole one that nobody could lend.
#[test]
fn what_a_node_has_makes_an_increment_whole() {
    let mut bank = account(165, 0);
    let later = wall(BANK_TTL);
    let first = bank.lend("a", ask(57, 57), wall(0), later).unwrap();
    assert_eq!((first.more, first.left), (Nanos(57), Nanos(108)));
    let dear = LeaseRequest { has: Nanos(57), lease: Some(1), ..ask(110, 110) };
    assert_eq!(bank.lend("a", dear, wall(0), later).unwrap().more, Nanos(53), "110 in all");
    // Who has one whole asks for the next.
    let next = LeaseRequest { has: Nanos(110), lease: Some(1), ..ask(110, 50) };
    assert_eq!(bank.lend("a", next, wall(0), later).unwrap().more, Nanos(50));
    assert_eq!(bank.free(), Nanos(5));
}

#[test]
fn what_is_known_of_the_bank_is_old_for_a_call_that_came_since() {
    let place = warp_policy::credit::Wallet::default().place(ban());
    assert!(!place.may_get(Nanos(10), mono(9)), "nobody asks here");
    place.bank_has(Nanos(10), mono(5));
    assert!(place.may_get(Nanos(10), mono(5)) && !place.may_get(Nanos(11), mono(5)), "it was asked since");
    assert!(place.may_get(Nanos(11), mono(6)), "money may have been paid in since");
    place.bank_has(Nanos(3), mono(7));
    assert!(!place.may_get(Nanos(11), mono(6)), "it was not");
}

#[test]
fn a_lease_that_ended_is_not_extended_and_what_an_old_epoch_says_changes_no_newer_one() {
    let mut bank = account(1_000, 0);
    let first = bank.lend("a", ask(100, 1), wall(0), wall(30)).unwrap();
    let second = bank.lend("a", ask(100, 1), wall(30), wall(60)).unwrap();
    assert!(second.epoch > first.epoch, "fenced");
    assert_eq!(bank.held(), Nanos(200), "the money of the first stays lent");
    assert!(
        !bank.give_back("b", first.epoch, Nanos(1)) && !bank.close("b", first.epoch, Nanos(0)),
        "another's"
    );
    assert!(bank.close("a", first.epoch, Nanos(40)));
    assert_eq!(bank.held(), Nanos(140), "what its calls have cost is held until it is posted");
    bank.post(Some(first.epoch), Nanos(40));
    assert_eq!((bank.held(), bank.free()), (Nanos(100), Nanos(860)));
    assert!(bank.close("a", first.epoch, Nanos(0)), "said again");
    assert_eq!(bank.held(), Nanos(100));
    assert!(!bank.release(second.epoch, wall(59)), "it may still be spent");
    assert!(bank.release(second.epoch, wall(60)));
    assert_eq!(bank.free(), Nanos(960));
}

/// Its node ended it before: what it holds may be told as spent by now.
#[test]
fn a_lease_goes_on_until_the_moment_of_its_end_and_not_in_it() {
    let mut bank = account(1_000, 0);
    let first = bank.lend("a", ask(100, 1), wall(0), wall(30)).unwrap();
    let on = LeaseRequest { lease: Some(first.epoch), ..ask(10, 1) };
    let longer = bank.lend("a", on, wall(29), wall(40)).unwrap();
    assert_eq!((longer.epoch, longer.expires_at), (first.epoch, wall(40)));
    let another = bank.lend("a", on, wall(40), wall(60)).unwrap();
    assert!(another.epoch > first.epoch, "at the very end it is another one");
    assert_eq!((bank.leases[0].granted, bank.held()), (Nanos(110), Nanos(120)));
}

/// The money of a lease is at most what it holds, and nothing of one that is over: else it would be lent a second time.
#[test]
fn a_node_gives_back_no_more_than_its_lease_holds_and_nothing_of_one_that_is_closed() {
    let mut bank = account(1_000, 0);
    let lease = bank.lend("a", ask(100, 1), wall(0), wall(30)).unwrap();
    bank.post(Some(lease.epoch), Nanos(30));
    assert!(!bank.give_back("a", lease.epoch, Nanos(71)) && !bank.give_back("a", lease.epoch, Nanos(-1)));
    assert_eq!((bank.held(), bank.free()), (Nanos(70), Nanos(900)));
    assert!(bank.give_back("a", lease.epoch, Nanos(20)));
    assert_eq!((bank.held(), bank.free()), (Nanos(50), Nanos(920)));
    assert!(bank.close("a", lease.epoch, Nanos(60)));
    assert!(!bank.give_back("a", lease.epoch, Nanos(1)), "its cost is known, and held until it is posted");
    assert_eq!((bank.held(), bank.free()), (Nanos(30), Nanos(940)));
}

/// A node that says less than what was posted of its lease is not believed: what was posted was lent.
#[test]
fn a_lease_is_never_closed_below_what_was_posted_of_it() {
    let mut bank = account(1_000, 0);
    let lease = bank.lend("a", ask(100, 1), wall(0), wall(30)).unwrap();
    bank.post(Some(lease.epoch), Nanos(60));
    assert!(bank.close("a", lease.epoch, Nanos(40)));
    assert_eq!((bank.leases[0].granted, bank.held(), bank.free()), (Nanos(60), Nanos(0), Nanos(940)));
}

#[test]
fn a_call_holds_what_it_may_cost_and_gives_back_the_rest() {
    let purse = Arc::new(Purse::new(ban(), 1, Nanos(100), mono(10)));
    let mut one = purse.hold(Nanos(60), mono(0)).unwrap();
    assert!(purse.hold(Nanos(41), mono(0)).is_none(), "there is not so much");
    assert!(!one.more(Nanos(41), mono(0)) && one.more(Nanos(40), mono(0)));
    assert_eq!((purse.free(), purse.calls(), one.amount()), (Nanos(0), 1, Nanos(100)));
    Held::settle(one, Nanos(70));
    assert_eq!((purse.free(), purse.spent(), purse.calls()), (Nanos(30), Nanos(70), 0));
    drop(purse.hold(Nanos(30), mono(0)).unwrap());
    assert_eq!((purse.free(), purse.spent()), (Nanos(30), Nanos(70)), "never answered: nothing");
    assert!(purse.hold(Nanos(1), mono(10)).is_none(), "the lease has ended");
    assert_eq!((purse.take_back(Nanos(500)), purse.free()), (Nanos(30), Nanos(0)));
}

#[test]
fn nothing_is_taken_from_a_purse_that_was_closed_however_late_the_clock_of_a_shard_is() {
    let purse = Arc::new(Purse::new(ban(), 1, Nanos(100), mono(10)));
    let rings = purse.hold(Nanos(60), mono(0)).unwrap();
    assert_eq!(purse.closing(mono(9)), None, "it has not ended");
    assert_eq!(purse.closing(mono(10)), None, "a call holds something of it");
    drop(rings);
    assert!(purse.hold(Nanos(1), mono(9)).is_none(), "a shard that read its clock before the end");
    assert_eq!((purse.closing(mono(10)), purse.free()), (Some(Nanos(0)), Nanos(0)));
}

/// Two answers of the bank may overtake one another.
#[test]
fn a_lease_that_goes_on_never_ends_earlier_than_was_said_before() {
    let purse = Arc::new(Purse::new(ban(), 1, Nanos(100), mono(10)));
    purse.extend(Nanos(50), mono(20));
    purse.extend(Nanos(5), mono(15));
    assert_eq!((purse.ends(), purse.free()), (mono(20), Nanos(155)));
}

/// A call that costs more than it holds takes nothing that others may hold.
#[test]
fn a_call_costs_its_purse_at_most_what_it_holds() {
    let purse = Arc::new(Purse::new(ban(), 1, Nanos(100), mono(10)));
    let call = purse.hold(Nanos(60), mono(0)).unwrap();
    Held::settle(call, Nanos(61));
    assert_eq!((purse.spent(), purse.free(), purse.held()), (Nanos(60), Nanos(40), Nanos(0)));
    let call = purse.hold(Nanos(40), mono(0)).unwrap();
    Held::settle(call, Nanos(-1));
    assert_eq!((purse.spent(), purse.free()), (Nanos(60), Nanos(40)), "and never less than nothing");
}

fn at(s: u64) -> Now {
    Now { mono: mono(s), wall: wall(s) }
}

/// A trunk whose calls are paid ahead, with what is bound of it. A minute costs 0.01, in increments of 6 seconds.
fn paid_ahead() -> (Usage, Bound, Snapshot) {
    let mut r = rows();
    r.trunks[0].payer = Some(Payer { ban: ban(), ahead: true });
    let s = snapshot_of(r);
    let usage = Usage::new();
    let bound = usage.bind(&s.directory);
    (usage, bound, s)
}

const INCREMENT: i64 = 1_000_000;

#[test]
fn a_call_is_paid_ahead_in_whole_increments_and_refused_without_money_for_one() {
    let (usage, bound, s) = paid_ahead();
    let decision =
        warp_policy::decide(&s, &world::input("+12125550100", "+14155550100"), &warp_policy::Live::default());
    let sell = decision.sell.expect("a price");
    assert_eq!((sell.rate_per_min, sell.terms.initial_s, sell.terms.next_s), (Nanos(10 * INCREMENT), 6, 6));
    let place = usage.wallet().place(ban());
    let admit = |s: u64| bound.admit(TrunkIx(0), Some(&sell), at(s));
    assert_eq!(admit(0).unwrap_err(), Refusal::NoCredit, "no lease is here");
    assert_eq!(place.missed(), Missed { want: Nanos(10 * INCREMENT), need: Nanos(INCREMENT) });
    assert_eq!(bound.trunk(TrunkIx(0)).unwrap().channels, 0, "and nothing else is held");
    // Two and a half increments: two of them are paid.
    let purse = Arc::new(Purse::new(ban(), 3, Nanos(5 * INCREMENT / 2), mono(100)));
    place.put(Some(Arc::clone(&purse)));
    let mut call = admit(0).unwrap();
    assert_eq!((call.paid(), call.lease()), (Some(Duration::from_secs(12)), Some((ban(), 3))));
    assert_eq!(admit(0).unwrap_err(), Refusal::NoCredit, "half an increment is left");
    assert!(!call.pay_on(mono(11)));
    assert_eq!(place.missed().need, Nanos(INCREMENT));
    // More was borrowed behind its back.
    purse.extend(Nanos(11 * INCREMENT), mono(200));
    assert!(call.pay_on(mono(11)));
    assert_eq!((call.paid(), call.lease_ends()), (Some(Duration::from_secs(72)), Some(mono(200))));
    Reservation::settle(call, Nanos(7 * INCREMENT));
    assert_eq!(
        (purse.spent(), purse.free(), purse.calls()),
        (Nanos(7 * INCREMENT), Nanos(13 * INCREMENT / 2), 0)
    );
    // Never answered: nothing is spent.
    drop(admit(20).unwrap());
    assert_eq!(purse.free(), Nanos(13 * INCREMENT / 2));
    assert_eq!(admit(200).unwrap_err(), Refusal::NoCredit, "the lease has ended");
}

#[test]
fn a_call_for_help_needs_no_lease_and_nor_does_who_pays_later() {
    let (usage, bound, _) = paid_ahead();
    let mut help = bound.admit(TrunkIx(0), None, at(0)).unwrap();
    assert_eq!((help.paid(), help.lease_ends(), help.pay_on(mono(9))), (None, None, true));
    assert_eq!(usage.wallet().place(ban()).missed(), Missed::default());
    assert_eq!((Refusal::NoCredit.sip_status(), Refusal::NoCredit.q850()), (402, 21));
}

/// A toll-free number, a free destination: nothing is to be paid, so no money is needed, and the lack of it ends no call.
#[test]
fn what_costs_nothing_needs_no_lease_and_what_only_begins_free_does() {
    let (usage, bound, s) = paid_ahead();
    let decision =
        warp_policy::decide(&s, &world::input("+12125550100", "+14155550100"), &warp_policy::Live::default());
    let sell = decision.sell.expect("a price");
    let free = warp_policy::SellRate { rate_per_min: Nanos(0), ..sell };
    let mut call = bound.admit(TrunkIx(0), Some(&free), at(0)).expect("there is nothing to pay");
    assert_eq!((call.paid(), call.lease(), call.pay_on(mono(9))), (None, None, true));
    assert_eq!(usage.wallet().place(ban()).missed(), Missed::default(), "nobody borrows for it");
    drop(call);
    // A set-up fee alone is money, and so is a price whose first minute is rounded to nothing.
    let fee = warp_policy::SellRate {
        terms: warp_policy::deck::Terms { setup_fee: Nanos(INCREMENT), ..sell.terms },
        ..free
    };
    let small = warp_policy::SellRate { rate_per_min: Nanos(1), ..sell };
    for rate in [fee, small] {
        assert_eq!(bound.admit(TrunkIx(0), Some(&rate), at(0)).unwrap_err(), Refusal::NoCredit, "{rate:?}");
    }
}
