//! A node without database: reload by file, drain, second start on the same folder.

use std::sync::mpsc;

use super::*;

const FILE: &str = r#"
[node]
data_dir = "DIR/data"
drain_timeout = "5s"
[ops]
listen = "127.0.0.1:0"
[sip]
listen = ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"]
[events]
segment = "64KiB"
[media]
ports = "41000-41099"
"#;

fn until<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "not reached in 20 s");
        std::thread::yield_now();
    }
}

#[test]
fn f_cfg_01_reload_applies_what_it_can_names_the_rest_and_a_bad_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("warp.toml");
    let write =
        |text: &str| std::fs::write(&path, text.replace("DIR", &dir.path().display().to_string())).unwrap();
    write(FILE);
    let sources = Sources { file: Some(path.clone()), ..Sources::default() };
    let base = Config::default();
    let loaded = load(&base, &sources).unwrap();
    let stack = Stack::start(&loaded, "sip,media".parse().unwrap()).unwrap();
    // Nothing feeds a proxy without the API: it is there, and not ready.
    let ready = stack.health.readiness();
    assert!(!ready.ready && ready.to_json()["parts"]["routing"]["state"] == "starting", "{ready:?}");
    assert_eq!(ready.to_json()["parts"]["sip"]["state"], "up");
    assert!(stack.addresses.sip_udp.is_some() && stack.addresses.sip_tcp.is_some());
    assert!(Stack::start(&loaded, Roles::ALL).is_err(), "the folder has one owner");
    let (folder, registry) = (stack.folder.clone(), stack.registry.clone());
    let (ask, asks) = mpsc::channel();
    let (of_thread, base_of_thread) = (sources.clone(), base.clone());
    let node = std::thread::spawn(move || attend(stack, &base_of_thread, &of_thread, &asks));

    write(&FILE.replace("5s", "4m").replace("41099", "41199"));
    ask.send(ProcessRequest::Reload).unwrap();
    let first = until(|| folder.last_reload().filter(|r| r.number == 1));
    assert_eq!(
        first.changes,
        ["media.ports: 41000-41099 -> 41000-41199 (needs a restart)", "node.drain_timeout: 5s -> 4m"]
    );
    let in_force = folder.values().unwrap();
    assert_eq!(in_force["node.drain_timeout"], "\"4m\"");
    assert_eq!(in_force["media.ports"], "\"41000-41099\"", "left as it was");
    assert!(registry.render().contains("warp_config_last_reload_successful 1"));

    write(&FILE.replace("[ops]", "[ops]\nlisten_to = 1"));
    ask.send(ProcessRequest::Reload).unwrap();
    let second = until(|| folder.last_reload().filter(|r| r.number == 2));
    assert_eq!(second.errors.len(), 1);
    assert!(second.errors[0].contains("warp.toml:6:1: ops.listen_to: unknown key"), "{:?}", second.errors);
    assert_eq!(folder.values().unwrap(), in_force, "nothing changed");
    assert!(registry.render().contains("warp_config_last_reload_successful 0"));

    // The whole catalogue keeps the rules of names.
    for entry in registry.catalogue() {
        use warp_telemetry::metrics::Kind;
        let ours = entry.name.starts_with("warp_") || entry.name.starts_with("process_");
        assert!(ours && entry.help.ends_with('.'), "{entry:?}");
        assert_eq!(entry.kind == Kind::Counter, entry.name.ends_with("_total"), "{entry:?}");
        // In plain words: no numbers of our own lists, nothing that refers to another line.
        let words = entry.help.split_whitespace().count();
        let inside = ["T-", "F-", "G-", "RFC 0", "those"].iter().any(|w| entry.help.contains(w));
        assert!(words >= 2 && !inside, "{entry:?}");
    }
    let series = registry.render().lines().filter(|l| !l.starts_with('#')).count();
    assert!(series < 20_000, "{series} series");

    ask.send(ProcessRequest::Stop).unwrap();
    node.join().unwrap();
    assert_eq!(folder.pid(), None);
    write(FILE);
    let again = Stack::start(&load(&base, &sources).unwrap(), "sip".parse().unwrap()).unwrap();
    again.stop();
}

#[test]
fn roles_are_a_closed_list() {
    assert_eq!("sip, api".parse::<Roles>().unwrap().to_string(), "sip,api");
    assert!("sip,web".parse::<Roles>().unwrap_err().contains("\"web\""));
    assert!("smsc".parse::<Roles>().unwrap().check(&Config::default()).is_err());
}

#[test]
fn roles_that_cannot_work_are_refused_with_the_reason() {
    let plain = Config::default();
    let mut without_media = plain.clone();
    without_media.sip.anchor_media = false;
    let mut with_ng = plain.clone();
    with_ng.media.ng = Some(([127, 0, 0, 1], 2223).into());
    let mut other_relay = plain.clone();
    other_relay.sip.media_ng = with_ng.media.ng;
    for (roles, config, missing) in [
        ("sip,media,api,jobs", &plain, None),
        ("api", &plain, None),
        ("api,jobs", &plain, None),
        ("sip,media", &plain, Some("routing data")),
        ("sip,media,api", &plain, Some("without jobs")),
        ("sip,api,jobs", &plain, Some("no media relay")),
        ("sip,api,jobs", &without_media, None),
        ("sip,api,jobs", &other_relay, None),
        ("media", &plain, Some("ng address")),
        ("media", &with_ng, None),
        ("jobs", &plain, Some("the database that api opens")),
    ] {
        let said = roles.parse::<Roles>().unwrap().check(config);
        match missing {
            None => assert_eq!(said, Ok(()), "{roles}"),
            Some(missing) => {
                let why = said.unwrap_err();
                assert!(
                    why.code == 2 && why.message.contains(missing) && !why.hint.is_empty(),
                    "{roles}: {why}"
                );
            }
        }
    }
}
