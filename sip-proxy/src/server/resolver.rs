//! Questions of the cores to DNS, on a thread of its own: a stub resolver (RFC 1035 §5, RFC 5452). The cores know in which order to ask
//! (`sip::resolve`) and what an old answer is good for; here each question is sent to the servers in turn, and whoever waits for a name
//! gets its answer through his mailbox. No shard waits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use warp_net::mailbox::Sender;
use warp_sip::flow::Transport;
use warp_sip::resolve::{DnsAnswer, DnsQuestion, Lookup, LookupError, RecordType, Servers, Wanted};

use super::Note;
use super::dns_message::{Message, Query};
use crate::config::Dns;
use crate::core::AskId;

/// Questions that wait for the thread; beyond: answered at once as failed. Calls go on with what is known.
const QUEUE: usize = 4_096;
/// Names that are looked up at once; beyond: the same.
const AT_ONCE: usize = 256;
/// An answer is given again to who asks so soon after it: he asked before it had reached him. No shorter time to live is believed.
const GIVEN_AGAIN: Duration = Duration::from_secs(1);
/// Who waits for one name; beyond: nobody is told, and the question's own deadline counts.
const WAITERS: usize = 65_536;
/// Aliases of one name that lead from zone to zone.
const ALIASES: usize = 8;
/// Seconds that a name without a server is believed to have none when DNS does not say how long.
const NOTHING_TTL: u32 = 60;

struct Asked {
    shard: u16,
    id: AskId,
    wanted: Wanted,
}

/// The thread. It ends when this and all links are dropped.
pub(crate) struct DnsThread {
    queue: mpsc::Sender<Asked>,
}

/// One shard's end.
#[derive(Clone)]
pub(crate) struct DnsLink {
    queue: Option<mpsc::Sender<Asked>>,
    shard: u16,
}

impl DnsThread {
    /// Starts it. `ours`: what requests can be sent by. Errors: no thread.
    pub(crate) fn start(dns: Dns, ours: Vec<Transport>, senders: Vec<Sender<Note>>) -> io::Result<DnsThread> {
        let (queue, asked) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("sip-dns".into()).spawn(move || {
            let answer = move |asked: &Asked, wanted: &Wanted, found: &Found| {
                if let Some(sender) = senders.get(usize::from(asked.shard)) {
                    // A full mailbox drops it: the question's own deadline counts then.
                    let _ = sender.send(Note::Located(asked.id, wanted.clone(), found.clone()));
                }
            };
            runtime.block_on(run(dns, ours, asked, answer));
        })?;
        Ok(DnsThread { queue })
    }

    pub(crate) fn link(&self, shard: u16) -> DnsLink {
        DnsLink { queue: Some(self.queue.clone()), shard }
    }
}

impl DnsLink {
    /// Nobody can be asked.
    pub(crate) fn none(shard: u16) -> DnsLink {
        DnsLink { queue: None, shard }
    }

    /// Asks for a name. Its answer comes by the mailbox; gives it at once when nobody can be asked.
    pub(crate) fn ask(&self, id: AskId, wanted: Wanted) -> Option<(AskId, Wanted)> {
        let asked = Asked { shard: self.shard, id, wanted };
        let Some(queue) = &self.queue else { return Some((id, asked.wanted)) };
        let refused = match queue.try_send(asked) {
            Ok(()) => return None,
            Err(mpsc::error::TrySendError::Full(asked) | mpsc::error::TrySendError::Closed(asked)) => asked,
        };
        Some((id, refused.wanted))
    }
}

type Found = Result<Servers, LookupError>;

async fn run(
    dns: Dns,
    ours: Vec<Transport>,
    mut asked: mpsc::Receiver<Asked>,
    answer: impl Fn(&Asked, &Wanted, &Found),
) {
    let servers = if dns.servers.is_empty() { servers_of_this_machine() } else { dns.servers.clone() };
    let resolver = Arc::new(Stub { servers, timeout: dns.timeout });
    let ours: Arc<[Transport]> = ours.into();
    let mut open: HashMap<Wanted, Vec<Asked>> = HashMap::new();
    let mut recent: HashMap<Wanted, (Instant, Found)> = HashMap::new();
    let mut tasks: JoinSet<(Wanted, Found)> = JoinSet::new();
    loop {
        tokio::select! {
            next = asked.recv() => {
                let Some(next) = next else { return };
                let wanted = next.wanted.clone();
                if let Some(waiting) = open.get_mut(&wanted) {
                    if waiting.len() < WAITERS {
                        waiting.push(next);
                    }
                    continue;
                }
                if let Some((at, found)) = recent.get(&wanted)
                    && at.elapsed() < GIVEN_AGAIN
                {
                    answer(&next, &wanted, found);
                    continue;
                }
                match open.len() < AT_ONCE {
                    true => {
                        open.insert(wanted.clone(), vec![next]);
                        let (resolver, ours) = (resolver.clone(), ours.clone());
                        let until = Instant::now() + dns.give_up;
                        tasks.spawn(async move {
                            let found = look_up(&resolver, wanted.clone(), &ours, until).await;
                            (wanted, found)
                        });
                    }
                    false => answer(&next, &wanted, &Err(LookupError::Failed)),
                }
            }
            Some(done) = tasks.join_next() => {
                let Ok((wanted, found)) = done else {
                    // A task that panicked has no name. Whoever waits for one goes on by his own deadline.
                    tracing::error!("a look-up of DNS broke off");
                    open.clear();
                    continue;
                };
                for waiting in open.remove(&wanted).unwrap_or_default() {
                    answer(&waiting, &wanted, &found);
                }
                recent.retain(|_, (at, _)| at.elapsed() < GIVEN_AGAIN);
                if recent.len() < AT_ONCE {
                    recent.insert(wanted, (Instant::now(), found));
                }
            }
        }
    }
}

/// What `/etc/resolv.conf` names; this machine itself when it names nobody, as resolv.conf(5) has it.
fn servers_of_this_machine() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named: Vec<SocketAddr> = named_servers(&text).collect();
    match named.is_empty() {
        true => vec![SocketAddr::from(([127, 0, 0, 1], 53))],
        false => named,
    }
}

fn named_servers(text: &str) -> impl Iterator<Item = SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let ip: IpAddr = words.next().filter(|w| *w == "nameserver").and(words.next())?.parse().ok()?;
        Some(SocketAddr::new(ip, 53))
    });
    servers.take(3)
}

/// One look-up: question by question, until all is known or the time is over.
async fn look_up(resolver: &Stub, wanted: Wanted, ours: &[Transport], until: Instant) -> Found {
    let mut lookup = Lookup::begin(wanted, ours);
    while let Some(question) = lookup.question() {
        let answer = match Instant::now() < until {
            true => timeout_at(until, resolver.ask(&question)).await.unwrap_or(DnsAnswer::Failed),
            false => DnsAnswer::Failed,
        };
        lookup.answer(answer);
    }
    lookup.result()
}

/// The servers that are asked, in turn.
struct Stub {
    servers: Vec<SocketAddr>,
    timeout: Duration,
}

impl Stub {
    /// Asks for records; an alias that leads to another zone is followed.
    async fn ask(&self, question: &DnsQuestion) -> DnsAnswer {
        let (mut name, mut least) = (question.name.clone(), u32::MAX);
        for _ in 0..ALIASES {
            match self.ask_all(&name, question.kind).await {
                Some(Message::Records(records, ttl)) => return DnsAnswer::Records(records, ttl.min(least)),
                Some(Message::Nothing(ttl)) => {
                    return DnsAnswer::Nothing(ttl.unwrap_or(NOTHING_TTL).min(least));
                }
                Some(Message::Alias(other, ttl)) => (name, least) = (other, ttl.min(least)),
                Some(Message::Truncated | Message::Refused) | None => return DnsAnswer::Failed,
            }
        }
        DnsAnswer::Failed
    }

    /// One server after the other, twice, until one has answered.
    async fn ask_all(&self, name: &str, kind: RecordType) -> Option<Message> {
        for server in self.servers.iter().chain(&self.servers) {
            let mut random = [0; 32];
            getrandom::fill(&mut random).ok()?;
            let query = Query::new(name, kind, random)?;
            let told = match timeout(self.timeout, by_udp(*server, &query)).await {
                Ok(Ok(Message::Truncated)) => timeout(self.timeout, by_tcp(*server, &query)).await,
                told => told,
            };
            match told {
                Ok(Ok(Message::Refused | Message::Truncated) | Err(_)) | Err(_) => {}
                Ok(Ok(message)) => return Some(message),
            }
        }
        None
    }
}

/// Asks by a socket of its own, whose port nobody guesses (RFC 5452 §9.2); what does not answer is passed over.
async fn by_udp(server: SocketAddr, query: &Query) -> io::Result<Message> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query.bytes()).await?;
    let mut buffer = vec![0; 4_096];
    loop {
        let n = socket.recv(&mut buffer).await?;
        if let Some(message) = query.read(buffer.get(..n).unwrap_or_default()) {
            return Ok(message);
        }
    }
}

/// The same by a connection (RFC 7766): an answer that is too long for a datagram.
async fn by_tcp(server: SocketAddr, query: &Query) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let bytes = query.bytes();
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat()).await?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(head))];
    stream.read_exact(&mut answer).await?;
    query.read(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_from_resolv_conf() {
        let text = "# by hand\nsearch example.com\nnameserver 192.0.2.53\n nameserver 2001:db8::53 # second\nnameserver x\n";
        let named: Vec<String> = named_servers(text).map(|at| at.to_string()).collect();
        assert_eq!(named, ["192.0.2.53:53", "[2001:db8::53]:53"]);
        assert_eq!(named_servers("options rotate").count(), 0);
        assert!(!servers_of_this_machine().is_empty());
    }
}
