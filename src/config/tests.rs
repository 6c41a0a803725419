//! Layers, origins, mistakes.

use super::*;

pub(super) fn sources(dir: &Path, file: &str) -> Sources {
    let path = dir.join("warp.toml");
    std::fs::write(&path, file).unwrap();
    Sources { file: Some(path), ..Sources::default() }
}

pub(super) fn errors(file: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let errors = Loaded::load(&Config::default(), &sources(dir.path(), file)).unwrap_err();
    let prefix = format!("{}/", dir.path().display());
    errors.iter().map(|e| e.to_string().replace(&prefix, "")).collect()
}

#[test]
fn every_key_has_a_default() {
    let loaded = Loaded::load(&Config::default(), &Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn layers_win_in_order_and_origins_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut sources = sources(
        dir.path(),
        "[log]\nlevels = \"warn\"\n\n[node]\ndrain_timeout = \"1m\"\nname = \"a\"\n[events]\nsegment = \"1MiB\"\n",
    );
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    std::fs::write(dir.path().join("conf.d/20.toml"), "[node]\nname = \"c\"\n").unwrap();
    std::fs::write(dir.path().join("conf.d/10.toml"), "[node]\nname = \"b\"\n").unwrap();
    std::fs::write(dir.path().join("secret"), "/data\n").unwrap();
    sources.env = vec![
        ("WARP_LOG__FORMAT".into(), "json".into()),
        ("WARP_NODE__DATA_DIR_FILE".into(), dir.path().join("secret").display().to_string()),
        ("PATH".into(), "/bin".into()),
    ];
    sources.flags = vec![("events.keep".into(), "2h".into())];
    let loaded = Loaded::load(&Config::default(), &sources).unwrap();
    let c = &loaded.config;
    assert_eq!((c.log.levels.as_str(), c.log.format), ("warn", LogFormat::Json));
    assert_eq!((c.node.name.as_str(), c.node.data_dir.to_str().unwrap()), ("c", "/data"));
    assert_eq!(c.node.drain_timeout.0, Duration::from_secs(60));
    assert_eq!((c.events.segment.0, c.events.keep.0), (1 << 20, Duration::from_secs(7_200)));
    assert_eq!(
        loaded.origins["node.name"].to_string(),
        format!("{}/conf.d/20.toml:2:1", dir.path().display())
    );
    assert_eq!(loaded.origins["log.format"], Origin::Env("WARP_LOG__FORMAT".into()));
    assert_eq!(loaded.origins["events.keep"], Origin::Flag);
}

#[test]
fn f_cfg_01_mistakes_name_file_line_and_key_all_at_once() {
    let found = errors(
        "[node]\nnmae = \"x\"\n\n[log]\n  format = \"loud\"\n[evens]\nkeep = \"1d\"\n[events]\nkeep = 5\n",
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found.contains(&"warp.toml:2:1: node.nmae: unknown key; did you mean `name`?".to_owned()),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|e| e.starts_with("warp.toml:5:3: log.format: unknown variant `loud`")),
        "{found:#?}"
    );
    assert!(
        found.contains(&"warp.toml:6:2: evens: unknown key; did you mean `events`?".to_owned()),
        "{found:#?}"
    );
    assert!(found.iter().any(|e| e.starts_with("warp.toml:9:1: events.keep: invalid type")), "{found:#?}");
}

#[test]
fn f_cfg_01_broken_toml_and_wrong_values_are_located() {
    assert!(errors("[node]\nname = \n")[0].starts_with("warp.toml:2:"));
    assert!(errors("name = 1\n")[0].contains("outside of a section"));
    let found = errors("[log]\nlevels = \"sip=loud\"\n");
    assert!(found[0].starts_with("warp.toml:2:1: log.levels: "), "{found:?}");
    let found = errors("[media]\nports = \"1-9\"\n");
    assert!(found[0].starts_with("warp.toml:2:1: media.ports: "), "{found:?}");
    let found = errors("[events]\nkeep = \"5 fortnights\"\n");
    assert!(found[0].contains("is not a duration such as"), "{found:?}");
}

/// A damaged file is read or refused with its place, and never anything else; the seed makes a failure repeat.
#[test]
fn f_cfg_01_mutated_files_are_read_or_refused() {
    let whole = "[log]\nlevels = \"warn\"\n\n[node]\ndrain_timeout = \"1m\"\nname = \"a\"\n[events]\nsegment = \"1MiB\"\n\
                 [sip]\nlisten = [\"udp:127.0.0.1:5060\"]\ndigest = [\"md5\"]\nfirst_1xx = \"500ms\"\nshards = 2\n";
    let dir = tempfile::tempdir().unwrap();
    let (mut state, mut refused) = (7u64, 0);
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for round in 0..2_000 {
        let mut bytes = whole.as_bytes().to_vec();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(3) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"=[]\"\n#.x0"[below(9)]),
            }
        }
        let path = dir.path().join("warp.toml");
        std::fs::write(&path, &bytes).unwrap();
        let sources = Sources { file: Some(path), ..Sources::default() };
        if let Err(errors) = Loaded::load(&Config::default(), &sources) {
            refused += 1;
            assert!(!errors.is_empty(), "round {round}: refused without a word");
            let told = |e: &ConfigError| matches!(e.origin, Origin::File(_, line, _) if line > 0 || bytes.is_empty());
            // A file that is no UTF-8 cannot be counted in lines.
            let readable = std::str::from_utf8(&bytes).is_ok();
            assert!(!readable || errors.iter().all(told), "round {round}: {errors:?}");
        }
    }
    assert!((500..2_000).contains(&refused), "{refused} of 2,000 refused");
}

#[test]
fn differences_say_what_needs_a_restart() {
    let old = Config::default();
    let mut new = old.clone();
    new.node.drain_timeout = Span(Duration::from_secs(240));
    new.ops.listen = "127.0.0.1:1".parse().unwrap();
    let changes: Vec<String> = diff(&values(&old), &values(&new)).iter().map(Change::to_string).collect();
    assert_eq!(
        changes,
        ["node.drain_timeout: 30m -> 4m", "ops.listen: 127.0.0.1:9464 -> 127.0.0.1:1 (needs a restart)"]
    );
}

/// A value that no reader takes, an unknown key, and what only the checks see: in one answer, in the order of the lines.
#[test]
fn f_cfg_01_a_mistake_of_one_key_does_not_hide_those_of_others() {
    let found = errors(
        "[media]\nthreads = \"many\"\nports = \"1-9\"\nmax_calls = 0\n\n[sip]\nshards = 0\nmax_attempts = 99\n\n\
         [api]\nkey_rate = 0\nbody_limit = \"1B\"\n\n[log]\nlevels = \"sip=loud\"\n\n[node]\nnmae = \"a\"\n\n[events]\nsegment = \"1B\"\n",
    );
    let keys: Vec<&str> = found.iter().map(|e| e.split(": ").nth(1).unwrap()).collect();
    assert_eq!(
        keys,
        [
            "media.threads",
            "media.ports",
            "media.max_calls",
            "sip.shards",
            "sip.max_attempts",
            "api.key_rate",
            "api.body_limit",
            "log.levels",
            "node.nmae",
            "events.segment",
        ],
        "{found:#?}"
    );
}

/// What goes into headers, names and sockets is checked before a process runs with it.
#[test]
fn f_cfg_01_a_value_that_cannot_work_is_a_mistake() {
    for (file, key) in [
        ("[sip]\nserver_name = \"a\\r\\nX-Evil: y\"\n", "sip.server_name"),
        ("[sip]\nrealm = \"\"\n", "sip.realm"),
        ("[sip]\nrealm = \"a\\\", x=\\\"b\"\n", "sip.realm"),
        ("[sip]\nlisten = [\"udp:127.0.0.1:5060\", \"udp:127.0.0.1:5060\"]\n", "sip.listen"),
        ("[sip]\nadvertise = \"0.0.0.0\"\n", "sip.advertise"),
        ("[sip]\ndomains = [\"not a domain\"]\n", "sip.domains"),
        ("[sip]\ndomains = [\"example.com:5060\"]\n", "sip.domains"),
        ("[events]\nlimit = \"1KiB\"\n", "events.limit"),
        ("[events]\nkeep = \"0s\"\n", "events.keep"),
        ("[media]\nports = \"30000-30001\"\n", "media.ports"),
        ("[node]\nname = \"\"\n", "node.name"),
        ("[node]\ndata_dir = \"\"\n", "node.data_dir"),
        ("[mail]\nhost = \"smtp.example.com:587\"\nfrom = \"a@example.com\"\n", "mail.host"),
        ("[sip]\nfirst_18x = \"1s\"\n", "sip.first_18x"),
        ("[sip]\nfirst_1xx = \"30s\"\n", "sip.first_18x"),
        ("[node]\nname = \"a\\nb\"\n", "node.name"),
    ] {
        let found = errors(file);
        assert_eq!(found.len(), 1, "{file}: {found:?}");
        assert!(found[0].starts_with(&format!("warp.toml:2:1: {key}: ")), "{found:?}");
    }
    // The key that was written is named by its line, also where it is another that does not hold.
    let found = errors("[sip]\nt2 = \"100ms\"\n");
    assert_eq!(found, ["warp.toml:2:1: sip.t1: more than 0 and not above t2"]);
    let dir = tempfile::tempdir().unwrap();
    let whole = "[sip]\nserver_name = \"WARP 1 (gate)\"\nrealm = \"example.com\"\nadvertise = \"192.0.2.1\"\n\
                 listen = [\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\"]\n\
                 domains = [\"example.com\", \"a_b.example.\", \"[2001:db8::1]\", \"192.0.2.7\"]\n\
                 [events]\nlimit = \"128MiB\"\nkeep = \"1m\"\n[media]\nports = \"30000-30003\"\n\
                 [ops]\nlisten = \"127.0.0.1:0\"\n[api]\nlisten = \"127.0.0.1:0\"\n";
    assert!(Loaded::load(&Config::default(), &sources(dir.path(), whole)).is_ok());
}

/// A value of another type is refused in the words of whoever wrote it.
#[test]
fn what_a_decoder_expects_is_said_in_plain_words() {
    for (line, words) in [
        ("[sip]\nlisten = \"udp:127.0.0.1:5060\"\n", "expected a list, such as [\"…\"]"),
        ("[sip]\nshards = \"2\"\n", "expected a whole number from 0 to 65535"),
        ("[media]\ntos = 256\n", "expected a whole number from 0 to 255"),
        ("[api]\nlisten = \"8080\"\n", "expected ADDRESS:PORT, such as \"127.0.0.1:8080\""),
        ("[sip]\nadvertise = \"here\"\n", "expected an address, such as \"192.0.2.1\""),
        ("[sip]\npin_shards = 1\n", "expected true or false"),
    ] {
        let found = errors(line);
        assert!(found.len() == 1 && found[0].contains(words), "{line}: {found:?}");
    }
}

/// What is named and is not there is a mistake of the machine that will run.
#[test]
fn a_file_that_is_not_there_is_told_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there.pem");
    std::fs::write(&there, "x").unwrap();
    let file = format!(
        "[api]\ntls_certificate = \"{}\"\ntls_key = \"/nowhere/k.pem\"\nwebhook_ca = \"/nowhere/ca.pem\"\nseal_key = \"file:/nowhere/s\"\n",
        there.display()
    );
    let loaded = Loaded::load(&Config::default(), &sources(dir.path(), &file)).unwrap();
    let keys: Vec<String> = loaded.unread_files().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["api.tls_key", "api.seal_key", "api.webhook_ca"]);
    let why = loaded.unread_files().remove(0).to_string();
    assert!(why.contains("warp.toml:3:1: api.tls_key: /nowhere/k.pem cannot be read"), "{why}");
}

/// What is weighed against a value that could not be read says nothing: the reader corrects the one mistake that there is.
#[test]
fn a_mistake_is_not_told_of_keys_that_depend_on_it() {
    let keys = |file: &str| -> Vec<String> {
        errors(file).iter().map(|e| e.split(": ").nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(keys("[sip]\nt2 = \"long\"\nt1 = \"5s\"\n"), ["sip.t2"]);
    assert_eq!(keys("[media]\nng = \"everywhere\"\nng_allow = [\"10.0.0.0/8\"]\n"), ["media.ng"]);
    assert_eq!(
        keys("[media]\nipps = [\"10.0.0.1\"]\nadvertise = [\"192.0.2.1\", \"192.0.2.2\"]\n"),
        ["media.ipps"]
    );
    assert_eq!(keys("[api]\ndatabase_url = 5\nmigrate_url = \"postgres://m@h/w\"\n"), ["api.database_url"]);
    // A file that cannot be read as TOML has said nothing that could be weighed.
    let broken = errors("[sip]\nshards = 0\nt1 =\n");
    assert_eq!(broken.len(), 1, "{broken:?}");
}

#[test]
fn an_address_of_another_kind_is_no_database() {
    for url in ["http://x", "db.example.net", "mysql://warp:s3cret@h/w", "postgres://h:port/w"] {
        for key in ["database_url", "migrate_url"] {
            let other = if key == "migrate_url" { "database_url = \"postgres://a@h/w\"\n" } else { "" };
            let found = errors(&format!("[api]\n{key} = \"{url}\"\n{other}"));
            assert_eq!(found.len(), 1, "{url}: {found:?}");
            assert!(
                found[0].starts_with(&format!("warp.toml:2:1: api.{key}: must be postgres://")),
                "{found:?}"
            );
            assert!(!found[0].contains("s3cret"), "{found:?}");
        }
    }
    let env = vec![("DATABASE_URL".to_owned(), "http://x".to_owned())];
    let why = Loaded::load(&Config::default(), &Sources { env, ..Sources::default() }).unwrap_err();
    assert!(why[0].to_string().starts_with("environment DATABASE_URL: api.database_url: must be"), "{why:?}");
    for url in ["postgres://warp@db/warp", "postgresql:///warp?host=/run/postgresql"] {
        let dir = tempfile::tempdir().unwrap();
        let file = format!("[api]\ndatabase_url = \"{url}\"\n");
        assert!(Loaded::load(&Config::default(), &sources(dir.path(), &file)).is_ok(), "{url}");
    }
}

#[test]
fn f_cfg_01_an_unknown_section_without_a_key_is_located() {
    let found = errors("[log]\nlevels = \"warn\"\n\n[evnts]\n");
    assert_eq!(found, ["warp.toml:4:2: evnts: unknown key; did you mean `events`?"]);
}

/// G-7: the password of a database is in no text that is made of a configuration for people.
#[test]
fn g_7_a_configuration_prints_no_password() {
    let mut config = Config::default();
    config.api.database_url = Some("postgres://app:hidden@h/w".into());
    config.api.migrate_url = Some("postgres://owner:hidden@h/w".into());
    let text = format!("{config:?} {config:#?}");
    assert!(text.contains("database_url: Some") && !text.contains("hidden"), "{text}");
}

#[test]
fn f_cfg_02_a_reload_takes_live_keys_and_keeps_the_others_as_they_were() {
    let mut old = Config::default();
    old.api.database_url = Some("postgres://a:hidden@h/w".into());
    let mut wanted = old.clone();
    wanted.sip.first_1xx = Span(Duration::from_secs(1));
    wanted.sip.listen.pop();
    wanted.sip.realm = "other".into();
    wanted.api.database_url = Some("postgres://a:other@h/w".into());
    wanted.api.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    wanted.media.media_timeout_s = 5;
    wanted.media.threads = 9;
    let (changes, new) = reloaded(&old, &wanted);
    let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
    assert_eq!(
        lines,
        [
            "api.database_url: *** -> *** (needs a restart)",
            "api.trusted_proxies: [] -> [\"10.0.0.0/8\"]",
            "media.media_timeout_s: 60 -> 5",
            "media.threads: 1 -> 9 (needs a restart)",
            "sip.first_1xx: 2s -> 1s",
            "sip.listen: [\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\"] -> [\"udp:127.0.0.1:5060\"] (needs a restart)",
            "sip.realm: warp -> other (needs a restart)"
        ]
    );
    let mut expected = wanted.clone();
    expected.sip.listen = old.sip.listen.clone();
    expected.sip.realm = old.sip.realm.clone();
    expected.api.database_url = old.api.database_url.clone();
    expected.media.threads = old.media.threads;
    assert_eq!(new, expected);
    // The list names only keys that exist.
    let mut every = Config::default();
    every.api.database_url = Some("".into());
    every.api.migrate_url = Some("".into());
    every.api.database_dir = Some("x".into());
    every.api.seal_key = Some("file:x".parse().unwrap());
    every.login = people();
    (every.api.tls_certificate, every.api.tls_key) = (Some("c".into()), Some("k".into()));
    every.sip.advertise = Some([127, 0, 0, 1].into());
    every.sip.media_ng = Some(([127, 0, 0, 1], 1).into());
    for door in [&mut every.media.ng, &mut every.media.ng_tcp, &mut every.media.http] {
        *door = every.sip.media_ng;
    }
    every.events.kafka_client = Some("x".into());
    every.api.webhook_ca = Some("x".into());
    every.mail = mail();
    (every.sip.tls_certificate, every.sip.tls_key, every.sip.tls_roots) =
        (Some("c".into()), Some("k".into()), Some("r".into()));
    every.smsc.listen = Some(([127, 0, 0, 1], 2775).into());
    every.smsc.listen_tls = Some(([127, 0, 0, 1], 3550).into());
    every.smsc.http = Some(([127, 0, 0, 1], 1401).into());
    (every.smsc.tls_certificate, every.smsc.tls_key, every.smsc.vendor_ca) =
        (Some("c".into()), Some("k".into()), Some("r".into()));
    every.capture.hep = Some("udp:127.0.0.1:9060".parse().unwrap());
    every.media.b2b_url = Some("http://127.0.0.1/".to_owned());
    every.media.sounds = Some("/sounds".to_owned());
    every.media.record = Some("/recordings".to_owned());
    let known = values(&every);
    for key in FIXED {
        assert!(known.contains_key(*key), "{key}");
    }
}

/// A mail server with all that there is to say of one.
fn mail() -> Mail {
    Mail {
        host: Some("smtp.example".to_owned()),
        ca: Some("ca.pem".into()),
        user: Some("warp".to_owned()),
        password: "file:mail.password".parse().ok(),
        from: Some("Ringer <no-reply@ringer.example>".to_owned()),
        ..Mail::default()
    }
}

/// Nothing is sent in clear over a network, no password in clear at all, and what has no effect is said.
#[test]
fn the_keys_of_mail_are_checked() {
    let said = |text: &str| errors(&format!("[mail]\n{text}\n"));
    let server = "host = \"smtp.example\"\nfrom = \"no-reply@ringer.example\"\n";
    let taken = |text: &str| {
        let dir = tempfile::tempdir().unwrap();
        let file = format!("[mail]\n{text}\n");
        Loaded::load(&Config::default(), &sources(dir.path(), &file)).unwrap().config.mail
    };
    assert_eq!(taken(""), Mail::default());
    assert_eq!(taken(server).host.as_deref(), Some("smtp.example"));
    let here = format!("tls = \"none\"\n{}", server.replace("smtp.example", "localhost"));
    assert_eq!(taken(&here).host.as_deref(), Some("localhost"));
    for (wrong, key) in [
        ("host = \"smtp.example\"".to_owned(), "mail.host"),
        (format!("{server}tls = \"none\""), "mail.tls"),
        (format!("{server}user = \"u\""), "mail.user"),
        (format!("{server}password = \"file:p\""), "mail.user"),
        (format!("{server}port = 0"), "mail.port"),
        (server.replace("smtp.example", "smtp.example/x"), "mail.host"),
        (server.replace("no-reply@", "no-reply"), "mail.from"),
        ("from = \"a@b.example\"".to_owned(), "mail.from"),
        ("ca = \"c\"".to_owned(), "mail.ca"),
        (
            "host = \"127.0.0.1\"\nfrom = \"a@b.example\"\ntls = \"none\"\nuser = \"u\"\npassword = \"file:p\"".to_owned(),
            "mail.user",
        ),
    ] {
        let found = said(&wrong);
        assert!(found.len() == 1 && found[0].contains(key), "{wrong}: {found:?}");
    }
    let whole = mail().settings().unwrap();
    assert_eq!((whole.port, whole.login.unwrap().0.as_str()), (587, "warp"));
    assert!(Mail::default().settings().is_none());
}

/// An issuer for each audience.
fn people() -> Login {
    let (issuer, text) = (|| Some("https://login.example/".to_owned()), |a: &str| Some(a.to_owned()));
    let secret = || "file:client.secret".parse().ok();
    Login {
        customer_issuer: issuer(),
        customer_audience: text("customers"),
        customer_client: text("console"),
        customer_client_secret: secret(),
        customer_url: text("https://console.example"),
        customer_step_up_acr: text("mfa"),
        operator_issuer: issuer(),
        operator_audience: text("operators"),
        operator_client: text("admin"),
        operator_client_secret: secret(),
        operator_url: text("https://admin.example:8443"),
        operator_step_up_acr: text("mfa"),
        ..Login::default()
    }
}

#[test]
fn people_sign_in_at_an_issuer_that_nobody_can_speak_for() {
    for (file, says) in [
        (
            "[login]\ncustomer_issuer = \"http://login.example/\"\ncustomer_audience = \"a\"\n",
            "login.customer_issuer",
        ),
        ("[login]\ncustomer_audience = \"a\"\n", "login.customer_audience"),
        ("[api]\nlisten = \"0.0.0.0:8080\"\n[login]\ndemo = true\n", "login.demo"),
        (
            "[login]\ncustomer_issuer = \"https://a/\"\ncustomer_audience = \"a\"\noperator_issuer = \"https://a/\"\n\
             operator_audience = \"a\"\n",
            "login.operator_audience",
        ),
    ] {
        let found = errors(file);
        assert!(found.len() == 1 && found[0].contains(says), "{file}: {found:?}");
    }
    let base = "[login]\ncustomer_issuer = \"https://a/\"\ncustomer_audience = \"a\"\n";
    for (more, says) in [
        ("customer_client = \"c\"\n", "login.customer_client"),
        ("customer_url = \"https://c\"\n", "login.customer_client"),
        ("customer_client = \"a\"\ncustomer_url = \"https://c\"\n", "login.customer_client"),
        ("customer_client = \"c\"\ncustomer_url = \"http://c\"\n", "login.customer_url"),
        ("customer_client = \"c\"\ncustomer_url = \"https://c/\"\n", "login.customer_url"),
        ("customer_client = \"c\"\ncustomer_url = \"https://me@c\"\n", "login.customer_url"),
        ("customer_client_secret = \"file:x\"\n", "login.customer_client_secret"),
        ("customer_step_up_acr = \"mfa\"\n", "login.customer_step_up_acr"),
        ("operator_client = \"c\"\noperator_url = \"https://c\"\n", "login.operator_client"),
        (
            "operator_issuer = \"https://b/\"\noperator_audience = \"b\"\noperator_client = \"a\"\noperator_url = \"https://c\"\n",
            "login.operator_client",
        ),
        ("session_idle = \"1m\"\n", "login.session_idle"),
        ("session_idle = \"13h\"\n", "login.session_lifetime"),
    ] {
        let found = errors(&format!("{base}{more}"));
        assert!(found.len() == 1 && found[0].contains(says), "{more}: {found:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let whole =
        "customer_client = \"c\"\ncustomer_url = \"https://c:8443\"\ncustomer_client_secret = \"file:x\"\n";
    let loaded = Loaded::load(&Config::default(), &sources(dir.path(), &format!("{base}{whole}"))).unwrap();
    let client = loaded.config.login.customer().unwrap().client.unwrap();
    assert_eq!((client.url.as_str(), client.secret_file), ("https://c:8443", Some("x".into())));
    let demo = sources(dir.path(), "[login]\ndemo = true\n");
    assert!(Loaded::load(&Config::default(), &demo).is_ok());
}

#[test]
fn t_cfg_01_a_key_is_a_reference_and_a_literal_one_is_refused_without_being_repeated() {
    let found = errors("[api]\nseal_key = \"c2VjcmV0LXNlY3JldA\"\n");
    assert!(found[0].starts_with("warp.toml:2:1: api.seal_key: must be file:PATH"), "{found:?}");
    assert!(!found[0].contains("c2Vj"));
}

#[test]
fn units_round_trip() {
    for text in ["1500ms", "30s", "4m", "12h", "7d"] {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
    }
    assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
    assert_eq!("0ms".parse::<Span>().unwrap().to_string(), "0ms");
    for text in ["64KiB", "16MiB", "50GiB", "513B"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    assert!("30".parse::<Span>().is_err());
    assert!("64kb".parse::<Size>().is_err());
    assert!("99999999999999999999s".parse::<Span>().is_err());
}

#[test]
fn every_key_is_shown_set_or_not() {
    let loaded = Loaded::load(&Config::default(), &Sources::default()).unwrap();
    let keys = loaded.keys();
    for unset in [
        "api.database_url",
        "api.migrate_url",
        "api.seal_key",
        "sip.advertise",
        "sip.media_ng",
        "media.ng",
        "media.b2b_url",
        "media.sounds",
        "media.record",
    ] {
        assert_eq!(keys.get(unset), Some(&None), "{unset}");
    }
    for fixed in FIXED {
        assert!(keys.contains_key(*fixed), "{fixed}");
    }
    assert_eq!(keys["node.drain_timeout"].as_deref(), Some("\"30m\""));
    // Every one of them can be set by its name: what is shown is what is read.
    for key in keys.keys() {
        let mut sources = Sources::default();
        sources.flags.push((key.clone(), toml::Value::Table(toml::Table::new())));
        let why = Loaded::load(&Config::default(), &sources).unwrap_err();
        assert!(why.iter().all(|e| !e.message.starts_with("unknown key")), "{key}: {why:?}");
    }
}

#[test]
fn a_variable_with_one_underscore_is_a_mistake_and_no_silence() {
    let of = |names: &[&str]| {
        let env = names.iter().map(|name| ((*name).to_owned(), "600ms".to_owned())).collect();
        Loaded::load(&Config::default(), &Sources { env, ..Sources::default() })
    };
    let why = of(&["WARP_SIP_T1", "WARP_API_DATABASE_URL_FILE"]).unwrap_err();
    let said: Vec<String> = why.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "environment WARP_SIP_T1: sets nothing; two underscores follow the section: WARP_SIP__T1",
            "environment WARP_API_DATABASE_URL_FILE: sets nothing; two underscores follow the section: WARP_API__DATABASE_URL_FILE",
        ]
    );
    // Those of the clients, and those that an orchestrator sets for services that are called so.
    let others = ["WARP_API_URL", "WARP_API_KEY", "WARP_SIP_PORT", "WARP_SIP_SERVICE_HOST", "WARP_MEDIA"];
    assert!(of(&others).is_ok());
}

#[test]
fn a_key_that_another_one_makes_meaningless_is_a_mistake() {
    for (file, found) in [
        (
            "[api]\nmigrate_url = \"postgres://m@h/w\"\n",
            "warp.toml:2:1: api.migrate_url: has no effect without",
        ),
        (
            "[api]\ndatabase_url = \"postgres://a@h/w\"\ndatabase_dir = \"/x\"\n",
            "warp.toml:3:1: api.database_dir: has no effect with",
        ),
        (
            "[sip]\nanchor_media = false\nmedia_ng = \"127.0.0.1:2223\"\n",
            "warp.toml:3:1: sip.media_ng: has no effect",
        ),
        (
            "[media]\nng_allow = [\"10.0.0.0/8\"]\n",
            "warp.toml:2:1: media.ng_allow: has no effect without media.ng",
        ),
        (
            "[media]\nb2b_url = \"http://127.0.0.1/\"\n",
            "warp.toml:2:1: media.b2b_url: has no effect without media.ng",
        ),
        (
            "[media]\nsounds = \"/srv/sounds\"\n",
            "warp.toml:2:1: media.sounds: has no effect without media.ng",
        ),
        (
            "[media]\nrecord_keep_days = 30\n",
            "warp.toml:2:1: media.record_keep_days: has no effect without media.record",
        ),
        (
            "[media]\nng = \"127.0.0.1:2223\"\nxmlrpc_format = 2\n",
            "warp.toml:3:1: media.xmlrpc_format: has no effect without media.b2b_url",
        ),
    ] {
        let errors = errors(file);
        assert!(errors.len() == 1 && errors[0].starts_with(found), "{file}: {errors:?}");
    }
}

/// Each key reaches the part that it is for: with another value, that part is told something else.
#[test]
fn every_key_changes_what_some_part_is_told() {
    /// What the parts are told, as text.
    fn told(c: &Config) -> String {
        let sip = &c.sip;
        let core = sip.core(warp_sip_proxy::core::Mode::Policy, &c.node.name);
        let api = c.api.control_plane(c);
        // Secrets hide themselves from such a text.
        let database = match &api.database {
            warp_control_plane::Database::Url { app, migrate } => {
                format!("{} {:?}", app.reveal(), migrate.as_ref().map(|m| m.reveal()))
            }
            other => format!("{other:?}"),
        };
        // What wire and run hand on by themselves.
        let by_hand = (
            (sip.shards, sip.pin_shards, sip.media_ng, sip.tls(), sip.dns(), &sip.web_origins),
            c.capture.settings(&c.node.data_dir, &c.node.name),
            (c.smsc.node(), c.smsc.limit),
            (&c.node.data_dir, c.node.drain_timeout, &c.log, &c.ops, &c.events),
        );
        format!("{core:?} {api:?} {database} {:?} {by_hand:?}", c.media)
    }
    /// What a reload hands on to the parts.
    fn told_again(c: &Config) -> String {
        let core = c.sip.core(warp_sip_proxy::core::Mode::Policy, &c.node.name);
        let limits = warp_media_relay::limits(&c.media);
        format!("{core:?} {:?} {limits:?} {:?} {:?}", c.api.edge(), c.node.drain_timeout, c.log.levels)
    }
    let mut said_and_not_done = Vec::new();
    let mut base = Config::default();
    base.api.database_url = Some("postgres://a@h/w".into());
    base.login = people();
    (base.api.tls_certificate, base.api.tls_key) = (Some("c".into()), Some("k".into()));
    base.api.webhook_ca = Some("w".into());
    (base.sip.tls_certificate, base.sip.tls_key, base.sip.tls_roots) =
        (Some("c".into()), Some("k".into()), Some("r".into()));
    base.smsc.listen = Some(([127, 0, 0, 1], 2775).into());
    base.smsc.listen_tls = Some(([127, 0, 0, 1], 3550).into());
    base.smsc.http = Some(([127, 0, 0, 1], 1401).into());
    (base.smsc.tls_certificate, base.smsc.tls_key, base.smsc.vendor_ca) =
        (Some("c".into()), Some("k".into()), Some("r".into()));
    base.capture.hep = Some("udp:127.0.0.1:9060".parse().unwrap());
    base.mail = mail();
    let mut private = base.clone();
    private.api.database_url = None;
    let text = |t: &str| toml::Value::String(t.to_owned());
    let list = |t: &str| toml::Value::Array(vec![text(t)]);
    let loaded = Loaded { config: base.clone(), origins: BTreeMap::new() };
    for key in loaded.keys().into_keys() {
        let of = if key == "api.database_dir" { &private } else { &base };
        let now = plain(of).get(&key).cloned();
        let other = match (key.as_str(), now.as_deref()) {
            (
                "node.name"
                | "node.data_dir"
                | "sip.realm"
                | "sip.server_name"
                | "api.consumer"
                | "api.database_dir"
                | "mail.host"
                | "mail.user"
                | "events.kafka_prefix",
                _,
            ) => text("other"),
            ("api.database_url" | "api.migrate_url", _) => text("postgres://o@h/w"),
            (
                "api.seal_key"
                | "login.customer_client_secret"
                | "login.operator_client_secret"
                | "mail.password",
                _,
            ) => text("file:/other"),
            (
                "api.tls_certificate"
                | "api.tls_key"
                | "api.webhook_ca"
                | "events.kafka_client"
                | "mail.ca"
                | "sip.tls_certificate"
                | "sip.tls_key"
                | "sip.tls_roots"
                | "smsc.tls_certificate"
                | "smsc.tls_key"
                | "smsc.vendor_ca",
                _,
            ) => text("/other"),
            ("sip.web_origins", _) => list("https://other.example"),
            ("sip.dns_servers", _) => list("127.0.0.9:53"),
            ("capture.calls", _) => text("all"),
            ("capture.mask" | "capture.hep_mask", Some(now)) => {
                text(if now.contains("numbers") { "secrets" } else { "numbers" })
            }
            ("capture.hep", _) => text("udp:127.0.0.9:9060"),
            ("mail.tls", _) => text("tls"),
            ("mail.from", _) => text("other@ringer.example"),
            ("events.kafka", _) => list("k9:9092"),
            ("api.calls_unbilled", _) => text("delete"),
            ("smsc.system_id", _) => text("OTHER"),
            ("smsc.listen" | "smsc.listen_tls" | "smsc.http", _) => text("127.0.0.1:7778"),
            ("smsc.callback_networks", _) => list("10.9.0.0/16"),
            ("api.trusted_proxies" | "api.webhook_networks" | "media.ng_allow", _) => list("10.9.0.0/16"),
            ("log.format", _) => text("json"),
            ("log.levels", _) => text("debug"),
            ("sip.listen", _) => list("udp:127.0.0.9:5060"),
            ("sip.domains" | "media.interfaces", _) => list("other"),
            ("sip.advertise", _) => text("192.0.2.9"),
            ("sip.digest", _) => list("md5"),
            ("media.ips" | "media.advertise", _) => list("127.0.0.9"),
            ("media.ports", _) => text("40000-40099"),
            ("media.b2b_url", _) => text("http://127.0.0.9/RPC2"),
            ("media.sdp", _) => text("transparent"),
            ("media.sounds" | "media.record", _) => text("/other"),
            ("media.record_files", _) => list("pcap"),
            (
                "api.listen" | "ops.listen" | "sip.media_ng" | "media.ng" | "media.ng_tcp" | "media.http",
                _,
            ) => text("127.0.0.1:7777"),
            (_, Some("true" | "false")) => toml::Value::Boolean(now.as_deref() == Some("false")),
            (_, Some(n)) if n.parse::<i64>().is_ok() => toml::Value::Integer(n.parse::<i64>().unwrap() + 1),
            (_, Some(n)) if n.contains("iB\"") || n.contains("B\"") => text("123KiB"),
            (_, Some(_)) => text("77s"),
            (key, None) => panic!("{key}: the test does not know this key"),
        };
        let (section, name) = key.split_once('.').unwrap();
        let mut changed = of.clone();
        macro_rules! set {
            ($name:ident) => {
                if section == stringify!($name) {
                    let mut table = table(&changed.$name);
                    table.insert(name.to_owned(), other.clone());
                    changed.$name = table.try_into().unwrap_or_else(|e| panic!("{key} = {other}: {e}"));
                }
            };
        }
        sections!(set);
        assert_ne!(&changed, of, "{key}: the test sets the value that it has");
        assert_ne!(told(&changed), told(of), "{key} is read and ignored");
        if is_live(&key) && told_again(&changed) == told_again(of) {
            said_and_not_done.push(key);
        }
    }
    assert!(said_and_not_done.is_empty(), "a reload says that it applies {said_and_not_done:?}");
}

/// What the keys of Kafka may be, and that they mean nothing without brokers.
#[test]
fn the_keys_of_kafka_are_checked() {
    let said = |text: &str| errors(&format!("[events]\n{text}\n"));
    for idle in
        ["kafka_prefix = \"x.\"", "kafka_replicas = 5", "kafka_min_in_sync = 1", "kafka_client = \"f\""]
    {
        let found = said(idle);
        assert!(
            found.len() == 1 && found[0].contains("has no effect without events.kafka"),
            "{idle}: {found:?}"
        );
    }
    for wrong in ["k1", ":9092", "k1:", "k1:0", "k1:70000", "a b:1", "k1:9092,k2:9092", "http://k1:9092"] {
        let found = said(&format!("kafka = [\"k0:9092\", \"{wrong}\"]"));
        assert!(found.len() == 1 && found[0].contains("each HOST:PORT"), "{wrong}: {found:?}");
    }
    #[cfg(feature = "kafka")]
    {
        let with =
            |rest: &str| said(&format!("kafka = [\"k1:9092\", \"[::1]:9092\", \"10.0.0.1:9\"]\n{rest}"));
        let taken = |rest: &str| {
            let dir = tempfile::tempdir().unwrap();
            let file = format!("[events]\nkafka = [\"k1:9092\", \"[::1]:9092\", \"10.0.0.1:9\"]\n{rest}\n");
            Loaded::load(&Config::default(), &sources(dir.path(), &file)).unwrap()
        };
        assert_eq!(taken("").config.events.kafka_replicas, 3);
        let one = taken("kafka_replicas = 1\nkafka_min_in_sync = 1\nkafka_prefix = \"\"").config.events;
        assert_eq!((one.kafka_min_in_sync, one.kafka_prefix.as_str()), (1, ""));
        for (wrong, why) in [
            ("kafka_replicas = 1", "at most events.kafka_replicas"),
            ("kafka_min_in_sync = 0", "at least 1"),
            ("kafka_prefix = \"a b\"", "letters, digits"),
        ] {
            let found = with(wrong);
            assert!(found.len() == 1 && found[0].contains(why), "{wrong}: {found:?}");
        }
    }
    #[cfg(not(feature = "kafka"))]
    {
        let found = said("kafka = [\"k1:9092\"]");
        assert!(found.len() == 1 && found[0].contains("without the feature kafka"), "{found:?}");
    }
}
