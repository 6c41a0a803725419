//! Other settings while it runs: accounts and vendors keep their places, so that messages, queues and binds stay where they are. What is
//! not in the new settings keeps its place too, closed, until the next start.

use std::collections::HashMap;
use std::sync::Arc;

use warp_model::Now;
use warp_policy::messaging::{Filter, Route, RouteError, Senders};

use super::Core;
use super::deliver::AccountState;
use super::slab::Key;
use super::throttle::Bucket;
use super::vendor::{BindState, VendorState};
use crate::config::{Account, Config, Destination, Vendor};
use warp_policy::messaging::published::Standing;

/// Places of accounts by the names that they bind with and by those of records.
pub(super) type Names = (HashMap<Vec<u8>, usize>, HashMap<Vec<u8>, usize>);

pub(super) fn named(config: &Config) -> Names {
    let all = || config.accounts.iter().enumerate();
    let bytes = |text: &String| text.clone().into_bytes();
    (
        all().filter(|(_, a)| a.open).map(|(at, a)| (bytes(&a.system_id), at)).collect(),
        all().map(|(at, a)| (bytes(&a.name), at)).collect(),
    )
}

impl Config {
    /// What is in force when `wanted` is wanted after these settings: its accounts, vendors, groups and routes, at the places that they
    /// have here. Listeners, limits and callbacks stay.
    pub fn succeeded_by(&self, wanted: Config) -> Config {
        let mut next = self.clone();
        let mut groups = Vec::new();
        for name in wanted.groups {
            groups.push(place_of(&mut next.groups, |known| *known == name, name.clone()));
        }
        next.accounts.iter_mut().for_each(|a| a.open = false);
        let mut accounts = Vec::new();
        for mut account in wanted.accounts {
            account.group = account.group.and_then(|g| groups.get(g).copied());
            let name = account.name.clone();
            accounts.push(place_of(&mut next.accounts, |a| a.name == name, account));
        }
        next.vendors.iter_mut().for_each(|v| v.standing = Standing::Closed);
        let mut vendors = Vec::new();
        for vendor in wanted.vendors {
            let name = vendor.name.clone();
            vendors.push(place_of(&mut next.vendors, |v| v.name == name, vendor));
        }
        let filter = |filter: &mut Filter| match filter {
            Filter::User(place) => moved(place, &accounts),
            Filter::Group(place) => moved(place, &groups),
            Filter::Connector(place) => moved(place, &vendors),
            _ => {}
        };
        let destination = |to: Destination| match to {
            Destination::Account(mut place) => {
                moved(&mut place, &accounts);
                Destination::Account(place)
            }
            http => http,
        };
        next.mt = wanted.mt;
        for Route { filters, targets, .. } in &mut next.mt {
            filters.iter_mut().for_each(filter);
            targets.iter_mut().for_each(|place| moved(place, &vendors));
        }
        next.mo = wanted.mo;
        for Route { filters, targets, .. } in &mut next.mo {
            filters.iter_mut().for_each(filter);
            targets.iter_mut().for_each(|to| *to = destination(*to));
        }
        next.opt_outs = wanted.opt_outs;
        next.mt_default = wanted.mt_default.map(|mut place| {
            moved(&mut place, &vendors);
            place
        });
        next.mo_default = wanted.mo_default.map(destination);
        next
    }
}

/// The place of a thing in a list, where it takes the place of what was known of it; else a new one at the end.
fn place_of<T>(all: &mut Vec<T>, is_same: impl Fn(&T) -> bool, thing: T) -> usize {
    match all.iter().position(is_same) {
        Some(at) => {
            if let Some(known) = all.get_mut(at) {
                *known = thing;
            }
            at
        }
        None => {
            all.push(thing);
            all.len().saturating_sub(1)
        }
    }
}

fn moved(place: &mut usize, to: &[usize]) {
    // What was checked before leads somewhere.
    *place = to.get(*place).copied().unwrap_or(usize::MAX);
}

/// Whether a vendor is reached in another way than before.
fn is_other_link(was: &Vendor, is: &Vendor) -> bool {
    (was.standing == Standing::Closed) != (is.standing == Standing::Closed)
        || was.addresses != is.addresses
        || was.system_id != is.system_id
        || was.password.reveal() != is.password.reveal()
        || was.system_type != is.system_type
        || was.tls != is.tls
        || was.window != is.window
}

/// Whether the binds of an account are others than those of before.
fn is_other_account(was: &Account, is: &Account) -> bool {
    let hash = |a: &Account| a.secret.as_ref().map(|s| s.reveal().clone());
    was.open != is.open
        || was.system_id != is.system_id
        || was.password.reveal() != is.password.reveal()
        || hash(was) != hash(is)
}

impl Core {
    /// The settings in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Other accounts, vendors and routes from now on. Binds of what has another secret or is closed are ended in order, those of what
    /// did not change stay. Errors: the routes contradict one another; everything stays as it was.
    pub fn configure(&mut self, wanted: Config, now: Now) -> Result<(), RouteError> {
        let was = Arc::clone(&self.config);
        let is = Arc::new(was.succeeded_by(wanted));
        (self.mt, self.mo) = is.tables()?;
        self.config = Arc::clone(&is);
        self.ways = Default::default();
        self.consent.take(&is.opt_outs);
        (self.by_system_id, self.by_name) = named(&is);
        let mut ends: Vec<Key> = Vec::new();
        for (at, account) in is.accounts.iter().enumerate() {
            let (Some(before), Some(state)) = (was.accounts.get(at), self.accounts.get_mut(at)) else {
                self.accounts.push(AccountState::new(account));
                continue;
            };
            if before.rate != account.rate {
                state.bucket = Bucket::new(account.rate);
            }
            state.senders = account.sources.as_ref().map(Senders::new);
            if is_other_account(before, account) {
                ends.extend(state.binds.iter().copied());
                self.secrets.forget(at);
            }
        }
        let mut closed = Vec::new();
        for (at, vendor) in is.vendors.iter().enumerate() {
            let (Some(before), Some(state)) = (was.vendors.get(at), self.vendors.get_mut(at)) else {
                self.vendors.push(VendorState::new(vendor));
                continue;
            };
            if before.rate != vendor.rate {
                state.bucket = Bucket::new(vendor.rate);
                state.paced_until = None;
            }
            if is_other_link(before, vendor) {
                ends.extend(state.binds.iter().filter_map(|bind| bind.connection));
                state.binds = BindState::all(vendor);
            }
            if vendor.standing == Standing::Closed && before.standing != Standing::Closed {
                closed.push(at);
            }
        }
        for key in ends {
            self.unbind(key, now);
        }
        for at in closed {
            self.empty(at, now);
        }
        self.connect_vendors(now);
        Ok(())
    }

    /// What waits for a vendor that is closed goes to the next one of its route; what has none waits for it.
    fn empty(&mut self, at: usize, now: Now) {
        let waiting: Vec<Key> =
            std::iter::from_fn(|| self.vendors.get_mut(at).and_then(|v| v.ready.pop())).collect();
        for key in waiting {
            if !self.move_on(key, now) {
                self.ready(key, false);
            }
        }
    }
}
