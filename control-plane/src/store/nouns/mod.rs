//! Rows of nouns that are declared once ([`crate::noun!`]): one function per kind of statement, for all of them.

pub mod statements;

use std::fmt::Display;

use sqlx::Row as _;

use super::{FromRow, Query, StoreError, Tx};
use crate::app::listing::Listing;
use crate::app::paging::Order;
use crate::noun::{
    Noun, ban, call_block, customer, exchange_rate, exclusion, job, message, message_price, message_route,
    operator, opt_out, partition, route_override, schedule, smpp_account, trunk, user, vendor, vendor_bind,
    vendor_trunk, webhook,
};

/// The statements of one noun.
pub struct Statements {
    /// Pages, of each sort the descending and the ascending one.
    pub lists: &'static [[&'static str; 2]],
    /// One row, by its id.
    pub get: &'static str,
    /// The same, locked until the transaction ends.
    pub lock: &'static str,
    /// A new row, which it gives.
    pub insert: &'static str,
    /// Replaces what is written.
    pub update: &'static str,
    /// One row less, by its id.
    pub delete: &'static str,
    /// How many there are, of one parent when there are parents.
    pub count: &'static str,
}

/// What is written of a noun.
pub trait Values: Send {
    /// Binds each value, in the order of the declaration.
    fn bind(self, query: Query<'static>) -> Query<'static>;
}

/// The row of a noun.
pub trait NounRow: FromRow + Clone + Send + Sync + 'static {
    /// What is written of it.
    type Values: Values;
    /// The declaration of the noun.
    const NOUN: &'static Noun;
    /// The statements of the noun.
    const STATEMENTS: Statements;
    /// The id of the row.
    fn id(&self) -> &str;
    /// A number that rises with each change.
    fn version(&self) -> i32;
    /// The id of what it belongs to.
    fn parent(&self) -> Option<&str>;
    /// Its value in a column that lists are sorted by, as a cursor carries it; `None` for any other column.
    fn sorted_by(&self, column: &str) -> Option<String>;
    /// Whether the secret of this column is set.
    fn is_set(&self, column: &str) -> bool;
}

/// One page, of what the scope sees.
pub async fn list<R: NounRow>(tx: &mut Tx, listing: &Listing) -> Result<Vec<R>, StoreError> {
    let both = R::STATEMENTS.lists.get(listing.sort);
    let both = both.ok_or_else(|| StoreError::Internal("a sort that is not declared".into()))?;
    let statement = match listing.order {
        Order::NewestFirst => both[0],
        Order::OldestFirst => both[1],
    };
    let mut query = sqlx::query(statement);
    for value in &listing.filters {
        query = query.bind(value.as_deref());
    }
    if R::NOUN.sorts.get(listing.sort).is_some_and(|s| s.by != crate::noun::By::Id) {
        query = query.bind(listing.after.as_ref().and_then(|a| a.value.as_deref()));
    }
    let query = query.bind(listing.after.as_ref().map(|a| a.id.as_str())).bind(listing.rows());
    tx.all(query).await
}

/// The row with this id, or `None` when the scope sees none.
pub async fn get<R: NounRow>(tx: &mut Tx, id: impl Display) -> Result<Option<R>, StoreError> {
    let statement = R::STATEMENTS.get;
    tx.first(sqlx::query(statement).bind(id.to_string())).await
}

/// One, so that nobody else changes it until the transaction ends.
pub async fn lock<R: NounRow>(tx: &mut Tx, id: impl Display) -> Result<Option<R>, StoreError> {
    let statement = R::STATEMENTS.lock;
    tx.first(sqlx::query(statement).bind(id.to_string())).await
}

/// Writes a new row; gives it.
pub async fn insert<R: NounRow>(
    tx: &mut Tx,
    id: impl Display,
    parent: Option<String>,
    values: R::Values,
) -> Result<Option<R>, StoreError> {
    written(tx, R::STATEMENTS.insert, id, parent, values).await
}

/// Writes a row anew; `None` when the scope sees none.
pub async fn update<R: NounRow>(
    tx: &mut Tx,
    id: impl Display,
    parent: Option<String>,
    values: R::Values,
) -> Result<Option<R>, StoreError> {
    written(tx, R::STATEMENTS.update, id, parent, values).await
}

async fn written<R: NounRow>(
    tx: &mut Tx,
    statement: &'static str,
    id: impl Display,
    parent: Option<String>,
    values: R::Values,
) -> Result<Option<R>, StoreError> {
    let mut query = sqlx::query(statement).bind(id.to_string());
    if R::NOUN.parent.is_some() {
        query = query.bind(parent);
    }
    tx.first(values.bind(query)).await
}

/// Deletes one; how many there were.
pub async fn delete<R: NounRow>(tx: &mut Tx, id: impl Display) -> Result<u64, StoreError> {
    let statement = R::STATEMENTS.delete;
    tx.run(sqlx::query(statement).bind(id.to_string())).await
}

/// How many there are of one parent. Only of nouns that have one.
pub async fn count<R: NounRow>(tx: &mut Tx, parent: impl Display) -> Result<i64, StoreError> {
    let statement = R::STATEMENTS.count;
    let row = sqlx::query(statement).bind(parent.to_string()).fetch_one(tx.db()).await?;
    Ok(row.try_get(0)?)
}

/// Each statement of each noun, with the noun's name.
pub fn all() -> Vec<(&'static str, &'static str)> {
    [
        of::<customer::CustomerRow>(),
        of::<ban::BanRow>(),
        of::<trunk::TrunkRow>(),
        of::<user::UserRow>(),
        of::<operator::OperatorRow>(),
        of::<vendor::VendorRow>(),
        of::<vendor_trunk::VendorTrunkRow>(),
        of::<partition::PartitionRow>(),
        of::<exclusion::ExclusionRow>(),
        of::<route_override::OverrideRow>(),
        of::<call_block::BlockRow>(),
        of::<exchange_rate::ExchangeRateRow>(),
        of::<webhook::WebhookRow>(),
        of::<job::JobRow>(),
        of::<schedule::ScheduleRow>(),
        of::<smpp_account::SmppAccountRow>(),
        of::<opt_out::OptOutRow>(),
        of::<vendor_bind::VendorBindRow>(),
        of::<message_route::MessageRouteRow>(),
        of::<message_price::MessagePriceRow>(),
        of::<message::MessageRow>(),
    ]
    .concat()
}

fn of<R: NounRow>() -> Vec<(&'static str, &'static str)> {
    let s = R::STATEMENTS;
    let single = [s.get, s.lock, s.insert, s.update, s.delete, s.count];
    let texts = s.lists.iter().flatten().copied().chain(single);
    texts.map(|text| (R::NOUN.many, text)).collect()
}
