//! The virtual network: datagrams in flight, ordered by their time of arrival, then by their number.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use warp_model::Mono;

use crate::rng::Rng;

/// What the network does to datagrams.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Lost, of a thousand.
    pub loss_per_mille: u64,
    /// Delivered twice, of a thousand.
    pub duplicate_per_mille: u64,
    /// Least time on the way.
    pub delay: Duration,
    /// Added at random; more than the gap between two datagrams means reordering.
    pub jitter: Duration,
}

impl Weather {
    /// Weather in which nothing goes wrong: no loss, and 5 ms on the way.
    pub const CALM: Weather = Weather {
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        delay: Duration::from_millis(5),
        jitter: Duration::ZERO,
    };
}

/// One datagram, or one message on a connection.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Where the datagram comes from.
    pub from: SocketAddr,
    /// Where the datagram goes to.
    pub to: SocketAddr,
    /// What the datagram carries.
    pub bytes: Vec<u8>,
    /// It travels on a connection: it arrives, once, and in order.
    pub stream: bool,
}

/// The datagrams that are in flight, and what has become of the others.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    in_flight: BTreeMap<(Mono, u64), Datagram>,
    sent: u64,
    /// How many were lost.
    pub lost: u64,
}

impl Network {
    /// A network with nothing in flight.
    pub fn new(weather: Weather) -> Network {
        Network { weather, in_flight: BTreeMap::new(), sent: 0, lost: 0 }
    }

    /// Sends one datagram at `now`.
    pub fn send(&mut self, now: Mono, datagram: Datagram, rng: &mut Rng) {
        if datagram.stream {
            self.sent += 1;
            self.in_flight.insert((now + self.weather.delay, self.sent), datagram);
            return;
        }
        let copies = if rng.chance(self.weather.duplicate_per_mille) { 2 } else { 1 };
        for _ in 0..copies {
            if rng.chance(self.weather.loss_per_mille) {
                self.lost += 1;
                continue;
            }
            let jitter = Duration::from_micros(rng.below(self.weather.jitter.as_micros() as u64 + 1));
            self.sent += 1;
            self.in_flight.insert((now + self.weather.delay + jitter, self.sent), datagram.clone());
        }
    }

    /// When the next one arrives.
    pub fn next_at(&self) -> Option<Mono> {
        self.in_flight.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next one that has arrived by `now`.
    pub fn take(&mut self, now: Mono) -> Option<Datagram> {
        let key = *self.in_flight.keys().next().filter(|(at, _)| *at <= now)?;
        self.in_flight.remove(&key)
    }
}
