//! The subcommands. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 conflict, 6 unavailable, 130 interrupted.
//!
//! Tables on a terminal, the same words plain when piped; `--json` gives one object, or one object a line for lists and streams;
//! `--output csv` a line of names and then lines; `-q` nothing. Every verb says what it has to say through [`output`].
//! Errors go to stderr, each once, with a hint line where one helps.

mod audit;
mod beside;
mod calls;
pub(crate) mod client;
mod config;
mod decks;
mod init;
mod jobs;
mod keys;
mod ladder;
mod messages;
mod money;
mod names;
mod nouns;
mod numbers;
pub(crate) mod output;
mod registrations;
pub(crate) mod route;
mod top;
mod vendor_trunks;
mod webhooks;
mod when;
mod why;

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::output::Output;
use crate::{BUILD, doctor, launch, run};

/// Why a command failed, and its exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code, one of those that the module names.
    pub code: u8,
    /// What went wrong, in a sentence.
    pub message: String,
    /// What to do; may be empty.
    pub hint: String,
}

impl Failure {
    /// A failure with exit code 1 and no hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into(), hint: String::new() }
    }

    /// The same with another exit code.
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The message in the words of the command line: `from` of each pair at the beginning of a line becomes `to`. The API names
    /// its parameters, which nobody typed here.
    pub(crate) fn renamed(mut self, names: &[(&str, &str)]) -> Self {
        let rename = |line: &str| {
            let (blank, rest) = line.split_at(line.len() - line.trim_start().len());
            let said =
                names.iter().find_map(|(from, to)| Some((to, rest.strip_prefix(from)?.strip_prefix(": ")?)));
            said.map_or_else(|| line.to_owned(), |(to, rest)| format!("{blank}{to}: {rest}"))
        };
        self.message = self.message.split('\n').map(rename).collect::<Vec<_>>().join("\n");
        self
    }

    /// The same, of the field or flag that it is about.
    pub(crate) fn about(mut self, name: &str) -> Self {
        self.message = format!("{name}: {}", self.message);
        self
    }

    /// A line that says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Self::new(format!("{error:#}")),
        }
    }
}

impl std::error::Error for Failure {}

/// What every command takes.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// One JSON object, or one a line for streams.
    #[arg(long, global = true)]
    pub json: bool,
    /// Form of what is printed; a table when absent, without its line of names where no terminal is.
    #[arg(long, global = true, value_enum)]
    pub output: Option<Form>,
    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// No colours (NO_COLOR works too).
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Base URL of the API; default: WARP_API_URL, or the dev world in this folder.
    #[arg(long, global = true)]
    pub api_url: Option<String>,
    /// File with the certificate (PEM) that the API's must come from, instead of the public ones; default: WARP_API_CA.
    #[arg(long, global = true)]
    pub api_ca: Option<PathBuf>,
    /// API key; default: WARP_API_KEY, or the dev world in this folder.
    #[arg(long, global = true)]
    pub api_key: Option<String>,
}

/// WARP: SIP proxy, RTP relay and control plane of a carrier in one binary.
#[derive(Parser, Debug)]
#[command(name = "warp", version)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Everything in one process with a demo world and live traffic, on 127.0.0.1.
    #[cfg(feature = "dev")]
    Dev(crate::dev::DevArgs),
    /// Production: the given roles of this node.
    Serve(ServeArgs),
    /// Where would a call go, at what price, and why not elsewhere. Nothing is dialled.
    Route(route::RouteArgs),
    /// Rate decks: list, import a sheet (`--dry-run` says what it would change), activate.
    Decks(decks::DecksArgs),
    /// Calls: list, show, tail; those in the air: live, hang-up.
    Calls(calls::CallsArgs),
    /// The last minute at a glance: calls in the air, how calls ended, vendors, nodes; on a terminal again and again.
    Top(top::TopArgs),
    /// One sentence of what happened to a call, a number or an address, and the command that mends it.
    Why(why::WhyArgs),
    /// The messages of a call as a picture, over or in the air; also as Mermaid, SVG or pcap.
    Ladder(ladder::LadderArgs),
    /// Short messages: list, show, tail, send.
    Messages(messages::MessagesArgs),
    #[command(flatten)]
    Noun(nouns::NounCommand),
    /// API keys: list, show, make, rotate, revoke; a new one when the last was lost.
    Keys(keys::KeysArgs),
    /// Numbers that can be called: list, show, make, change, assign, release, delete.
    Numbers(numbers::NumbersArgs),
    /// Phones that SIP users have registered: list.
    Registrations(registrations::RegistrationsArgs),
    /// Who did what to which object: list.
    Audit(audit::AuditArgs),
    /// What billing accounts have, and what of it is lent to nodes.
    Balances(money::BalancesArgs),
    /// Postings of billing accounts: list, top-up, adjust, reverse.
    Ledger(money::LedgerArgs),
    /// Money of accounts that is lent to nodes: list, release.
    Leases(money::LeasesArgs),
    /// What is missing or slow on this machine, each with the fixing command.
    Doctor(DoctorArgs),
    /// The configuration file of a new node, every key with its default as a comment.
    Init(init::InitArgs),
    /// Configuration: check, show, diff, reload.
    Config(config::ConfigArgs),
    /// Demo traffic of a running `warp dev`: `--cps N`, or `off`.
    #[cfg(feature = "dev")]
    Demo(crate::dev::DemoArgs),
    /// Version and build.
    Version,
    /// The launch contract of load tools (loadtests/README.md).
    #[command(hide = true)]
    Launch {
        /// proxy, media, all, rtpengine
        profile: String,
        /// key=value …; of rtpengine its own options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        settings: Vec<String>,
    },
}

impl Command {
    /// It prints and ends.
    fn is_a_client(&self) -> bool {
        match self {
            #[cfg(feature = "dev")]
            Self::Dev(_) => false,
            Self::Serve(_) | Self::Launch { .. } => false,
            _ => true,
        }
    }
}

/// Where the configuration is.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigFile {
    /// The configuration file; default /etc/warp/warp.toml.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct DoctorArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Data folder of a running process, whose addresses are looked at; default: .warp/dev where a `warp dev` of this folder
    /// runs, and no --config is given.
    #[arg(long, conflicts_with = "config")]
    dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ServeArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Comma-separated: sip, media, smsc, api, jobs.
    #[arg(long, default_value = "sip,media,api,jobs")]
    roles: run::Roles,
}

/// What a list looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// With a line of names, for spreadsheets (RFC 4180).
    Csv,
    /// One object a line, as `--json` gives it.
    Json,
}

impl Common {
    /// The form that lists have.
    pub(crate) fn form(&self) -> Form {
        self.output.unwrap_or_default()
    }

    /// JSON was asked for, by either name.
    pub(crate) fn wants_json(&self) -> bool {
        self.json || self.form() == Form::Json
    }
}

/// Parses the arguments of this process, runs, gives the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(why) => {
            // Help and version are no errors.
            if why.use_stderr() && std::env::args().any(|arg| arg == "--json") {
                tell(&Failure::new(first_line(&why.to_string())).with_code(2), true);
            } else {
                let _ = why.print();
            }
            return ExitCode::from(u8::try_from(why.exit_code()).unwrap_or(2));
        }
    };
    let mut cli = cli;
    cli.common.json = cli.common.wants_json();
    let common = cli.common.clone();
    if cli.command.is_a_client() {
        // `warp … | head`: the reader of our output is gone, and so are we, without a word. Servers live on.
        let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let _ = signal_hook::flag::register_conditional_default(signal_hook::consts::SIGPIPE, always);
    }
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tell(&failure, common.json);
            ExitCode::from(failure.code)
        }
    }
}

/// Says on stderr what went wrong.
fn tell(failure: &Failure, json: bool) {
    let mut err = std::io::stderr().lock();
    if json {
        let _ = writeln!(err, "{}", as_json(failure));
    } else {
        let _ = writeln!(err, "warp: {}", failure.message);
        if !failure.hint.is_empty() {
            let _ = writeln!(err, "hint: {}", failure.hint);
        }
    }
}

/// Between the mistakes of a configuration, which are told one a line.
pub(crate) const BETWEEN: &str = "\nwarp: ";

/// A failure as one object; `messages` has each mistake by itself where there are several.
fn as_json(failure: &Failure) -> serde_json::Value {
    let each: Vec<&str> = failure.message.split(BETWEEN).collect();
    let mut error =
        serde_json::json!({"code": failure.code, "message": each.join("; "), "hint": failure.hint});
    if each.len() > 1 {
        error["messages"] = each.into();
    }
    serde_json::json!({"error": error})
}

/// `error: …` of a usage error without its explanation.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    let common = &cli.common;
    match cli.command {
        #[cfg(feature = "dev")]
        Command::Dev(args) => crate::dev::run(&args, common).map_err(Failure::from),
        #[cfg(feature = "dev")]
        Command::Demo(args) => crate::dev::demo(&args, common),
        Command::Serve(args) => run::serve(&args.file, args.roles).map_err(Failure::from),
        Command::Route(args) => route::run(&args, common),
        Command::Decks(args) => decks::run(&args, common),
        Command::Calls(args) => calls::run(&args, common),
        Command::Top(args) => top::run(&args, common),
        Command::Why(args) => why::run(&args, common),
        Command::Ladder(args) => ladder::run(&args, common),
        Command::Messages(args) => messages::run(&args, common),
        Command::Noun(command) => nouns::run(&command, common),
        Command::Keys(args) => keys::run(&args, common),
        Command::Numbers(args) => numbers::run(&args, common),
        Command::Registrations(args) => registrations::run(&args, common),
        Command::Audit(args) => audit::run(&args, common),
        Command::Balances(args) => money::balances(&args, common),
        Command::Ledger(args) => money::ledger(&args, common),
        Command::Leases(args) => money::leases(&args, common),
        Command::Doctor(args) => examine(&args, common),
        Command::Init(args) => init::run(&args, common),
        Command::Config(args) => config::run(&args, common),
        Command::Version => {
            let all = [BUILD.version, BUILD.revision, BUILD.rustc];
            Output::new(common, &["version", "revision", "rustc"]).item(
                || serde_json::json!({"version": all[0], "revision": all[1], "rustc": all[2]}),
                || all.map(str::to_owned).to_vec(),
                || format!("warp {} ({}, rustc {})", all[0], all[1], all[2]),
            );
            Ok(0)
        }
        Command::Launch { profile, settings } => launch::run(&profile, &settings),
    }
}

/// The folder of the `warp dev` that runs here, when nothing says that another one is meant.
fn dev_world_here(file: &ConfigFile) -> Option<PathBuf> {
    let dir = PathBuf::from(".warp/dev");
    (file.config.is_none() && config::folder_of(&dir).pid().is_some()).then_some(dir)
}

fn examine(args: &DoctorArgs, common: &Common) -> Result<u8, Failure> {
    let mut config = config::load(&args.file)?.config;
    if let Some(dir) = args.dir.clone().or_else(|| dev_world_here(&args.file)) {
        config = config::running(&dir)?;
    }
    let findings = doctor::examine(&config);
    let out = Output::new(common, &["check", "level", "found", "fix"]);
    for f in &findings {
        let (mark, level) = match f.level {
            doctor::Level::Ok => ("ok  ", "ok"),
            doctor::Level::Warn => ("warn", "warn"),
            doctor::Level::Fail => ("FAIL", "fail"),
        };
        let fields = || [f.check, level, &f.found, &f.fix].map(str::to_owned).to_vec();
        out.item(
            || serde_json::json!(f),
            fields,
            || {
                let line = format!("{mark}  {:<20} {}", f.check, f.found);
                if f.fix.is_empty() { line } else { format!("{line}\n      {:<20} fix: {}", "", f.fix) }
            },
        );
    }
    Ok(u8::from(findings.iter().any(|f| f.level == doctor::Level::Fail)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::client::Client;
    use super::*;

    /// An API that gives these answers in turn; what was asked comes back.
    pub(super) fn api(answers: Vec<&'static str>) -> (Client, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()), "k");
        let asked = std::thread::spawn(move || {
            let one = |answer: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let length = answer.len();
                let status = if answer == "502" { "502 Bad Gateway" } else { "200 OK" };
                let text = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{answer}"
                );
                stream.write_all(text.as_bytes()).unwrap();
                String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned()
            };
            answers.into_iter().map(one).collect()
        });
        (client, asked)
    }

    #[test]
    fn a_failure_speaks_of_what_was_typed() {
        let why = Failure::new("called: must be a phone number (422)\n  caller: too long\n  recalled: stays");
        let said = why.renamed(&[("called", "--to"), ("caller", "--from")]).message;
        assert_eq!(said, "--to: must be a phone number (422)\n  --from: too long\n  recalled: stays");
    }

    #[test]
    fn each_mistake_of_a_configuration_is_one_text_of_the_json() {
        let two = as_json(&Failure::new(["sip.t1: wrong", "media.ng: wrong"].join(BETWEEN)));
        assert_eq!(two["error"]["messages"], serde_json::json!(["sip.t1: wrong", "media.ng: wrong"]));
        assert_eq!(two["error"]["message"], "sip.t1: wrong; media.ng: wrong");
        assert!(as_json(&Failure::new("one"))["error"]["messages"].is_null());
    }
}
