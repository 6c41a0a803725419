//! Numbers, and what inbound calls go by: rows and statements.

use warp_model::{CustomerId, NumberId, TrunkId, VendorId, VendorTrunkId};

use super::sql::statements;
use super::types::Time;
use super::{StoreError, Tx};
use crate::app::paging::Paging;

crate::row! {
    /// A row of `numbers`.
    pub struct NumberRow {
        id: String,
        number: String,
        vendor_id: Option<String>,
        customer_id: Option<String>,
        state: String,
        sell_deck_id: Option<String>,
        targets: Vec<String>,
        cnam: Option<String>,
        e911_address: Option<String>,
        released_at: Option<Time>,
        created_at: Time,
        updated_at: Time,
        version: i32,
    }
}

/// What use cases write of a number.
pub struct NumberValues {
    /// Who brings its calls.
    pub vendor_id: Option<String>,
    /// The customer who has it.
    pub customer_id: Option<String>,
    /// Its state, as a word.
    pub state: &'static str,
    /// What its calls are sold by.
    pub sell_deck_id: Option<String>,
    /// Trunks that take its calls: id, priority, weight.
    pub targets: Vec<String>,
    /// The caller name that is shown for it.
    pub cnam: Option<String>,
    /// Where help is sent that is called from it.
    pub e911_address: Option<String>,
    /// Whether it begins to age now.
    pub released: bool,
}

crate::row! {
    /// When a deleted number was released.
    pub struct ReleasedRow {
        released_at: Time,
    }
}

crate::row! {
    /// What inbound calls of a customer or a vendor are priced by.
    pub struct TermsRow {
        deck_ids: Vec<String>,
        priced_by: String,
    }
}

crate::row! {
    /// Where a trunk takes calls.
    pub struct DeliverRow {
        hosts: Vec<String>,
        addresses: Vec<String>,
        transport: String,
        number_format: String,
    }
}

/// What a list of numbers is filtered by.
#[derive(Default)]
pub struct NumberQuery {
    /// Only numbers of this customer.
    pub customer: Option<String>,
    /// Only numbers of this state.
    pub state: Option<&'static str>,
    /// Only the row of this number.
    pub number: Option<String>,
    /// Only numbers of this vendor.
    pub vendor: Option<String>,
}

/// One page, of what the scope sees.
pub async fn list(tx: &mut Tx, of: NumberQuery, paging: &Paging) -> Result<Vec<NumberRow>, StoreError> {
    let query = sqlx::query(paging.statement(NUMBER_LIST, NUMBER_LIST_OLDEST))
        .bind(of.customer)
        .bind(of.state)
        .bind(of.number)
        .bind(of.vendor)
        .bind(paging.after.as_deref())
        .bind(paging.rows());
    tx.all(query).await
}

/// The number with this id, or `None` when the scope sees none.
pub async fn get(tx: &mut Tx, id: NumberId) -> Result<Option<NumberRow>, StoreError> {
    tx.first(sqlx::query(NUMBER_GET).bind(id.to_string())).await
}

/// The same, locked until the transaction ends.
pub async fn lock(tx: &mut Tx, id: NumberId) -> Result<Option<NumberRow>, StoreError> {
    tx.first(sqlx::query(NUMBER_LOCK).bind(id.to_string())).await
}

/// Writes a new row; gives it.
pub async fn insert(
    tx: &mut Tx,
    id: NumberId,
    number: &str,
    values: NumberValues,
) -> Result<Option<NumberRow>, StoreError> {
    let number = number.to_owned();
    tx.first(bound(sqlx::query(NUMBER_INSERT).bind(id.to_string()), values).bind(number)).await
}

/// When a number was released that had a row before this one; `None`: it had none, or that is long ago. To be asked behind the insert of
/// its new row, which waits for whoever deletes the old one at the same moment.
pub async fn released(tx: &mut Tx, number: &str, days: i32) -> Result<Option<Time>, StoreError> {
    let row: Option<ReleasedRow> =
        tx.first(sqlx::query(RELEASED_GET).bind(number.to_owned()).bind(days)).await?;
    Ok(row.map(|r| r.released_at))
}

/// Makes a number without holder age from this time on.
pub async fn age(tx: &mut Tx, id: NumberId, since: Time) -> Result<Option<NumberRow>, StoreError> {
    tx.first(sqlx::query(NUMBER_AGE).bind(id.to_string()).bind(since.0.0)).await
}

/// Forgets deleted numbers that were released longer than so many days ago.
pub async fn forget_released(tx: &mut Tx, days: i32) -> Result<u64, StoreError> {
    tx.run(sqlx::query(RELEASED_FORGET).bind(days)).await
}

/// Writes a row anew; `None` when the scope sees none.
pub async fn update(
    tx: &mut Tx,
    id: NumberId,
    values: NumberValues,
) -> Result<Option<NumberRow>, StoreError> {
    tx.first(bound(sqlx::query(NUMBER_UPDATE).bind(id.to_string()), values)).await
}

fn bound(query: super::Query<'static>, v: NumberValues) -> super::Query<'static> {
    query
        .bind(v.vendor_id)
        .bind(v.customer_id)
        .bind(v.state)
        .bind(v.sell_deck_id)
        .bind(v.targets)
        .bind(v.cnam)
        .bind(v.e911_address)
        .bind(v.released)
}

/// Deletes one; how many there were.
pub async fn delete(tx: &mut Tx, id: NumberId) -> Result<u64, StoreError> {
    tx.run(sqlx::query(NUMBER_DELETE).bind(id.to_string())).await
}

/// Which of these trunks are the customer's, in any order.
pub async fn trunks_of(tx: &mut Tx, customer: &str, ids: &[String]) -> Result<Vec<String>, StoreError> {
    use sqlx::Row as _;
    let query = sqlx::query(NUMBER_TRUNKS).bind(customer).bind(ids);
    let rows = query.fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
}

/// Which of these users which of these trunks have, as `trunk user`.
pub async fn users_of(tx: &mut Tx, trunks: &[String], users: &[String]) -> Result<Vec<String>, StoreError> {
    use sqlx::Row as _;
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query(NUMBER_USERS).bind(trunks).bind(users);
    let rows = query.fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
}

/// What a customer's inbound calls are sold by; `None`: nothing is said.
pub async fn customer_terms(tx: &mut Tx, id: CustomerId) -> Result<Option<TermsRow>, StoreError> {
    tx.first(sqlx::query(CUSTOMER_INBOUND_GET).bind(id.to_string())).await
}

/// Says what a customer's inbound calls are sold by.
pub async fn set_customer_terms(
    tx: &mut Tx,
    id: CustomerId,
    decks: &[String],
    by: &str,
) -> Result<(), StoreError> {
    let query =
        sqlx::query(CUSTOMER_INBOUND_SET).bind(id.to_string()).bind(decks.to_vec()).bind(by.to_owned());
    tx.run(query).await?;
    Ok(())
}

/// What a vendor charges by for the calls that it brings; `None`: nothing is said.
pub async fn vendor_terms(tx: &mut Tx, id: VendorId) -> Result<Option<TermsRow>, StoreError> {
    tx.first(sqlx::query(VENDOR_INBOUND_GET).bind(id.to_string())).await
}

/// Says what a vendor charges by.
pub async fn set_vendor_terms(
    tx: &mut Tx,
    id: VendorId,
    decks: &[String],
    by: &str,
) -> Result<(), StoreError> {
    let query = sqlx::query(VENDOR_INBOUND_SET).bind(id.to_string()).bind(decks.to_vec()).bind(by.to_owned());
    tx.run(query).await?;
    Ok(())
}

/// Networks that calls of a vendor trunk come from.
pub async fn networks(tx: &mut Tx, id: VendorTrunkId) -> Result<Vec<String>, StoreError> {
    use sqlx::Row as _;
    let rows = sqlx::query(NETWORKS_GET).bind(id.to_string()).fetch_all(tx.db()).await?;
    Ok(rows.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?)
}

/// Replaces them. Errors: one is another trunk's.
pub async fn set_networks(tx: &mut Tx, id: VendorTrunkId, networks: &[String]) -> Result<(), StoreError> {
    tx.run(sqlx::query(NETWORKS_CLEAR).bind(id.to_string())).await?;
    tx.run(sqlx::query(NETWORKS_FILL).bind(id.to_string()).bind(networks.to_vec())).await?;
    Ok(())
}

/// Where a trunk takes calls; `None`: nowhere.
pub async fn deliver(tx: &mut Tx, id: TrunkId) -> Result<Option<DeliverRow>, StoreError> {
    tx.first(sqlx::query(TRUNK_INBOUND_GET).bind(id.to_string())).await
}

/// Says where a trunk takes calls.
pub async fn set_deliver(
    tx: &mut Tx,
    id: TrunkId,
    (hosts, addresses): (&[String], &[String]),
    transport: &str,
    number_format: &str,
) -> Result<(), StoreError> {
    let query = sqlx::query(TRUNK_INBOUND_SET)
        .bind(id.to_string())
        .bind(hosts.to_vec())
        .bind(addresses.to_vec())
        .bind(transport.to_owned())
        .bind(number_format.to_owned());
    tx.run(query).await?;
    Ok(())
}

macro_rules! number_columns {
    () => {
        "id, number, vendor_id, customer_id, state, sell_deck_id, targets, cnam, e911_address,
         us(released_at) AS released_at, us(created_at) AS created_at, us(updated_at) AS updated_at, version"
    };
}
macro_rules! number_page {
    ($after:literal, $order:literal) => {
        concat!(
            "SELECT ",
            number_columns!(),
            " FROM numbers
        WHERE ($1::text IS NULL OR customer_id = $1) AND ($2::text IS NULL OR state = $2)
          AND ($3::text IS NULL OR number = $3) AND ($4::text IS NULL OR vendor_id = $4)
          AND ($5::text IS NULL OR id ",
            $after,
            " $5) ORDER BY id ",
            $order,
            " LIMIT $6"
        )
    };
}
statements! {
    /// A page of numbers, the newest first.
    NUMBER_LIST = number_page!("<", "DESC");
    /// A page of numbers, the oldest first.
    NUMBER_LIST_OLDEST = number_page!(">", "ASC");
    /// The number with this id.
    NUMBER_GET = concat!("SELECT ", number_columns!(), " FROM numbers WHERE id = $1");
    /// The number with this id, locked for a change.
    NUMBER_LOCK = concat!("SELECT ", number_columns!(), " FROM numbers WHERE id = $1 FOR UPDATE");
    /// Makes a number and gives its row.
    NUMBER_INSERT = concat!("INSERT INTO numbers
            (id, vendor_id, customer_id, state, sell_deck_id, targets, cnam, e911_address, released_at, number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN $9::boolean THEN now() END, $10) RETURNING ", number_columns!());
    /// Replaces. One that ages goes on ageing from when it was released.
    NUMBER_UPDATE = concat!("UPDATE numbers SET vendor_id = $2, customer_id = $3, state = $4, sell_deck_id = $5, targets = $6,
            cnam = $7, e911_address = $8, released_at = CASE WHEN $9::boolean THEN coalesce(released_at, now()) END,
            updated_at = now(), version = version + 1
        WHERE id = $1 RETURNING ", number_columns!());
    /// When a deleted number was released, in the last days.
    RELEASED_GET = "SELECT us(released_at) AS released_at FROM released_numbers
        WHERE number = $1 AND released_at > now() - make_interval(days => $2)";
    /// Makes a number age.
    NUMBER_AGE = concat!("UPDATE numbers SET state = 'ageing', released_at = ts($2)
        WHERE id = $1 AND customer_id IS NULL RETURNING ", number_columns!());
    /// Deletes what is of no matter any more.
    RELEASED_FORGET = "DELETE FROM released_numbers WHERE released_at <= now() - make_interval(days => $1)";
    /// Deletes the number with this id.
    NUMBER_DELETE = "DELETE FROM numbers WHERE id = $1";
    /// Trunks of a customer among these.
    NUMBER_TRUNKS = "SELECT id FROM trunks WHERE customer_id = $1 AND id = ANY($2::text[])";
    /// Users among these of trunks among these.
    NUMBER_USERS = "SELECT trunk_id || ' ' || username FROM trunk_credentials
        WHERE trunk_id = ANY($1::text[]) AND username = ANY($2::text[])";
    /// Terms of a customer.
    CUSTOMER_INBOUND_GET = "SELECT deck_ids, priced_by FROM customer_inbound WHERE customer_id = $1";
    /// The same, written.
    CUSTOMER_INBOUND_SET = "INSERT INTO customer_inbound (customer_id, deck_ids, priced_by) VALUES ($1, $2, $3)
        ON CONFLICT (customer_id) DO UPDATE SET deck_ids = excluded.deck_ids, priced_by = excluded.priced_by";
    /// Terms of a vendor.
    VENDOR_INBOUND_GET = "SELECT deck_ids, priced_by FROM vendor_inbound WHERE vendor_id = $1";
    /// The same, written.
    VENDOR_INBOUND_SET = "INSERT INTO vendor_inbound (vendor_id, deck_ids, priced_by) VALUES ($1, $2, $3)
        ON CONFLICT (vendor_id) DO UPDATE SET deck_ids = excluded.deck_ids, priced_by = excluded.priced_by";
    /// Networks of a vendor trunk.
    NETWORKS_GET = "SELECT host(network) || '/' || masklen(network) FROM vendor_trunk_networks
        WHERE vendor_trunk_id = $1 ORDER BY network";
    /// None of them.
    NETWORKS_CLEAR = "DELETE FROM vendor_trunk_networks WHERE vendor_trunk_id = $1";
    /// Puts inbound networks on a vendor trunk.
    NETWORKS_FILL = "INSERT INTO vendor_trunk_networks (vendor_trunk_id, network)
        SELECT $1, n::cidr FROM unnest($2::text[]) AS n";
    /// Where a trunk takes calls.
    TRUNK_INBOUND_GET = "SELECT hosts, addresses, transport, number_format FROM trunk_inbound WHERE trunk_id = $1";
    /// The same, written; the owner is the trunk's.
    TRUNK_INBOUND_SET = "INSERT INTO trunk_inbound (trunk_id, customer_id, hosts, addresses, transport, number_format)
        SELECT id, customer_id, $2, $3, $4, $5 FROM trunks WHERE id = $1
        ON CONFLICT (trunk_id) DO UPDATE SET hosts = excluded.hosts, addresses = excluded.addresses, transport = excluded.transport,
            number_format = excluded.number_format";
}
