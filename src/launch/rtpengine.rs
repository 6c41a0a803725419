//! `loadtests/rtpengine-cli`: the relay under rtpengine's own option names, so that suites and start scripts written for
//! rtpengine start ours. It knows the arity of every option of rtpengine 10.5 (`--help`, and what its parser takes where the
//! help is silent); what it does not carry out is named on stderr once and changes nothing.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};

use warp_media_relay::Config;
use warp_telemetry::Registry;
use warp_telemetry::logging::{self, Format, Levels};

use super::settings::{Interface, set_interfaces};
use crate::cli::Failure;

/// Long name, and the letter where it has one, of the options without a value.
#[rustfmt::skip]
const FLAGS: &[(&str, Option<char>)] = &[
    ("help", Some('h')), ("version", Some('v')), ("log-stderr", Some('E')), ("split-logs", None),
    ("no-log-timestamps", None), ("foreground", Some('f')), ("no-fallback", Some('F')),
    ("save-interface-ports", Some('S')), ("no-redis-required", Some('q')), ("active-switchover", None),
    ("dtmf-log-ng-tcp", None), ("dtmf-no-suppress", None), ("sip-source", None), ("dtls-passive", None),
    ("codecs", None), ("log-srtp-keys", None), ("jb-clock-drift", None), ("debug-srtp", None),
    ("reject-invalid-sdp", None), ("poller-per-thread", None),
];

/// The same of the options with a value.
#[rustfmt::skip]
const VALUED: &[(&str, Option<char>)] = &[
    ("config-file", None), ("config-section", None), ("log-facility", None), ("log-level", Some('L')),
    ("log-level-core", None), ("log-level-spandsp", None), ("log-level-ffmpeg", None),
    ("log-level-transcoding", None), ("log-level-codec", None), ("log-level-rtcp", None),
    ("log-level-ice", None), ("log-level-crypto", None), ("log-level-srtp", None),
    ("log-level-internals", None), ("log-level-http", None), ("log-level-control", None),
    ("log-level-dtx", None), ("max-log-line-length", None), ("log-mark-prefix", None),
    ("log-mark-suffix", None), ("pidfile", Some('p')), ("thread-stack", None), ("table", Some('t')),
    ("interface", Some('i')), ("subscribe-keyspace", Some('k')), ("listen-tcp", Some('l')),
    ("listen-udp", Some('u')), ("listen-ng", Some('n')), ("listen-tcp-ng", Some('N')),
    ("listen-cli", Some('c')), ("graphite", Some('g')), ("graphite-interval", Some('G')),
    ("graphite-prefix", None), ("graphite-timeout", None), ("tos", Some('T')), ("control-tos", None),
    ("timeout", Some('o')), ("silent-timeout", Some('s')), ("final-timeout", Some('a')),
    ("offer-timeout", None), ("port-min", Some('m')), ("port-max", Some('M')), ("redis", Some('r')),
    ("redis-write", Some('w')), ("redis-num-threads", None), ("redis-expires", None),
    ("redis-allowed-errors", None), ("redis-disable-time", None), ("redis-cmd-timeout", None),
    ("redis-connect-timeout", None), ("redis-delete-async", Some('y')),
    ("redis-delete-async-interval", None), ("b2b-url", Some('b')), ("log-facility-cdr", None),
    ("log-facility-rtcp", None), ("log-facility-dtmf", None), ("dtmf-log-dest", None),
    ("dtmf-digit-delay", None), ("log-format", None), ("xmlrpc-format", Some('x')), ("num-threads", None),
    ("media-num-threads", None), ("delete-delay", Some('d')), ("max-sessions", None), ("max-load", None),
    ("max-cpu", None), ("max-bandwidth", None), ("homer", None), ("homer-protocol", None),
    ("homer-id", None), ("recording-dir", None), ("recording-method", None), ("recording-format", None),
    ("iptables-chain", None), ("scheduling", None), ("priority", None), ("idle-scheduling", None),
    ("idle-priority", None), ("mysql-host", None), ("mysql-port", None), ("mysql-user", None),
    ("mysql-pass", None), ("mysql-query", None), ("endpoint-learning", None), ("jitter-buffer", None),
    ("dtls-rsa-key-size", None), ("dtls-cert-cipher", None), ("dtls-mtu", None), ("dtls-ciphers", None),
    ("dtls-signature", None), ("listen-http", None), ("listen-https", None), ("https-cert", None),
    ("https-key", None), ("http-threads", None), ("software-id", None), ("dtx-delay", None),
    ("max-dtx", None), ("dtx-buffer", None), ("dtx-lag", None), ("dtx-shift", None),
    ("dtx-cn-params", None), ("amr-dtx", None), ("silence-detect", None), ("cn-payload", None),
    ("mqtt-host", None), ("mqtt-port", None), ("mqtt-id", None), ("mqtt-keepalive", None),
    ("mqtt-user", None), ("mqtt-pass", None), ("mqtt-cafile", None), ("mqtt-capath", None),
    ("mqtt-certfile", None), ("mqtt-keyfile", None), ("mqtt-publish-qos", None),
    ("mqtt-publish-topic", None), ("mqtt-publish-interval", None), ("mqtt-publish-scope", None),
    ("mos", None), ("socket-cpu-affinity", None), ("janus-secret", None),
];

/// What it is by itself, and needs no word.
const QUIET: &[&str] =
    &["foreground", "log-stderr", "no-fallback", "no-redis-required", "no-log-timestamps", "split-logs"];

/// What the arguments say.
#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    config: Config,
    levels: String,
    pidfile: Option<String>,
    /// What is not carried out, as it was written.
    ignored: Vec<String>,
    /// `--help` or `--version`: this is all that is wanted.
    text: Option<String>,
}

/// One option as it was written, with its value.
struct Given<'a> {
    name: &'a str,
    written: &'a str,
    value: &'a str,
}

/// Runs the relay in the foreground until SIGINT or SIGTERM; ends with 0 then.
pub(super) fn run(args: &[String]) -> Result<u8, Failure> {
    let parsed = parse(args)?;
    if let Some(text) = parsed.text {
        // A reader that went away has read enough.
        let _ = writeln!(std::io::stdout(), "{text}");
        return Ok(0);
    }
    if !parsed.ignored.is_empty() {
        eprintln!("rtpengine-cli: not carried out, ignored: {}", parsed.ignored.join(" "));
    }
    if let Some(path) = &parsed.pidfile {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|e| Failure::new(format!("--pidfile={path}: {e}")))?;
    }
    let registry = Registry::new();
    logging::init(Format::Auto, Levels::parse(&parsed.levels).map_err(Failure::new)?, "", &registry);
    super::relay("rtpengine", parsed.config, None, &registry)
}

fn parse(args: &[String]) -> Result<Parsed, Failure> {
    let mut out = Parsed {
        config: Config::default(),
        levels: "warn".to_owned(),
        pidfile: None,
        ignored: Vec::new(),
        text: None,
    };
    let mut interfaces: Vec<Interface> = Vec::new();
    let (mut low, mut high) = (30_000, 40_000);
    let mut rest = args.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        let mut options = split(word, &mut rest, &mut out.ignored)?;
        for given in options.drain(..) {
            match given.name {
                "help" => out.text = Some(help()),
                "version" => out.text = Some(format!("Version: warp {}", crate::VERSION)),
                "interface" => {
                    let parts = given.value.split([';', ' ']).filter(|part| !part.is_empty());
                    for part in parts {
                        interfaces.push(given.parsed(part)?);
                    }
                }
                "listen-ng" => out.config.ng = Some(given.address()?),
                "port-min" => low = given.number()?,
                "port-max" => high = given.number()?,
                "num-threads" => out.config.threads = threads(given.number()?),
                "timeout" => out.config.media_timeout_s = given.number()?,
                "silent-timeout" => out.config.hold_timeout_s = given.number()?,
                "offer-timeout" => out.config.offer_timeout_s = given.number()?,
                "delete-delay" => out.config.delete_delay_s = given.number()?,
                "b2b-url" => out.config.b2b_url = Some(given.value.to_owned()),
                "xmlrpc-format" => out.config.xmlrpc_format = given.number()?,
                "recording-dir" => out.config.record = Some(given.value.to_owned()),
                // What is written is a pcap file of that form, and more.
                "recording-method" if given.value == "pcap" => {}
                "recording-format" if given.value == "raw" => {}
                "tos" => out.config.tos = given.number()?,
                // 0 and −1 mean no limit there: then our own holds.
                "max-sessions" => {
                    let limit: i64 = given.number()?;
                    if let Some(limit) = u32::try_from(limit).ok().filter(|n| *n > 0) {
                        out.config.max_calls = limit;
                    }
                }
                "log-level" => out.levels = level(given.number()?).to_owned(),
                "pidfile" => out.pidfile = Some(given.value.to_owned()),
                "config-file" if given.value == "none" => {}
                // No kernel module: all that we do.
                "table" if given.value.starts_with('-') => {}
                name if QUIET.contains(&name) => {}
                _ => out.ignored.push(given.written.to_owned()),
            }
        }
    }
    if out.text.is_some() {
        return Ok(out);
    }
    if interfaces.is_empty() {
        return Err(Failure::new("--interface=[NAME/]IP[!IP] is needed").with_code(2));
    }
    if low > high {
        return Err(Failure::new(format!("--port-min={low} is above --port-max={high}")).with_code(2));
    }
    set_interfaces(&mut out.config, &interfaces);
    out.config.ports = low..=high;
    Ok(out)
}

/// The options in one word: `--name=value`, `--name` with the value in the next word, letters in one (`-fE`), the last of
/// which may have its value behind it or in the next word.
fn split<'a>(
    word: &'a str,
    rest: &mut impl Iterator<Item = &'a str>,
    ignored: &mut Vec<String>,
) -> Result<Vec<Given<'a>>, Failure> {
    let missing = |name: &str| Failure::new(format!("--{name} needs a value")).with_code(2);
    let mut found = Vec::new();
    if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let known =
            |list: &[(&'static str, Option<char>)]| list.iter().find(|(n, _)| *n == name).map(|(n, _)| *n);
        if let Some(name) = known(FLAGS) {
            found.push(Given { name, written: word, value: "" });
        } else if let Some(name) = known(VALUED) {
            let value = value.or_else(|| rest.next()).ok_or_else(|| missing(name))?;
            found.push(Given { name, written: word, value });
        } else {
            ignored.push(word.to_owned());
        }
    } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
        for (at, letter) in letters.char_indices() {
            let known = |list: &[(&'static str, Option<char>)]| {
                list.iter().find(|(_, short)| *short == Some(letter)).map(|(n, _)| *n)
            };
            if let Some(name) = known(FLAGS) {
                found.push(Given { name, written: word, value: "" });
            } else if let Some(name) = known(VALUED) {
                let behind = letters.get(at + letter.len_utf8()..).filter(|value| !value.is_empty());
                let value = behind.or_else(|| rest.next()).ok_or_else(|| missing(name))?;
                found.push(Given { name, written: word, value });
                break;
            } else {
                ignored.push(word.to_owned());
                break;
            }
        }
    } else {
        ignored.push(word.to_owned());
    }
    Ok(found)
}

impl Given<'_> {
    fn wrong(&self, why: impl std::fmt::Display) -> Failure {
        Failure::new(format!("--{}={}: {why}", self.name, self.value)).with_code(2)
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, text: &str) -> Result<T, Failure> {
        text.parse().map_err(|why| self.wrong(why))
    }

    fn number<T: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<T, Failure> {
        self.parsed(self.value)
    }

    /// `[IP46|HOSTNAME:]PORT`; a port alone is on loopback here, where rtpengine would listen on every address (T-NG-01).
    fn address(&self) -> Result<SocketAddr, Failure> {
        if let Ok(port) = self.value.parse::<u16>() {
            return Ok(([127, 0, 0, 1], port).into());
        }
        let mut found = self.value.to_socket_addrs().map_err(|why| self.wrong(why))?;
        found.next().ok_or_else(|| self.wrong("no address has that name"))
    }
}

/// Worker threads there; 0 is one for each CPU.
fn threads(wanted: u16) -> u16 {
    let cpus = || std::thread::available_parallelism().map_or(1, |n| u16::try_from(n.get()).unwrap_or(64));
    if wanted == 0 { cpus() } else { wanted }.clamp(1, 64)
}

/// Levels of syslog(3), 0 to 7.
fn level(number: i32) -> &'static str {
    match number {
        ..=3 => "error",
        4 => "warn",
        5 | 6 => "info",
        7.. => "debug",
    }
}

fn help() -> String {
    let mut text = String::from(
        "Usage:\n  rtpengine-cli [OPTION?]  - WARP's media relay under rtpengine's option names (loadtests/README.md)\n\n\
         Carried out:\n  interface listen-ng port-min port-max num-threads timeout silent-timeout offer-timeout \
         delete-delay tos b2b-url xmlrpc-format max-sessions recording-dir log-level pidfile foreground\n\nKnown and ignored:\n",
    );
    for (name, _) in FLAGS.iter().chain(VALUED) {
        text.push_str(&format!("  --{name}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Parsed {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args).unwrap_or_else(|why| panic!("{line}: {why}"))
    }

    #[test]
    fn a_command_line_of_rtpengine_is_read_as_rtpengine_reads_it() {
        let found = parsed(
            "--config-file=none -t -1 -i pub/203.0.113.1!198.51.100.7 --interface priv/2001:db8:4321::1 -n 2223 -c 12345 \
             -fE -L 7 -u 2222 --port-min=28000 -M 28999 --num-threads 3 --timeout=120 --redis-delete-async 1 \
             --no-such --also=1 stray --delete-delay=0 --tos 184 -b http://%%:8080/RPC2 -x2 \
             --recording-dir=/var/spool/rtpengine --recording-method=pcap --recording-format eth",
        );
        assert_eq!(found.config.record.as_deref(), Some("/var/spool/rtpengine"));
        assert_eq!(found.config.ng, Some(([127, 0, 0, 1], 2223).into()));
        assert_eq!(found.config.interfaces, ["pub", "priv"]);
        assert_eq!(found.config.advertise[0].to_string(), "198.51.100.7");
        assert_eq!((found.config.ports.clone(), found.config.threads), (28_000..=28_999, 3));
        assert_eq!((found.config.media_timeout_s, found.config.delete_delay_s), (120, 0));
        assert_eq!(found.config.b2b_url.as_deref(), Some("http://%%:8080/RPC2"));
        assert_eq!((found.config.xmlrpc_format, found.levels.as_str()), (2, "debug"));
        assert_eq!(
            found.ignored,
            ["-c", "-u", "--redis-delete-async", "--no-such", "--also=1", "stray", "--recording-format"]
        );
        let defaults = parsed("-i 127.0.0.1");
        assert_eq!((defaults.config.ports, defaults.config.ng), (30_000..=40_000, None));
        assert_eq!(parsed("-n10.0.0.7:9 -i 127.0.0.1").config.ng, Some(([10, 0, 0, 7], 9).into()));
        assert!(parsed("--version").text.is_some() && parsed("-h").text.is_some());
    }

    #[test]
    fn a_wrong_value_names_its_option() {
        let refused = |line: &str| {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            parse(&args).map(|_| ()).unwrap_err()
        };
        for (line, word) in [
            ("-n 2223", "--interface"),
            ("-i nowhere", "--interface=nowhere"),
            ("-i 127.0.0.1 -m many", "--port-min=many"),
            ("-i 127.0.0.1 -m 9000 -M 8000", "above --port-max=8000"),
            ("-i 127.0.0.1 -n", "--listen-ng needs a value"),
        ] {
            let why = refused(line);
            assert!(why.code == 2 && why.message.contains(word), "{line}: {why}");
        }
    }
}
