//! The thread that talks to Redis, and the client under it. Nobody waits for it: questions go in by a bounded queue, answers come by a
//! callback.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::{Config, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, ClusterHash, CustomCommand, Value};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use warp_model::{Mono, Now, Wall};
use warp_telemetry::health::{Part, RequestResult, RequestSeconds};

use crate::engine::{Ask, Command, Engine, Mode, Reply, StateReply, Token};
use crate::layout::Layout;
use crate::record::Record;
use crate::script::ALL;

/// Which Redis, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address: `redis://[USER:PASSWORD@]HOST:PORT/DB`, or `redis-sentinel://…`.
    pub url: String,
    /// Which keys a record has.
    pub layout: Layout,
    /// When changes are written.
    pub mode: Mode,
    /// How long a question may take; 20 ms (F-REDIS-04).
    pub deadline: Duration,
}

impl Options {
    /// Kamailio's own keys, at once, 20 ms. Errors: the address is none that we can use.
    pub fn new(url: &str) -> Result<Options, String> {
        let options = Options {
            url: url.to_owned(),
            layout: Layout::default(),
            mode: Mode::Through,
            deadline: Duration::from_millis(20),
        };
        config_of(&options)?;
        Ok(options)
    }
}

fn config_of(options: &Options) -> Result<Config, String> {
    if !(options.url.starts_with("redis://") || options.url.starts_with("redis-sentinel://")) {
        // The keys of one row lie in different slots of a cluster, and a script must not leave its own.
        return Err("an address looks like redis://HOST:PORT/DB".into());
    }
    // What the error says may hold the password.
    let mut config =
        Config::from_url(&options.url).map_err(|_| "an address looks like redis://HOST:PORT/DB")?;
    config.fail_fast = false;
    Ok(config)
}

/// What the store needs of whoever has the registrations. All are called on its thread, and must not wait.
pub struct Hooks {
    /// An answer for a question.
    pub answer: AnswerHook,
    /// A row is in Redis now, written in the batch of this number.
    pub stored: StoredHook,
    /// The rows of one part of the memory that were not written since a batch; `None`: there is no such part.
    pub unstored: UnstoredHook,
    /// How long each batch took, and whether Redis answered.
    pub seconds: Option<RequestSeconds>,
    /// What is told of Redis to who asks whether we are well.
    pub health: Option<Part>,
}

/// Takes an answer ([`Hooks::answer`]).
pub type AnswerHook = Box<dyn Fn(Token, StateReply) + Send>;
/// Takes a row that is written ([`Hooks::stored`]).
pub type StoredHook = Box<dyn Fn(&Record, u64) + Send>;
/// Gives rows that are not written ([`Hooks::unstored`]).
pub type UnstoredHook = Box<dyn Fn(usize, u64) -> Option<Vec<Record>> + Send>;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

/// Asks the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asker {
    to: Sender<Ask>,
    mode: Mode,
}

impl Asker {
    /// Passes a question or an order on; gives it back when the queue is full or the store is gone: then the answer is "not now".
    pub fn ask(&self, ask: Ask) -> Result<(), Box<Ask>> {
        self.to.try_send(ask).map_err(|e| Box::new(e.into_inner()))
    }

    /// When changes are written.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

/// A running store. Dropping it ends it, after what is gathered was written, or a second.
#[derive(Debug)]
pub struct Store {
    asker: Option<Asker>,
    thread: Option<JoinHandle<()>>,
}

/// Questions and orders on their way to the thread.
const QUEUE: usize = 65_536;
/// Between two tries to reach a Redis that is away.
const RECONNECT_MS: u32 = 250;
/// A batch without a reply for so long has failed.
const BATCH: Duration = Duration::from_secs(1);
/// Asks that are taken at once.
const TAKEN: usize = 1_024;
/// How long the end may take.
const END: Duration = Duration::from_secs(1);
/// A connection without a reply for so long is given up.
const UNRESPONSIVE: Duration = Duration::from_secs(3);
/// How often the connection is looked at while nothing happens.
const LOOK: Duration = Duration::from_millis(250);

impl Store {
    /// Starts the thread; Redis may be away. Errors: the address cannot be used, no thread.
    pub fn open(options: Options, hooks: Hooks) -> Result<(Store, Asker), String> {
        let config = config_of(&options)?;
        let mode = options.mode;
        let (to, from) = channel(QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("no runtime: {e}"))?;
        let body = move || runtime.block_on(run(config, options, hooks, from));
        let thread = std::thread::Builder::new()
            .name("state".into())
            .spawn(body)
            .map_err(|e| format!("no thread: {e}"))?;
        let asker = Asker { to, mode };
        Ok((Store { asker: Some(asker.clone()), thread: Some(thread) }, asker))
    }

    /// Writes what is left, for at most a second, and ends. All askers must be gone, or it ends without what they still say.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.asker = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}

/// The monotonic clock, counted from its beginning, and the wall's.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Mono(0) + self.0.elapsed() + Duration::from_secs(1),
            wall: Wall(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX)),
        }
    }

    fn until(&self, at: Mono) -> Duration {
        at.since(self.now().mono)
    }
}

/// What came of a batch.
struct Landed {
    replies: Vec<Reply>,
    /// The connection is not what it was: no reply, or a Redis that does not know our scripts.
    broken: bool,
}

type Flying<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Scripts = [String; 3];

async fn run(config: Config, options: Options, hooks: Hooks, mut asks: Receiver<Ask>) {
    let clock = Clock(Instant::now());
    let mut engine = Engine::new(options.layout.clone(), options.mode, options.deadline);
    let texts = ALL.map(|script| script.text(&options.layout));
    let client = match client_of(config) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "no client for Redis");
            return;
        }
    };
    let (mut reconnects, mut errors) = (client.reconnect_rx(), client.error_rx());
    let connection = client.connect();
    let mut link = Link { client: client.clone(), scripts: None };
    let mut flight: Option<Flying<Landed>> = None;
    let mut since = Instant::now();
    let mut loading: Option<Flying<Result<Scripts, String>>> = None;
    let mut ends_at: Option<Instant> = None;
    loop {
        let due = engine.poll_timeout().map_or(LOOK, |at| clock.until(at).min(LOOK));
        tokio::select! {
            biased;
            landed = arrived(&mut flight) => {
                flight = None;
                if let Some(seconds) = &hooks.seconds {
                    let result = if landed.broken { RequestResult::Error } else { RequestResult::Ok };
                    seconds.observe((result,), since.elapsed());
                }
                if landed.broken {
                    link.scripts = None;
                }
                engine.handle_done(landed.replies, clock.now());
            }
            loaded = arrived(&mut loading) => {
                loading = None;
                match loaded {
                    Ok(scripts) => {
                        link.scripts = Some(scripts);
                        if let Some(health) = &hooks.health {
                            health.up();
                        }
                        engine.handle_connected();
                    }
                    Err(why) => lost(&mut engine, &clock, &hooks, &why),
                }
            }
            ask = asks.recv(), if ends_at.is_none() => match ask {
                Some(ask) => {
                    let now = clock.now().mono;
                    engine.handle_ask(ask, now);
                    for _ in 1..TAKEN {
                        let Ok(more) = asks.try_recv() else { break };
                        engine.handle_ask(more, now);
                    }
                }
                None => {
                    ends_at = Some(Instant::now() + END);
                    engine.finish();
                }
            },
            // After each connection it may be another Redis.
            _ = reconnects.recv() => link.scripts = None,
            _ = errors.recv() => {}
            () = tokio::time::sleep(due) => {}
        }
        if !client.is_connected() {
            link.scripts = None;
            lost(&mut engine, &clock, &hooks, "no connection");
        } else if link.scripts.is_none() && loading.is_none() {
            engine.handle_lost(clock.now().mono);
            loading = Some(Box::pin(load(client.clone(), texts.clone())));
        }
        engine.handle_timeout(clock.now().mono);
        while let Some((record, batch)) = engine.poll_stored() {
            (hooks.stored)(&record, batch);
        }
        while let Some((token, answer)) = engine.poll_answer() {
            (hooks.answer)(token, answer);
        }
        while let Some(part) = engine.wants_part() {
            let rows = (hooks.unstored)(part, engine.floor());
            engine.handle_part(rows);
        }
        if flight.is_none()
            && let Some(commands) = engine.next_batch(clock.now())
        {
            since = Instant::now();
            flight = Some(Box::pin(link.run(commands)));
        }
        if ends_at.is_some_and(|at| engine.is_idle() || Instant::now() >= at) {
            break;
        }
    }
    connection.abort();
    let _ = tokio::time::timeout(Duration::from_millis(100), client.quit()).await;
}

/// What is under way, when it is done; never, when nothing is.
async fn arrived<T>(flying: &mut Option<Flying<T>>) -> T {
    match flying {
        Some(flying) => flying.await,
        None => std::future::pending().await,
    }
}

fn lost(engine: &mut Engine, clock: &Clock, hooks: &Hooks, why: &str) {
    static TOLD: warp_telemetry::Seldom = warp_telemetry::Seldom::new();
    let now = clock.now().mono;
    engine.handle_lost(now);
    if let Some(health) = &hooks.health {
        health.down(why);
    }
    if TOLD.due(now).is_some() {
        tracing::warn!(
            why,
            "Redis cannot be used; registrations are kept in memory, and written when it is back"
        );
    }
}

/// Gives Redis our scripts.
async fn load(client: Client, texts: [String; 3]) -> Result<Scripts, String> {
    let mut out = Scripts::default();
    for (text, place) in texts.iter().zip(&mut out) {
        let command = CustomCommand::new_static("SCRIPT", ClusterHash::Random, false);
        let said = client.custom::<String, _>(command, vec!["LOAD", text.as_str()]);
        *place = match tokio::time::timeout(BATCH, said).await {
            Ok(said) => said.map_err(|e| e.to_string())?,
            Err(_) => return Err("no answer".into()),
        };
    }
    Ok(out)
}

fn client_of(config: Config) -> Result<Client, Error> {
    Builder::from_config(config)
        .with_connection_config(|c| {
            c.connection_timeout = Duration::from_secs(1);
            c.internal_command_timeout = Duration::from_secs(1);
            // What is repeated, and when, is the engine's business.
            c.max_command_attempts = 1;
            c.unresponsive =
                UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: Duration::from_secs(1) };
            c.tcp.nodelay = Some(true);
        })
        .with_performance_config(|p| p.default_command_timeout = BATCH)
        .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_MS))
        .build()
}

/// The connection, and the names of our scripts when they are there.
struct Link {
    client: Client,
    scripts: Option<Scripts>,
}

impl Link {
    /// Sends a batch in one go.
    fn run(&self, commands: Vec<Command>) -> impl Future<Output = Landed> + Send + use<> {
        let (client, scripts) = (self.client.clone(), self.scripts.clone());
        async move {
            let failed = Landed { replies: vec![Reply::Failed; commands.len()], broken: true };
            let Some(scripts) = scripts else { return failed };
            let pipeline = client.pipeline();
            for command in commands {
                let mut args: Vec<Value> = Vec::with_capacity(command.args.len() + 3);
                let name = scripts.get(command.script.index()).cloned().unwrap_or_default();
                args.extend([Value::from(name), Value::from(1_i64), Value::from(command.key.as_slice())]);
                args.extend(command.args.iter().map(|arg| Value::from(arg.as_slice())));
                let evalsha = CustomCommand::new_static("EVALSHA", ClusterHash::FirstKey, false);
                if pipeline.custom::<(), _>(evalsha, args).await.is_err() {
                    return failed;
                }
            }
            let Ok(replies) = tokio::time::timeout(BATCH, pipeline.try_all::<Value>()).await else {
                return failed;
            };
            let broken = replies.iter().any(|r| r.as_ref().is_err_and(is_broken));
            Landed { replies: replies.into_iter().map(reply_of).collect(), broken }
        }
    }
}

/// Not a refusal of one command.
fn is_broken(error: &Error) -> bool {
    let refused =
        matches!(error.kind(), ErrorKind::Unknown | ErrorKind::InvalidArgument | ErrorKind::InvalidCommand);
    !refused || error.details().contains("NOSCRIPT")
}

fn reply_of(reply: Result<Value, Error>) -> Reply {
    static TOLD: warp_telemetry::Seldom = warp_telemetry::Seldom::new();
    match reply {
        Ok(value) => read(value, 0),
        Err(error) => {
            let now = Mono(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64));
            if TOLD.due(now).is_some() {
                tracing::warn!(%error, "Redis refuses a command");
            }
            Reply::Failed
        }
    }
}

/// Lists within lists end somewhere.
fn read(value: Value, depth: usize) -> Reply {
    match value {
        Value::Null => Reply::Nil,
        Value::Boolean(b) => Reply::Int(b.into()),
        Value::Integer(n) => Reply::Int(n),
        Value::String(text) => Reply::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Reply::Bytes(bytes.to_vec()),
        Value::Array(values) if depth < 3 => {
            Reply::List(values.into_iter().map(|v| read(v, depth + 1)).collect())
        }
        _ => Reply::Failed,
    }
}
