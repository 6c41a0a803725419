//! Who somebody is that an issuer has told us of: rows of `users` and of `operators`, found by what their token says.

use sqlx::Row;

use super::sql::statements;
use super::{StoreError, Tx};
use crate::app::caller::Audience;

crate::row! {
    /// A person who may come in.
    pub struct PersonRow {
        id: String,
        /// Tenant; NULL for operators.
        customer_id: Option<String>,
        role: String,
        /// That they were here is to be noted.
        touch: bool,
    }
}

/// The active person of this issuer and subject; of users, who signed in through this organisation ('' for none). When several
/// customers have bound the same one, the first binding counts.
pub async fn find(
    tx: &mut Tx,
    audience: Audience,
    (issuer, subject, organisation): (&str, &str, &str),
) -> Result<Option<PersonRow>, StoreError> {
    let query = match audience {
        Audience::Customer => sqlx::query(USER_FIND).bind(issuer).bind(subject).bind(organisation),
        Audience::Operator => sqlx::query(OPERATOR_FIND).bind(issuer).bind(subject),
    };
    tx.first(query).await
}

/// Notes that the person was here now.
pub async fn touch(tx: &mut Tx, audience: Audience, id: &str) -> Result<(), StoreError> {
    let statement = match audience {
        Audience::Customer => USER_TOUCH,
        Audience::Operator => OPERATOR_TOUCH,
    };
    tx.run(sqlx::query(statement).bind(id)).await?;
    Ok(())
}

/// How many operators there are.
pub async fn operator_count(tx: &mut Tx) -> Result<i64, StoreError> {
    Ok(sqlx::query(OPERATOR_COUNT).fetch_one(tx.db()).await?.try_get(0)?)
}

macro_rules! person {
    () => {
        "u.role, (u.last_seen_at IS NULL OR u.last_seen_at < now() - interval '1 minute') AS touch"
    };
}

statements! {
    /// User of a customer that is not suspended, by issuer `$1`, subject `$2` and organisation `$3`.
    USER_FIND = concat!("SELECT u.id, u.customer_id, ", person!(), " FROM users u JOIN customers c ON c.id = u.customer_id
        WHERE u.issuer = $1 AND u.subject = $2 AND u.organisation = $3 AND u.status = 'active' AND c.status = 'active' ORDER BY u.id LIMIT 1");
    /// Operator by issuer `$1` and subject `$2`.
    OPERATOR_FIND = concat!("SELECT u.id, NULL::text AS customer_id, ", person!(), " FROM operators u
        WHERE u.issuer = $1 AND u.subject = $2 AND u.status = 'active'");
    /// How many there are.
    OPERATOR_COUNT = "SELECT count(*) FROM operators";
    /// Last seen, to the minute. It is no change: the version stays.
    USER_TOUCH = "UPDATE users SET last_seen_at = now() WHERE id = $1";
    /// The same of operators.
    OPERATOR_TOUCH = "UPDATE operators SET last_seen_at = now() WHERE id = $1";
}
