//! Who pays for a batch of calls: one posting per billing account and batch, in the transaction that writes the calls. Only calls that are
//! new to the ledger are in its sum, so that a record that comes again, or after a crash, costs nothing again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use warp_model::id::PostingKind;
use warp_model::{CustomerId, Id, Nanos, PostingId};

use crate::store::credit;
use crate::store::ledger::{self, NewPosting};
use crate::store::posting::{Posting, Written};
use crate::store::{StoreError, Tx};

/// The accounts of a batch, each with the posting that it may get.
pub(super) struct Paid {
    accounts: BTreeMap<String, PostingId>,
}

impl Paid {
    /// Finds who pays for each call of a batch and says so in it: the account of its trunk; of a trunk that is gone the first one of its
    /// customer.
    pub(super) async fn of<'p, 'a: 'p>(
        tx: &mut Tx,
        batch: impl Iterator<Item = &'p mut Posting<'a>>,
    ) -> Result<Self, StoreError> {
        let mut priced: Vec<&mut Posting<'a>> = batch.filter(|p| charge(p) != 0).collect();
        let mut this = Self { accounts: BTreeMap::new() };
        if priced.is_empty() {
            return Ok(this);
        }
        let unique = |ids: Vec<String>| {
            let set: std::collections::BTreeSet<String> = ids.into_iter().collect();
            set.into_iter().collect::<Vec<_>>()
        };
        let trunks = priced.iter().filter_map(|p| p.record.trunk_id).map(|id| id.to_string());
        let trunks = unique(trunks.collect());
        let of_trunks = ledger::bans_of_trunks(tx, &trunks).await?;
        let of_trunks: HashMap<String, (String, String)> =
            of_trunks.into_iter().map(|(trunk, ban, customer)| (trunk, (ban, customer))).collect();
        let of_trunk = |p: &Posting<'_>| {
            let (ban, customer) = of_trunks.get(&p.record.trunk_id?.to_string())?;
            (p.record.customer_id?.to_string() == *customer).then(|| ban.clone())
        };
        // Who paid is what the record says, unless that account is gone, or never was the customer's.
        let said = priced.iter().filter_map(|p| p.record.paid).map(|p| p.ban_id.to_string());
        let said = unique(said.collect());
        let known: HashMap<String, String> = match said.is_empty() {
            true => HashMap::new(),
            false => ledger::customers_of_bans(tx, &said).await?.into_iter().collect(),
        };
        let others = priced
            .iter()
            .filter(|p| of_record(p, &known).is_none() && of_trunk(p).is_none())
            .filter_map(|p| p.record.customer_id);
        let others = unique(others.map(|id| id.to_string()).collect());
        let of_customers: HashMap<String, String> = match others.is_empty() {
            true => HashMap::new(),
            false => ledger::bans_of_customers(tx, &others).await?.into_iter().collect(),
        };
        for posting in &mut priced {
            let Some(customer) = posting.record.customer_id else { continue };
            let said = of_record(posting, &known);
            let ban = said
                .or_else(|| of_trunk(posting))
                .or_else(|| of_customers.get(&customer.to_string()).cloned());
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
        written: &HashMap<String, Written>,
    ) -> Result<(), StoreError> {
        let mut sums: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
        let mut leases: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for p in batch {
            let before = match written.get(&p.record.cdr_id.to_string()) {
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
        for (ban, Sum { customer, currency, amount, calls }) in sums {
            let id = self.accounts.get(ban).map_or_else(new_id, |id| Ok(*id))?;
            // Each call is in the ledger once because its row is; so the key needs to say no more than which posting it is.
            let key = id.to_string();
            let posting = NewPosting {
                id,
                customer,
                ban,
                kind: "usage",
                key: &key,
                currency,
                amount: Nanos(amount.saturating_neg()),
                against: "revenue",
                calls: Some(calls),
                reason: "calls",
                reverses: None,
                actor: "system",
            };
            if !ledger::post(tx, &posting).await? {
                return Err(StoreError::Conflict("ledger_postings_ban_id_key_key".into()));
            }
        }
        if !leases.is_empty() {
            let bans: Vec<&str> = leases.keys().map(|(ban, _)| ban.as_str()).collect();
            let epochs: Vec<i64> = leases.keys().map(|(_, epoch)| *epoch).collect();
            let costs: Vec<i64> = leases.values().copied().collect();
            credit::posted(tx, &bans, &epochs, &costs).await?;
        }
        Ok(())
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
fn of_record(p: &Posting<'_>, known: &HashMap<String, String>) -> Option<String> {
    let ban = p.record.paid?.ban_id.to_string();
    (*known.get(&ban)? == p.record.customer_id?.to_string()).then_some(ban)
}

/// What a call costs its customer, in nano-units.
fn charge(p: &Posting<'_>) -> i64 {
    p.record.rating.as_ref().map_or(0, |r| r.sell.charge.0)
}
