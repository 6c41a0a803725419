//! Each command by its name and keys: what is read, whose call it is about, what is left over, and the texts of refusals.

use serde_json::{Value, json};
use warp_ng::codec::decode_request;
use warp_ng::command::{Command, Kept, PlayAction, Sound, dtmf_event};
use warp_ng::reply::reasons;

fn read(request: &Value) -> (Command, Vec<Vec<u8>>) {
    let text = format!("c1 {request}");
    let request = decode_request(text.as_bytes()).expect("a request");
    (request.command, request.ignored)
}

/// `ref/ng-protocol.md` §2: the name of a command is read and told as it stands on the wire, with the call that it is about.
#[test]
fn a_command_has_its_name_and_its_call() {
    let of_a_call = [
        "offer",
        "answer",
        "delete",
        "query",
        "block media",
        "unblock media",
        "silence media",
        "unsilence media",
        "block DTMF",
        "unblock DTMF",
        "play media",
        "stop media",
        "play DTMF",
    ];
    for name in of_a_call {
        let keys =
            json!({"command": name, "call-id": "a-call", "from-tag": "f", "to-tag": "t", "sdp": "v=0\r\n"});
        let (command, _) = read(&keys);
        assert_eq!((command.name(), command.call_id()), (name, Some(&b"a-call"[..])));
    }
    for name in ["ping", "list", "statistics"] {
        let (command, _) = read(&json!({"command": name}));
        assert_eq!((command.name(), command.call_id()), (name, None));
    }
}

#[test]
fn what_is_kept_back_is_what_was_named() {
    for (name, what, ends) in [
        ("block media", Kept::Media, false),
        ("unblock media", Kept::Media, true),
        ("silence media", Kept::Voice, false),
        ("unsilence media", Kept::Voice, true),
        ("block DTMF", Kept::Dtmf, false),
        ("unblock DTMF", Kept::Dtmf, true),
    ] {
        let Command::Keep(keep) = read(&json!({"command": name, "call-id": "a"})).0 else { panic!("{name}") };
        assert_eq!((keep.what.what, keep.what.ends), (what, ends), "{name}");
    }
}

#[test]
fn the_sound_is_the_one_that_is_named() {
    let sound = |keys: Value| {
        let mut all = json!({"command": "play media", "call-id": "a", "from-tag": "f"});
        all.as_object_mut().expect("keys").extend(keys.as_object().expect("keys").clone());
        let (command, ignored) = read(&all);
        assert!(ignored.is_empty(), "{ignored:?}");
        match command {
            Command::Play(play) => match play.what {
                PlayAction::Media { sound, times, limit_ms, start_ms } => (sound, times, limit_ms, start_ms),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sound(json!({"file": "a.wav"})), (Some(Sound::File(b"a.wav".to_vec())), 0, 0, 0));
    assert_eq!(sound(json!({"blob": "RIFF"})).0, Some(Sound::Blob(b"RIFF".to_vec())));
    assert_eq!(sound(json!({"blob64": "UklGRg=="})).0, Some(Sound::Blob64(b"UklGRg==".to_vec())));
    assert_eq!(sound(json!({"db-id": 7})).0, Some(Sound::Database));
    assert_eq!(sound(json!({"file": ""})).0, None);
    let (_, times, limit, start) =
        sound(json!({"file": "a", "repeat-times": 2, "repeat-duration": 3, "start-pos": 4}));
    assert_eq!((times, limit, start), (2, 3, 4));
}

/// What a key is pressed with where the command does not say, and what is too short, too long or too loud.
#[test]
fn a_key_is_pressed_within_bounds() {
    let key = |keys: Value| {
        let mut all = json!({"command": "play DTMF", "call-id": "a", "from-tag": "f"});
        all.as_object_mut().expect("keys").extend(keys.as_object().expect("keys").clone());
        match read(&all).0 {
            Command::Play(play) => match play.what {
                PlayAction::Dtmf { event, duration_ms, pause_ms, volume } => {
                    (event, duration_ms, pause_ms, volume)
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(key(json!({"code": "5"})), (Some(5), 250, 100, 8));
    assert_eq!(key(json!({"digit": "#"})).0, Some(11));
    assert_eq!(
        key(json!({"code": 3, "duration": 300, "pause": 200, "volume": -10})),
        (Some(3), 300, 200, 10)
    );
    assert_eq!(key(json!({"code": 16, "duration": 1, "pause": -1, "volume": 500})), (None, 100, 100, 63));
    let most = key(json!({"code": 0, "duration": 1_000_000, "pause": 5_001, "volume": 63}));
    assert_eq!(most, (Some(0), 5_000, 5_000, 63));
}

/// RFC 4733 §3.2.
#[test]
fn keys_of_a_telephone_are_events() {
    for (at, key) in
        (0..).zip(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "d"])
    {
        assert_eq!(dtmf_event(key.as_bytes()), Some(at), "{key}");
    }
    assert_eq!((dtmf_event(b"15"), dtmf_event(b"10")), (Some(15), Some(10)));
    for none in ["", "16", "E", "-1", "1a"] {
        assert_eq!(dtmf_event(none.as_bytes()), None, "{none}");
    }
}

/// What means nothing here is told once each, the first eight of it and forty bytes of each.
#[test]
fn what_is_ignored_is_told_within_bounds() {
    let mut keys = json!({"command": "query", "call-id": "a"});
    let all = keys.as_object_mut().expect("keys");
    for n in 0..12 {
        all.insert(format!("strange-{n:02}"), json!(1));
    }
    all.insert("strange-".to_owned() + &"x".repeat(60), json!(1));
    let (_, ignored) = read(&keys);
    assert_eq!(ignored.len(), 8);
    let (_, ignored) = read(&json!({"command": "query", "call-id": "a", "y".repeat(60): 1}));
    assert_eq!(ignored, [vec![b'y'; 40]]);
    let (_, ignored) = read(&json!({"command": "offer", "call-id": "a", "from-tag": "f", "sdp": "v=0\r\n",
        "flags": ["no-such-flag", "no-such-flag", "another"]}));
    assert_eq!(ignored, [b"no-such-flag".to_vec(), b"another".to_vec()]);
}

/// Sixty-four names of codecs and no more, in each form of the key.
#[test]
fn names_of_codecs_are_bounded() {
    let names: Vec<String> = (0..80).map(|n| format!("c{n}")).collect();
    let flags: Vec<String> = names.iter().map(|n| format!("codec-strip-{n}")).collect();
    for more in [json!({"flags": flags}), json!({"codec": {"strip": names}})] {
        let mut all = json!({"command": "offer", "call-id": "a", "from-tag": "f", "sdp": "v=0\r\n"});
        all.as_object_mut().expect("keys").extend(more.as_object().expect("keys").clone());
        let Command::Offer(offer) = read(&all).0 else { panic!("an offer") };
        let want: Vec<Vec<u8>> = names.iter().take(64).map(|n| n.clone().into_bytes()).collect();
        assert_eq!(offer.codec.strip, want);
    }
}

#[test]
fn a_refusal_for_the_sdps_sake_is_told_from_others() {
    for text in [reasons::BAD_SDP, reasons::INCOMPLETE_SDP, reasons::NO_SDP, reasons::REWRITING_SDP] {
        assert!(reasons::is_of_sdp(text) && reasons::is_of_sdp(&format!("{text}: line 5")), "{text}");
        assert!(!reasons::is_of_sdp(&format!("{text} too")), "{text}");
    }
    for text in [reasons::OUT_OF_PORTS, reasons::UNKNOWN_CALL_ID, reasons::LIMIT_LOAD, ""] {
        assert!(!reasons::is_of_sdp(text), "{text}");
    }
    assert!(reasons::is("Ran out of ports: 30000 to 30009", reasons::OUT_OF_PORTS));
    assert!(!reasons::is("Ran out of portsmanship", reasons::OUT_OF_PORTS));
    assert!(!reasons::is("Ran out", reasons::OUT_OF_PORTS));
}
