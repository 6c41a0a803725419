//! `warp dev` as a newcomer meets it: the banner with a completed call, live traffic of every kind, the client commands,
//! Ctrl-C, and a second start on the same folder.

mod stack;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use stack::{have, poll_until, signal_pid, tail};

struct Dev {
    child: Child,
    lines: mpsc::Receiver<String>,
    banner: Vec<String>,
}

impl Dev {
    /// Starts `warp dev` in `dir` and reads its banner to the end.
    fn start(dir: &Path, args: &[&str]) -> Dev {
        let log = dir.join("stderr.log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_warp"))
            .arg("dev")
            .args(args)
            .current_dir(dir)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).expect("log"))
            .spawn()
            .expect("warp dev starts");
        let stdout = child.stdout.take().expect("piped");
        let (tx, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tx.send(line);
            }
        });
        let mut dev = Dev { child, lines, banner: Vec::new() };
        while !dev.banner.last().is_some_and(|l| l.contains("Ctrl-C stops")) {
            match dev.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => dev.banner.push(line),
                Err(why) => panic!("{why} after {:#?}\n{}", dev.banner, tail(&log)),
            }
        }
        dev
    }

    fn banner(&self, word: &str) -> &str {
        let line = self.banner.iter().find(|l| l.contains(word));
        line.unwrap_or_else(|| panic!("no {word:?} in {:#?}", self.banner))
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            signal_pid(self.child.id(), "TERM");
            if poll_until(Duration::from_secs(15), || self.child.try_wait().ok().flatten()).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// A client command, run in the folder where `warp dev` runs.
fn warp(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warp"))
        .args(args)
        .current_dir(dir)
        .env_remove("WARP_API_URL")
        .env_remove("WARP_API_KEY")
        .output()
        .expect("warp runs")
}

fn calls(dir: &Path, outcome: &str) -> Vec<Value> {
    let out = warp(dir, &["calls", "list", "--limit", "100", "--outcome", outcome, "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON line"))
        .collect()
}

/// What the help of a command names below it.
fn verbs(dir: &Path, of: &[&str]) -> Vec<String> {
    let help = warp(dir, &[of, &["--help"]].concat());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let Some((_, list)) = text.split_once("Commands:\n") else { return Vec::new() };
    let names = list.lines().take_while(|l| !l.trim().is_empty()).filter_map(|l| {
        let own = l.strip_prefix("  ").filter(|l| !l.starts_with(' '))?;
        own.split_whitespace().next().map(str::to_owned)
    });
    names.filter(|name| name != "help").collect()
}

/// `--json` is a JSON value a row, `--output csv` a line of names and lines of as many fields, `-q` nothing: for `list` of every noun that
/// the help names.
fn every_list_has_three_forms(dir: &Path) {
    // Fields of a line of CSV (RFC 4180); a quoted one may hold commas.
    let fields = |line: &str| {
        let mut quoted = false;
        1 + line
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                *c == ',' && !quoted
            })
            .count()
    };
    let (mut lists, mut wrong) = (0, Vec::new());
    for noun in verbs(dir, &[]) {
        if !verbs(dir, &[&noun]).iter().any(|verb| verb == "list") {
            continue;
        }
        lists += 1;
        let run = |flags: &[&str]| {
            let out = warp(dir, &[&[noun.as_str(), "list"], flags].concat());
            (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned(), out.stderr)
        };
        let (code, text, error) = run(&["--json"]);
        let all_json = text.lines().all(|l| serde_json::from_str::<Value>(l).is_ok_and(|v| v.is_object()));
        if code != Some(0) || !all_json {
            wrong.push(format!("{noun} list --json: {code:?} {text} {}", String::from_utf8_lossy(&error)));
        }
        let rows = text.lines().count();
        let (code, text, _) = run(&["--output", "csv"]);
        let mut lines = text.lines();
        let names = lines.next().unwrap_or_default();
        let whole = names.split(',').all(|n| !n.is_empty() && !n.contains(' '));
        if code != Some(0)
            || !whole
            || lines.clone().count() < rows
            || lines.any(|l| fields(l) != fields(names))
        {
            wrong.push(format!("{noun} list --output csv: {code:?} {text}"));
        }
        let (code, text, error) = run(&["-q"]);
        if code != Some(0) || !text.is_empty() || !error.is_empty() {
            wrong.push(format!("{noun} list -q: {code:?} {text} {}", String::from_utf8_lossy(&error)));
        }
    }
    assert!(lists >= 8, "{lists} nouns with a list");
    assert_eq!(wrong, Vec::<String>::new());
}

/// `config show` and `config diff` of the world that runs here: nothing differs but what somebody has set since.
fn what_runs_is_shown_and_compared(dir: &Path) {
    let lines = |args: &[&str]| {
        let out = warp(dir, args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let shown = lines(&["config", "show", "--dir", ".warp/dev"]);
    assert!(shown.contains("data_dir = \".warp/dev\"") && shown.contains("name = \"dev\""), "{shown}");
    assert!(shown.contains("# seal_key is not set"), "{shown}");
    // Ports that were taken when the world began are the only thing that it may run with without having been told.
    let differs = |args: &[&str]| -> Vec<String> {
        let text = lines(&[&["config", "diff", "--dir"], args].concat());
        let moved =
            |l: &&str| l.contains("listen: ") || l.contains("media.ports: ") || l.contains("media.ng: ");
        text.lines().filter(|l| !moved(l)).map(str::to_owned).collect()
    };
    assert_eq!(differs(&[".warp/dev"]), Vec::<String>::new());
    std::fs::write(dir.join("mine.toml"), "[sip]\nt1 = \"600ms\"\nrealm = \"other\"\n").expect("a file");
    let wanted = ["sip.realm: warp -> other (needs a restart)", "sip.t1: 500ms -> 600ms"];
    assert_eq!(differs(&[".warp/dev", "--config", "mine.toml"]), wanted);
    let whole = dir.join(".warp/dev").display().to_string();
    assert_eq!(differs(&[&whole, "--config", "mine.toml"]), wanted);
    for verb in ["diff", "show"] {
        assert_eq!(warp(dir, &["config", verb, "--dir", "elsewhere"]).status.code(), Some(6), "{verb}");
    }
}

/// The verbs of the declared nouns, against the world that runs here (RFC 0013).
fn declared_nouns_are_listed_shown_made_changed_and_deleted(dir: &Path) {
    let text = |out: &std::process::Output| String::from_utf8_lossy(&out.stdout).into_owned();
    let json = |args: &[&str]| -> Value {
        let out = warp(dir, &[args, &["--json"]].concat());
        assert!(out.status.success(), "{args:?}: {out:?}");
        serde_json::from_slice(&out.stdout).expect("JSON")
    };
    let code = |args: &[&str]| warp(dir, args).status.code();
    // A customer with a trunk, by names; amounts and lists as somebody types them.
    let customer = json(&["customers", "make", "name=Typed Ltd", "channels=30", "daily_spend=250 USD"]);
    assert_eq!((&customer["channels"], &customer["daily_spend"]["amount"]), (&30.into(), &"250".into()));
    let trunk =
        json(&["trunks", "make", "--customer", "Typed Ltd", "name=30", "media_ips=192.0.2.1,192.0.2.2"]);
    assert_eq!((&trunk["name"], &trunk["customer_id"]), (&"30".into(), &customer["id"]));
    assert_eq!(trunk["media_ips"].as_array().map(Vec::len), Some(2));
    let id = trunk["id"].as_str().expect("an id");
    let changed = json(&["trunks", "change", id, "cps=5", "media_ips=", "partition_id=Standard"]);
    assert_eq!((&changed["cps"], &changed["version"]), (&5.into(), &2.into()));
    assert!(changed["media_ips"].as_array().is_some_and(Vec::is_empty), "FIELD= takes it away");
    let decked = json(&["trunks", "change", id, "sell_deck_ids=Retail US,Retail A-Z"]);
    let ids = decked["sell_deck_ids"].as_array().expect("a list");
    assert!(
        ids.len() == 2 && ids.iter().all(|d| d.as_str().is_some_and(|d| d.starts_with("deck_"))),
        "{ids:?}"
    );
    assert_eq!(code(&["trunks", "change", id, "sell_deck_ids=Nobody's deck"]), Some(2));
    let partition = json(&["partitions", "show", "Standard"]);
    assert_eq!(partition["id"], changed["partition_id"]);
    // Lists: filters take names, sorts are those of the declaration.
    let of_one = warp(dir, &["trunks", "list", "--customer", "Typed Ltd", "--output", "csv"]);
    let lines: Vec<String> = text(&of_one).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("id,customer_id,") && lines[1].starts_with(id), "{lines:?}");
    let sorted = text(&warp(dir, &["vendors", "list", "--sort", "-name", "--json"]));
    let names: Vec<String> = sorted
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["name"].to_string().to_lowercase())
        .collect();
    assert!(names.len() > 2 && names.is_sorted_by(|a, b| a >= b), "{names:?}");
    assert_eq!(text(&warp(dir, &["vendors", "list", "--limit", "1", "--json"])).lines().count(), 1);
    assert!(text(&warp(dir, &["customers", "show", "Typed Ltd"])).contains("daily_spend           250 USD"));
    // A file, and fields over it.
    std::fs::write(dir.join("vendor.json"), r#"{"slug": "typed", "name": "From a file"}"#).expect("file");
    let vendor = json(&["vendors", "make", "--file", "vendor.json", "name=Typed"]);
    assert_eq!((&vendor["slug"], &vendor["name"]), (&"typed".into(), &"Typed".into()));
    let ends = "ends_at=2099-01-01T00:00:00Z";
    let made =
        ["exclusions", "make", "vendor_id=typed", "code=44", "kind=quality", "reason=one-way audio", ends];
    assert_eq!(json(&made)["vendor_id"], vendor["id"]);
    // What fails says so by its code.
    assert_eq!(code(&["vendors", "delete", "typed"]), Some(5), "an exclusion refers to it");
    let exclusion = text(&warp(dir, &["exclusions", "list", "--vendor", "typed"]));
    let exclusion = exclusion.split_whitespace().next().expect("an id").to_owned();
    assert_eq!(json(&["exclusions", "delete", &exclusion])["deleted"], true);
    assert_eq!(code(&["-q", "vendors", "delete", "typed"]), Some(0));
    assert_eq!(code(&["vendors", "show", "typed"]), Some(3));
    assert_eq!(code(&["trunks", "change", id, "channels=many"]), Some(2));
    assert_eq!(code(&["trunks", "change", id, "colour=red"]), Some(2));
    assert_eq!(code(&["trunks", "list", "--sort", "colour"]), Some(2));
    assert_eq!(code(&["trunks", "make", "name=whose"]), Some(4), "an operator says whose it is");
    assert_eq!(code(&["customers", "delete", "Typed Ltd"]), Some(2), "there is no such verb");
    assert_eq!(code(&["trunks", "delete", id]), Some(0));
    assert_eq!(code(&["trunks", "show", id]), Some(3));
    // With a customer's key its own things, and operators' nouns not at all.
    let secrets = std::fs::read_to_string(dir.join(".warp/dev/secrets.toml")).expect("secrets");
    let key =
        secrets.lines().find_map(|l| l.strip_prefix("customer_key = \"")).map(|k| k.trim_end_matches('"'));
    let key = key.expect("a customer's key");
    assert!(!text(&warp(dir, &["trunks", "list", "--api-key", key])).is_empty());
    assert_eq!(code(&["vendors", "list", "--api-key", key]), Some(4));
}

/// `decks options`: what an upload said of its sheet, for people, for machines and for spreadsheets; and nothing once it is cleared.
fn what_is_remembered_of_a_sheet_is_shown_and_forgotten(dir: &Path) {
    let text = |args: &[&str]| {
        let out = warp(dir, args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let decks = text(&["decks", "list", "--json"]);
    let deck: Value = serde_json::from_str(decks.lines().next().expect("a deck")).expect("JSON");
    let (id, name) = (deck["id"].as_str().expect("id"), deck["name"].as_str().expect("name"));
    assert!(text(&["decks", "options", id]).starts_with("nothing is remembered of "));
    std::fs::write(dir.join("sheet.csv"), "Code,Rate\n1415,0.01\n").expect("a sheet");
    text(&["decks", "import", "sheet.csv", "--deck", id, "--terms", "60/6", "--zone", "+01:00"]);
    let said = text(&["decks", "options", name]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("remembered of ") && lines[0].ends_with("for all decks that it sells by:"),
        "{said}"
    );
    assert!(lines.contains(&"  terms = 60/6") && lines.contains(&"  zone = +01:00"), "{said}");
    let known: Value = serde_json::from_str(&text(&["decks", "options", id, "--json"])).expect("JSON");
    assert_eq!(
        (&known["options"]["terms"], &known["options"]["zone"]),
        (&"60/6".into(), &"+01:00".into()),
        "{known}"
    );
    let csv = text(&["decks", "options", id, "--output", "csv"]);
    assert!(csv.starts_with("owner,options\n") && csv.lines().count() == 2, "{csv}");
    assert!(text(&["decks", "options", id, "--clear"]).starts_with("nothing is remembered of "));
    let known: Value = serde_json::from_str(&text(&["decks", "options", id, "--json"])).expect("JSON");
    assert_eq!(known["options"], serde_json::json!({}), "{known}");
    assert_eq!(warp(dir, &["decks", "options", "no such deck"]).status.code(), Some(3));
}

/// A version that may not come into force is refused with 409, and the buyer sees what the sheet would have changed: he asks that next.
fn an_import_that_is_not_activated_shows_its_report(dir: &Path) {
    let api = std::fs::read_to_string(dir.join(".warp/dev/secrets.toml")).expect("secrets");
    let of = |name: &str| {
        let line = api.lines().find(|l| l.starts_with(&format!("{name} = "))).expect("a secret");
        line.split('"').nth(1).expect("its value").to_owned()
    };
    let made = ureq::post(format!("{}/api/v1/admin/rate-decks", of("url")))
        .header("Authorization", format!("Bearer {}", of("operator_key")))
        .send_json(serde_json::json!({"name": "Later", "kind": "az"}));
    assert_eq!(made.expect("a deck is made").status(), 201);
    std::fs::write(
        dir.join("later.csv"),
        "Prefix,Rate,Increment,Effective Date\n4477,0.05,60/60,2099-01-01\n",
    )
    .expect("a sheet");
    let run = |more: &[&str]| {
        let out = warp(dir, &[&["decks", "import", "later.csv", "--deck", "Later"], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, report, why) = run(&["--activate"]);
    assert_eq!(code, Some(5), "{report} {why}");
    assert!(why.contains("has no price in force now") && why.contains("(409)"), "{why}");
    assert!(report.contains("columns: Prefix = ") && report.contains("begin later"), "{report}");
    assert_eq!(report, run(&["--dry-run"]).1, "the report of a dry run");
    let (code, json, _) = run(&["--activate", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, &json["begin_later"], &json["in_force"]), (Some(5), &1.into(), &0.into()), "{json}");
    // Nothing was stored, and what does not concern its activation has no report.
    let versions = warp(dir, &["decks", "versions", "Later", "--json"]);
    assert!(versions.status.success() && versions.stdout.is_empty(), "{versions:?}");
    std::fs::write(dir.join("wrong.csv"), "Prefix,Rate\n44,zero\n").expect("a sheet");
    let wrong = warp(dir, &["decks", "import", "wrong.csv", "--deck", "Later", "--activate"]);
    assert_eq!((wrong.status.code(), wrong.stdout.as_slice()), (Some(2), &b""[..]), "{wrong:?}");
}

/// At its ports and its folder: what this world has itself is nothing to warn of, and to another node it is.
fn the_doctor_looks_at_the_world_that_runs_here(dir: &Path, dev: &Dev) {
    let ports = |args: &[&str]| -> (String, Vec<Value>) {
        let out = warp(dir, &[&["doctor", "--json"], args].concat());
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let all = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
        let ports = all.filter(|f| f["check"] == "port").collect();
        (text, ports)
    };
    let here = format!("(process {})", dev.child.id());
    let (text, own) = ports(&[]);
    // As root the database lies elsewhere, and only that line says so.
    let mut others = text.lines().filter(|l| !l.contains(r#""check":"PostgreSQL""#));
    assert!(text.contains(".warp/dev") && others.all(|l| !l.contains("/var/lib/warp")), "{text}");
    assert!(own.len() >= 3, "{text}");
    for port in &own {
        let found = port["found"].as_str().unwrap_or_default();
        assert!(
            port["level"] == "ok"
                && port["fix"] == ""
                && found.contains("in use by this warp")
                && found.ends_with(&here),
            "{port}"
        );
    }
    let ops = dev
        .banner("/metrics")
        .split("http://")
        .nth(1)
        .and_then(|l| l.split('/').next())
        .expect("its address")
        .to_owned();
    std::fs::write(
        dir.join("other.toml"),
        format!("[node]\ndata_dir = \"other\"\n[ops]\nlisten = \"{ops}\"\n"),
    )
    .expect("a file");
    let (text, others) = ports(&["--config", "other.toml"]);
    let taken = format!("ops.listen {ops} is taken by another warp {here}");
    assert!(others.iter().any(|p| p["level"] == "warn" && p["found"] == taken.as_str()), "{taken}: {text}");
}

#[test]
fn help_is_a_command_too() {
    let dir = tempfile::tempdir().expect("tempdir");
    let same = |asked: &[&str], flag: &[&str]| {
        let (asked, flag) = (warp(dir.path(), asked), warp(dir.path(), flag));
        assert!(asked.status.success() && flag.status.success(), "{asked:?}");
        assert_eq!(String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&flag.stdout));
        assert!(!asked.stdout.is_empty());
    };
    same(&["help"], &["--help"]);
    same(&["help", "calls"], &["calls", "--help"]);
    same(&["help", "config", "diff"], &["config", "diff", "--help"]);
    same(&["calls", "help", "list"], &["calls", "list", "--help"]);
    assert_eq!(warp(dir.path(), &["help", "nothing"]).status.code(), Some(2));
}

#[test]
fn a_newcomer_sees_a_completed_call_and_live_traffic() {
    let dir = tempfile::tempdir().expect("tempdir");
    let dir = dir.path();
    let mut dev = Dev::start(dir, &["--cps", "20"]);
    let first = dev.banner("demo call 1").to_owned();
    assert!(first.contains("✓ demo call 1   +12025550100 → +14155550123   200 OK in "), "{first}");
    assert!(first.ends_with("vendor alpha   $0.0042/min"), "{first}");
    for word in ["WARP 0.1.0  dev mode", "API        http://127.0.0.1:", "digest demo1001 / ", "/metrics"] {
        dev.banner(word);
    }
    let mode = std::fs::metadata(dir.join(".warp/dev/secrets.toml")).expect("secrets").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Calls of every kind come into the ledger, among them one that gamma refused with 503 and another vendor carried.
    for outcome in ["answered", "busy", "no_answer", "cancelled"] {
        let seen = poll_until(Duration::from_secs(60), || (!calls(dir, outcome).is_empty()).then_some(()));
        assert!(seen.is_some(), "no {outcome} call\n{}", tail(&dir.join("stderr.log")));
    }
    let failed_over = poll_until(Duration::from_secs(60), || {
        calls(dir, "answered").into_iter().find(|c| c["route_rank"].as_i64().is_some_and(|rank| rank > 1))
    });
    let id = failed_over.expect("a failover")["id"].as_str().expect("id").to_owned();
    let shown = warp(dir, &["calls", "show", &id]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success() && text.contains(" 503 ") && text.contains("answered"), "{text}");
    assert!(text.contains(" packets, "), "media figures: {text}");
    let digest = poll_until(Duration::from_secs(60), || {
        calls(dir, "answered").iter().any(|c| c["caller"] == "+12125550111").then_some(())
    });
    assert!(digest.is_some(), "no call of the digest trunk");

    let route = warp(dir, &["route", "+442071234567", "--json"]);
    let decision: Value = serde_json::from_slice(&route.stdout).expect("JSON");
    assert_eq!(decision["candidates"].as_array().map(Vec::len), Some(4), "{decision:#}");
    let named = warp(dir, &["route", "+442071234567", "--trunk", "acme-east"]);
    assert!(named.status.success(), "{named:?}");
    let no_number = warp(dir, &["route", "00442071234567"]);
    let text = String::from_utf8_lossy(&no_number.stdout).into_owned();
    assert!(no_number.status.code() == Some(1) && text.contains("begin with + or 011"), "{text}");
    assert_eq!(warp(dir, &["calls", "show", "call_00000000000000000000000000"]).status.code(), Some(3));
    assert_eq!(warp(dir, &["--api-key", "wk_test_wrong", "calls", "list"]).status.code(), Some(4));
    assert_eq!(warp(dir, &["demo", "off"]).status.code(), Some(0));

    // The customer's key of the banner is a key for the same commands: its own calls, and not whom we buy from.
    let key = dev.banner("API  ").rsplit(' ').next().unwrap_or_default().to_owned();
    let own = warp(dir, &["--api-key", &key, "calls", "list", "--limit", "3", "--output", "csv"]);
    let text = String::from_utf8_lossy(&own.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let names: Vec<&str> = lines.first().copied().unwrap_or_default().split(',').collect();
    for name in
        ["id", "answer_at", "duration_ms", "billable_s", "rate_per_min", "price", "currency", "deck_version"]
    {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(own.status.success() && lines.len() == 4 && !text.contains("vnd_"), "{text}");
    let route = warp(dir, &["--api-key", &key, "route", "+442071234567"]);
    let text = String::from_utf8_lossy(&route.stdout).into_owned();
    assert!(route.status.success() && text.contains("4 candidates") && !text.contains("Alpha"), "{text}");
    // Prometheus' own reader finds nothing to say about what all of this counted, in either form's names and types.
    let metrics = dev.banner("/metrics").split_whitespace().last().expect("an address").to_owned();
    let text = ureq::get(&metrics).call().expect("a scrape").body_mut().read_to_string().expect("text");
    assert!(text.lines().filter(|l| l.starts_with("warp_")).count() > 1_000, "{text}");
    for asked in ["postgres", "media"] {
        let count = format!("warp_dependency_request_seconds_count{{name=\"{asked}\",result=\"ok\"}} ");
        let count = text.lines().find_map(|l| l.strip_prefix(&count)).expect("a series");
        assert_ne!(count, "0", "{asked}");
    }
    // The names behind the ids of labels: of vendors' trunks and of customers'.
    let named = |kind: &str, name: &str, more: &str| {
        let (start, name) = (format!("warp_{kind}_info{{"), format!("name=\"{name}\""));
        let found = text
            .lines()
            .filter(|l| l.starts_with(&start) && l.contains(&name) && l.contains(more) && l.ends_with("} 1"));
        assert_eq!(found.count(), 1, "{kind} {name} {more}");
    };
    named("vendor", "Gamma Bargain", "vendor=\"vnd_");
    named("trunk", "main", "owner=\"Gamma Bargain\"");
    named("trunk", "acme-east", "trunk=\"trk_");
    named("customer", "Acme Voice", "customer=\"cus_");
    if have("promtool", "metrics_are_read_by_promtool") {
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut promtool = promtool.expect("promtool runs");
        promtool.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("promtool reads");
        let said = promtool.wait_with_output().expect("promtool ends");
        assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
    }
    // Where the vendors stand, and back by hand.
    let vendors = warp(dir, &["vendor-trunks", "health", "--output", "csv"]);
    let text = String::from_utf8_lossy(&vendors.stdout).into_owned();
    assert!(vendors.status.success() && text.lines().count() == 5 && text.contains(",gamma,main,"), "{text}");
    let reset = warp(dir, &["vendor-trunks", "reset", "gamma", "--json"]);
    let trunk: Value = serde_json::from_slice(&reset.stdout).expect("JSON");
    assert_eq!(
        (&trunk["health"]["state"], &trunk["health"]["share_percent"]),
        (&"up".into(), &100.into()),
        "{trunk}"
    );
    assert_eq!(warp(dir, &["vendor-trunks", "reset", "nobody"]).status.code(), Some(2));
    assert_eq!(
        warp(dir, &["vendor-trunks", "reset", "vtk_00000000000000000000000000"]).status.code(),
        Some(3)
    );
    // The same by the vendor's noun, as it is said in the documents.
    let reset = warp(dir, &["vendors", "reset", "gamma", "--json"]);
    assert!(reset.status.success() && String::from_utf8_lossy(&reset.stdout).contains("\"up\""), "{reset:?}");
    let later = warp(dir, &["route", "+442071234567", "--at", "2099-01-01T00:00:00Z", "--json"]);
    let decision: Value = serde_json::from_slice(&later.stdout).expect("JSON");
    assert!(later.status.success() && decision["candidates"].is_array(), "{later:?}");
    assert_eq!(warp(dir, &["route", "+442071234567", "--at", "tomorrow"]).status.code(), Some(2));
    for (flag, value) in [
        ("--outcome", "nonsense"),
        ("--trunk", "nobody"),
        ("--vendor", "nobody"),
        ("--direction", "sideways"),
    ] {
        let out = warp(dir, &["calls", "list", flag, value]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && out.stdout.is_empty(), "{flag} {value}: {out:?}");
        assert!(said.contains(flag.trim_start_matches('-')) || said.contains(value), "{flag}: {said}");
    }
    for cps in ["1000000", "-1", "many", "NaN"] {
        let out = warp(dir, &["demo", "--cps", cps]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && said.contains("calls a second, 0 to 1000"), "{cps}: {said}");
    }
    every_list_has_three_forms(dir);
    let quiet = warp(dir, &["-q", "vendor-trunks", "health"]);
    assert!(quiet.status.success() && quiet.stdout.is_empty(), "-q");
    declared_nouns_are_listed_shown_made_changed_and_deleted(dir);
    // A reader that went away ends a command without a word; another process does not get the folder.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let cut = Command::new(env!("CARGO_BIN_EXE_warp"))
        .args(["config", "show"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("warp runs");
    assert_eq!((cut.status.signal(), String::from_utf8_lossy(&cut.stderr).as_ref()), (Some(13), ""));
    let second = warp(dir, &["dev", "--no-traffic"]);
    let why = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && why.contains("in use by another warp"), "{why}");
    the_doctor_looks_at_the_world_that_runs_here(dir, &dev);
    assert_eq!(warp(dir, &["config", "reload", "--dir", ".warp/dev"]).status.code(), Some(0));
    assert_eq!(warp(dir, &["config", "reload", "--dir", "elsewhere"]).status.code(), Some(6));
    what_runs_is_shown_and_compared(dir);
    what_is_remembered_of_a_sheet_is_shown_and_forgotten(dir);
    an_import_that_is_not_activated_shows_its_report(dir);

    signal_pid(dev.child.id(), "INT");
    let ended = poll_until(Duration::from_secs(30), || dev.child.try_wait().expect("wait"));
    assert_eq!(ended.and_then(|s| s.code()), Some(0), "{}", tail(&dir.join("stderr.log")));
    let said: Vec<String> =
        std::iter::from_fn(|| dev.lines.recv_timeout(Duration::from_secs(5)).ok()).collect();
    assert_eq!(said, ["stopping: the calls in the air end now; Ctrl-C once more does not wait for them"]);
    assert_eq!(warp(dir, &["calls", "list"]).status.code(), Some(6), "nobody answers any more");

    // The second start finds its rows, its keys and its passwords.
    let mut again = Dev::start(dir, &["--no-traffic"]);
    let key = |dev: &Dev| dev.banner("API  ").rsplit(' ').next().unwrap_or_default().to_owned();
    assert_eq!(key(&again), key(&dev));
    assert_eq!(again.banner("digest").rsplit(' ').next(), dev.banner("digest").rsplit(' ').next());
    assert!(again.banner("demo call 1").contains('✓'));

    // A deleted folder is a new world, wherever its database lay and however its process ended.
    signal_pid(again.child.id(), "KILL");
    again.child.wait().expect("wait");
    std::fs::remove_dir_all(dir.join(".warp")).expect("the folder goes");
    let new = Dev::start(dir, &["--no-traffic"]);
    assert_ne!(key(&new), key(&dev));
    let calls = warp(dir, &["calls", "list", "--limit", "0", "--json"]);
    assert_eq!(String::from_utf8_lossy(&calls.stdout).lines().count(), 1, "only the new demo call");
}

/// A page of a listener without TLS; `None` while nobody listens.
fn page(url: &str) -> Option<String> {
    let (at, path) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = std::net::TcpStream::connect(at).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Killed and started again at once: the dying process has its sockets a moment longer, and who calls the new one knows the old
/// one's ports.
#[test]
fn f_proc_04_a_world_that_was_killed_comes_back_on_its_ports_and_says_what_was_cut_off() {
    let dir = tempfile::tempdir().expect("tempdir");
    let dir = dir.path();
    // Reachable for the user that PostgreSQL runs as.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("mode");
    let mut dev = Dev::start(dir, &["--cps", "20"]);
    let ops = dev.banner("Metrics  ").trim().trim_start_matches("Metrics").trim().to_owned();
    let answered = poll_until(Duration::from_secs(30), || {
        let metrics = page(&ops)?;
        let confirmed = metrics.lines().find(|l| l.starts_with("warp_sip_dialogs{state=\"confirmed\"} "))?;
        confirmed.rsplit(' ').next()?.parse().ok().filter(|n: &u32| *n >= 3)
    });
    assert!(answered.is_some(), "no calls: {}", tail(&dir.join("stderr.log")));
    dev.child.kill().expect("kill -9");
    // Not waited for: what is dying is still there.
    let again = Dev::start(dir, &["--no-traffic"]);
    dev.child.wait().expect("reaped");
    for word in ["API  ", "SIP  ", "Metrics  "] {
        let place = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
        assert_eq!(place(again.banner(word)), place(dev.banner(word)), "{:#?}", again.banner);
    }
    let line = again.banner(" of the last run w");
    let count: usize = line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(count > 0, "{line}");
}
