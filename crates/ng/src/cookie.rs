//! Replies kept for repeated requests (`ref/ng-protocol.md` §1, T-NG-03).
//!
//! The key is (transport, source address, cookie), so that two clients with the same cookie never get each other's
//! answers. A reply lives ten seconds. Bounded in entries and bytes: when full, the oldest goes.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use warp_model::limits::NG_COOKIES;
use warp_model::now::Mono;

/// How long a reply is repeated.
pub const COOKIE_LIFE: Duration = Duration::from_secs(10);
/// Bytes of replies and cookies kept in all.
pub const COOKIE_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// How a client speaks to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Datagrams: UDP, one request each.
    Udp,
    /// A stream: TCP, requests one after the other.
    Tcp,
}

/// A client, as its datagrams show it.
type Source = (Channel, SocketAddr);
/// Answers of one client, by cookie.
type Answers = HashMap<Arc<[u8]>, Arc<[u8]>>;

/// The cache; see the module.
#[derive(Debug)]
pub struct CookieCache {
    // Never iterated: `order` is the only order.
    replies: HashMap<Source, Answers>,
    order: VecDeque<(Mono, Source, Arc<[u8]>)>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl Default for CookieCache {
    fn default() -> Self {
        Self::new(NG_COOKIES, COOKIE_CACHE_BYTES)
    }
}

impl CookieCache {
    /// An empty cache of at most so many replies and bytes.
    pub fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { replies: HashMap::new(), order: VecDeque::new(), bytes: 0, max_entries, max_bytes }
    }

    /// The datagram already sent for this cookie within [`COOKIE_LIFE`], to be sent again byte for byte.
    pub fn repeat(
        &mut self,
        channel: Channel,
        source: SocketAddr,
        cookie: &[u8],
        now: Mono,
    ) -> Option<Arc<[u8]>> {
        self.expire(now);
        self.replies.get(&(channel, source))?.get(cookie).cloned()
    }

    /// Keeps the datagram sent for this cookie. The first one stays when there already is one.
    pub fn keep(&mut self, channel: Channel, source: SocketAddr, cookie: &[u8], datagram: &[u8], now: Mono) {
        self.expire(now);
        let size = cost(cookie.len(), datagram.len());
        if size > self.max_bytes || self.max_entries == 0 {
            return;
        }
        let source = (channel, source);
        if self.replies.get(&source).is_some_and(|of| of.contains_key(cookie)) {
            return;
        }
        while self.order.len() >= self.max_entries || self.bytes.saturating_add(size) > self.max_bytes {
            if !self.drop_oldest() {
                break;
            }
        }
        self.bytes = self.bytes.saturating_add(size);
        let cookie: Arc<[u8]> = cookie.into();
        self.replies.entry(source).or_default().insert(Arc::clone(&cookie), datagram.into());
        self.order.push_back((now + COOKIE_LIFE, source, cookie));
    }

    /// How many replies are kept.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True when nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many bytes the kept replies have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn expire(&mut self, now: Mono) {
        while self.order.front().is_some_and(|(at, ..)| *at <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some((_, source, cookie)) = self.order.pop_front() else {
            return false;
        };
        let Some(replies) = self.replies.get_mut(&source) else { return true };
        if let Some(reply) = replies.remove(&cookie) {
            self.bytes = self.bytes.saturating_sub(cost(cookie.len(), reply.len()));
        }
        if replies.is_empty() {
            self.replies.remove(&source);
        }
        true
    }
}

/// What an entry counts for: its bytes and its place in the tables.
fn cost(cookie: usize, reply: usize) -> usize {
    cookie.saturating_add(reply).saturating_add(192)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono(s * 1_000_000_000)
    }
    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn t_ng_03_same_cookie_same_peer_gets_the_same_bytes_for_ten_seconds() {
        let mut cache = CookieCache::default();
        cache.keep(Channel::Udp, from(1), b"c", b"c d6:result4:ponge", at(0));
        cache.keep(Channel::Udp, from(1), b"c", b"other", at(1));
        assert!(!cache.is_empty());
        let again = cache.repeat(Channel::Udp, from(1), b"c", at(9)).unwrap();
        assert_eq!(&*again, b"c d6:result4:ponge");
        assert!(cache.repeat(Channel::Udp, from(2), b"c", at(9)).is_none());
        assert!(cache.repeat(Channel::Tcp, from(1), b"c", at(9)).is_none());
        assert!(cache.repeat(Channel::Udp, from(1), b"c", at(10)).is_none());
        assert_eq!((cache.len(), cache.bytes(), cache.replies.len()), (0, 0, 0));
        assert!(cache.is_empty());
    }

    #[test]
    fn t_ng_03_cache_is_bounded_in_entries_and_bytes() {
        let mut cache = CookieCache::new(100, 10_000);
        for i in 0..1_000u32 {
            cache.keep(Channel::Udp, from(1), &i.to_be_bytes(), &[0; 500], at(0));
            assert!(cache.len() <= 100 && cache.bytes() <= 10_000);
        }
        let last = 999u32.to_be_bytes();
        assert!(cache.repeat(Channel::Udp, from(1), &last, at(1)).is_some());
        cache.keep(Channel::Udp, from(1), b"huge", &[0; 20_000], at(1));
        assert!(cache.repeat(Channel::Udp, from(1), b"huge", at(1)).is_none());
    }

    #[test]
    fn t_ng_03_the_oldest_reply_leaves_first_and_none_before_there_is_need() {
        let left = |mut cache: CookieCache| -> Vec<u8> {
            for cookie in 0..5u8 {
                cache.keep(Channel::Udp, from(1), &[cookie], b"r", at(0));
            }
            (0..5u8).filter(|c| cache.repeat(Channel::Udp, from(1), &[*c], at(1)).is_some()).collect()
        };
        assert_eq!(left(CookieCache::new(3, 10_000)), [2, 3, 4], "three entries");
        let one = cost(1, 1);
        assert_eq!(left(CookieCache::new(100, 3 * one)), [2, 3, 4], "three fit exactly");
        assert_eq!(left(CookieCache::new(100, 3 * one - 1)), [3, 4], "a byte less is one less");
        assert_eq!(left(CookieCache::new(100, one)), [4], "as large as the cache");
    }
}
