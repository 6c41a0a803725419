//! What an SMSC decides by, as it is published: accounts, binds, routes and prices (RFC 0037).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use warp_model::{Currency, CustomerId, MessageId, Nanos, Secret, Wall};
use warp_policy::directory::Payer;
use warp_policy::messaging::optout::may_be_listed;
use warp_policy::messaging::published::{
    MessageIds, MessageRoute, Messaging, SmppAccount, Standing, VendorBind,
};
use warp_policy::messaging::route::Kind;
use warp_policy::messaging::{Direction, Entries, Entry, PriceList, Scope};

use super::published::{all, id, keep, text};
use super::seal::{Seal, password_place};
use super::sql::statements;
use super::{StoreError, Tx};

/// The count of changes so far.
pub async fn version(tx: &mut Tx) -> Result<u64, StoreError> {
    let version: i64 = sqlx::query(MESSAGING_VERSION).fetch_one(tx.db()).await?.try_get(0)?;
    Ok(u64::try_from(version).unwrap_or(0))
}

/// Whether a route leads to this bind or account.
pub async fn is_target(tx: &mut Tx, id: &str) -> Result<bool, StoreError> {
    Ok(sqlx::query(MESSAGE_ROUTE_TO).bind(id).fetch_one(tx.db()).await?.try_get(0)?)
}

/// The accounts of a customer that may send, the oldest first; 2 at most.
pub async fn senders_of(tx: &mut Tx, customer: &str) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query(SMPP_ACCOUNTS_OPEN).bind(customer).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

type Lists = HashMap<(String, Currency), Arc<PriceList>>;

/// Reads everything. Rows that cannot be read are named in `faults`, and are left out.
/// Opt-outs are read from where `known` ends.
pub async fn read(
    tx: &mut Tx,
    seal: &Seal,
    known: &Messaging,
    faults: &mut Vec<String>,
) -> Result<Messaging, StoreError> {
    let mut out = Messaging { version: version(tx).await?, ..Messaging::default() };
    let lists = prices(tx, faults).await?;
    for row in all(tx, PUBLISH_SMPP_ACCOUNTS).await? {
        keep(account(&row, seal, &lists), &row, &mut out.accounts, faults);
    }
    for row in all(tx, PUBLISH_VENDOR_BINDS).await? {
        keep(bind(&row, seal, &lists), &row, &mut out.binds, faults);
    }
    for row in all(tx, PUBLISH_MESSAGE_ROUTES).await? {
        keep(route(&row), &row, &mut out.routes, faults);
    }
    out.opt_outs = opt_outs(tx, &known.opt_outs, faults).await?;
    Ok(out)
}

/// Pieces of published opt-outs: further ones are put together.
const PIECES: usize = 64;

/// What is published of opt-outs, and behind it what was written since.
async fn opt_outs(
    tx: &mut Tx,
    known: &[Arc<Entries>],
    faults: &mut Vec<String>,
) -> Result<Vec<Arc<Entries>>, StoreError> {
    let mut all = known.to_vec();
    let through = known.last().map_or(0, |entries| entries.through);
    let since = i64::try_from(through).unwrap_or(i64::MAX);
    let mut new = Entries { through, entries: Vec::new() };
    let rows = sqlx::query(PUBLISH_OPT_OUTS).bind(since).fetch_all(tx.db()).await?;
    for row in rows {
        let seq: i64 = row.try_get("seq")?;
        new.through = new.through.max(u64::try_from(seq).unwrap_or(0));
        keep(opt_out(&row), &row, &mut new.entries, faults);
    }
    if new.through > through {
        all.push(Arc::new(new));
    }
    if all.len() > PIECES {
        let through = all.last().map_or(0, |entries| entries.through);
        let entries = all.iter().flat_map(|piece| piece.entries.iter().copied()).collect();
        all = vec![Arc::new(Entries { through, entries })];
    }
    Ok(all)
}

fn opt_out(row: &PgRow) -> Result<Entry, StoreError> {
    let number = |name: &str| {
        let digits = text(row, name)?;
        digits.parse().map_err(|_| StoreError::Internal(format!("its {name} cannot be read")))
    };
    let customer: CustomerId = id(row, "customer_id")?;
    let message: Option<String> = row.try_get("message_id")?;
    Ok(Entry {
        scope: Scope::Number(customer.as_u128(), number("sender")?),
        recipient: number("recipient")?,
        out: text(row, "status")? == "out",
        at: Wall(row.try_get("at")?),
        message: message.and_then(|m| m.parse::<MessageId>().ok()).map_or(0, |m| m.as_u128()),
    })
}

/// What a handset has said of messages of a sender, as the queue tells it.
#[derive(Clone, Debug)]
pub struct Said {
    /// The message that said it.
    pub message: MessageId,
    /// The customer whose sender it is.
    pub customer: CustomerId,
    /// The digits of the sender.
    pub sender: u64,
    /// The digits of the recipient.
    pub recipient: u64,
    /// It wants no more messages; else it wants them again.
    pub out: bool,
    /// When it said so.
    pub at: Wall,
}

/// Writes what handsets have said, in order. What comes again changes nothing: a row has the id of the message that made it, and is lifted
/// by what was said after it only.
pub async fn say(tx: &mut Tx, all: &[Said]) -> Result<(), StoreError> {
    // What may not stand in the list makes no row: it must not hold up the others.
    for said in all.iter().filter(|said| may_be_listed(said.sender, said.recipient)) {
        let message = said.message.to_string();
        // A message makes one row at the most: both have the same number.
        let row = message.replacen("msg_", "opt_", 1);
        let statements =
            if said.out { [OPT_OUT_SAID_AGAIN, OPT_OUT_SAID] } else { [OPT_OUT_LIFTED, OPT_OUT_STARTED] };
        for statement in statements {
            let query = sqlx::query(statement)
                .bind(&row)
                .bind(said.customer.to_string())
                .bind(said.sender.to_string())
                .bind(said.recipient.to_string())
                .bind(&message)
                .bind(said.at.0);
            tx.run(query).await?;
        }
    }
    Ok(())
}

/// Lists by whose they are (a customer's or vendor's id; empty: everybody's) and currency.
async fn prices(tx: &mut Tx, faults: &mut Vec<String>) -> Result<Lists, StoreError> {
    let mut by_whom: HashMap<(String, Currency), Vec<(String, Nanos)>> = HashMap::new();
    for row in all(tx, PUBLISH_MESSAGE_PRICES).await? {
        let mut one = Vec::new();
        let read = (|| {
            let whose: String = row.try_get("whose")?;
            Ok((whose, id::<Currency>(&row, "currency")?, text(&row, "code")?, Nanos(row.try_get("price")?)))
        })();
        keep(read, &row, &mut one, faults);
        for (whose, currency, code, price) in one {
            by_whom.entry((whose, currency)).or_default().push((code, price));
        }
    }
    let list = |(key, prices): ((String, Currency), Vec<(String, Nanos)>)| {
        let list = PriceList::new(key.1, prices);
        (key, Arc::new(list))
    };
    Ok(by_whom.into_iter().map(list).collect())
}

fn account(row: &PgRow, seal: &Seal, lists: &Lists) -> Result<SmppAccount, StoreError> {
    let account = text(row, "id")?;
    let secret = opened(row, "secret", &account, seal)?;
    let customer = text(row, "customer_id")?;
    let currency: Currency = id(row, "currency")?;
    let sell = [customer.clone(), String::new()];
    let count =
        |name: &str| row.try_get::<Option<i32>, _>(name).map(|n| n.and_then(|n| u32::try_from(n).ok()));
    Ok(SmppAccount {
        system_id: text(row, "system_id")?,
        open: row.try_get("open")?,
        messages_per_s: count("messages_per_s")?,
        binds: if secret.is_some() { wide(row, "binds")? } else { 0 },
        window: wide(row, "send_window")?,
        senders: row.try_get("senders")?,
        group: row.try_get("group_name")?,
        marketing: row.try_get("marketing")?,
        brand: text(row, "brand")?,
        payer: Payer { ban: id(row, "ban_id")?, ahead: row.try_get("paid_ahead")? },
        sell: sell.into_iter().filter_map(|whose| lists.get(&(whose, currency)).cloned()).collect(),
        customer: id(row, "customer_id")?,
        secret,
        id: account,
    })
}

fn bind(row: &PgRow, seal: &Seal, lists: &Lists) -> Result<VendorBind, StoreError> {
    let bind = text(row, "id")?;
    let addresses: Vec<String> = row.try_get("addresses")?;
    let addresses = addresses.iter().map(|a| a.parse()).collect::<Result<Vec<_>, _>>();
    let vendor = text(row, "vendor_id")?;
    // A vendor asks in one currency; of several the first by its code counts, as it always did.
    let mut of_vendor: Vec<_> = lists.iter().filter(|((whose, _), _)| *whose == vendor).collect();
    of_vendor.sort_by_key(|((_, currency), _)| currency.as_str().to_owned());
    let nothing = || Arc::new(PriceList::new(Currency::USD, Vec::<(String, Nanos)>::new()));
    let rate: Option<i32> = row.try_get("messages_per_s")?;
    Ok(VendorBind {
        vendor: id(row, "vendor_id")?,
        standing: match (row.try_get("vendor_active")?, text(row, "status")?.as_str()) {
            (true, "active") => Standing::Active,
            (true, "paused") => Standing::Paused,
            _ => Standing::Closed,
        },
        addresses: addresses.map_err(|_| StoreError::Internal("its addresses cannot be read".into()))?,
        tls_name: row.try_get("tls_name")?,
        system_id: text(row, "system_id")?,
        password: opened(row, "password", &bind, seal)?.unwrap_or_else(|| Secret::new(String::new())),
        system_type: text(row, "system_type")?,
        window: wide(row, "send_window")?,
        messages_per_s: rate.and_then(|n| u32::try_from(n).ok()),
        message_ids: match text(row, "message_ids")?.as_str() {
            "hex_then_decimal" => MessageIds::HexThenDecimal,
            "decimal_then_hex" => MessageIds::DecimalThenHex,
            _ => MessageIds::AsGiven,
        },
        sends_again: text(row, "in_doubt")? == "send_again",
        buy: of_vendor.first().map_or_else(nothing, |(_, list)| Arc::clone(list)),
        id: bind,
    })
}

fn route(row: &PgRow) -> Result<MessageRoute, StoreError> {
    let place: i32 = row.try_get("place")?;
    let patience: Option<i32> = row.try_get("next_without_receipt_s")?;
    Ok(MessageRoute {
        id: text(row, "id")?,
        direction: match text(row, "direction")?.as_str() {
            "from_handset" => Direction::Originated,
            _ => Direction::Terminated,
        },
        order: u16::try_from(place).map_err(|_| StoreError::Internal("its place cannot be read".into()))?,
        kind: match text(row, "kind")?.as_str() {
            "random" => Kind::RandomRoundRobin,
            "failover" => Kind::Failover,
            "least_cost" => Kind::LeastCost,
            _ => Kind::Static,
        },
        targets: row.try_get("targets")?,
        account: row.try_get("account_id")?,
        group: row.try_get("group_name")?,
        bind: row.try_get("bind_id")?,
        source: row.try_get("source")?,
        destination: row.try_get("destination")?,
        text: row.try_get("message")?,
        tag: row.try_get("tag")?,
        next_when_undelivered: row.try_get("next_when_undelivered")?,
        next_without_receipt: patience.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
        loss_ok: row.try_get("loss_ok")?,
    })
}

fn wide(row: &PgRow, name: &str) -> Result<usize, StoreError> {
    let n: i32 = row.try_get(name)?;
    Ok(usize::try_from(n).unwrap_or(0))
}

/// A secret that cannot be opened takes its row out: without it every bind would be refused.
fn opened(row: &PgRow, name: &str, id: &str, seal: &Seal) -> Result<Option<Secret<String>>, StoreError> {
    let Some(bytes) = row.try_get::<Option<Vec<u8>>, _>(name)? else { return Ok(None) };
    let closed = |why: String| StoreError::Internal(format!("its {name}: {why}"));
    let clear = seal.unseal(&password_place(id), &bytes).map_err(|e| closed(e.to_string()))?;
    let text = std::str::from_utf8(clear.reveal()).map_err(|e| closed(e.to_string()))?;
    Ok(Some(Secret::new(text.to_owned())))
}

statements! {
    /// The count of changes.
    MESSAGING_VERSION = "SELECT version FROM messaging_version";
    /// Whether a route leads to `$1`.
    MESSAGE_ROUTE_TO = "SELECT EXISTS (SELECT FROM message_routes WHERE $1::text = ANY (targets))";
    /// Accounts of customer `$1` that may send.
    SMPP_ACCOUNTS_OPEN = "SELECT id FROM smpp_accounts WHERE customer_id = $1 AND status = 'active' ORDER BY id LIMIT 2";
    /// Accounts, with what they have of their customer and their billing account.
    PUBLISH_SMPP_ACCOUNTS = "SELECT a.id, a.customer_id, a.system_id, a.secret, a.messages_per_s, a.binds, a.send_window, a.senders,
            a.group_name, a.marketing, a.status = 'active' AND c.status = 'active' AS open, a.ban_id, c.currency,
            c.name AS brand, b.mode = 'prepaid' OR b.credit_limit IS NOT NULL AS paid_ahead
        FROM smpp_accounts a JOIN customers c ON c.id = a.customer_id JOIN bans b ON b.id = a.ban_id ORDER BY a.id";
    /// Binds to vendors.
    PUBLISH_VENDOR_BINDS = "SELECT b.id, b.vendor_id, b.status, v.status = 'active' AS vendor_active, b.addresses, b.tls_name, b.system_id,
            b.password, b.system_type, b.send_window, b.messages_per_s, b.message_ids, b.in_doubt
        FROM vendor_binds b JOIN vendors v ON v.id = b.vendor_id ORDER BY b.id";
    /// Routes of messages.
    PUBLISH_MESSAGE_ROUTES = "SELECT id, direction, place, kind, targets, account_id, group_name, bind_id, source, destination, message, tag,
            next_when_undelivered, next_without_receipt_s, loss_ok
        FROM message_routes ORDER BY id";
    /// Opt-outs that were written after `$1`, in order.
    PUBLISH_OPT_OUTS = "SELECT id, customer_id, sender, recipient, status, message_id, seq,
            (extract(epoch FROM coalesce(lifted_at, said_at)) * 1000000)::bigint AS at
        FROM opt_outs WHERE seq > $1 ORDER BY seq";
    /// Recipient `$4` has said STOP to sender `$3` of customer `$2` by message `$5` at `$6`. Where it had said so before, and nothing since,
    /// the row has the later time: a START of before it, which comes after it, does not lift it.
    OPT_OUT_SAID_AGAIN = "UPDATE opt_outs SET said_at = ts($6), message_id = $5, updated_at = now(), version = version + 1
        WHERE $1::text IS NOT NULL AND customer_id = $2 AND sender = $3 AND recipient = $4 AND status = 'out' AND said_at < ts($6)";
    /// The same, where it had not: row `$1`. One that a START of after it has ended stands as lifted. A customer who is gone has none.
    OPT_OUT_SAID = "INSERT INTO opt_outs (id, customer_id, sender, recipient, status, reason, message_id, said_at, lifted_at, lifted_message_id)
        SELECT $1, c.id, $3, $4, CASE WHEN l.id IS NULL THEN 'out' ELSE 'lifted' END, 'the recipient said STOP', $5, ts($6),
            l.lifted_at, l.lifted_message_id
        FROM customers c LEFT JOIN LATERAL (SELECT o.id, o.lifted_at, o.lifted_message_id FROM opt_outs o
            WHERE o.customer_id = $2 AND o.sender = $3 AND o.recipient = $4 AND o.lifted_at > ts($6)
            ORDER BY o.lifted_at LIMIT 1) l ON true
        WHERE c.id = $2 AND NOT EXISTS (SELECT FROM opt_outs o WHERE o.customer_id = $2 AND o.sender = $3 AND o.recipient = $4
            AND (o.status = 'out' OR (o.said_at <= ts($6) AND o.lifted_at > ts($6))))
        ON CONFLICT DO NOTHING";
    /// The same has said START: `$1` is not needed.
    OPT_OUT_LIFTED = "UPDATE opt_outs SET status = 'lifted', lifted_message_id = $5, lifted_at = ts($6), updated_at = now(), version = version + 1
        WHERE $1::text IS NOT NULL AND customer_id = $2 AND sender = $3 AND recipient = $4 AND status = 'out' AND said_at <= ts($6)";
    /// The same, where no row says anything as late: row `$1`, of no time, so that an older STOP that comes after it does not count.
    OPT_OUT_STARTED = "INSERT INTO opt_outs (id, customer_id, sender, recipient, status, reason, said_at, lifted_at, lifted_message_id)
        SELECT $1, c.id, $3, $4, 'lifted', 'the recipient said START', ts($6), ts($6), $5 FROM customers c WHERE c.id = $2
            AND NOT EXISTS (SELECT FROM opt_outs o WHERE o.customer_id = $2 AND o.sender = $3 AND o.recipient = $4
                AND (o.status = 'out' OR o.lifted_at >= ts($6)))
        ON CONFLICT DO NOTHING";
    /// Prices, with whose they are.
    PUBLISH_MESSAGE_PRICES = "SELECT id, coalesce(customer_id, vendor_id, '') AS whose, code, price, currency FROM message_prices ORDER BY id";
}
