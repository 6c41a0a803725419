//! What only the inside shows: the marking of sockets.

use std::os::fd::{AsFd, OwnedFd};

use socket2::SockRef;
use warp_media::LocalPort;
use warp_model::Mono;
use warp_net::mailbox::mailbox;
use warp_net::media::MediaSocket;
use warp_telemetry::metrics::Registry;

use super::bound::BoundPorts;
use super::shard::{Shard, ToShard, Tuning};
use crate::core::ports::{PortPair, PortPool, Ports};
use crate::metrics::Metrics;

/// A second descriptor of the same socket.
fn twin(socket: &MediaSocket) -> OwnedFd {
    socket.as_fd().try_clone_to_owned().unwrap()
}

fn tos(socket: &OwnedFd) -> u32 {
    SockRef::from(socket).tos_v4().unwrap()
}

#[test]
fn sockets_are_marked_while_they_wait_and_at_the_shard() {
    let pool = PortPool::new(&["127.0.0.1".parse().unwrap()], 18_000..=18_999, 5).unwrap();
    let metrics = Metrics::new(&Registry::new(), &["127.0.0.1".to_owned()], &pool);
    let (mut ports, waiting) = BoundPorts::new(pool, 184);
    let pair: PortPair = ports.take(0, Mono(0)).unwrap();
    let port: LocalPort = pair.rtp_port();
    assert_eq!(waiting.mark(port, Some(96)), None, "done here");
    let socket = waiting.take(port).unwrap();
    let seen = twin(&socket);
    assert_eq!(tos(&seen), 96);
    let other = twin(&waiting.take(pair.rtcp_port()).unwrap());
    assert_eq!(tos(&other), 184, "the default");
    assert_eq!(waiting.mark(port, Some(40)), Some(40), "for the shard");
    assert_eq!(waiting.mark(port, None), Some(184));

    let (to_shard, inbox) = mailbox(16).unwrap();
    let (control, _from_shard) = mailbox(16).unwrap();
    let mut shard = Shard::new(inbox, control, metrics, Tuning { connect: true, cpu: None }).unwrap();
    let unknown = LocalPort { ip: 0, port: 1 };
    for message in
        [ToShard::Open(port, socket), ToShard::Mark(unknown, 8), ToShard::Mark(port, 40), ToShard::Stop]
    {
        assert!(to_shard.send(message).is_ok());
    }
    shard.run();
    assert_eq!(tos(&seen), 40);
}
