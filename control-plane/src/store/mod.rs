//! The store: PostgreSQL, reached only through a [`Tx`] that carries a [`Scope`].
//!
//! Invariants: no statement runs outside a transaction whose scope was set with `SET LOCAL` (T-API-04); every statement is
//! a constant of [`sql`], or made of a noun's declaration by the compiler ([`nouns`]), with bound parameters (T-API-07),
//! prepared by a test against the migrated schema; a statement ends after 2 s, a wait for a connection after 1 s (F-PG-03).

pub mod audit;
pub mod call_weeks;
pub mod calls;
pub mod cluster;
pub mod credit;
pub mod decks;
pub mod housekeeping;
pub mod idempotency;
pub mod jobs;
pub mod keys;
pub mod ledger;
pub mod messages;
pub mod messaging;
pub mod migrate;
pub mod nodes;
pub mod nouns;
pub mod numbers;
pub mod outbox;
pub mod partitions;
pub mod posting;
pub mod published;
pub mod reratings;
pub mod retention;
pub mod rules;
pub mod schedules;
pub mod seal;
pub mod sessions;
pub mod snapshots;
pub mod sql;
pub mod standings;
pub mod trunks;
pub mod types;
pub mod users;
pub mod vendors;
pub mod webhooks;
pub mod work;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Postgres, Row, Transaction};
use warp_model::{CustomerId, Secret};
use warp_telemetry::health::{RequestResult, RequestSeconds};

use crate::metrics::POOL_EMPTY;
use cluster::Cluster;

/// Longest wait for a connection of the pool; then 503.
pub const POOL_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for the first connection.
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// Connections of the pool.
pub const POOL_CONNECTIONS: u32 = 12;
/// Longest statement of the app role.
pub const STATEMENT_TIMEOUT: &str = "2s";

/// Which database the control plane works on.
#[derive(Clone, Debug)]
pub enum Database {
    /// A private cluster in this folder (or, for root, under `/var/lib/warp` when the folder cannot be reached).
    Private {
        /// The folder of the cluster, for example `.warp/dev/pg`.
        dir: PathBuf,
    },
    /// An existing server. TLS towards it is not built in yet: use a unix socket or a trusted network.
    Url {
        /// Role of the running program: neither superuser nor BYPASSRLS.
        app: Secret<String>,
        /// Role that owns the schema; without it, migrations are not applied here.
        migrate: Option<Secret<String>>,
    },
}

/// Whether a text names a PostgreSQL database: `postgres://` or `postgresql://`, and readable. The driver would take any other
/// scheme for its own.
pub fn is_database_url(text: &str) -> bool {
    let own = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    own && PgConnectOptions::from_str(text).is_ok()
}

/// On whose behalf a transaction reads and writes. PostgreSQL enforces it again (row-level security).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One tenant: sees and writes only its own rows.
    Customer(CustomerId),
    /// An operator, or the program itself: sees all rows. Says why.
    Operator(&'static str),
}

impl Scope {
    /// The tenant, when there is one.
    pub fn customer(&self) -> Option<CustomerId> {
        match self {
            Self::Customer(id) => Some(*id),
            Self::Operator(_) => None,
        }
    }
}

/// Why the store did not answer.
#[derive(Debug)]
pub enum StoreError {
    /// No connection within [`POOL_WAIT`], or the server is away. Another attempt may help.
    Unavailable(String),
    /// The statement ran into its time limit.
    TooSlow,
    /// Another row already has this unique value; the constraint's name.
    Conflict(String),
    /// The row refers to something that does not exist, or is referred to; the constraint's name.
    Reference(String),
    /// A check of the schema refused the row; the constraint's name.
    Check(String),
    /// The row has a value that the database cannot hold; in its words.
    Value(String),
    /// Two transactions met; another attempt may help.
    Serialization,
    /// A migration failed or an applied one was changed.
    Migration(String),
    /// The database has no schema of ours, or one of another version; where it is, and what to do.
    Schema(String),
    /// The run-time role is a superuser or may bypass row-level security.
    PowerfulRole,
    /// The private cluster cannot be had.
    Cluster(cluster::ClusterError),
    /// Our own fault: a statement or a decoding is wrong.
    Internal(String),
}

impl StoreError {
    /// Another attempt may go well.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TooSlow | Self::Serialization)
    }

    /// The row itself is refused, and would be again. Everything else says nothing about the row: a schema that does not fit,
    /// a right that is missing, a disk that is full.
    pub fn refuses_the_row(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::Reference(_) | Self::Check(_) | Self::Value(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(e) => write!(f, "database unavailable: {e}"),
            Self::TooSlow => f.write_str("statement ran into its time limit"),
            Self::Conflict(c) => write!(f, "conflict on {c}"),
            Self::Reference(c) => write!(f, "reference {c}"),
            Self::Check(c) => write!(f, "check {c}"),
            Self::Value(e) => write!(f, "a value that the database cannot hold: {e}"),
            Self::Serialization => f.write_str("serialization conflict"),
            Self::Migration(e) => write!(f, "migration: {e}"),
            Self::Schema(e) => f.write_str(e),
            Self::PowerfulRole => f.write_str(
                "the run-time role is a superuser or has BYPASSRLS: give the program a plain role",
            ),
            Self::Cluster(e) => write!(f, "private PostgreSQL: {e}"),
            Self::Internal(e) => write!(f, "store: {e}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<cluster::ClusterError> for StoreError {
    fn from(e: cluster::ClusterError) -> Self {
        Self::Cluster(e)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        use sqlx::Error as E;
        match &e {
            E::PoolTimedOut => {
                pool_was_empty();
                Self::Unavailable(e.to_string())
            }
            E::PoolClosed | E::Io(_) | E::WorkerCrashed | E::Tls(_) => Self::Unavailable(e.to_string()),
            E::Database(d) => {
                let constraint = || d.constraint().unwrap_or("").to_owned();
                match d.code().as_deref().unwrap_or("") {
                    "23505" | "23P01" => Self::Conflict(constraint()),
                    "23503" => Self::Reference(constraint()),
                    "23514" | "23502" => Self::Check(constraint()),
                    "40001" | "40P01" => Self::Serialization,
                    "57014" | "55P03" => Self::TooSlow,
                    code if code.starts_with("22") => Self::Value(e.to_string()),
                    // Connections, shutdown, resources (disk full, memory, connections), the system, a standby.
                    code if ["08", "57P", "53", "58", "25006"].iter().any(|c| code.starts_with(c)) => {
                        Self::Unavailable(e.to_string())
                    }
                    _ => Self::Internal(e.to_string()),
                }
            }
            E::Encode(_) => Self::Value(e.to_string()),
            _ => Self::Internal(e.to_string()),
        }
    }
}

/// Counts that no connection was to be had in time, and says so once in ten seconds.
fn pool_was_empty() {
    static LINE: warp_telemetry::Seldom = warp_telemetry::Seldom::new();
    static BEGUN: OnceLock<std::time::Instant> = OnceLock::new();
    POOL_EMPTY.fetch_add(1, Ordering::Relaxed);
    let since = BEGUN.get_or_init(std::time::Instant::now).elapsed();
    if let Some(times) = LINE.due(warp_model::Mono::default() + since) {
        tracing::error!(
            times, connections = POOL_CONNECTIONS, waited = ?POOL_WAIT,
            "no connection to PostgreSQL in time: all are in use, or it is away; requests are answered with 503"
        );
    }
}

/// The pool of the app role, and the private cluster when it is ours.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    cluster: Option<std::sync::Arc<Cluster>>,
    seal: seal::Seal,
    requests: std::sync::Arc<std::sync::OnceLock<RequestSeconds>>,
}

/// A transaction with its scope. Dropping it rolls back.
pub struct Tx {
    /// `None` only while it is being dropped or committed.
    inner: Option<Transaction<'static, Postgres>>,
    scope: Scope,
    /// Whose transaction it is, when it is lent: it goes back there instead of being committed or rolled back.
    owner: Option<std::sync::Arc<work::Work>>,
}

impl Store {
    /// Starts or reaches the database, applies the migrations, checks the run-time role, opens the pool.
    pub async fn open(database: &Database) -> Result<Store, StoreError> {
        match database {
            Database::Private { dir } => {
                let wanted = dir.clone();
                let cluster = tokio::task::spawn_blocking(move || Cluster::start(&wanted))
                    .await
                    .map_err(|e| StoreError::Internal(e.to_string()))??;
                if let Some(told) = cluster.elsewhere(dir) {
                    tracing::warn!(data = %cluster.data_dir().display(), "{told}");
                }
                let cluster = std::sync::Arc::new(cluster);
                let opened = Self::on_cluster(cluster.clone(), migrate::DATABASE).await;
                if opened.is_err() {
                    stop_cluster(cluster).await;
                }
                opened
            }
            Database::Url { app, migrate } => {
                let app = parse_url(app)?;
                if let Some(url) = migrate {
                    let owner = parse_url(url)?.disable_statement_logging();
                    probe(&owner).await?;
                    migrate::migrate(&owner, app.get_username()).await?;
                }
                Self::connect(app, None).await
            }
        }
    }

    /// A database of a cluster that is already running (tests make one per test).
    pub async fn on_cluster(cluster: std::sync::Arc<Cluster>, database: &str) -> Result<Store, StoreError> {
        // Statements of the schema are long and slow; their texts are in no log.
        let quiet = |role, database| cluster.options(role, database).disable_statement_logging();
        migrate::bootstrap(&quiet("warp_super", "postgres"), database).await?;
        migrate::migrate(&quiet(migrate::MIGRATE_ROLE, database), migrate::APP_ROLE).await?;
        Self::migrated(cluster, database).await
    }

    /// A database that has its migrations already.
    pub async fn migrated(cluster: std::sync::Arc<Cluster>, database: &str) -> Result<Store, StoreError> {
        let options = cluster.options(migrate::APP_ROLE, database);
        Self::connect(options, Some(cluster)).await
    }

    /// The database as the owner of its schema, who is whoever has the data folder of the private cluster or the migration URL.
    /// Nothing is made and nothing is migrated. Errors: there is no such URL or no such cluster yet, or the role does not own the
    /// schema, as the app role does not.
    pub async fn open_as_owner(database: &Database) -> Result<Store, StoreError> {
        let (options, cluster) = match database {
            Database::Private { dir } => {
                let made = Cluster::home(dir).is_some_and(|home| home.join("data/PG_VERSION").is_file());
                if !made {
                    let place = dir.display();
                    return Err(StoreError::Schema(format!("there is no private PostgreSQL in {place}")));
                }
                let dir = dir.clone();
                let cluster = tokio::task::spawn_blocking(move || Cluster::start(&dir))
                    .await
                    .map_err(|e| StoreError::Internal(e.to_string()))??;
                let options = cluster.options(migrate::MIGRATE_ROLE, migrate::DATABASE);
                (options, Some(std::sync::Arc::new(cluster)))
            }
            Database::Url { migrate: Some(url), .. } => (parse_url(url)?, None),
            Database::Url { migrate: None, .. } => {
                return Err(StoreError::Schema(
                    "the app role of DATABASE_URL may not do this: give the role that owns the schema as api.migrate_url".into(),
                ));
            }
        };
        let opened = Self::as_owner(options, cluster.clone()).await;
        if opened.is_err()
            && let Some(cluster) = cluster.filter(|c| !c.adopted())
        {
            stop_cluster(cluster).await;
        }
        opened
    }

    async fn as_owner(
        options: PgConnectOptions,
        cluster: Option<std::sync::Arc<Cluster>>,
    ) -> Result<Store, StoreError> {
        probe(&options).await?;
        let place = place_of(&options);
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(POOL_WAIT).connect_with(options);
        let pool = pool.await?;
        let mut connection = pool.acquire().await?;
        migrate::check_schema(&mut connection, &place).await?;
        let owns: bool = sqlx::query(sql::OWNS_SCHEMA).fetch_one(&mut *connection).await?.try_get(0)?;
        drop(connection);
        if !owns {
            return Err(StoreError::Schema(format!(
                "the role at {place} does not own the schema: take that of api.migrate_url"
            )));
        }
        Ok(Store { pool, cluster, seal: seal::Seal::ephemeral(), requests: Default::default() })
    }

    /// Closes the pool, and stops the private cluster unless it was running before us.
    pub async fn leave(&self) {
        self.pool.close().await;
        if let Some(cluster) = self.cluster.clone().filter(|c| !c.adopted()) {
            stop_cluster(cluster).await;
        }
    }

    async fn connect(
        options: PgConnectOptions,
        cluster: Option<std::sync::Arc<Cluster>>,
    ) -> Result<Store, StoreError> {
        let options = options.application_name("warp").options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("lock_timeout", "1s"),
            ("idle_in_transaction_session_timeout", "10s"),
            // Messages stand in a schema of their own.
            ("search_path", "public,sms"),
        ]);
        // Alone first: the pool would try until its wait is over and then not say why.
        probe(&options).await?;
        let place = place_of(&options);
        let pool = PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS)
            .acquire_timeout(POOL_WAIT)
            // A round trip before each transaction; see `begun`.
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        let mut connection = pool.acquire().await?;
        migrate::check_role(&mut connection).await?;
        migrate::check_schema(&mut connection, &place).await?;
        drop(connection);
        Ok(Store { pool, cluster, seal: seal::Seal::ephemeral(), requests: Default::default() })
    }

    /// The same store with the key for secrets at rest.
    #[must_use]
    pub fn sealed_with(self, seal: seal::Seal) -> Store {
        Store { seal, ..self }
    }

    /// Seals and opens secrets at rest.
    pub fn seal(&self) -> &seal::Seal {
        &self.seal
    }

    /// Begins a transaction in a scope.
    pub async fn begin(&self, scope: Scope) -> Result<Tx, StoreError> {
        let begin = async {
            match scope {
                Scope::Operator(_) => {
                    let inner = self.begun(sql::BEGIN_AS_OPERATOR).await?;
                    Ok(Tx { inner: Some(inner), scope, owner: None })
                }
                Scope::Customer(_) => self.scoped(self.begun(sql::BEGIN).await?, scope).await,
            }
        };
        self.measured(begin).await
    }

    /// Begins on a connection of the pool. That the server has closed one meanwhile (it was started anew) shows when it is used:
    /// then the next one is taken, until all that the pool can hold were tried.
    async fn begun(&self, begin: &'static str) -> Result<Transaction<'static, Postgres>, StoreError> {
        let mut tries = POOL_CONNECTIONS;
        loop {
            match self.pool.begin_with(begin).await {
                Err(e) if tries > 0 && is_closed(&e) => tries -= 1,
                begun => return Ok(begun?),
            }
        }
    }

    /// From now on the time until a transaction has begun is counted there. Only the first call counts.
    pub fn count_requests_in(&self, seconds: RequestSeconds) {
        let _ = self.requests.set(seconds);
    }

    async fn measured(&self, begin: impl Future<Output = Result<Tx, StoreError>>) -> Result<Tx, StoreError> {
        let begun = std::time::Instant::now();
        let tx = begin.await;
        if let Some(seconds) = self.requests.get() {
            let result = if tx.is_ok() { RequestResult::Ok } else { RequestResult::Error };
            seconds.observe((result,), begun.elapsed());
        }
        tx
    }

    /// A read-only transaction that sees one moment of all tables.
    pub async fn begin_consistent(&self, scope: Scope) -> Result<Tx, StoreError> {
        let begin = async { self.scoped(self.begun(sql::BEGIN_CONSISTENT).await?, scope).await };
        self.measured(begin).await
    }

    async fn scoped(
        &self,
        mut inner: Transaction<'static, Postgres>,
        scope: Scope,
    ) -> Result<Tx, StoreError> {
        let (kind, customer) = match scope {
            Scope::Customer(id) => ("customer", id.to_string()),
            Scope::Operator(_) => ("operator", String::new()),
        };
        sqlx::query(sql::SET_SCOPE).bind(kind).bind(customer).execute(&mut *inner).await?;
        Ok(Tx { inner: Some(inner), scope, owner: None })
    }

    /// The pool, for what needs a connection outside of a scope: statements go through [`Store::begin`].
    pub fn listen_pool(&self) -> &PgPool {
        &self.pool
    }

    /// Hears of a channel's notifications, on a connection of its own.
    pub async fn listen(&self, channel: &str) -> Result<Notices, StoreError> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel).await?;
        Ok(Notices(listener))
    }

    /// True when the database answers within the pool's wait.
    pub async fn is_up(&self) -> bool {
        self.begun(sql::BEGIN).await.is_ok()
    }

    /// The private cluster, when it is ours.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_deref()
    }

    /// The same, to be held.
    pub(crate) fn shared_cluster(&self) -> Option<std::sync::Arc<Cluster>> {
        self.cluster.clone()
    }

    /// Closes the pool; the cluster goes on.
    pub async fn disconnect(&self) {
        self.pool.close().await;
    }

    /// Closes the pool and stops the private cluster.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.pool.close().await;
        if let Some(cluster) = self.cluster.clone() {
            tokio::task::spawn_blocking(move || cluster.stop())
                .await
                .map_err(|e| StoreError::Internal(e.to_string()))??;
        }
        Ok(())
    }
}

/// Stops a cluster of ours after a start that failed: nothing of it shall go on.
pub(crate) async fn stop_cluster(cluster: std::sync::Arc<Cluster>) {
    let stopped = tokio::task::spawn_blocking(move || cluster.stop()).await;
    if let Ok(Err(error)) = stopped {
        tracing::warn!(%error, "the private PostgreSQL does not stop");
    }
}

impl Tx {
    /// Whose rows it sees.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    fn lent(inner: Transaction<'static, Postgres>, scope: Scope, owner: std::sync::Arc<work::Work>) -> Self {
        Self { inner: Some(inner), scope, owner: Some(owner) }
    }

    fn into_parts(mut self) -> (Option<Transaction<'static, Postgres>>, Scope) {
        (self.inner.take(), self.scope)
    }

    /// The connection, for `sqlx::query(sql::X)…`.
    pub fn db(&mut self) -> &mut PgConnection {
        match &mut self.inner {
            Some(inner) => inner,
            // Only `commit`, `into_parts` and `drop` take it out, and each of them ends the value.
            None => unreachable!("a transaction that has ended"),
        }
    }

    /// Lengthens the statement timeout for bulk work of this transaction (deck uploads).
    pub async fn allow_long_statements(&mut self) -> Result<(), StoreError> {
        sqlx::query(sql::LONG_STATEMENTS).execute(self.db()).await?;
        Ok(())
    }

    /// Plans each further statement of this transaction for the values that it is run with: for lists with many filters, whose
    /// general plan would use no index.
    pub async fn plan_for_values(&mut self) -> Result<(), StoreError> {
        sqlx::query(sql::PLAN_FOR_VALUES).execute(self.db()).await?;
        Ok(())
    }

    /// Makes it durable; a lent one when its owner does.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.owner.is_none()
            && let Some(inner) = self.inner.take()
        {
            inner.commit().await?;
        }
        Ok(())
    }

    /// Ends it with nothing done, now: dropped, it keeps its locks until its connection is used again.
    pub async fn roll_back(mut self) -> Result<(), StoreError> {
        if self.owner.is_none()
            && let Some(inner) = self.inner.take()
        {
            inner.rollback().await?;
        }
        Ok(())
    }

    /// All rows of a statement, decoded.
    pub async fn all<T: FromRow>(&mut self, query: Query<'_>) -> Result<Vec<T>, StoreError> {
        let rows = query.fetch_all(self.db()).await?;
        rows.iter().map(T::from_row).collect::<Result<_, _>>().map_err(StoreError::from)
    }

    /// The first row, or `None`.
    pub async fn first<T: FromRow>(&mut self, query: Query<'_>) -> Result<Option<T>, StoreError> {
        let row = query.fetch_optional(self.db()).await?;
        row.as_ref().map(T::from_row).transpose().map_err(StoreError::from)
    }

    /// Runs it; how many rows it touched.
    pub async fn run(&mut self, query: Query<'_>) -> Result<u64, StoreError> {
        Ok(query.execute(self.db()).await?.rows_affected())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let (Some(owner), Some(inner)) = (&self.owner, self.inner.take()) {
            owner.give_back(inner);
        }
    }
}

/// What was notified on a channel.
pub struct Notices(PgListener);

impl Notices {
    /// Waits for the next one; false when the connection was lost in between and some may have been missed.
    pub async fn next(&mut self) -> Result<bool, StoreError> {
        Ok(self.0.try_recv().await?.is_some())
    }
}

/// The server has closed this connection, or is about to.
fn is_closed(e: &sqlx::Error) -> bool {
    match e {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(d) => d.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

/// A statement with its parameters: `sqlx::query(sql::NAME).bind(…)`.
pub type Query<'q> = sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments>;

/// How a row becomes a value; made by [`crate::row!`].
pub trait FromRow: Sized {
    /// Reads the columns by name.
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error>;
}

/// Connects once. A host that swallows packets shall not hold the start for minutes.
async fn probe(options: &PgConnectOptions) -> Result<(), StoreError> {
    let first = match tokio::time::timeout(CONNECT_WAIT, options.connect()).await {
        Ok(connected) => connected.map_err(|e| first_failure(options, &e))?,
        Err(_) => {
            return Err(first_failure(options, &format!("no answer within {} s", CONNECT_WAIT.as_secs())));
        }
    };
    let _ = first.close().await;
    Ok(())
}

/// Where no connection could be had, and why: never with the password (G-7).
fn first_failure(options: &PgConnectOptions, error: &dyn fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", place_of(options)))
}

fn place_of(options: &PgConnectOptions) -> String {
    let place = match options.get_socket() {
        Some(path) => path.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or("");
    let user = options.get_username();
    format!("{place}, database {database:?} as {user:?}")
}

fn parse_url(url: &Secret<String>) -> Result<PgConnectOptions, StoreError> {
    // The error text of sqlx may repeat the URL with its password: it is not passed on (G-7).
    let url = url.reveal();
    let options = is_database_url(url).then(|| PgConnectOptions::from_str(url).ok()).flatten();
    options.ok_or_else(|| StoreError::Internal("the database URL cannot be read".into()))
}
