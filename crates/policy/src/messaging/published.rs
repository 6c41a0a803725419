//! What a control plane publishes of messaging, for the SMSCs of its nodes (RFC 0037): accounts, binds to vendors, routes, prices.
//!
//! Ids are texts here: they stand in the SMSC's records and come back with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::{BanId, CustomerId, Secret, VendorId};

use super::optout::Entries;
use super::prices::PriceList;
use super::route::{Direction, Kind};
use crate::directory::Payer;

/// Everything that an SMSC decides by.
#[derive(Clone, Debug, Default)]
pub struct Messaging {
    /// Rises with each publication; 0: nothing was published yet.
    pub version: u64,
    /// The accounts of customers, in the order of their ids.
    pub accounts: Vec<SmppAccount>,
    /// The binds to vendors, in the order of their ids.
    pub binds: Vec<VendorBind>,
    /// Routes of both directions.
    pub routes: Vec<MessageRoute>,
    /// Who does not want to hear of whom: what was published first, then what came since. Of a pair the last entry counts.
    pub opt_outs: Vec<Arc<Entries>>,
}

/// An account that a customer sends and receives by, over SMPP and REST.
#[derive(Clone, Debug)]
pub struct SmppAccount {
    /// The account's id: `sac_` and 26 characters.
    pub id: String,
    /// The customer whose account it is.
    pub customer: CustomerId,
    /// The name that it binds by.
    pub system_id: String,
    /// What it binds with: its hash by argon2id, as a PHC string. `None`: it does not bind.
    pub secret: Option<Secret<String>>,
    /// Whether it may bind and send now.
    pub open: bool,
    /// Messages a second over all doors; `None`: no limit.
    pub messages_per_s: Option<u32>,
    /// Binds at a time.
    pub binds: usize,
    /// Requests of one bind without an answer.
    pub window: usize,
    /// The source addresses that it may use; `None`: any (T-SMS-07).
    pub senders: Option<Vec<String>>,
    /// The name of its group, which routes look at.
    pub group: Option<String>,
    /// The name by which its customer is known to recipients: it stands in what STOP, START and HELP are answered.
    pub brand: String,
    /// Its messages are marketing: they keep the quiet hours (RFC 0035).
    pub marketing: bool,
    /// Who pays for its messages.
    pub payer: Payer,
    /// What it pays for a segment: the first list that prices the destination counts.
    pub sell: Vec<Arc<PriceList>>,
}

/// Whether a bind carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// It is bound, and messages go out.
    #[default]
    Active,
    /// It is bound, and messages wait; receipts and messages of handsets come in.
    Paused,
    /// It is not bound; what waited for it goes to the next vendor of its route.
    Closed,
}

/// A connection to a vendor.
#[derive(Clone, Debug)]
pub struct VendorBind {
    /// The bind's id: `vbd_` and 26 characters.
    pub id: String,
    /// The vendor whose it is.
    pub vendor: VendorId,
    /// Whether it carries messages.
    pub standing: Standing,
    /// One bind to each of these addresses.
    pub addresses: Vec<SocketAddr>,
    /// The name that its certificate must have; `None`: it is reached without TLS.
    pub tls_name: Option<String>,
    /// Who we bind as.
    pub system_id: String,
    /// What we bind with.
    pub password: Secret<String>,
    /// The kind of ESME that we are, mostly empty.
    pub system_type: String,
    /// Messages of one bind without an answer.
    pub window: usize,
    /// Messages a second over all binds; `None`: no limit.
    pub messages_per_s: Option<u32>,
    /// How its ids are written.
    pub message_ids: MessageIds,
    /// A message that may be with it, and nobody knows, is sent again; else it ends as UNKNOWN.
    pub sends_again: bool,
    /// What it asks for a segment.
    pub buy: Arc<PriceList>,
}

/// How a vendor writes its ids in responses and in receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MessageIds {
    /// The same in both.
    #[default]
    AsGiven,
    /// Hexadecimal in the response, decimal in the receipt.
    HexThenDecimal,
    /// Decimal in the response, hexadecimal in the receipt.
    DecimalThenHex,
}

/// A route of messages (RFC 0034). All that it says of a message must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRoute {
    /// The route's id, for faults.
    pub id: String,
    /// Which way its messages go.
    pub direction: Direction,
    /// Its place: the highest is looked at first; 0 is the default route.
    pub order: u16,
    /// How it chooses among its targets.
    pub kind: Kind,
    /// Ids of binds (from customers), or of accounts (from handsets).
    pub targets: Vec<String>,
    /// Only messages of this account.
    pub account: Option<String>,
    /// Only messages of accounts of this group.
    pub group: Option<String>,
    /// Only messages that came by this bind.
    pub bind: Option<String>,
    /// A pattern for the source address.
    pub source: Option<String>,
    /// A pattern for the destination address, without plus.
    pub destination: Option<String>,
    /// A pattern for the text.
    pub text: Option<String>,
    /// A label of the message.
    pub tag: Option<String>,
    /// A message that is reported as undelivered goes to the next target.
    pub next_when_undelivered: bool,
    /// A message of which nothing is reported for so long goes to the next target.
    pub next_without_receipt: Option<Duration>,
    /// It may carry messages that cost more than they are sold for.
    pub loss_ok: bool,
}

impl Messaging {
    /// Billing accounts whose money is taken ahead of the messages.
    pub fn paid_ahead(&self) -> impl Iterator<Item = BanId> {
        self.accounts.iter().filter(|a| a.payer.ahead).map(|a| a.payer.ban)
    }
}
