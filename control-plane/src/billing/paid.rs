//! Who pays for a batch of calls: one posting per billing account and batch, in the transaction that writes the calls. Only calls that are
//! new to the ledger are in its sum, so that a record that comes again, or after a crash, costs nothing again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use warp_model::id::PostingKind;
use warp_model::{CallId, CustomerId, Id, Nanos, PostingId};

use super::consumer::Rated;
use crate::store::ledger::{self, NewPosting};
use crate::store::posting::{self as rows, Known, Posting, Written};
use crate::store::{StoreError, Tx};

/// The accounts of a batch, each with the posting that it may get.
pub(super) struct Paid {
    accounts: BTreeMap<String, PostingId>,
}

/// What calls of leases have cost, by account and epoch.
pub(super) type Leases = BTreeMap<(String, i64), i64>;

/// Asks for everything that the calls of a batch refer to, at once.
pub(super) async fn known(tx: &mut Tx, batch: &[Rated<'_>]) -> Result<Known, StoreError> {
    let (mut trunks, mut bans, mut customers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for Rated { posting: p, .. } in batch {
        customers.extend(p.record.customer_id);
        if charge(p) != 0 {
            trunks.extend(p.record.trunk_id);
            bans.extend(p.record.paid.map(|paid| paid.ban_id));
        }
    }
    rows::known(tx, texts(trunks), texts(bans), texts(customers)).await
}

fn texts<T: std::fmt::Display>(ids: BTreeSet<T>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

impl Paid {
    /// Finds who pays for each call of a batch and says so in it: the account of its trunk; of a trunk that is gone the first one of its
    /// customer.
    pub(super) fn of<'p, 'a: 'p>(
        known: &Known,
        batch: impl Iterator<Item = &'p mut Posting<'a>>,
    ) -> Result<Self, StoreError> {
        let mut this = Self { accounts: BTreeMap::new() };
        for posting in batch.filter(|p| charge(p) != 0) {
            let Some(customer) = posting.record.customer_id.map(|id| id.to_string()) else { continue };
            // Who paid is what the record says, unless that account is gone, or never was the customer's.
            let said = of_record(posting, known, &customer);
            let ban = said
                .or_else(|| of_trunk(posting, known, &customer))
                .or_else(|| known.customers.get(&customer).cloned());
            let Some(ban) = ban else { continue };
            let made = match this.accounts.entry(ban.clone()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(new_id()?),
            };
            posting.paid_by = Some((ban, made));
        }
        Ok(this)
    }

    /// Posts what the calls that were written cost, one posting per account. A call that takes the place of a reconstructed one gives back
    /// what that one had cost, to whoever had paid for it, also when it costs nothing itself.
    pub(super) async fn post(
        &self,
        tx: &mut Tx,
        batch: &[&Posting<'_>],
        written: &HashMap<CallId, Written>,
    ) -> Result<Leases, StoreError> {
        let mut sums: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
        let mut leases = Leases::new();
        for p in batch {
            let before = match written.get(&p.record.cdr_id) {
                Some(Written::New) => None,
                Some(Written::Instead(before)) => before.paid_by.as_ref().map(|by| (by, before.cost)),
                None => continue,
            };
            let now = p.paid_by.as_ref().zip(p.record.rating.as_ref());
            let now = now.map(|((ban, _), r)| (ban, r.sell.currency.as_str(), charge(p)));
            let back = before.map(|((ban, currency), cost)| (ban, currency.as_str(), cost.saturating_neg()));
            // Only what was paid from a lease of this very account is held there.
            let lease = p.record.paid.and_then(|paid| Some((paid.ban_id.to_string(), paid.lease?)));
            let mut counted = "";
            for (ban, currency, more) in now.into_iter().chain(back) {
                let Some(customer) = p.record.customer_id else { continue };
                let sum = sums.entry(ban).or_insert(Sum { customer, currency, amount: 0, calls: 0 });
                let too_much = || StoreError::Value("a batch of calls costs more than fits".into());
                sum.amount = sum.amount.checked_add(more).ok_or_else(too_much)?;
                sum.calls = sum.calls.saturating_add(i32::from(counted != ban));
                counted = ban;
                if let Some(lease) = lease.as_ref().filter(|(of, _)| of == ban) {
                    let cost = leases.entry(lease.clone()).or_default();
                    *cost = cost.saturating_add(more);
                }
            }
        }
        let mut postings = Vec::with_capacity(sums.len());
        let mut keys = Vec::with_capacity(sums.len());
        for ban in sums.keys() {
            let id = self.accounts.get(*ban).map_or_else(new_id, |id| Ok(*id))?;
            // Each call is in the ledger once because its row is; so the key needs to say no more than which posting it is.
            keys.push((id, id.to_string()));
        }
        // In the order of the accounts' ids.
        for ((ban, Sum { customer, currency, amount, calls }), (id, key)) in sums.into_iter().zip(&keys) {
            postings.push(NewPosting {
                id: *id,
                customer,
                ban,
                kind: "usage",
                key,
                currency,
                amount: Nanos(amount.saturating_neg()),
                against: "revenue",
                calls: Some(calls),
                reason: "calls",
                reverses: None,
                actor: "system",
            });
        }
        if ledger::post_all(tx, &postings).await? != postings.len() {
            return Err(StoreError::Conflict("ledger_postings_ban_id_key_key".into()));
        }
        Ok(leases)
    }
}

/// What the calls of a batch do to an account.
struct Sum<'a> {
    customer: CustomerId,
    currency: &'a str,
    /// What they cost, in nano-units.
    amount: i64,
    calls: i32,
}

fn new_id() -> Result<PostingId, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| StoreError::Internal(format!("no randomness: {e}")))?;
    Ok(Id::<PostingKind>::new(crate::wall_now(), u128::from_le_bytes(bytes)))
}

/// The account that the record of a call names, when it is one of its customer.
fn of_record(p: &Posting<'_>, known: &Known, customer: &str) -> Option<String> {
    let ban = p.record.paid?.ban_id.to_string();
    (known.bans.get(&ban)? == customer).then_some(ban)
}

/// The account of the trunk of a call, when that is one of its customer.
fn of_trunk(p: &Posting<'_>, known: &Known, customer: &str) -> Option<String> {
    let (ban, of) = known.trunks.get(&p.record.trunk_id?.to_string())?;
    (of == customer).then(|| ban.clone())
}

/// What a call costs its customer, in nano-units.
fn charge(p: &Posting<'_>) -> i64 {
    p.record.rating.as_ref().map_or(0, |r| r.sell.charge.0)
}
