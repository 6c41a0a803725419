//! `warp customers|trunks|vendors|… list|show|make|change|delete`: what can be done with each declared noun, made of the declaration
//! that the API is made of (RFC 0013). A new noun has its command by being declared.

pub(super) mod fields;

use std::io::Read;
use std::ops::ControlFlow;

use clap::{Arg, ArgMatches, Command, FromArgMatches, Subcommand, value_parser};
use serde_json::{Map, Value, json};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::noun::{self, Noun, Verb};

use self::fields::{cells, columns, row, whole};
use super::client::{Client, MOST, encoded};
use super::names::Labels;
use super::names::{self, id_of};
use super::output::{Output, Table};
use super::{Common, Failure, beside, jobs, vendor_trunks, webhooks};

/// One command of a declared noun.
#[derive(Debug)]
pub(super) struct NounCommand {
    noun: &'static Noun,
    asked: Asked,
}

/// What is asked for.
#[derive(Debug)]
enum Asked {
    List {
        filters: Vec<(&'static str, String)>,
        sort: Option<String>,
        limit: usize,
    },
    Show {
        what: String,
    },
    Make {
        parent: Option<String>,
        body: Body,
    },
    Change {
        what: String,
        body: Body,
    },
    Delete {
        what: String,
    },
    /// What stands beside one.
    Beside {
        what: String,
        asked: beside::Asked,
    },
    /// What jobs can do besides.
    Jobs(jobs::Verb),
    /// What webhooks can do besides.
    Webhooks(webhooks::Verb),
    /// What vendor trunks can do besides.
    VendorTrunks(vendor_trunks::Verb),
}

/// What is sent: a file's JSON, over it the pairs.
#[derive(clap::Args, Debug)]
pub(super) struct Body {
    /// A JSON object, as the API takes it; - is the standard input. Fields on the command line are laid over it.
    #[arg(long, short, value_name = "FILE")]
    file: Option<String>,
    /// Fields as the API has them: name=reports, ip_allow=192.0.2.1,192.0.2.2; FIELD= takes a value away.
    #[arg(value_name = "FIELD=VALUE")]
    pairs: Vec<String>,
}

impl Subcommand for NounCommand {
    fn augment_subcommands(cmd: Command) -> Command {
        noun::ALL.iter().fold(cmd, |cmd, noun| cmd.subcommand(command(noun)))
    }
    fn augment_subcommands_for_update(cmd: Command) -> Command {
        Self::augment_subcommands(cmd)
    }
    fn has_subcommand(name: &str) -> bool {
        named(name).is_some()
    }
}

impl FromArgMatches for NounCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, of_noun) = matches.subcommand().ok_or_else(missing)?;
        let noun = named(name).ok_or_else(missing)?;
        let (verb, given) = of_noun.subcommand().ok_or_else(missing)?;
        let text = |id: &str| given.get_one::<String>(id).cloned();
        let what = || text("WHAT").unwrap_or_default();
        let body = || Body {
            file: text("file"),
            pairs: given.get_many::<String>("FIELD=VALUE").into_iter().flatten().cloned().collect(),
        };
        if let Some(asked) = beside::asked(verb, given, body) {
            return Ok(Self { noun, asked: Asked::Beside { what: what(), asked } });
        }
        let asked = match verb {
            "list" => Asked::List {
                filters: noun.filters.iter().filter_map(|f| Some((f.name, text(f.name)?))).collect(),
                sort: text("sort"),
                limit: given.get_one::<usize>("limit").copied().unwrap_or(0),
            },
            "show" => Asked::Show { what: what() },
            "make" => Asked::Make { parent: parent_flag(noun).and_then(text), body: body() },
            "change" => Asked::Change { what: what(), body: body() },
            "delete" => Asked::Delete { what: what() },
            _ if noun == &noun::job::JOB => Asked::Jobs(jobs::Verb::from_arg_matches(of_noun)?),
            _ if noun == &noun::webhook::WEBHOOK => {
                Asked::Webhooks(webhooks::Verb::from_arg_matches(of_noun)?)
            }
            _ => Asked::VendorTrunks(vendor_trunks::Verb::from_arg_matches(of_noun)?),
        };
        Ok(Self { noun, asked })
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The word of a noun on the command line: that of its paths.
pub(super) fn word(noun: &Noun) -> &'static str {
    noun.paths.all_list.rsplit('/').next().unwrap_or(noun.many)
}

fn named(word_of: &str) -> Option<&'static Noun> {
    noun::ALL.iter().copied().find(|noun| word(noun) == word_of)
}

/// The flag that says what a new object belongs to: `--customer`, `--vendor`.
fn parent_flag(noun: &Noun) -> Option<&'static str> {
    noun.parent.as_ref().map(|parent| parent.id.trim_end_matches("_id"))
}

fn command(noun: &'static Noun) -> Command {
    let verbs: Vec<&str> = noun.verbs.iter().filter_map(|doing| verb_word(doing.verb)).collect();
    let mut all = Command::new(word(noun))
        .about(format!("{}: {}.", capital(noun.called, "s"), verbs.join(", ")))
        .subcommand_required(true)
        .arg_required_else_help(true);
    for doing in noun.verbs {
        all = match doing.verb {
            Verb::List => all.subcommand(list(noun).about(sentence(doing.all))),
            Verb::Read => all.subcommand(Command::new("show").about(sentence(doing.all)).arg(what(noun))),
            Verb::Create => all.subcommand(of_fields(make(noun).about(sentence(doing.all)), noun)),
            Verb::Change => {
                let change = Command::new("change").about(sentence(doing.all)).arg(what(noun));
                all.subcommand(of_fields(change.args(body(true)), noun))
            }
            Verb::Delete => all.subcommand(Command::new("delete").about(sentence(doing.all)).arg(what(noun))),
            // `change` says it field by field.
            Verb::Replace => all,
        };
    }
    all = all.subcommands(beside::verbs(noun, &what(noun), || body(true)));
    if noun == &noun::vendor_trunk::VENDOR_TRUNK {
        vendor_trunks::Verb::augment_subcommands(all)
    } else if noun == &noun::webhook::WEBHOOK {
        webhooks::Verb::augment_subcommands(all)
    } else if noun == &noun::job::JOB {
        jobs::Verb::augment_subcommands(all)
    } else if noun == &noun::vendor::VENDOR {
        let reset =
            vendor_trunks::Verb::augment_subcommands(Command::new("")).find_subcommand("reset").cloned();
        all.subcommands(reset)
    } else {
        all
    }
}

/// With the fields of the noun at the end of its help. They are read from the published forms, and only when this verb is said: the
/// noun stands in the display name, which help never shows.
fn of_fields(verb: Command, noun: &'static Noun) -> Command {
    verb.display_name(word(noun)).defer(|verb| {
        let noun = verb.get_display_name().and_then(named);
        let makes = verb.get_name() == "make";
        let Some(noun) = noun else { return verb };
        verb.after_help(fields::explained(noun, makes))
    })
}

fn verb_word(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::List => Some("list"),
        Verb::Read => Some("show"),
        Verb::Create => Some("make"),
        Verb::Change => Some("change"),
        Verb::Delete => Some("delete"),
        Verb::Replace => None,
    }
}

fn list(noun: &'static Noun) -> Command {
    let all = Command::new("list");
    let filters = noun.filters.iter().map(|f| Arg::new(f.name).long(f.name).value_name("VALUE").help(f.what));
    all.args(filters)
        .arg(
            Arg::new("sort")
                .long("sort")
                .value_name("COLUMN")
                .allow_hyphen_values(true)
                .value_parser(clap::builder::PossibleValuesParser::new(noun.sort_words))
                .help("A minus turns it round; the newest first when absent"),
        )
        .arg(
            Arg::new("limit")
                .long("limit")
                .value_name("ROWS")
                .value_parser(value_parser!(usize))
                .help("Rows at most; all there are when absent or 0"),
        )
}

fn make(noun: &'static Noun) -> Command {
    let all = Command::new("make");
    let all = match parent_flag(noun) {
        None => all,
        Some(flag) => {
            let owner = noun.who.has(Audience::Customer);
            let carrier = noun.parent.as_ref().is_some_and(|p| p.or_carrier.is_some());
            let help = match (owner, carrier) {
                (true, true) => {
                    "Whose it is, by id or name; absent: of whoever's key it is, a customer or the carrier"
                }
                (true, false) => "Whose it is, by id or name; a customer's key needs none",
                (false, _) => "Whose it is, by id or name",
            };
            all.arg(Arg::new(flag).long(flag).value_name("WHOSE").required(!owner).help(help))
        }
    };
    all.args(body(false))
}

fn what(noun: &Noun) -> Arg {
    let by = match names::filters(noun).as_slice() {
        [] => String::new(),
        names => format!(", or its {}", names.join(" or ")),
    };
    Arg::new("WHAT").required(true).help(format!("{}_…{by}", names::prefix(noun)))
}

fn body(changes: bool) -> [Arg; 2] {
    let help = if changes {
        "What it is to have, see below; FIELD= takes a value away, FIELD+=VALUE adds to a list"
    } else {
        "What it has, see below"
    };
    [
        Arg::new("FIELD=VALUE").num_args(0..).help(help),
        Arg::new("file").long("file").short('f').value_name("FILE").help(
            "A JSON object, as the API takes it; - is the standard input. Fields on the command line are laid over it",
        ),
    ]
}

fn sentence(text: &str) -> String {
    format!("{text}.")
}

fn capital(text: &str, end: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase()).into_iter();
    first.chain(chars).chain(end.chars()).collect()
}

pub(super) fn run(command: &NounCommand, common: &Common) -> Result<u8, Failure> {
    let client = Client::of(common)?;
    let noun = command.noun;
    match &command.asked {
        Asked::List { filters, sort, limit } => {
            listed(&client, noun, filters, sort.as_deref(), *limit, common)?
        }
        Asked::Show { what } => {
            let id = id_of(&client, noun, what)?;
            let found = for_whom(&client, noun, |of| client.get(&at(of, noun, &id)))?;
            print(noun, &found, common);
        }
        Asked::Make { parent, body } => print(noun, &made(&client, noun, parent.as_deref(), body)?, common),
        Asked::Change { what, body } => {
            let id = id_of(&client, noun, what)?;
            let now = body.adds().then(|| for_whom(&client, noun, |of| client.get(&at(of, noun, &id))));
            let now = now.transpose()?;
            let body = body.read(&client, &fields::forms(noun), word(noun), now.as_ref())?;
            // What is made of today's list replaces today's list, and no later one.
            let of_version = now.as_ref().and_then(|now| now["version"].as_i64());
            let changed = for_whom(&client, noun, |of| client.patch(&at(of, noun, &id), of_version, &body))?;
            print(noun, &changed, common);
        }
        Asked::Delete { what } => {
            let id = id_of(&client, noun, what)?;
            for_whom(&client, noun, |of| client.delete(&at(of, noun, &id)))?;
            Output::new(common, &["id", "deleted"]).item(
                || json!({ "id": id, "deleted": true }),
                || vec![id.clone(), true.to_string()],
                || format!("deleted {id}"),
            );
        }
        Asked::Beside { what, asked } => return beside::run(noun, what, asked, common),
        Asked::Jobs(verb) => return jobs::run(verb, common),
        Asked::Webhooks(verb) => return webhooks::run(verb, common),
        Asked::VendorTrunks(verb) => return vendor_trunks::run(verb, common),
    }
    Ok(0)
}

/// As an operator, and where customers have the noun too, as one of them.
pub(super) fn for_whom<T>(
    client: &Client,
    noun: &Noun,
    mut ask: impl FnMut(&str) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if noun.who.has(Audience::Customer) { client.either(ask) } else { ask("/admin") }
}

pub(super) fn at(of: &str, noun: &Noun, id: &str) -> String {
    format!("{of}/{}/{}", word(noun), encoded(id))
}

fn listed(
    client: &Client,
    noun: &'static Noun,
    filters: &[(&'static str, String)],
    sort: Option<&str>,
    limit: usize,
    common: &Common,
) -> Result<(), Failure> {
    let mut query = sort.map(|s| format!("&sort={s}")).unwrap_or_default();
    for (name, value) in filters {
        let filter = noun.filters.iter().find(|f| f.name == *name);
        let form = filter.and_then(|f| serde_json::to_value((f.form)()).ok()).unwrap_or_default();
        let value = names::meant(client, &names::prefixes(&form), value)?;
        query.push_str(&format!("&{name}={}", encoded(&value)));
    }
    let columns = columns(noun);
    let mut out = Table::new(common, &columns, fields::head(noun));
    let mut labels = Labels::of(client, noun);
    let wanted = if limit == 0 { usize::MAX } else { limit };
    let query = query.replacen('&', "?", 1);
    let mut walk = |of: &str| {
        let mut left = wanted;
        client.walk(&format!("{of}/{}{query}", word(noun)), wanted.min(MOST), |object| {
            out.item(|| object.clone(), || row(&columns, &object), || cells(noun, &object, &mut labels));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    for_whom(client, noun, &mut walk)
}

fn made(client: &Client, noun: &Noun, parent: Option<&str>, body: &Body) -> Result<Value, Failure> {
    let body = body.read(client, &fields::forms(noun), word(noun), None)?;
    let path = |whole: &'static str| whole.trim_start_matches("/api/v1").to_owned();
    match (&noun.parent, parent) {
        (None, _) => client.json("POST", &path(noun.paths.all_list), &body),
        (Some(of), Some(named)) => {
            let parents = noun::ALL.iter().find(|other| other.many == of.many);
            let id = parents.map_or_else(|| Ok(named.to_owned()), |other| id_of(client, other, named))?;
            let place = path(noun.paths.made_at).replace(&format!("{{{}}}", of.id), &encoded(&id));
            client.json("POST", &place, &body)
        }
        (Some(of), None) if of.or_carrier.is_some() => {
            client.either(|whose| client.json("POST", &format!("{whose}/{}", word(noun)), &body))
        }
        (Some(of), None) => client.json("POST", &path(noun.paths.own_list), &body).map_err(|why| {
            let flag = of.id.trim_end_matches("_id");
            if why.code == 4 {
                why.hint(format!("with an operator's key say whose it is: --{flag}"))
            } else {
                why
            }
        }),
    }
}

impl Body {
    /// Nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.file.is_none() && self.pairs.is_empty()
    }

    /// A list gets more items than it has: `vendors+=alpha`.
    fn adds(&self) -> bool {
        self.pairs.iter().any(|pair| pair.split_once('=').is_some_and(|(name, _)| name.ends_with('+')))
    }

    /// As one object, by the published forms of its fields; `command` is named in hints, `now` is the object that lists are added
    /// to.
    pub(super) fn read(
        &self,
        client: &Client,
        forms: &Map<String, Value>,
        command: &str,
        now: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut whole = match self.file.as_deref() {
            None => Map::new(),
            Some(file) => json_of(file)?,
        };
        for pair in &self.pairs {
            let Some((name, text)) = pair.split_once('=') else {
                let hint = format!("warp {command} make|change … name='a name'");
                return Err(Failure::new(format!("{pair:?} is no FIELD=VALUE")).with_code(2).hint(hint));
            };
            let (name, adds) = name.strip_suffix('+').map_or((name, false), |name| (name, true));
            let form = forms.get(name).unwrap_or(&Value::Null);
            let mut value = fields::value(name, form, text)?;
            if adds {
                value = fields::added(name, form, now, value)?;
            }
            whole.insert(name.to_owned(), value);
        }
        for (name, value) in &mut whole {
            names::resolve(client, forms.get(name).unwrap_or(&Value::Null), value)
                .map_err(|why| why.about(name))?;
        }
        Ok(Value::Object(whole))
    }
}

fn json_of(file: &str) -> Result<Map<String, Value>, Failure> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().lock().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|all| text = all)
    };
    read.map_err(|e| Failure::new(format!("{file}: {e}")).with_code(2))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Failure::new(format!("{file}: must be one JSON object")).with_code(2)),
        Err(e) => Err(Failure::new(format!("{file}: {e}")).with_code(2)),
    }
}

/// The rows of a list that is no declared noun's: `/admin/{word}` or `/{word}` with what the key sees, or another path.
pub(super) fn print_list(
    client: &Client,
    (columns, head): (&[&str], &[&str]),
    path: Option<&str>,
    word: &str,
    limit: usize,
    common: &Common,
    line: impl Fn(&Value) -> Vec<String>,
) -> Result<(), Failure> {
    let mut out = Table::new(common, columns, head.iter().copied());
    let wanted = if limit == 0 { usize::MAX } else { limit };
    let mut walk = |path: &str| {
        let mut left = wanted;
        client.walk(path, wanted.min(MOST), |object| {
            out.item(|| object.clone(), || row(columns, &object), || line(&object));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    };
    match path {
        Some(path) => walk(path),
        None => client.either(|of| walk(&format!("{of}/{word}"))),
    }
}

fn print(noun: &'static Noun, object: &Value, common: &Common) {
    let columns = columns(noun);
    Output::new(common, &columns).item(
        || object.clone(),
        || row(&columns, object),
        || whole(object, &columns),
    );
}
