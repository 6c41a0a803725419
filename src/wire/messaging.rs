//! The SMSC of a node: what the control plane publishes becomes its settings, and the control plane's messages go through its door.
//!
//! It starts with the first publication, which comes with the control plane; while PostgreSQL is away at the start, customers cannot bind,
//! and what is in the queue waits on disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::JoinHandle;

use anyhow::Context;
use warp_control_plane::app::messages::{Answered, Door, NotTaken, Outgoing};
use warp_events::EventLog;
use warp_feed::{Listening, Subscriber};
use warp_model::sync::lock;
use warp_model::{Currency, MessageId, Money, Nanos, Secret};
use warp_policy::credit::Wallet;
use warp_policy::messaging::published::{MessageIds, MessageRoute, SmppAccount, VendorBind};
use warp_policy::messaging::{Direction, Filter, Kind, Messaging, Pattern, Route, Table};
use warp_smsc::{
    Account, Config, Destination, InDoubt, JasminReply, Metrics, Refusal, Smsc, Submission, Vendor,
};
use warp_telemetry::health::Part;

/// A running SMSC, or one that waits for its first settings. Dropping it stops it.
pub(super) struct Messages {
    shared: Arc<Shared>,
    _listening: Listening,
    wake: mpsc::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    base: Config,
    log: EventLog,
    metrics: Metrics,
    seed: u64,
    feed: Subscriber<Messaging>,
    smsc: Mutex<Option<Smsc>>,
    door: OnceLock<warp_smsc::Door>,
    part: Part,
}

impl Messages {
    /// Starts it when something is published already, and follows what is published. Errors: an address cannot be bound, the queue
    /// cannot be read.
    pub(super) fn start(
        mut base: Config,
        log: EventLog,
        (metrics, part): (Metrics, Part),
        seed: u64,
        wallet: Arc<Wallet>,
        feed: Subscriber<Messaging>,
    ) -> anyhow::Result<Messages> {
        base.wallet = wallet;
        let (smsc, door) = (Mutex::new(None), OnceLock::new());
        let shared = Arc::new(Shared { base, log, metrics, seed, feed: feed.clone(), smsc, door, part });
        let (wake, woken) = mpsc::channel();
        let on_change = wake.clone();
        // Called on the publisher's thread: it only says that there is something.
        let listening = feed.listen(move || {
            let _ = on_change.send(true);
        });
        shared.follow().context("SMSC")?;
        let of_thread = Arc::clone(&shared);
        let follow = move || {
            while let Ok(true) = woken.recv() {
                if let Err(error) = of_thread.follow() {
                    tracing::error!(error = %error, "the SMSC does not start");
                    of_thread.part.down(error.to_string());
                }
            }
        };
        let thread = std::thread::Builder::new().name("messaging".to_owned()).spawn(follow);
        let thread = Some(thread.context("thread")?);
        Ok(Messages { shared, _listening: listening, wake, thread })
    }

    /// Where customers bind, with the real port; `None`: nowhere, or not yet.
    pub(super) fn address(&self) -> Option<std::net::SocketAddr> {
        lock(&self.shared.smsc).as_ref().and_then(Smsc::address)
    }

    /// Where Jasmin's HTTP API is.
    pub(super) fn http(&self) -> Option<std::net::SocketAddr> {
        lock(&self.shared.smsc).as_ref().and_then(Smsc::http)
    }

    /// The door for the control plane.
    pub(super) fn door(&self) -> Door {
        let shared = Arc::clone(&self.shared);
        Door { send: Arc::new(move |outgoing| shared.send(outgoing)) }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let _ = self.wake.send(false);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        drop(lock(&self.shared.smsc).take());
    }
}

impl Shared {
    /// Takes over what is published.
    fn follow(&self) -> Result<(), warp_smsc::StartError> {
        let messaging = self.feed.latest();
        if messaging.version == 0 {
            return Ok(());
        }
        let config = configuration(&self.base, &messaging);
        if let Some(door) = self.door.get() {
            // A full mailbox is drained by its owner within milliseconds.
            while door.configure(config.clone()) == Err(warp_smsc::DoorError::Full) {
                std::thread::yield_now();
            }
            return Ok(());
        }
        let smsc = warp_smsc::start_on(config, &self.log, self.metrics.clone(), self.seed)?;
        let _ = self.door.set(smsc.door());
        *lock(&self.smsc) = Some(smsc);
        self.part.up();
        Ok(())
    }

    fn send(&self, outgoing: Outgoing) -> Answered {
        let account = outgoing.account.clone();
        let asked = self.door.get().map(|door| door.send(&account, submission(outgoing)));
        Box::pin(async move {
            let Some(Ok(answer)) = asked else { return Err(NotTaken::Unavailable) };
            match answer.await {
                Ok(JasminReply::Sent(id)) => Ok(MessageId::from_u128(id)),
                Ok(JasminReply::Refused(why)) => Err(not_taken(&why)),
                // It ended before it answered: whether the message is on disk shows in the list.
                Ok(_) | Err(_) => Err(NotTaken::Unavailable),
            }
        })
    }
}

fn submission(outgoing: Outgoing) -> Submission {
    Submission {
        to: outgoing.to,
        from: outgoing.from,
        coding: outgoing.coding,
        priority: outgoing.priority,
        schedule: outgoing.schedule,
        validity_minutes: outgoing.validity_min,
        text: outgoing.octets,
        parts: outgoing.parts,
        tags: outgoing.tags,
        ..Submission::default()
    }
}

fn not_taken(why: &Refusal) -> NotTaken {
    match why {
        Refusal::NoRoute => NotTaken::NoRoute,
        Refusal::NoCredit => NotTaken::NoCredit,
        Refusal::Throughput => NotTaken::Throttled,
        Refusal::Source(_) => NotTaken::Sender,
        Refusal::OptedOut => NotTaken::OptedOut,
        Refusal::Quiet => NotTaken::Quiet,
        Refusal::Argument(_) => NotTaken::Wrong,
        // An account that was made a moment ago is there in a moment.
        _ => NotTaken::Unavailable,
    }
}

/// The settings of an SMSC by what is published. What contradicts itself is left out and named in the log: it never stops the rest.
fn configuration(base: &Config, messaging: &Messaging) -> Config {
    let mut config = base.clone();
    let mut groups: Vec<String> = messaging.accounts.iter().filter_map(|a| a.group.clone()).collect();
    groups.sort();
    groups.dedup();
    let group = |name: &str| groups.iter().position(|g| g == name);
    config.accounts =
        messaging.accounts.iter().map(|a| account(a, a.group.as_deref().and_then(group))).collect();
    config.vendors = messaging.binds.iter().map(vendor).collect();
    let places = Places {
        accounts: messaging.accounts.iter().enumerate().map(|(at, a)| (a.id.as_str(), at)).collect(),
        binds: messaging.binds.iter().enumerate().map(|(at, b)| (b.id.as_str(), at)).collect(),
        groups: groups.iter().enumerate().map(|(at, g)| (g.as_str(), at)).collect(),
    };
    for route in &messaging.routes {
        let made = match route.direction {
            Direction::Terminated => places
                .terminated(route)
                .and_then(|made| one_more(Direction::Terminated, &mut config.mt, made)),
            Direction::Originated => places
                .originated(route)
                .and_then(|made| one_more(Direction::Originated, &mut config.mo, made)),
        };
        if let Err(why) = made {
            tracing::error!(route = route.id, why, "a route of messages is left out");
        }
    }
    config.groups = groups;
    config.opt_outs = messaging.opt_outs.clone();
    for payer in messaging.paid_ahead() {
        // Money is borrowed before the first message comes.
        config.wallet.place(payer);
    }
    config
}

fn account(published: &SmppAccount, group: Option<usize>) -> Account {
    // Of an account with a hash the password is never looked at; it is the same each time, or its binds would be taken for others.
    let mut account = Account::new(&published.system_id, "");
    account.name = published.id.clone();
    account.open = published.open;
    account.secret = published.secret.clone();
    account.rate = published.messages_per_s;
    account.binds = published.binds;
    account.window = published.window;
    account.sources = published.senders.clone();
    account.group = group;
    account.marketing = published.marketing;
    account.brand = published.brand.clone();
    account.customer = published.customer.as_u128();
    account.payer = Some(published.payer);
    account.sell = published.sell.clone();
    if published.secret.is_none() {
        // It does not bind: nobody knows this one.
        let mut unknown = [0u8; 32];
        let _ = getrandom::fill(&mut unknown);
        account.password = Secret::new(warp_model::hex::encode(&unknown));
    }
    account
}

fn vendor(bind: &VendorBind) -> Vendor {
    use warp_smpp::receipt::IdForm;
    let mut vendor = Vendor::new(&bind.id, &bind.system_id, bind.password.reveal(), bind.addresses.clone());
    vendor.standing = bind.standing;
    vendor.tls = bind.tls_name.clone();
    vendor.system_type = bind.system_type.clone();
    vendor.window = bind.window;
    vendor.rate = bind.messages_per_s;
    vendor.ids = match bind.message_ids {
        MessageIds::AsGiven => IdForm::default(),
        MessageIds::HexThenDecimal => IdForm::ResponseHex,
        MessageIds::DecimalThenHex => IdForm::ResponseDecimal,
    };
    vendor.in_doubt = if bind.sends_again { InDoubt::SendAgain } else { InDoubt::MarkUnknown };
    vendor.buy = Some(Arc::clone(&bind.buy));
    vendor
}

/// Adds a route to those of its direction, unless the table cannot be with it.
fn one_more<T: warp_policy::messaging::Target>(
    direction: Direction,
    routes: &mut Vec<Route<T>>,
    route: Route<T>,
) -> Result<(), String> {
    routes.push(route);
    let made = Table::new(direction, routes.clone());
    if made.is_err() {
        routes.pop();
    }
    made.map(drop).map_err(|e| e.to_string())
}

/// Places by ids.
struct Places<'m> {
    accounts: HashMap<&'m str, usize>,
    binds: HashMap<&'m str, usize>,
    groups: HashMap<&'m str, usize>,
}

impl Places<'_> {
    fn terminated(&self, route: &MessageRoute) -> Result<Route<usize>, String> {
        let targets = route.targets.iter().filter_map(|id| self.binds.get(id.as_str()).copied()).collect();
        self.made(route, targets)
    }

    fn originated(&self, route: &MessageRoute) -> Result<Route<Destination>, String> {
        let place = |id: &String| self.accounts.get(id.as_str()).copied().map(Destination::Account);
        self.made(route, route.targets.iter().filter_map(place).collect())
    }

    fn made<T: warp_policy::messaging::Target>(
        &self,
        route: &MessageRoute,
        targets: Vec<T>,
    ) -> Result<Route<T>, String> {
        let mut filters = Vec::new();
        let known =
            |found: Option<&usize>, what: &str| found.copied().ok_or_else(|| format!("its {what} is gone"));
        if let Some(id) = &route.account {
            filters.push(Filter::User(known(self.accounts.get(id.as_str()), "account")?));
        }
        if let Some(name) = &route.group {
            filters.push(Filter::Group(known(self.groups.get(name.as_str()), "group")?));
        }
        if let Some(id) = &route.bind {
            filters.push(Filter::Connector(known(self.binds.get(id.as_str()), "bind")?));
        }
        let pattern = |text: &String| Pattern::new(text).map_err(|e| e.to_string());
        if let Some(text) = &route.source {
            filters.push(Filter::Source(pattern(text)?));
        }
        if let Some(text) = &route.destination {
            filters.push(Filter::Destination(pattern(text)?));
        }
        if let Some(text) = &route.text {
            filters.push(Filter::Text(pattern(text)?));
        }
        if let Some(tag) = &route.tag {
            filters.push(Filter::Tag(tag.clone()));
        }
        let count = targets.len();
        let kind = if count == 1 { Kind::Static } else { route.kind };
        let mut made = Route::of(route.order, kind, targets, filters);
        if kind == Kind::LeastCost {
            // Which one asks least is decided for each destination, by the prices of its vendor.
            made.costs = vec![Money { amount: Nanos(0), currency: Currency::USD }; count];
        }
        made.next_when_undelivered = route.next_when_undelivered;
        made.next_without_receipt = route.next_without_receipt;
        made.loss_ok = route.loss_ok;
        Ok(made)
    }
}
