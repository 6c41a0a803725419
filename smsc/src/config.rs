//! What an SMSC is told: its listener, its customers' accounts, its vendors.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use warp_model::Secret;
use warp_net::tls::TlsFiles;
use warp_policy::Cidr;
use warp_policy::credit::Wallet;
use warp_policy::directory::Payer;
use warp_policy::messaging::published::Standing;
use warp_policy::messaging::{Direction, Entries, PriceList, Route, RouteError, Table};
use warp_smpp::Status;
use warp_smpp::receipt::IdForm;
use warp_smpp::session::Timers;

/// All settings of one SMSC.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name that binds are answered with, at most 15 octets.
    pub system_id: String,
    /// Where customers bind; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Where customers bind by TLS, 1.2 or later (T-SMS-11); `None`: nowhere.
    pub listen_tls: Option<SocketAddr>,
    /// The certificate of that listener.
    pub certificate: Option<TlsFiles>,
    /// Roots that vendors are trusted by which are reached by TLS; `None`: those of web browsers.
    pub roots: Option<PathBuf>,
    /// The customers' accounts, by their place.
    pub accounts: Vec<Account>,
    /// The vendors, by their place.
    pub vendors: Vec<Vendor>,
    /// The vendor of messages of customers that no route of `mt` fits; `None`: there is no route for them.
    pub mt_default: Option<usize>,
    /// Who gets messages of handsets that no route of `mo` fits; `None`: there is no route for them.
    pub mo_default: Option<Destination>,
    /// Routes of messages of customers, to vendors by their place (RFC 0034).
    pub mt: Vec<Route<usize>>,
    /// Routes of messages of handsets.
    pub mo: Vec<Route<Destination>>,
    /// Names of groups of accounts, by their place.
    pub groups: Vec<String>,
    /// Where Jasmin's HTTP API listens; `None`: nowhere. A listener of its own, because its password stands in the query.
    pub http: Option<SocketAddr>,
    /// How many parts a text of the HTTP API may have, 1 to 255; more are refused.
    pub http_parts: usize,
    /// Who gets messages of handsets by HTTP, by their place.
    pub http_clients: Vec<HttpClient>,
    /// How customers are called.
    pub callbacks: Callbacks,
    /// What is kept and taken at most.
    pub limits: SmscLimits,
    /// Accounts are kept of every message (RFC 0037): it has a price or is not carried, it is paid for, and how it ended is written also
    /// when nobody is told.
    pub recorded: bool,
    /// Who does not want to hear of whom, as it was published (RFC 0052).
    pub opt_outs: Vec<Arc<Entries>>,
    /// What messages are paid from that are paid ahead.
    pub wallet: Arc<Wallet>,
}

impl Config {
    /// An SMSC of this name that listens nowhere and knows nobody.
    pub fn new(system_id: &str) -> Config {
        Config {
            system_id: system_id.to_owned(),
            listen: None,
            listen_tls: None,
            certificate: None,
            roots: None,
            accounts: Vec::new(),
            vendors: Vec::new(),
            mt_default: None,
            mo_default: None,
            mt: Vec::new(),
            mo: Vec::new(),
            groups: Vec::new(),
            http: None,
            http_parts: 5,
            http_clients: Vec::new(),
            callbacks: Callbacks::default(),
            limits: SmscLimits::default(),
            recorded: false,
            opt_outs: Vec::new(),
            wallet: Arc::default(),
        }
    }
}

/// The tables of both directions: of messages of customers, and of messages of handsets.
pub type Tables = (Table<usize>, Table<Destination>);

impl Config {
    /// The routes of both directions with their default routes. Errors: routes that cannot be.
    pub fn tables(&self) -> Result<Tables, RouteError> {
        fn all<T: Copy>(routes: &[Route<T>], default: Option<T>) -> Vec<Route<T>>
        where
            Route<T>: Clone,
        {
            routes.iter().cloned().chain(default.map(|target| Route::to(0, target, Vec::new()))).collect()
        }
        Ok((
            Table::new(Direction::Terminated, all(&self.mt, self.mt_default))?,
            Table::new(Direction::Originated, all(&self.mo, self.mo_default))?,
        ))
    }
}

/// Who gets a message of a handset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The binds of the account of this place.
    Account(usize),
    /// The HTTP client of this place.
    Http(usize),
}

/// An HTTP end that gets messages of handsets, as Jasmin's `httpccm` has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClient {
    /// Its name in records; no two have the same.
    pub name: String,
    /// Where to, http or https.
    pub url: String,
    /// By POST; else by GET.
    pub post: bool,
}

/// How customers are called by HTTP.
#[derive(Clone, Debug)]
pub struct Callbacks {
    /// Networks that a URL may lead to besides public addresses (T-HOOK-01).
    pub networks: Vec<Cidr>,
    /// The first rest after a call that was not taken; it doubles up to an hour.
    pub rest: Duration,
    /// How long a whole call may take.
    pub time: Duration,
}

impl Default for Callbacks {
    fn default() -> Self {
        Callbacks { networks: Vec::new(), rest: Duration::from_secs(30), time: Duration::from_secs(30) }
    }
}

/// The limits of one SMSC, each with its answer when full.
#[derive(Clone, Copy, Debug)]
pub struct SmscLimits {
    /// Connections of customers together: further ones are closed.
    pub connections: usize,
    /// Connections of one source address: further ones are closed.
    pub per_source: usize,
    /// Messages that are not done: further ones are ESME_RMSGQFUL.
    pub messages: usize,
    /// Receipts whose message is not known yet: further ones are ESME_RX_T_APPN.
    pub parked: usize,
    /// How long such a receipt waits for its message.
    pub parked_for: Duration,
    /// How long a message lives that says nothing of it.
    pub validity: Duration,
    /// The longest validity and the latest schedule that are taken.
    pub validity_max: Duration,
    /// How long the receipt of a carrier is waited for after the validity.
    pub receipt_wait: Duration,
    /// How long a receipt or message waits for a customer to bind.
    pub keep_for_customer: Duration,
    /// Connections of the HTTP door: further ones wait to be accepted.
    pub http_connections: usize,
    /// Bytes of the body of a request: more are 413.
    pub http_body: usize,
    /// How long the head of a request may take, and its body: then 408, or the connection is closed.
    pub http_patience: Duration,
    /// Bytes that wait for a peer which does not read: then its connection is closed (T-SMS-06).
    pub write_buffer: usize,
}

impl Default for SmscLimits {
    fn default() -> Self {
        let hours = |h: u64| Duration::from_secs(h * 3_600);
        SmscLimits {
            connections: 10_000,
            per_source: 256,
            messages: 4_000_000,
            parked: 100_000,
            parked_for: Duration::from_secs(600),
            validity: hours(24),
            validity_max: hours(7 * 24),
            receipt_wait: hours(24),
            keep_for_customer: hours(72),
            http_connections: 1_024,
            http_body: 64 << 10,
            http_patience: Duration::from_secs(10),
            write_buffer: 4 << 20,
        }
    }
}

/// An account that customers bind with.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name in records, which stays when it gets another `system_id`; no two accounts have the same.
    pub name: String,
    /// Whether it may bind and send now.
    pub open: bool,
    /// Who binds, at most 15 octets; no two accounts have the same.
    pub system_id: String,
    /// What it binds with, at most 64 octets.
    pub password: Secret<String>,
    /// Instead of the password: its hash by argon2id, as a PHC string. It is checked away from the threads of sockets.
    pub secret: Option<Secret<String>>,
    /// Messages a second over all binds; `None`: no limit. Over it a submit is ESME_RTHROTTLED.
    pub rate: Option<u32>,
    /// Binds at a time: further ones are ESME_RBINDFAIL.
    pub binds: usize,
    /// Requests of one bind without an answer: further ones wait up to a second unread, then they are ESME_RTHROTTLED.
    pub window: usize,
    /// Deliveries to one bind without an answer.
    pub delivery_window: usize,
    /// The source addresses that it may use; `None`: any (T-SMS-07).
    pub sources: Option<Vec<String>>,
    /// Its group, by its place; `None`: it is in none.
    pub group: Option<usize>,
    /// The customer whose it is, by the number of its id; 0: nobody keeps accounts.
    pub customer: u128,
    /// Its messages are marketing, where accounts are kept: they keep the quiet hours of the recipient (RFC 0035).
    pub marketing: bool,
    /// The name that stands in what STOP, START and HELP are answered.
    pub brand: String,
    /// Who pays for its messages, where accounts are kept.
    pub payer: Option<Payer>,
    /// What it pays for a segment: the first list that prices the destination counts.
    pub sell: Vec<Arc<PriceList>>,
    /// The timers of its sessions.
    pub timers: Timers,
}

impl Account {
    /// An account without limits of its own.
    pub fn new(system_id: &str, password: &str) -> Account {
        Account {
            name: system_id.to_owned(),
            open: true,
            system_id: system_id.to_owned(),
            password: Secret::new(password.to_owned()),
            secret: None,
            rate: None,
            binds: 64,
            window: 1_000,
            delivery_window: 100,
            sources: None,
            group: None,
            customer: 0,
            marketing: false,
            brand: String::new(),
            payer: None,
            sell: Vec::new(),
            timers: Timers::default(),
        }
    }
}

/// A vendor that takes messages.
#[derive(Clone, Debug)]
pub struct Vendor {
    /// Its name in logs and records; no two vendors have the same.
    pub name: String,
    /// Whether it carries messages.
    pub standing: Standing,
    /// Who we bind as, at most 15 octets.
    pub system_id: String,
    /// What we bind with.
    pub password: Secret<String>,
    /// The kind of ESME that we are, mostly empty.
    pub system_type: String,
    /// One bind to each of these addresses; the same address may stand there more than once.
    pub addresses: Vec<SocketAddr>,
    /// The name that its certificate must have; `None`: it is reached without TLS.
    pub tls: Option<String>,
    /// Messages of one bind without an answer: what a crash may double (RFC 0017).
    pub window: usize,
    /// Messages a second over all binds; `None`: no limit.
    pub rate: Option<u32>,
    /// The first pause before a bind is tried again; it doubles up to `reconnect_max`.
    pub reconnect: Duration,
    /// The longest pause before a bind is tried again.
    pub reconnect_max: Duration,
    /// How its ids are written in responses and receipts.
    pub ids: IdForm,
    /// What becomes of a message that may be with the vendor, and nobody knows.
    pub in_doubt: InDoubt,
    /// What it asks for a segment, where accounts are kept; `None`: it has no price, and carries nothing there.
    pub buy: Option<Arc<PriceList>>,
    /// What its statuses mean where that is not the usual ([`OnStatus::usual`]).
    pub on_status: Vec<(Status, OnStatus)>,
    /// The timers of its sessions.
    pub timers: Timers,
}

impl Vendor {
    /// A vendor with one bind to each address and the usual settings.
    pub fn new(name: &str, system_id: &str, password: &str, addresses: Vec<SocketAddr>) -> Vendor {
        Vendor {
            name: name.to_owned(),
            standing: Standing::Active,
            system_id: system_id.to_owned(),
            password: Secret::new(password.to_owned()),
            system_type: String::new(),
            addresses,
            tls: None,
            window: 10,
            rate: None,
            reconnect: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(60),
            ids: IdForm::default(),
            in_doubt: InDoubt::default(),
            buy: None,
            on_status: Vec::new(),
            timers: Timers::default(),
        }
    }
}

/// What becomes of a message that was sent and not answered when the link or the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InDoubt {
    /// It is sent again, and counted as a possible duplicate.
    #[default]
    SendAgain,
    /// It ends as UNKNOWN.
    MarkUnknown,
}

/// What a status of a vendor, other than ESME_ROK, means for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStatus {
    /// It is sent again after this time, at most so often; then it is UNDELIV.
    Retry {
        /// How long it waits.
        after: Duration,
        /// How often, 255 at most.
        most: u8,
    },
    /// The vendor gets nothing for a second; the message is not to blame, and is its next one.
    SlowDown,
    /// It ends as UNDELIV, with the status as its error.
    Refuse,
    /// It goes to the next vendor of its route; where there is none, it is as usual.
    Next,
}

impl OnStatus {
    /// What a status means at most vendors (`ref/smpp-and-jasmin.md` §1).
    pub fn usual(status: Status) -> OnStatus {
        let retry = |seconds, most| OnStatus::Retry { after: Duration::from_secs(seconds), most };
        match status {
            Status::RTHROTTLED => OnStatus::SlowDown,
            Status::RSYSERR => retry(30, 2),
            Status::RMSGQFUL => retry(180, 2),
            Status::RINVSCHED => retry(300, 2),
            // Our bind is not what it should be: that is no fault of the message.
            Status::RINVBNDSTS => retry(1, 20),
            _ => OnStatus::Refuse,
        }
    }

    /// Whether a message that gets this status goes to the next vendor of its route, where there is one (RFC 0034).
    pub fn usually_next(status: Status) -> bool {
        matches!(
            status,
            Status::RSYSERR
                | Status::RMSGQFUL
                | Status::RINVBNDSTS
                | Status::RSUBMITFAIL
                | Status::RUNKNOWNERR
                | Status::RINVSRCADR
                | Status::RINVDSTADR
        ) || (0x400..=0x4FF).contains(&status.0)
    }
}
