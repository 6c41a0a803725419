//! Rows of browsers' sessions: only a hash of the secret is kept, and the issuer's tokens are sealed (G-7).

use sqlx::Row;
use warp_model::{CustomerId, Wall};

use super::sql::statements;
use super::types::Time;
use super::{StoreError, Tx};
use crate::app::caller::{Audience, SessionId};

crate::row! {
    /// A session that is in force, with the person whose it is.
    pub struct SessionRow {
        id: String,
        /// Tenant; NULL for operators.
        customer_id: Option<String>,
        user_id: String,
        /// The person's role of now.
        role: String,
        subject: String,
        organisation: String,
        /// Sealed.
        tokens: Vec<u8>,
        second_factor_at: Option<Time>,
        expires_at: Time,
        /// Until then the issuer need not be asked.
        vouched_until: Time,
        /// That it is used is to be noted.
        touch: bool,
    }
}

/// What is written of a new session.
pub struct SessionValues {
    /// Tenant; `None` for operators.
    pub customer: Option<CustomerId>,
    /// Whose API it opens.
    pub audience: Audience,
    /// The id of the person.
    pub user: String,
    /// Who said who it is.
    pub issuer: String,
    /// Who it is to the issuer.
    pub subject: String,
    /// The organisation that it signed in through; empty: through none.
    pub organisation: String,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// The issuer's tokens, sealed.
    pub tokens: Vec<u8>,
    /// When a second factor was shown; `None`: it was not.
    pub second_factor_at: Option<Wall>,
    /// When it ends, whatever is done with it.
    pub expires_at: Wall,
    /// When the issuer must be asked again.
    pub vouched_until: Wall,
}

/// The session with this hash, when it is in force: not over, used within `idle`, and of a person who may come in and is still the one
/// who signed in.
pub async fn find(
    tx: &mut Tx,
    audience: Audience,
    hash: Vec<u8>,
    idle: std::time::Duration,
) -> Result<Option<SessionRow>, StoreError> {
    let statement = match audience {
        Audience::Customer => SESSION_FIND_USER,
        Audience::Operator => SESSION_FIND_OPERATOR,
    };
    tx.first(sqlx::query(statement).bind(hash).bind(idle.as_secs_f64())).await
}

/// Writes a new one, and ends the oldest ones of the person beyond `most`.
pub async fn insert(tx: &mut Tx, id: SessionId, v: SessionValues, most: i64) -> Result<(), StoreError> {
    let user = v.user.clone();
    let query = sqlx::query(SESSION_INSERT)
        .bind(id.to_string())
        .bind(v.customer.map(|c| c.to_string()))
        .bind(v.audience.as_str())
        .bind(v.user)
        .bind(v.issuer)
        .bind(v.subject)
        .bind(v.organisation)
        .bind(v.hash)
        .bind(v.tokens)
        .bind(v.second_factor_at.map(|t| t.0))
        .bind(v.expires_at.0)
        .bind(v.vouched_until.0);
    tx.run(query).await?;
    tx.run(sqlx::query(SESSION_TRIM).bind(user).bind(most)).await?;
    Ok(())
}

/// Notes that it was used now.
pub async fn touch(tx: &mut Tx, id: &str) -> Result<(), StoreError> {
    tx.run(sqlx::query(SESSION_TOUCH).bind(id)).await?;
    Ok(())
}

/// Whether it is ours now to ask the issuer about this session: nobody else asks, or whoever did is gone.
pub async fn claim(tx: &mut Tx, id: &str, vouched_until: Wall) -> Result<bool, StoreError> {
    Ok(tx.run(sqlx::query(SESSION_CLAIM).bind(id).bind(vouched_until.0)).await? > 0)
}

/// The issuer has spoken for the person again.
pub async fn vouched(
    tx: &mut Tx,
    id: &str,
    tokens: Vec<u8>,
    second_factor_at: Option<Wall>,
    until: Wall,
) -> Result<(), StoreError> {
    let query = sqlx::query(SESSION_VOUCHED).bind(id).bind(tokens).bind(second_factor_at.map(|t| t.0));
    tx.run(query.bind(until.0)).await?;
    Ok(())
}

/// Ends one; how many there were.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<u64, StoreError> {
    tx.run(sqlx::query(SESSION_DELETE).bind(id)).await
}

/// Ends the one with this hash, when there is one.
pub async fn delete_by_hash(tx: &mut Tx, hash: Vec<u8>) -> Result<u64, StoreError> {
    tx.run(sqlx::query(SESSION_DELETE_HASH).bind(hash)).await
}

/// The sealed tokens of one.
pub async fn tokens(tx: &mut Tx, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let row = sqlx::query(SESSION_TOKENS).bind(id).fetch_optional(tx.db()).await?;
    Ok(row.map(|r| r.try_get(0)).transpose()?)
}

/// Ends all of a person; how many there were.
pub async fn delete_of(tx: &mut Tx, user: &str) -> Result<u64, StoreError> {
    tx.run(sqlx::query(SESSION_DELETE_OF).bind(user)).await
}

macro_rules! session_columns {
    () => {
        "s.id, s.customer_id, s.user_id, u.role, s.subject, s.organisation, s.tokens, us(s.second_factor_at) AS second_factor_at,
         us(s.expires_at) AS expires_at, us(s.vouched_until) AS vouched_until, s.last_used_at < now() - interval '1 minute' AS touch"
    };
}

macro_rules! in_force {
    () => {
        "s.hash = $1 AND s.expires_at > now() AND s.last_used_at > now() - $2::double precision * interval '1 second'
          AND u.status = 'active' AND u.issuer = s.issuer AND u.subject = s.subject"
    };
}

statements! {
    /// Session of a user of a customer that is not suspended, by hash `$1`, used within the last `$2` seconds.
    SESSION_FIND_USER = concat!("SELECT ", session_columns!(), " FROM sessions s
        JOIN users u ON u.id = s.user_id AND u.customer_id = s.customer_id AND u.organisation = s.organisation
        JOIN customers c ON c.id = u.customer_id AND c.status = 'active'
        WHERE s.audience = 'customer' AND ", in_force!());
    /// The same of an operator.
    SESSION_FIND_OPERATOR = concat!("SELECT ", session_columns!(), " FROM sessions s JOIN operators u ON u.id = s.user_id
        WHERE s.audience = 'operator' AND ", in_force!());
    /// New session.
    SESSION_INSERT = "INSERT INTO sessions (id, customer_id, audience, user_id, issuer, subject, organisation, hash, tokens, second_factor_at,
            expires_at, vouched_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, ts($10), ts($11), ts($12))";
    /// Of person `$1` only the newest `$2` stay.
    SESSION_TRIM = "DELETE FROM sessions WHERE user_id = $1
        AND id NOT IN (SELECT id FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)";
    /// Last use, to the minute.
    SESSION_TOUCH = "UPDATE sessions SET last_used_at = now() WHERE id = $1";
    /// Whoever begins to ask the issuer has half a minute: longer than all its answers may take.
    SESSION_CLAIM = "UPDATE sessions SET asked_at = now() WHERE id = $1 AND vouched_until = ts($2)
        AND (asked_at IS NULL OR asked_at < now() - interval '30 seconds')";
    /// New tokens `$2` of session `$1`, good until `$4`.
    SESSION_VOUCHED = "UPDATE sessions SET tokens = $2, second_factor_at = coalesce(ts($3), second_factor_at), vouched_until = ts($4),
        asked_at = NULL WHERE id = $1";
    /// Ends a session.
    SESSION_DELETE = "DELETE FROM sessions WHERE id = $1";
    /// Ends the session with this hash.
    SESSION_DELETE_HASH = "DELETE FROM sessions WHERE hash = $1";
    /// What the issuer gave for it, sealed.
    SESSION_TOKENS = "SELECT tokens FROM sessions WHERE id = $1";
    /// Ends all sessions of a person.
    SESSION_DELETE_OF = "DELETE FROM sessions WHERE user_id = $1";
}
