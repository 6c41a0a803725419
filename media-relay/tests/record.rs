//! Recordings (RFC 0054): what is in the files of a call, and the answers that clients get, ours and those of Debian's
//! rtpengine.

mod common;
mod engine;
mod programs;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Phone, World};
use engine::Client;
use programs::has;
use serde_json::{Value, json};
use warp_media::MediaPath;
use warp_media::g711::{to_pcma, to_pcmu};
use warp_media::packet::RoomyPacket;
use warp_media::pipeline::StageMaker;
use warp_media::srtp::{CryptoLine, SrtpMaker, Suite};
use warp_media_relay::RecordFiles;
use warp_model::Mono;
use warp_ng::{Command, SdpCommand, Transport};

fn world(folder: &Path) -> World {
    World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.record = Some(folder.to_str().unwrap().to_owned());
    })
}

/// A command about the call `c`.
fn ask(client: &mut Client, command: &str, more: Value) -> Value {
    let mut c = json!({"command":command,"call-id":"c"});
    for (key, value) in more.as_object().unwrap() {
        c[key] = value.clone();
    }
    client.ask(&c)
}

fn ok(client: &mut Client, command: &str) {
    assert_eq!(ask(client, command, json!({})), json!({"result":"ok"}), "{command}");
}

/// Waits until it is there.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + common::DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never: {what}");
        std::thread::yield_now();
    }
}

/// Speech has its own pace: the next packet is said at its time.
fn until(due: Instant) {
    while Instant::now() < due {
        std::thread::sleep(Duration::from_micros(200)); // poll
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|p| p.to_str().unwrap().ends_with(ending)).collect();
    all.sort();
    all
}

/// The metadata of all recordings, in the order of their names.
fn told(folder: &Path) -> Vec<Value> {
    // One may get its last name meanwhile.
    let read = |path: PathBuf| Some(serde_json::from_slice(&std::fs::read(path).ok()?).unwrap());
    files(folder, ".json").into_iter().filter(|p| !hidden(p)).filter_map(read).collect()
}

fn hidden(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with('.')
}

/// The metadata of the only recording, once it is complete.
fn complete(folder: &Path) -> Value {
    wait("a complete recording", || {
        told(folder)
            .into_iter()
            .find(|r| r["state"] == "complete" && files(folder, ".recording.json").is_empty())
    })
}

/// The samples of a WAV file, which says itself how long it is.
fn samples(folder: &Path, name: &Value) -> Vec<i16> {
    let bytes = std::fs::read(folder.join(name.as_str().unwrap())).unwrap();
    assert_eq!((&bytes[..4], &bytes[8..16], &bytes[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!((word(4), word(40), word(24)), (bytes.len() - 8, bytes.len() - 44, 8_000));
    bytes[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// Strength of a tone.
fn energy(samples: &[i16], hz: f64) -> f64 {
    let k = 2.0 * (std::f64::consts::TAU * hz / 8_000.0).cos();
    let (x, y) = samples.iter().fold((0.0, 0.0), |(x, y), s| (f64::from(*s) + k * x - y, x));
    (x * x + y * y - k * x * y).max(0.0).sqrt() / samples.len().max(1) as f64
}

/// A phone that says a tone.
struct Talker {
    phone: Phone,
    hz: f64,
    payload_type: u8,
    /// Samples said so far: its timestamps.
    said: u32,
}

impl Talker {
    fn new(ssrc: u32, hz: f64) -> Self {
        Self { phone: Phone::new("127.0.0.1", false, ssrc), hz, payload_type: 0, said: 0 }
    }

    /// The next 20 ms; the packet is made, whether it is sent or not.
    fn next(&mut self) -> Vec<u8> {
        let mut packet = self.phone.next_rtp();
        packet[1] = self.payload_type;
        packet[4..8].copy_from_slice(&self.said.to_be_bytes());
        for (n, byte) in packet[12..172].iter_mut().enumerate() {
            let at = f64::from(self.said) + n as f64;
            let value = ((std::f64::consts::TAU * self.hz * at / 8_000.0).sin() * 8_000.0) as i16;
            *byte = if self.payload_type == 8 { to_pcma(value) } else { to_pcmu(value) };
        }
        self.said += 160;
        packet
    }

    fn say(&mut self) {
        let packet = self.next();
        self.phone.rtp.send_to(&packet, self.phone.relay.as_ref().unwrap().rtp).unwrap();
    }
}

/// Both say so many packets, 20 ms apart; what each says reaches the other.
fn talk(a: &mut Talker, b: &mut Talker, packets: u32) {
    let begun = Instant::now();
    for n in 0..packets {
        for (from, to) in [(0, 1), (1, 0)] {
            let both = [&mut *a, &mut *b];
            both[from].say();
            both[to].phone.recv_rtp();
        }
        until(begun + Duration::from_millis(20) * (n + 1));
    }
}

fn call(world: &World, a: &mut Talker, b: &mut Talker) {
    world.call("c", &mut a.phone, &mut b.phone);
}

/// The whole way: a WAV file of each party, one of both, all packets, and what is told of them.
#[test]
fn each_party_is_in_its_file_and_both_are_in_the_mixed_one() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    call(&world, &mut a, &mut b);
    talk(&mut a, &mut b, 10);
    let reply = ask(&mut client, "start recording", json!({"metadata":"order|4711"}));
    assert_eq!(reply, json!({"result":"ok"}));
    ok(&mut client, "start recording");
    talk(&mut a, &mut b, 50);
    ok(&mut client, "stop recording");
    ok(&mut client, "stop recording");
    talk(&mut a, &mut b, 10);
    let about = complete(folder.path());
    assert_eq!((&about["call_id"], &about["metadata"]), (&json!("c"), &json!("order|4711")));
    let lasted = about["duration_ms"].as_u64().unwrap();
    assert!((1_000..3_000).contains(&lasted), "{lasted}");
    let legs = about["legs"].as_array().unwrap();
    assert_eq!(legs.len(), 2);
    let mixed = samples(folder.path(), &about["mixed"]);
    for (leg, (tag, hz, other)) in legs.iter().zip([("caller", 440.0, 1_000.0), ("callee", 1_000.0, 440.0)]) {
        assert_eq!(
            (&leg["tag"], &leg["codec"], &leg["packets"]),
            (&json!(tag), &json!("PCMU/8000"), &json!(50))
        );
        let said = samples(folder.path(), &leg["file"]);
        assert_eq!(said.len() as u64 / 8, lasted, "as long as it lasted");
        assert_eq!(said.len(), mixed.len());
        let first = said.iter().position(|s| s.unsigned_abs() > 100).unwrap();
        let said = &said[first..first + 49 * 160];
        let [it, no] = [energy(said, hz), energy(said, other)];
        assert!(it > 3_500.0 && no < 100.0, "{tag}: {it} {no}");
        assert!(energy(&mixed[first + 800..first + 40 * 160], hz) > 3_000.0);
    }
    // Only this user may read what was said.
    use std::os::unix::fs::PermissionsExt;
    for path in files(folder.path(), "") {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
    assert_eq!(files(folder.path(), "").len(), 6, "and the lock, and nothing else");
    world.wait("none is recorded", |w| w.metric("warp_media_recordings{state=\"active\"}") == 0.0);
    assert_eq!(world.metric("warp_media_recording_errors_total"), 0.0);
    assert_eq!(world.metric("warp_media_panics_total"), 0.0);
}

/// A call that is recorded from its offer on, by its flag, to its end; what was lost is silence of its length.
#[test]
fn what_is_lost_is_silence_of_its_length_and_the_end_of_the_call_completes_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    b.payload_type = 8;
    let [offered, answered] =
        [a.phone.sdp(), b.phone.sdp()].map(|sdp| sdp.replace("AVP 0 101", "AVP 0 8 101"));
    let reply = client.ask(&json!({"command":"offer","call-id":"c","from-tag":"caller","sdp":offered,
        "record-call":"yes","recording-file":"../../etc/passwd"}));
    let path = reply["recordings"][0].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned();
    assert!(reply["warning"].as_str().unwrap().contains("names of files"), "{reply}");
    let reply = client
        .ask(&json!({"command":"answer","call-id":"c","from-tag":"caller","to-tag":"callee","sdp":answered}));
    assert_eq!(reply["recordings"][0].as_str(), Some(path.as_str()));
    // As the common answer reads it.
    b.phone.relay = Some(world.sdp(Command::Offer(common::offer("c", &offered))));
    a.phone.relay = Some(world.sdp(Command::Answer(common::answer("c", &answered))));
    talk(&mut a, &mut b, 20);
    // Ten packets are lost.
    for _ in 0..10 {
        a.next();
        until(Instant::now() + Duration::from_millis(20));
    }
    talk(&mut a, &mut b, 20);
    world.delete("c");
    let about = complete(folder.path());
    assert_eq!(about["said_by_client"], json!({"recording-file":"../../etc/passwd"}));
    assert_eq!(Path::new(&path).file_name().unwrap().to_str(), about["pcap"].as_str());
    let legs = about["legs"].as_array().unwrap();
    let said = samples(folder.path(), &legs[0]["file"]);
    let first = said.iter().position(|s| s.unsigned_abs() > 100).unwrap();
    let said = &said[first / 160 * 160..];
    let loud: Vec<bool> = said.chunks(160).map(|c| c.iter().any(|s| s.unsigned_abs() > 1_000)).collect();
    let runs: Vec<(bool, usize)> = loud.chunk_by(|a, b| a == b).map(|r| (r[0], r.len())).collect();
    assert!(matches!(runs[..], [(true, 20 | 21), (false, 8..=10), (true, 20 | 21), ..]), "{runs:?}");
    let other = samples(folder.path(), &legs[1]["file"]);
    assert!(energy(&other, 1_000.0) > 1_000.0 && energy(&other, 440.0) < 100.0, "A-law");
}

/// Packets of a pcap file: UDP ports and payload.
fn packets(path: &Path) -> Vec<(u16, u16, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let (head, mut rest) = bytes.split_at(24);
    assert_eq!((&head[..4], head[20]), (&[0xD4, 0xC3, 0xB2, 0xA1][..], 101));
    let mut all = Vec::new();
    while !rest.is_empty() {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap()) as usize;
        let packet = &rest[16..16 + word(8)];
        let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        all.push((port(20), port(22), packet[28..].to_vec()));
        rest = &rest[16 + word(8)..];
    }
    all
}

/// Each packet that was let in, RTP and RTCP, from the phone's port to ours, byte for byte; a stranger's are not there.
#[test]
fn t_rtp_01_a_pcap_has_the_packets_that_were_let_in_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("c", &mut a, &mut b);
    ok(&mut client, "start recording");
    let stranger = programs::socket();
    let relay = a.relay.clone().unwrap();
    stranger.send_to(&common::rtp(9, 1), relay.rtp).unwrap();
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push((a.rtp.local_addr().unwrap().port(), relay.rtp.port(), a.send_rtp()));
        b.recv_rtp();
    }
    sent.push((a.rtp.local_addr().unwrap().port(), relay.rtcp.port(), a.send_rtcp()));
    b.recv_rtcp();
    ok(&mut client, "stop recording");
    let about = complete(folder.path());
    assert_eq!(packets(&folder.path().join(about["pcap"].as_str().unwrap())), sent);
}

/// The answers of the commands about recordings, with a folder and without one.
#[test]
fn the_answers_are_those_of_rtpengine() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = world(ours.path());
    let mut clients = vec![Client::ours(&world)];
    if has("rtpengine", "record::the_answers_are_those_of_rtpengine") {
        let spool = format!("--recording-dir={}", theirs.path().display());
        clients.push(Client::rtpengine_with(&theirs, 37_600, &[&spool]));
    }
    let sdp = Phone::new("127.0.0.1", false, 1).sdp();
    for (at, client) in clients.iter_mut().enumerate() {
        let who = ["ours", "rtpengine"][at];
        let mut is = |document: Value, wanted: Value| {
            let reply = client.ask(&document);
            let shown = match reply.get("recordings") {
                Some(list) => json!({"result":reply["result"],"recordings":list.as_array().unwrap().len()}),
                None if reply.get("sdp").is_some() => json!({"result":reply["result"]}),
                None => reply,
            };
            assert_eq!(shown, wanted, "{who}: {document}");
        };
        let error = |reason: &str| json!({"result":"error","error-reason":reason});
        for command in ["start recording", "stop recording"] {
            is(json!({"command":command}), error("No call-id in message"));
            is(json!({"command":command,"call-id":"x"}), error("Unknown call-id"));
        }
        let fine = json!({"result":"ok"});
        is(json!({"command":"offer","call-id":"c","from-tag":"f","sdp":sdp}), fine.clone());
        is(json!({"command":"answer","call-id":"c","from-tag":"f","to-tag":"t","sdp":sdp}), fine.clone());
        for command in ["stop recording", "start recording", "start recording", "stop recording"] {
            is(json!({"command":command,"call-id":"c"}), fine.clone());
        }
        is(json!({"command":"start recording","call-id":"c","from-tag":"nobody"}), fine.clone());
        is(json!({"command":"stop recording","call-id":"c","pause":"yes"}), fine.clone());
        let one = json!({"result":"ok","recordings":1});
        for (word, wanted) in [("yes", &one), ("on", &one), ("no", &fine), ("off", &fine), ("perhaps", &fine)]
        {
            let offer = json!({"command":"offer","call-id":format!("d{word}"),"from-tag":"f","sdp":sdp,"record-call":word});
            is(offer, wanted.clone());
        }
        // Theirs dumps core when it is ended while it records.
        for call in ["c", "dyes", "don", "dno", "doff", "dperhaps"] {
            client.ask(&json!({"command":"delete","call-id":call,"delete-delay":0}));
        }
    }
    // Version 10.5 does not know `pause recording`; later ones do.
    let offer = json!({"command":"offer","call-id":"c","from-tag":"f","sdp":sdp});
    clients[0].sdp(&offer);
    ok(&mut clients[0], "pause recording");
    // Where no folder is configured rtpengine says ok; so do we, and why nothing comes of it.
    let world = World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("c", &mut a, &mut b);
    let reply = ask(&mut Client::ours(&world), "start recording", json!({}));
    assert_eq!(reply["result"], "ok");
    assert!(reply["warning"].as_str().unwrap().contains("no folder of recordings"), "{reply}");
    assert_eq!(world.metric("warp_media_recording_errors_total"), 1.0);
}

/// What a kill -9 leaves is what is on disk at that moment: everything up to the last second, and the next start completes it.
#[test]
fn f_proc_01_what_a_dead_relay_left_is_whole_up_to_the_last_second() {
    let (folder, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    call(&world, &mut a, &mut b);
    ok(&mut client, "start recording");
    let begun = Instant::now();
    talk(&mut a, &mut b, 100);
    let lasted = begun.elapsed();
    for path in files(folder.path(), "") {
        std::fs::copy(&path, left.path().join(path.file_name().unwrap())).unwrap();
    }
    // The end of a pcap is a packet that was cut, and somebody's own file lies there too.
    let pcap = files(left.path(), ".pcap").remove(0);
    let whole = std::fs::read(&pcap).unwrap();
    std::fs::write(&pcap, &whole[..whole.len() - 100]).unwrap();
    std::fs::write(left.path().join("notes.recording.json"), "mine").unwrap();
    let _next = self::world(left.path());
    let about = wait("what was cut", || {
        told_ours(left.path())
            .into_iter()
            .find(|r| r["state"] == "cut")
            .filter(|_| files(left.path(), ".recording.json").len() == 1)
    });
    assert_eq!(about["call_id"], "c");
    let missing = lasted.saturating_sub(Duration::from_millis(about["duration_ms"].as_u64().unwrap()));
    assert!(missing < Duration::from_secs(1), "{missing:?}");
    for (leg, hz) in about["legs"].as_array().unwrap().iter().zip([440.0, 1_000.0]) {
        let said = samples(left.path(), &leg["file"]);
        assert_eq!(said.len() as u64 / 8, about["duration_ms"].as_u64().unwrap());
        assert!(energy(&said[800..], hz) > 3_000.0);
    }
    let kept = packets(&pcap).len();
    assert!(kept >= 99 && (kept + 1) * 216 + 24 == whole.len(), "{kept} of {}", whole.len());
}

/// The same, where not all files are recordings.
fn told_ours(folder: &Path) -> Vec<Value> {
    let ours =
        files(folder, ".json").into_iter().filter(|p| !p.ends_with("notes.recording.json") && !hidden(p));
    ours.filter_map(|p| serde_json::from_slice(&std::fs::read(p).ok()?).ok()).collect()
}

/// Nothing can be written there: the call goes on, and it is counted.
#[test]
fn f_disk_01_a_folder_that_cannot_be_written_costs_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let world = world(&file.join("recordings"));
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    call(&world, &mut a, &mut b);
    ok(&mut client, "start recording");
    let before = world.metric("warp_media_recording_errors_total");
    talk(&mut a, &mut b, 60);
    world.wait("it is counted", |w| w.metric("warp_media_recording_errors_total") > before);
    common::both_ways(&mut a.phone, &mut b.phone);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");
    // Now it can be: the recording goes on, with silence where nothing could be written.
    std::fs::remove_file(&file).unwrap();
    let recordings = file.join("recordings");
    std::fs::create_dir_all(&recordings).unwrap();
    (a.phone.ssrc, b.phone.ssrc) = (11, 12);
    talk(&mut a, &mut b, 100);
    ok(&mut client, "stop recording");
    let about = complete(&recordings);
    for (leg, hz) in about["legs"].as_array().unwrap().iter().zip([440.0, 1_000.0]) {
        let said = samples(&recordings, &leg["file"]);
        assert_eq!(said.len() as u64 / 8, about["duration_ms"].as_u64().unwrap(), "from its beginning on");
        assert!(said[..200 * 8].iter().all(|s| *s == 0), "what could not be written is silence");
        assert!(energy(&said[said.len() - 80 * 160..], hz) > 3_000.0, "what could is there");
    }
    world.wait("none is recorded", |w| w.metric("warp_media_recordings{state=\"active\"}") == 0.0);
    assert_eq!(world.metric("warp_media_panics_total"), 0.0);
}

/// What is too old goes, then the oldest of what is too much; a file that is none of ours stays, and so does what is written now.
#[test]
fn recordings_are_kept_as_long_as_is_said_and_no_more_than_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = |day: u32, ending: &str, bytes: usize, old: bool| {
        let path = at(&format!("rec-202601{day:02}T000000-00000000000000ab{ending}"));
        std::fs::write(&path, vec![1; bytes]).unwrap();
        if old {
            let time = std::time::SystemTime::now() - Duration::from_secs(40 * 86_400);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        path
    };
    let old = [made(1, ".json", 10, true), made(1, "-1.wav", 10, true)];
    let large = [made(2, ".json", 10, false), made(2, "-mix.wav", 900_000, false)];
    let stay = [
        made(3, ".json", 10, false),
        made(3, "-1.wav", 300_000, false),
        at("my-notes.json"),
        at("rec-x.wav"),
    ];
    std::fs::write(&stay[2], vec![1; 500_000]).unwrap();
    std::fs::write(&stay[3], vec![1; 500_000]).unwrap();
    let world = World::new(|c| {
        c.record = Some(folder.path().to_str().unwrap().to_owned());
        (c.record_keep_days, c.record_limit_mib) = (30, 1);
    });
    wait("they are gone", || old.iter().chain(&large).all(|p| !p.exists()).then_some(()));
    assert!(stay.iter().all(|p| p.exists()));
    for reason in ["age", "bytes"] {
        let series = format!("warp_media_recordings_deleted_total{{reason=\"{reason}\"}}");
        world.wait(&series, |w| w.metric(&series) == 1.0);
    }
}

/// A side that speaks SRTP is recorded in the clear, as the other one hears it; what is not authentic is not there.
#[test]
fn t_rtp_05_a_protected_side_is_recorded_as_it_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    let offer =
        SdpCommand { transport_protocol: Some(Transport::RtpSavp), ..common::offer("c", &a.phone.sdp()) };
    let told = world.sdp(Command::Offer(SdpCommand { record: Some(true), ..offer }));
    let ours = told.text.lines().filter_map(|l| CryptoLine::parse(l.strip_prefix("a=crypto:")?.as_bytes()));
    let ours = ours.into_iter().find(|l| l.suite == Suite::Gcm128).unwrap();
    let theirs = CryptoLine::new(ours.tag, ours.suite, vec![7; ours.suite.master_len()]).unwrap();
    b.phone.relay = Some(told);
    let answer = format!("{}{}\r\n", b.phone.sdp().replace("RTP/AVP", "RTP/SAVP"), theirs.line(false));
    a.phone.relay = Some(world.sdp(Command::Answer(common::answer("c", &answer))));
    let mut seal = SrtpMaker::protect(&theirs).unwrap().make();
    for n in 0..40u64 {
        let mut packet = b.next();
        packet.resize(172 + 16, 0);
        let mut roomy = RoomyPacket::new(&mut packet, 0, 172).unwrap();
        seal.run(&mut roomy, MediaPath::Rtp, Mono(n)).unwrap();
        let to = b.phone.relay.as_ref().unwrap().rtp;
        // One that somebody has changed comes first, and goes nowhere.
        let mut bent = packet.clone();
        bent[100] ^= 1;
        b.phone.rtp.send_to(&bent, to).unwrap();
        b.phone.rtp.send_to(&packet, to).unwrap();
        assert_eq!(a.phone.recv_rtp().len(), 172);
        a.say();
        assert_eq!(b.phone.recv_rtp().len(), 188);
        until(Instant::now() + Duration::from_millis(19));
    }
    world.delete("c");
    let about = complete(folder.path());
    for (leg, hz) in about["legs"].as_array().unwrap().iter().zip([440.0, 1_000.0]) {
        assert_eq!((leg["packets"].as_u64(), &leg["warning"]), (Some(40), &Value::Null));
        let said = samples(folder.path(), &leg["file"]);
        let first = said.iter().position(|s| s.unsigned_abs() > 100).unwrap();
        assert!(energy(&said[first + 160..first + 30 * 160], hz) > 3_000.0, "{hz}");
    }
    let clear = packets(&folder.path().join(about["pcap"].as_str().unwrap()));
    assert!(clear.len() == 80 && clear.iter().all(|(_, _, p)| p.len() == 172), "in the clear");
}

/// What the relay cannot hear or cannot read it says so of: in the answer, and in the metadata. All packets are in the pcap file.
#[test]
fn what_cannot_be_written_as_speech_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let key = format!(
        "{}\r\n",
        CryptoLine::new(1, Suite::Gcm128, vec![7; Suite::Gcm128.master_len()]).unwrap().line(false)
    );
    let [offered, answered] = [&a, &b].map(|p| format!("{}{key}", p.sdp().replace("RTP/AVP", "RTP/SAVP")));
    b.relay = Some(world.sdp(Command::Offer(common::offer("c", &offered))));
    a.relay = Some(world.sdp(Command::Answer(common::answer("c", &answered))));
    let reply = ask(&mut client, "start recording", json!({}));
    assert!(reply["result"] == "ok" && reply["warning"].as_str().unwrap().contains("SRTP"), "{reply}");
    for _ in 0..5 {
        a.send_rtp();
        b.recv_rtp();
    }
    ok(&mut client, "stop recording");
    let about = complete(folder.path());
    assert!(
        about["legs"][0]["warning"].as_str().unwrap().contains("SRTP") && about["mixed"].is_null(),
        "{about}"
    );
    assert_eq!(packets(&folder.path().join(about["pcap"].as_str().unwrap())).len(), 5);
    assert_eq!(files(folder.path(), ".wav").len(), 0);
    // Speech in a codec that is none of ours.
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 3), Phone::new("127.0.0.1", false, 4));
    let [offered, answered] = [&a, &b].map(|p| {
        p.sdp().replace("AVP 0 101", "AVP 18").replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:18 G729/8000")
    });
    b.relay = Some(world.sdp(Command::Offer(common::offer("g", &offered))));
    a.relay = Some(world.sdp(Command::Answer(common::answer("g", &answered))));
    let reply = client.ask(&json!({"command":"start recording","call-id":"g"}));
    assert!(
        reply["result"] == "ok" && reply["warning"].as_str().unwrap().contains("other codecs"),
        "{reply}"
    );
    let mut packet = a.next_rtp();
    packet[1] = 18;
    a.rtp.send_to(&packet, a.relay.as_ref().unwrap().rtp).unwrap();
    b.recv_rtp();
    client.ask(&json!({"command":"stop recording","call-id":"g"}));
    let about = wait("the second one", || {
        told(folder.path()).into_iter().find(|r| r["call_id"] == "g" && r["state"] == "complete")
    });
    assert_eq!(about["legs"][0]["unreadable"], 1);
    assert!(about["legs"][0]["warning"].as_str().unwrap().contains("PCMU"), "{about}");
}

/// A pause, a re-INVITE and a hold by it, a source that changes its SSRC: one recording, and everything in its place.
#[test]
fn a_pause_a_hold_and_another_source_stay_in_one_recording() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    call(&world, &mut a, &mut b);
    ok(&mut client, "start recording");
    let begun = Instant::now();
    talk(&mut a, &mut b, 20);
    let from = begun.elapsed();
    ok(&mut client, "pause recording");
    world.wait("it pauses", |w| w.metric("warp_media_recordings{state=\"paused\"}") == 1.0);
    // A script asks for it with every offer: a pause stays.
    let again = SdpCommand { record: Some(true), ..common::offer("c", &a.phone.sdp()) };
    world.sdp(Command::Offer(again));
    world.sdp(Command::Answer(common::answer("c", &b.phone.sdp())));
    talk(&mut a, &mut b, 20);
    ok(&mut client, "start recording");
    let to = begun.elapsed();
    // The same media again: nothing begins anew.
    call(&world, &mut a, &mut b);
    talk(&mut a, &mut b, 20);
    // Held, and taken up again by another source.
    let held = a.phone.sdp().replace("a=sendrecv", "a=sendonly");
    let hold = SdpCommand { to_tag: Some(b"callee".to_vec()), ..common::offer("c", &held) };
    world.sdp(Command::Offer(hold));
    world.sdp(Command::Answer(common::answer("c", &b.phone.sdp().replace("a=sendrecv", "a=recvonly"))));
    until(Instant::now() + Duration::from_millis(200));
    call(&world, &mut a, &mut b);
    (a.phone.ssrc, a.said) = (77, 1_234_567);
    talk(&mut a, &mut b, 20);
    ok(&mut client, "stop recording");
    let about = complete(folder.path());
    assert_eq!(files(folder.path(), ".wav").len(), 3, "two legs and the mixed one");
    let pause = &about["pauses_ms"][0];
    let [since, until] = [0, 1].map(|n| pause[n].as_u64().unwrap() * 8);
    assert!(
        until - since >= 400 * 8 - 80
            && since / 8 <= from.as_millis() as u64 + 100
            && until / 8 <= to.as_millis() as u64 + 100
    );
    for leg in about["legs"].as_array().unwrap() {
        assert_eq!(leg["packets"].as_u64(), Some(60), "none of the pause");
        let said = samples(folder.path(), &leg["file"]);
        assert!(
            said[since as usize + 400..until as usize - 400].iter().all(|s| *s == 0),
            "the pause is silence"
        );
        let loud = said.chunks(160).filter(|c| c.iter().any(|s| s.unsigned_abs() > 1_000)).count();
        assert!((58..=66).contains(&loud), "{loud} of 60 packets");
    }
}

/// A ring group: branches share the caller's leg, and a branch that nobody hears is not recorded.
#[test]
fn forks_are_legs_of_their_own_and_only_what_is_heard_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut a = Talker::new(1, 440.0);
    let [mut b, mut c] = [(2, 1_000.0), (3, 2_000.0)].map(|(ssrc, hz)| Talker::new(ssrc, hz));
    let branch = |command: SdpCommand, name: &str| SdpCommand { via_branch: Some(name.into()), ..command };
    let offer =
        |name: &str| SdpCommand { record: Some(true), ..branch(common::offer("c", &a.phone.sdp()), name) };
    b.phone.relay = Some(world.sdp(Command::Offer(offer("one"))));
    c.phone.relay = Some(world.sdp(Command::Offer(offer("two"))));
    let says = |t: &Talker, name: &str, tag: &str| {
        let answer = SdpCommand { to_tag: Some(tag.into()), ..common::offer("c", &t.phone.sdp()) };
        world.sdp(Command::Answer(branch(answer, name)))
    };
    a.phone.relay = Some(says(&b, "one", "b"));
    talk(&mut a, &mut b, 10);
    // The latest answer is heard.
    says(&c, "two", "c");
    for _ in 0..10 {
        b.say();
    }
    talk(&mut a, &mut c, 20);
    world.delete("c");
    let about = complete(folder.path());
    let legs = about["legs"].as_array().unwrap();
    let packets: Vec<_> =
        legs.iter().map(|l| (l["tag"].as_str().unwrap(), l["packets"].as_u64().unwrap())).collect();
    assert_eq!(packets, [("caller", 30), ("b", 10), ("c", 20)]);
    assert_eq!((&legs[1]["branch"], &legs[2]["branch"]), (&json!("one"), &json!("two")));
    assert!(energy(&samples(folder.path(), &legs[2]["file"]), 2_000.0) > 1_000.0);
}

/// Nothing that a client says is part of a name, whatever it says; a link that lies there is not followed. Only what is asked for
/// is written.
#[test]
fn t_ng_05_no_name_of_a_client_is_a_name_of_a_file() {
    let all = tempfile::tempdir().unwrap();
    let folder = all.path().join("recordings");
    let world = World::new(|c| {
        c.ng = Some("127.0.0.1:0".parse().unwrap());
        c.record = Some(folder.to_str().unwrap().to_owned());
        c.record_files = vec![RecordFiles::Mixed];
    });
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    let id = "../../../etc/passwd\0%2e%2e";
    let named = json!({"recording-file":"../x.wav","recording-dir":"/etc","recording-pattern":"%c/../%t",
        "output-destination":"/dev/null","metadata":"../m"});
    let mut ask = |command: &str, more: Value| {
        let mut c = json!({"command":command,"call-id":id,"from-tag":"../f","to-tag":"/t","via-branch":"/b"});
        named.as_object().unwrap().iter().for_each(|(key, value)| c[key] = value.clone());
        more.as_object().unwrap().iter().for_each(|(key, value)| c[key] = value.clone());
        client.ask(&c)
    };
    let (from_a, from_b) = (a.sdp(), b.sdp());
    let reply = ask("offer", json!({"sdp":from_a,"label":"../l","record-call":"yes"}));
    let path = PathBuf::from(reply["recordings"][0].as_str().unwrap());
    assert_eq!((path.parent(), path.extension().unwrap().to_str()), (Some(folder.as_path()), Some("json")));
    assert!(reply["warning"].as_str().unwrap().contains("names of files"), "{reply}");
    b.relay = Some(common::read(reply["sdp"].as_str().unwrap()));
    a.relay = Some(common::read(ask("answer", json!({"sdp":from_b}))["sdp"].as_str().unwrap()));
    for _ in 0..5 {
        a.send_rtp();
        b.recv_rtp();
    }
    assert!(ask("start recording", json!({}))["warning"].as_str().unwrap().contains("names of files"));
    assert_eq!(ask("stop recording", json!({}))["result"], "ok");
    let about = complete(&folder);
    assert_eq!((&about["call_id"], &about["said_by_client"]["recording-dir"]), (&json!(id), &json!("/etc")));
    let name = path.file_stem().unwrap().to_str().unwrap();
    let names: Vec<String> =
        files(&folder, "").iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, [".lock".to_owned(), format!("{name}-mix.wav"), format!("{name}.json")]);
    assert_eq!(std::fs::read_dir(all.path()).unwrap().count(), 1, "nothing beside the folder");
}

/// What the other one does not get is not in the recording: a party that is blocked is not there, one that is silenced is silent.
#[test]
fn what_is_kept_back_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(folder.path());
    let mut client = Client::ours(&world);
    let (mut a, mut b) = (Talker::new(1, 440.0), Talker::new(2, 1_000.0));
    call(&world, &mut a, &mut b);
    ok(&mut client, "start recording");
    talk(&mut a, &mut b, 10);
    let of_a = json!({"from-tag":"caller","flags":["directional"]});
    assert_eq!(ask(&mut client, "silence media", of_a.clone())["result"], "ok");
    talk(&mut a, &mut b, 10);
    assert_eq!(ask(&mut client, "unsilence media", of_a.clone())["result"], "ok");
    assert_eq!(ask(&mut client, "block media", of_a.clone())["result"], "ok");
    for _ in 0..10 {
        a.say();
        b.say();
        a.phone.recv_rtp();
    }
    assert_eq!(ask(&mut client, "unblock media", of_a)["result"], "ok");
    ok(&mut client, "stop recording");
    let about = complete(folder.path());
    let [from_a, from_b] = [0, 1].map(|n| &about["legs"][n]);
    assert_eq!((&from_a["packets"], &from_b["packets"]), (&json!(20), &json!(30)));
    let loud = |leg: &Value| {
        let said = samples(folder.path(), &leg["file"]);
        said.chunks(160).filter(|c| c.iter().any(|s| s.unsigned_abs() > 1_000)).count()
    };
    assert!((10..=11).contains(&loud(from_a)) && loud(from_b) > 20, "{} {}", loud(from_a), loud(from_b));
}
